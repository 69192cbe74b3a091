//! The packets that the peer sends.

use std::net::{IpAddr, SocketAddr};

use netstack::net::TcpStream;

use super::super::input::Input;
use super::super::packets::{Tcp, fix_checksums};
use super::{DATAGRAMS, LISTENS, Offload, World};

impl World {
    pub(super) fn on_open_connection(&mut self, input: &mut Input<'_>) {
        let flags = [
            0x10, 0x10, 0x18, 0x10, 0x11, 0x14, 0x04, 0x02, 0x12, 0x30, 0x00, 0xff,
        ];
        let flags = flags[input.below(12)];
        let seq = match input.below(6) {
            0..=2 => 0,
            3 => u32::from(input.u16()),
            4 => u32::from(input.u8()).wrapping_neg(),
            _ => input.u32(),
        };
        let ack = match input.below(6) {
            0..=3 => 0,
            4 => u32::from(input.u16()).wrapping_neg(),
            _ => input.u32(),
        };
        let len = match self.offload {
            Offload::No => [0, 1, 100, 536, 1_460][input.below(5)],
            Offload::Yes => [0, 1, 1_460, 4_380, 60_000][input.below(5)],
        };
        let options = self.options(input);
        let packet = self.segment(flags, seq, ack, &options, &vec![3; len]);
        if seq == 0 && flags & 0x07 == 0 {
            // Only data moves the peer on: after a FIN, SYN or RST it repeats the same numbers.
            self.seq = self.seq.wrapping_add(len as u32);
        }
        self.mutated(packet, input);
    }

    fn options(&self, input: &mut Input<'_>) -> Vec<u8> {
        match input.below(6) {
            0 | 1 => Vec::new(),
            2 => vec![
                2,
                4,
                input.u8(),
                input.u8(),
                1,
                3,
                3,
                input.u8(),
                4,
                2,
                1,
                1,
            ],
            3 => {
                let mut options = vec![1, 1, 8, 10];
                options.extend(input.u32().to_be_bytes());
                options.extend(input.u32().to_be_bytes());
                options
            }
            4 => {
                let left = self.ack.wrapping_sub(u32::from(input.u16()));
                let right = left.wrapping_add(u32::from(input.u16()));
                let mut options = vec![1, 1, 5, 10];
                options.extend(left.to_be_bytes());
                options.extend(right.to_be_bytes());
                options
            }
            _ => input.bytes(40).to_vec(),
        }
    }

    pub(super) fn on_listener(&mut self, input: &mut Input<'_>) {
        let options = self.options(input);
        let tcp = Tcp {
            from: 5_000 + u16::from(input.u8()),
            to: if input.rarely(8) {
                input.u16()
            } else {
                LISTENS
            },
            seq: input.u32(),
            ack: input.u32(),
            flags: [0x02, 0x02, 0x02, 0x10, 0x04, 0x12, 0x42, 0xc2][input.below(8)],
            window: input.u16(),
            options: &options,
        };
        let packet = self.path.tcp(&tcp, &vec![4; input.below(40)]);
        self.mutated(packet, input);
    }

    pub(super) fn icmp_error(&mut self, input: &mut Input<'_>) {
        let mut quoted = self.last_sent.clone();
        quoted.truncate(input.below(600));
        let (kind, code) = match (self.path.to.is_ipv4(), input.below(4)) {
            (true, 0) => (3, 4),
            (true, 1) => (3, input.u8() % 16),
            (true, 2) => (11, 0),
            (false, 0) => (2, 0),
            (false, 1) => (1, input.u8() % 8),
            (false, 2) => (3, 0),
            _ => (input.u8(), input.u8()),
        };
        let rest = u32::from(input.u16()).to_be_bytes();
        let packet = self.path.icmp(kind, code, rest, &quoted);
        self.mutated(packet, input);
    }

    /// Sends one datagram in two or three fragments, in any order; some may be missing or mutated.
    pub(super) fn fragmented(&mut self, input: &mut Input<'_>) {
        let len = 16 + input.below(1_400);
        let whole = self.path.udp(1_000, DATAGRAMS, &vec![6; len]);
        let headers = if self.path.to.is_ipv4() { 20 } else { 40 };
        let whole = whole.get(headers..).unwrap_or_default().to_vec();
        let size = (whole.len() / 3).next_multiple_of(8).max(8);
        let id = 100 + u16::from(input.u8());
        let mut fragments: Vec<Vec<u8>> = whole
            .chunks(size)
            .enumerate()
            .map(|(n, bytes)| {
                let offset = n * size / 8;
                let more = (n + 1) * size < whole.len();
                self.path.fragment(id, offset as u16, more, 17, bytes)
            })
            .collect();
        while !fragments.is_empty() {
            let which = input.below(fragments.len());
            let fragment = fragments.swap_remove(which);
            if !input.rarely(16) {
                self.mutated(fragment, input);
            }
        }
    }

    /// Sends a captured packet from the peer to the stack, most often to an open port.
    pub(super) fn seed(&mut self, input: &mut Input<'_>, seeds: &[Vec<u8>]) {
        if seeds.is_empty() {
            return;
        }
        let mut packet = seeds[input.below(seeds.len())].clone();
        let (from, to, at) = match (self.path.from, self.path.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                (from.octets().to_vec(), to.octets().to_vec(), 12)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => (from.octets().to_vec(), to.octets().to_vec(), 8),
            _ => return,
        };
        let family = if at == 12 { 4 } else { 6 };
        if packet.first().map(|first| first >> 4) != Some(family) || packet.len() < 60 {
            return;
        }
        packet[at..at + from.len()].copy_from_slice(&from);
        packet[at + from.len()..at + from.len() + to.len()].copy_from_slice(&to);
        let ports = if family == 4 { 20 } else { 40 };
        if !input.rarely(8) {
            packet[ports + 2..ports + 4].copy_from_slice(&LISTENS.to_be_bytes());
        }
        fix_checksums(&mut packet);
        self.mutated(packet, input);
    }

    pub(super) fn answer_active_open(&mut self, input: &mut Input<'_>) {
        if self.connecting.is_none() {
            let stack = self.stack.stack().clone();
            let remote = SocketAddr::new(self.path.from, 443);
            self.connecting = Some(Box::pin(
                async move { TcpStream::connect(&stack, remote).await },
            ));
            self.connect();
            self.settle();
            return;
        }
        let Some((port, seq)) = self.syn else { return };
        let options = self.options(input);
        let tcp = Tcp {
            from: 443,
            to: port,
            seq: 7_000,
            ack: seq.wrapping_add(1).wrapping_add(u32::from(input.rarely(4))),
            flags: [0x12, 0x12, 0x02, 0x14, 0x10][input.below(5)],
            window: 1_000,
            options: &options,
        };
        let packet = self.path.tcp(&tcp, b"");
        self.mutated(packet, input);
    }
}
