//! Sends and receives raw packets on the TUN device, beside the kernel's own stack.

use std::io::ErrorKind;
use std::time::Duration;

use netstackd::probe::now;
use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender};
use tests::forge::*;
use tests::world::{TUN, V4, V6};

/// A packet socket on the TUN device.
pub(super) struct Wire {
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
}

impl Wire {
    pub(super) fn open() -> Self {
        let interfaces = pnet_datalink::interfaces();
        let tun = interfaces
            .iter()
            .find(|link| link.name == TUN)
            .expect("the TUN device");
        let config = Config {
            read_timeout: Some(Duration::from_millis(100)),
            read_buffer_size: 1 << 17,
            write_buffer_size: 1 << 17,
            ..Config::default()
        };
        match pnet_datalink::channel(tun, config) {
            Ok(Channel::Ethernet(sender, receiver)) => Self { sender, receiver },
            Ok(_) => panic!("no such channel was asked for"),
            Err(error) => panic!("cannot open a packet socket on {TUN}: {error}"),
        }
    }

    pub(super) fn send(&mut self, packet: &[u8]) {
        self.sender
            .send_to(packet, None)
            .expect("one result")
            .expect("sent");
    }

    /// Sends an echo request and returns everything that the daemon sent before its answer.
    pub(super) fn answers(&mut self, mark: u16) -> Vec<Vec<u8>> {
        let [high, low] = mark.to_be_bytes();
        self.send(&sealed(ipv4(
            V4,
            ICMP,
            &icmp(8, 0, [0x6d, 0x6b, high, low], b"mark"),
        )));
        let deadline = now() + Duration::from_secs(20);
        let mut found = Vec::new();
        loop {
            assert!(now() < deadline, "the daemon does not answer any more");
            let packet = match self.receiver.next() {
                Ok(packet) => packet.to_vec(),
                Err(e) if matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                    continue;
                }
                Err(e) => panic!("{TUN}: {e}"),
            };
            let from_daemon = match packet.first().map(|byte| byte >> 4) {
                Some(4) => {
                    packet.len() >= 20
                        && packet[12..16] == V4.octets()
                        && packet[16..20] != V4.octets()
                }
                Some(6) => {
                    packet.len() >= 40
                        && packet[8..24] == V6.octets()
                        && packet[24..40] != V6.octets()
                }
                _ => false,
            };
            if !from_daemon {
                continue;
            }
            if packet.len() >= 28 && packet[20] == 0 && packet[24..28] == [0x6d, 0x6b, high, low] {
                return found;
            }
            found.push(packet);
        }
    }
}
