//! The reflector: it answers as the services do, and checks nothing. No checksum, no option, no state machine, no timer;
//! what it does for each packet, every stack must do.
//!
//! It keeps a position of each connection, the peer's window, and what an echo could not send yet. Nothing is sent again:
//! the kernel hands over what a TUN device takes.

use std::collections::{HashMap, VecDeque};

use anyhow::Result;

use super::tun::{HEADER_BYTES, PACKET_BYTES_MAX, Tun, segment_of};
use super::wire::{Ip, PROTOCOL_TCP, PROTOCOL_UDP, u16_at, u32_at};
use crate::server::{CHARGEN, DISCARD, ECHO};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// Payload of a segment on the wire: 1,500 bytes without the headers of IPv6 and TCP.
const SEGMENT_BYTES: u16 = 1_440;
/// Payload of the longest super-segment.
const SUPER_BYTES: usize = SEGMENT_BYTES as usize * 45;
/// Most bytes in flight.
const FLIGHT_BYTES: u32 = 2 << 20;
/// Bytes that the peer may have in flight, and that an echo keeps.
const WINDOW_BYTES: u32 = 2 << 20;
const WINDOW_SHIFT: u8 = 10;

/// Bytes of the longest headers: IPv6 and a SYN with options.
const HEAD_BYTES: usize = 68;

/// A connection.
struct Connection {
    snd_una: u32,
    snd_nxt: u32,
    /// Window of the peer in bytes, and its shift.
    snd_wnd: u32,
    shift: u8,
    rcv_nxt: u32,
    /// Pieces that an echo has yet to send, and their bytes.
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: u32,
    /// The peer has closed; and so have we.
    is_closing: bool,
    is_closed: bool,
}

/// Headers of a segment, and the room for them.
struct Answer {
    head: [u8; HEAD_BYTES],
    len: usize,
}

#[derive(PartialEq, Eq, Hash)]
struct Flow {
    remote: [u8; 16],
    ports: [u8; 4],
    is_v6: bool,
}

/// Reflects until the device fails.
pub(super) fn serve(tun: Tun) -> Result<()> {
    let mut room = vec![0; HEADER_BYTES + PACKET_BYTES_MAX];
    let mut flows = HashMap::new();
    let pattern = vec![b'x'; SUPER_BYTES];
    loop {
        match tun.read(&mut room)? {
            Some(len) => {
                let (header, packet) = room[..len].split_at_mut(HEADER_BYTES);
                reflect(&tun, segment_of(header), packet, &mut flows, &pattern)?;
            }
            None => tun.wait(None)?,
        }
    }
}

fn reflect(
    tun: &Tun,
    size: Option<u16>,
    packet: &mut [u8],
    flows: &mut HashMap<Flow, Connection>,
    pattern: &[u8],
) -> Result<()> {
    let ip = Ip::of(packet);
    let start = ip.header_len();
    match ip.protocol(packet) {
        PROTOCOL_UDP if u16_at(packet, start + 2) == ECHO => {
            ip.turn(packet);
            let (from, to) = packet[start..start + 4].split_at_mut(2);
            from.swap_with_slice(to);
            tun.write(packet, &[], size)?;
        }
        PROTOCOL_TCP => segment(tun, packet, flows, pattern)?,
        _ => {}
    }
    Ok(())
}

fn segment(
    tun: &Tun,
    packet: &[u8],
    flows: &mut HashMap<Flow, Connection>,
    pattern: &[u8],
) -> Result<()> {
    let ip = Ip::of(packet);
    let tcp = &packet[ip.header_len()..];
    let port = u16_at(tcp, 2);
    let flow = Flow {
        remote: ip.source(packet),
        ports: [tcp[0], tcp[1], tcp[2], tcp[3]],
        is_v6: ip == Ip::V6,
    };
    let (seq, ack, flags) = (u32_at(tcp, 4), u32_at(tcp, 8), tcp[13]);
    if flags & RST != 0 {
        flows.remove(&flow);
        return Ok(());
    }
    if flags & SYN != 0 {
        let connection = Connection::new(tcp, seq);
        connection.write(tun, packet, SYN | ACK, 0, &[])?;
        let connection = Connection {
            snd_nxt: 1,
            ..connection
        };
        flows.insert(flow, connection);
        return Ok(());
    }
    let Some(connection) = flows.get_mut(&flow) else {
        return Ok(());
    };
    connection.snd_una = ack;
    connection.snd_wnd = u32::from(u16_at(tcp, 14)) << connection.shift;
    let payload = &tcp[usize::from(tcp[12] >> 4) * 4..];
    let is_next = seq == connection.rcv_nxt;
    let is_news = !payload.is_empty() || flags & FIN != 0;
    if is_next {
        connection.rcv_nxt = connection.rcv_nxt.wrapping_add(payload.len() as u32);
        if flags & FIN != 0 {
            connection.rcv_nxt = connection.rcv_nxt.wrapping_add(1);
            connection.is_closing = true;
        }
    }
    let before = connection.snd_nxt;
    match port {
        ECHO => {
            let now = if is_next { payload } else { &[] };
            connection.echo(tun, packet, now)?;
        }
        CHARGEN => connection.fill(tun, packet, pattern)?,
        DISCARD => {}
        _ => return Ok(()),
    }
    if connection.is_closing && connection.waiting.is_empty() && !connection.is_closed {
        connection.write(tun, packet, FIN | ACK, connection.snd_nxt, &[])?;
        connection.snd_nxt = connection.snd_nxt.wrapping_add(1);
        connection.is_closed = true;
    }
    if is_news && connection.snd_nxt == before {
        connection.write(tun, packet, ACK, connection.snd_nxt, &[])?;
    }
    if connection.is_closed && connection.snd_una == connection.snd_nxt {
        flows.remove(&flow);
    }
    Ok(())
}

impl Connection {
    /// Answers a SYN.
    fn new(tcp: &[u8], seq: u32) -> Self {
        Self {
            snd_una: 0,
            snd_nxt: 0,
            snd_wnd: 0,
            shift: window_shift(&tcp[20..usize::from(tcp[12] >> 4) * 4]),
            rcv_nxt: seq.wrapping_add(1),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            is_closing: false,
            is_closed: false,
        }
    }

    /// Returns how many bytes may be sent now.
    fn room(&self) -> usize {
        let flight = self.snd_nxt.wrapping_sub(self.snd_una);
        self.snd_wnd.min(FLIGHT_BYTES).saturating_sub(flight) as usize
    }

    /// Sends what chargen may send: whole super-segments, or all if nothing is in flight.
    fn fill(&mut self, tun: &Tun, packet: &[u8], pattern: &[u8]) -> Result<()> {
        while !self.is_closing {
            let room = self.room();
            let is_idle = self.snd_nxt == self.snd_una;
            if room < pattern.len() && !(is_idle && room > 0) {
                break;
            }
            self.send(tun, packet, &pattern[..room.min(pattern.len())])?;
        }
        Ok(())
    }

    /// Sends what was kept and then `now`, as far as the peer has room, and keeps the rest.
    fn echo(&mut self, tun: &Tun, packet: &[u8], now: &[u8]) -> Result<()> {
        while let Some(first) = self.waiting.front() {
            if first.len() > self.room() {
                break;
            }
            let Some(first) = self.waiting.pop_front() else {
                break;
            };
            self.waiting_bytes -= first.len() as u32;
            self.send(tun, packet, &first)?;
        }
        if now.is_empty() {
            return Ok(());
        }
        if self.waiting.is_empty() && now.len() <= self.room() {
            return self.send(tun, packet, now);
        }
        self.waiting_bytes += now.len() as u32;
        self.waiting.push_back(now.to_vec());
        Ok(())
    }

    fn send(&mut self, tun: &Tun, packet: &[u8], payload: &[u8]) -> Result<()> {
        self.write(tun, packet, PSH | ACK, self.snd_nxt, payload)?;
        self.snd_nxt = self.snd_nxt.wrapping_add(payload.len() as u32);
        Ok(())
    }

    /// Writes a segment to the sender of `packet`.
    fn write(&self, tun: &Tun, packet: &[u8], flags: u8, seq: u32, payload: &[u8]) -> Result<()> {
        let mut answer = Answer::to(packet, flags & SYN != 0);
        let ip = Ip::of(packet);
        let tcp = &mut answer.head[ip.header_len()..];
        tcp[4..8].copy_from_slice(&seq.to_be_bytes());
        tcp[8..12].copy_from_slice(&self.rcv_nxt.to_be_bytes());
        tcp[13] = flags;
        let window = WINDOW_BYTES.saturating_sub(self.waiting_bytes);
        let window = if flags & SYN != 0 {
            window.min(u16::MAX.into())
        } else {
            window >> WINDOW_SHIFT
        };
        tcp[14..16].copy_from_slice(&(window as u16).to_be_bytes());
        let head = &mut answer.head[..answer.len];
        ip.set_payload_len(head, head.len() - ip.header_len() + payload.len());
        let segment = (payload.len() > SEGMENT_BYTES.into()).then_some(SEGMENT_BYTES);
        tun.write(head, payload, segment)?;
        Ok(())
    }
}

impl Answer {
    /// Makes the headers of a segment to the sender of `packet`, with the options of a SYN if it is one.
    fn to(packet: &[u8], is_syn: bool) -> Self {
        let ip = Ip::of(packet);
        let start = ip.header_len();
        let mut head = [0; HEAD_BYTES];
        head[..start].copy_from_slice(&packet[..start]);
        ip.turn(&mut head);
        head[start..start + 2].copy_from_slice(&packet[start + 2..start + 4]);
        head[start + 2..start + 4].copy_from_slice(&packet[start..start + 2]);
        let mut len = start + 20;
        if is_syn {
            let [high, low] = SEGMENT_BYTES.to_be_bytes();
            let options = [2, 4, high, low, 1, 3, 3, WINDOW_SHIFT];
            head[len..len + options.len()].copy_from_slice(&options);
            len += options.len();
        }
        head[start + 12] = ((len - start) as u8 / 4) << 4;
        Self { head, len }
    }
}

/// Returns the shift in the options of a SYN.
fn window_shift(mut options: &[u8]) -> u8 {
    loop {
        match options {
            [1, rest @ ..] => options = rest,
            [3, 3, shift, ..] => return *shift,
            [_, len, ..] if *len >= 2 && usize::from(*len) <= options.len() => {
                options = &options[usize::from(*len)..];
            }
            _ => return 0,
        }
    }
}
