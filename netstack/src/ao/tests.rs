//! Two sessions that talk to each other: changes of keys, roll-overs, and what must not be taken.

use std::net::SocketAddr;

use packet::tcp::{TcpFlags, TcpHeader, TcpOptions};

use super::{AoAlgorithm, AoKey, AoKeyError, Ends, Fault, KeySet, OPTION_LEN, Session};

const ISS: u32 = 0xffff_ff00;
const IRS: u32 = 77;

fn ends() -> Ends {
    Ends {
        local: ([10, 0, 0, 1], 4_000).into(),
        remote: ([10, 0, 0, 2], 179).into(),
    }
}

fn turned(ends: Ends) -> Ends {
    Ends {
        local: ends.remote,
        remote: ends.local,
    }
}

fn key(send_id: u8, recv_id: u8, secret: &[u8]) -> AoKey {
    AoKey::new(AoAlgorithm::HmacSha1, send_id, recv_id, secret).expect("a key")
}

/// One side of the connection.
struct Side {
    keys: KeySet,
    session: Session,
    ends: Ends,
    next: u32,
}

impl Side {
    fn peer(&self) -> SocketAddr {
        self.ends.remote
    }

    /// Signs a segment with `payload`.
    fn send(&mut self, flags: TcpFlags, payload: &[u8]) -> Option<Vec<u8>> {
        let segment = signed(self, flags, self.next, payload);
        self.next = self.next.wrapping_add(payload.len() as u32);
        segment
    }

    fn take(&mut self, segment: &[u8]) -> Result<(), Fault> {
        self.session.verify(&self.keys, &self.ends, segment)
    }
}

fn signed(side: &mut Side, flags: TcpFlags, seq: u32, payload: &[u8]) -> Option<Vec<u8>> {
    let header = TcpHeader {
        src_port: side.ends.local.port(),
        dst_port: side.ends.remote.port(),
        seq,
        flags,
        options: TcpOptions {
            authentication_len: OPTION_LEN,
            ..TcpOptions::default()
        },
        ..TcpHeader::default()
    };
    let mut segment = vec![0; header.len()];
    header.write(&mut segment);
    // In pieces, as a send queue has it.
    let (first, second) = payload.split_at(payload.len() / 3);
    let pieces = [first, second].into_iter();
    let is_signed = side
        .session
        .sign(&side.keys, &side.ends, &mut segment, pieces, payload.len());
    segment.extend_from_slice(payload);
    is_signed.then_some(segment)
}

/// Opens a connection between two sides with the key (1, 2) of the first one.
fn pair() -> (Side, Side) {
    let (mut active, mut passive) = (KeySet::default(), KeySet::default());
    active.add(key(1, 2, b"one")).expect("the first");
    passive.add(key(2, 1, b"one")).expect("the first");
    let session = active.begin(ends().remote, ISS).expect("a key");
    let mut active = Side {
        keys: active,
        session,
        ends: ends(),
        next: ISS + 1,
    };
    let syn = signed(&mut active, TcpFlags::SYN, ISS, b"").expect("signed");
    let ends = turned(ends());
    let key_id = passive.verify_syn(&ends, &syn).expect("verified");
    let key_id = key_id.expect("a key");
    let session = passive.resume(ends.remote, key_id, IRS, ISS);
    let mut passive = Side {
        keys: passive,
        session: session.expect("its keys"),
        ends,
        next: IRS + 1,
    };
    let syn_ack = signed(&mut passive, TcpFlags::SYN | TcpFlags::ACK, IRS, b"");
    let syn_ack = syn_ack.expect("signed");
    // Nothing but a SYN tells the peer's number.
    let early = passive.send(TcpFlags::ACK, b"x").expect("signed");
    assert_eq!(active.take(&early), Err(Fault::Code));
    assert_eq!(active.take(&syn_ack), Ok(()));
    assert_eq!(active.take(&early), Ok(()));
    (active, passive)
}

#[test]
fn rfc5925_6_2_a_segment_of_another_round_of_numbers_is_not_taken() {
    let (mut active, mut passive) = pair();
    let old = active.send(TcpFlags::ACK, b"old").expect("signed");
    assert_eq!(passive.take(&old), Ok(()));
    // Twice around, half a gigabyte at a time.
    for _ in 0..16 {
        active.next = active.next.wrapping_add(1 << 29);
        let segment = active.send(TcpFlags::ACK, b"").expect("signed");
        assert_eq!(passive.take(&segment), Ok(()));
    }
    assert_eq!(
        passive.take(&old),
        Err(Fault::Code),
        "the same bytes, two rounds later"
    );
}

#[test]
fn rfc5925_6_1_keys_change_when_the_peer_is_ready_and_nothing_is_lost() {
    let (mut active, mut passive) = pair();
    active.keys.add(key(11, 12, b"two")).expect("apart");
    let peer = active.peer();
    active
        .session
        .set_rnext(&active.keys, peer, 12)
        .expect("there");
    let segment = active.send(TcpFlags::ACK, b"a").expect("signed");
    assert_eq!(passive.take(&segment), Ok(()));
    // The peer does not know the new key yet.
    assert_eq!(passive.session.info().current_key, 2);
    passive.keys.add(key(12, 11, b"two")).expect("apart");
    let segment = active.send(TcpFlags::ACK, b"b").expect("signed");
    assert_eq!(passive.take(&segment), Ok(()));
    assert_eq!(passive.session.info().current_key, 12);
    // Each direction has its key.
    let old = active.send(TcpFlags::ACK, b"c").expect("signed");
    let new = passive.send(TcpFlags::ACK, b"d").expect("signed");
    assert_eq!(active.take(&new), Ok(()));
    assert_eq!(active.session.info().last_received, Some((12, 1)));
    passive
        .session
        .set_rnext(&passive.keys, passive.ends.remote, 11)
        .expect("there");
    let asks = passive.send(TcpFlags::ACK, b"e").expect("signed");
    assert_eq!(active.take(&asks), Ok(()));
    assert_eq!(active.session.info().current_key, 11);
    // A segment that was signed before is late, and taken all the same; what it asks for was overtaken.
    let newer = active.send(TcpFlags::ACK, b"f").expect("signed");
    assert_eq!(passive.take(&newer), Ok(()));
    assert_eq!(passive.take(&old), Ok(()));
    assert_eq!(passive.session.info().last_received, Some((11, 12)));
    let unknown = active.session.set_current(&active.keys, peer, 99);
    let which = "send";
    assert_eq!(
        unknown,
        Err(AoKeyError::NotFound {
            peer,
            which,
            id: 99
        })
    );
}

#[test]
fn a_recorded_syn_changes_nothing_of_the_connection_that_it_opened() {
    let (mut active, mut passive) = pair();
    let syn = signed(&mut active, TcpFlags::SYN, ISS, b"").expect("signed");
    passive.keys.add(key(12, 11, b"two")).expect("apart");
    active.keys.add(key(11, 12, b"two")).expect("apart");
    let peer = active.peer();
    active
        .session
        .set_rnext(&active.keys, peer, 12)
        .expect("there");
    let segment = active.send(TcpFlags::ACK, b"a").expect("signed");
    assert_eq!(passive.take(&segment), Ok(()));
    let before = passive.session.info();
    assert_eq!(before.current_key, 12);
    // It is authentic, and asks for the first key.
    assert_eq!(passive.take(&syn), Ok(()));
    let after = passive.session.info();
    assert_eq!(after.current_key, 12);
    assert_eq!(after.last_received, before.last_received);
}

#[test]
fn a_key_that_was_removed_signs_and_verifies_nothing_more() {
    let (mut active, mut passive) = pair();
    let old = active.send(TcpFlags::ACK, b"a").expect("signed");
    passive.keys.add(key(12, 11, b"two")).expect("apart");
    active.keys.add(key(11, 12, b"two")).expect("apart");
    let meant = passive.keys.keys()[..1].to_vec();
    assert_eq!(passive.keys.remove(&meant), 1);
    assert_eq!(passive.take(&old), Err(Fault::UnknownKey));
    // What is left signs.
    let segment = passive.send(TcpFlags::ACK, b"b").expect("signed");
    assert_eq!(active.take(&segment), Ok(()));
    assert_eq!(active.session.info().current_key, 11, "it was asked for");
    let all = passive.keys.keys().to_vec();
    passive.keys.remove(&all);
    assert_eq!(passive.send(TcpFlags::ACK, b"c"), None);
    // The number is in use again, for another secret.
    passive.keys.add(key(2, 1, b"three")).expect("free");
    assert_eq!(passive.take(&old), Err(Fault::Code));
}

#[test]
fn rfc5925_7_3_nothing_without_a_right_code_is_taken_and_each_is_counted() {
    let (mut active, mut passive) = pair();
    let mut bare = active.clone_of(b"x");
    bare.truncate(20);
    bare[12] = 5 << 4;
    assert_eq!(passive.take(&bare), Err(Fault::Missing));
    let mut unknown = active.clone_of(b"x");
    unknown[22] = 9;
    assert_eq!(passive.take(&unknown), Err(Fault::UnknownKey));
    let mut forged = active.clone_of(b"x");
    *forged.last_mut().expect("a byte") ^= 1;
    assert_eq!(passive.take(&forged), Err(Fault::Code));
    for len in 0..36 {
        let cut = &active.clone_of(b"")[..len];
        assert!(passive.take(cut).is_err(), "{len} bytes");
    }
    let info = passive.session.info();
    assert_eq!((info.accepted, info.bad, info.unknown_key), (0, 1, 1));
    assert_eq!(info.missing, 1 + 36);
    // What was forged moved nothing.
    let right = active.send(TcpFlags::ACK, b"y").expect("signed");
    assert_eq!(passive.take(&right), Ok(()));
}

impl Side {
    /// Returns a segment that would be sent next.
    fn clone_of(&mut self, payload: &[u8]) -> Vec<u8> {
        signed(self, TcpFlags::ACK, self.next, payload).expect("signed")
    }
}
