//! A peer that signs, segment by segment.

use std::net::SocketAddr;

use netstack::ao::{Ends, KeySet, Session};
use netstack::net::AoKey;
use packet::tcp::TcpFlags;
use tests::forge::{parts, seal};
use tests::raw_peer::{ACK, Peer, SYN, Sent, Wire, read};

use super::options;

/// Length of the IPv4 header of every packet here.
const IP_LEN: usize = 20;

/// A peer that signs what it sends and verifies what it hears.
pub(crate) struct Router {
    pub(crate) peer: Peer,
    pub(crate) keys: KeySet,
    pub(crate) session: Session,
    pub(crate) ends: Ends,
}

impl Router {
    /// Creates a peer whose keys are `keys`, the first of which signs.
    pub(crate) fn new(
        from: SocketAddr,
        to: SocketAddr,
        keys: impl IntoIterator<Item = AoKey>,
    ) -> Self {
        let peer = Peer::new(from, to, options());
        let mut set = KeySet::default();
        for key in keys {
            set.add(key).expect("a key of its own");
        }
        let session = set.begin(to, peer.seq).expect("a key");
        Self {
            peer,
            keys: set,
            session,
            ends: Ends {
                local: from,
                remote: to,
            },
        }
    }

    /// Signs a packet.
    pub(crate) fn sign(&mut self, mut packet: Vec<u8>) -> Vec<u8> {
        let segment = &mut packet[IP_LEN..];
        let header_len = usize::from(segment[12] >> 4) * 4;
        let (header, payload) = segment.split_at_mut(header_len);
        let len = payload.len();
        let pieces = [&*payload].into_iter();
        assert!(
            self.session
                .sign(&self.keys, &self.ends, header, pieces, len)
        );
        seal(&mut packet);
        packet
    }

    pub(crate) fn packet(&mut self, flags: TcpFlags, payload: &[u8]) -> Vec<u8> {
        let packet = self.peer.packet(flags, payload);
        self.sign(packet)
    }

    /// Sends a signed segment, and takes in what is sent to this peer, each segment of which must be authentic.
    pub(crate) fn send(&mut self, wire: &mut Wire, flags: TcpFlags, payload: &[u8]) -> Vec<Sent> {
        let packet = self.packet(flags, payload);
        self.offer(wire, packet)
    }

    pub(crate) fn offer(&mut self, wire: &mut Wire, packet: Vec<u8>) -> Vec<Sent> {
        wire.queue(packet);
        let packets = wire.packets();
        self.take(wire, &packets)
    }

    pub(crate) fn take(&mut self, wire: &Wire, packets: &[Vec<u8>]) -> Vec<Sent> {
        let mut sent = Vec::new();
        for packet in packets {
            let Some(segment) = read(packet, wire.now).filter(|sent| sent.to == self.peer.from)
            else {
                continue;
            };
            let (_, _, bytes) = parts(packet).expect("a segment");
            let verified = self.session.verify(&self.keys, &self.ends, bytes);
            assert_eq!(verified, Ok(()), "{segment:?}");
            self.peer.hear(&segment);
            sent.push(segment);
        }
        sent
    }

    pub(crate) fn open(&mut self, wire: &mut Wire) {
        let sent = self.send(wire, SYN, b"");
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].header.flags, SYN | ACK);
        assert_eq!(self.send(wire, ACK, b"").len(), 0);
    }
}
