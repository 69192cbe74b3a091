//! The test vectors of RFC 9235, each segment verified and signed by both sides.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use packet::IpProto;
use packet::ip::Outline;

use super::wire::find;
use super::{AoAlgorithm, AoKey, Ends, Fault, KeySet, Session};

/// The lines of the RFC's segments.
const VECTORS: &str = include_str!("vectors.txt");

const CLIENT_ID: u8 = 61;
const SERVER_ID: u8 = 84;

struct Vector {
    section: &'static str,
    algorithm: AoAlgorithm,
    covers_options: bool,
    is_from_client: bool,
    ends: Ends,
    segment: Vec<u8>,
}

fn vector(line: &'static str) -> Vector {
    let words: Vec<&str> = line.split(' ').collect();
    let [section, algorithm, covers, sender, packet] = words[..] else {
        panic!("five words: {line}");
    };
    let packet: Vec<u8> = (0..packet.len() / 2)
        .map(|at| u8::from_str_radix(&packet[2 * at..2 * at + 2], 16).expect("a byte"))
        .collect();
    let outline = Outline::read(&packet).expect("IP");
    assert_eq!(
        packet[if packet[0] == 0x45 || packet[0] >> 4 == 4 {
            9
        } else {
            6
        }],
        IpProto::TCP.0
    );
    let segment = packet[if outline.src.is_ipv4() { 20 } else { 40 }..].to_vec();
    let port = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
    Vector {
        section,
        algorithm: match algorithm {
            "sha1" => AoAlgorithm::HmacSha1,
            _ => AoAlgorithm::AesCmac,
        },
        covers_options: covers == "covers",
        is_from_client: sender == "client",
        // As the sender sees them.
        ends: Ends {
            local: SocketAddr::new(outline.src, port(0)),
            remote: SocketAddr::new(outline.dst, port(2)),
        },
        segment,
    }
}

fn vectors() -> Vec<Vector> {
    let lines = VECTORS.lines().filter(|line| !line.starts_with('#'));
    lines.map(vector).collect()
}

impl Vector {
    fn seq(&self) -> u32 {
        u32::from_be_bytes(self.segment[4..8].try_into().expect("four bytes"))
    }

    fn header_len(&self) -> usize {
        usize::from(self.segment[12] >> 4) * 4
    }

    /// Returns the ends as the receiver sees them.
    fn received(&self) -> Ends {
        Ends {
            local: self.ends.remote,
            remote: self.ends.local,
        }
    }

    fn keys(&self, is_client: bool) -> KeySet {
        let (send, recv) = match is_client {
            true => (CLIENT_ID, SERVER_ID),
            false => (SERVER_ID, CLIENT_ID),
        };
        let key = AoKey::new(self.algorithm, send, recv, b"testvector").expect("a key");
        let key = match self.covers_options {
            true => key,
            false => key.without_options(),
        };
        let mut keys = KeySet::default();
        keys.add(key).expect("the first");
        keys
    }

    /// Checks that signing the segment without its identifiers and code gives the segment.
    fn is_signed_by(&self, session: &mut Session) {
        let mut segment = self.segment.clone();
        let (header, payload) = segment.split_at_mut(self.header_len());
        let option = find(header).expect("one").expect("one");
        header[option.at.start + 2..option.at.end].fill(0);
        let payload = [&*payload].into_iter();
        let len = self.segment.len() - self.header_len();
        let keys = self.keys(self.is_from_client);
        assert!(session.sign(&keys, &self.ends, header, payload, len));
        assert_eq!(segment, self.segment, "{}", self.section);
    }

    /// Checks that the receiver takes the segment, and no segment that differs in a bit that counts.
    fn is_verified_by(&self, session: &mut Session) {
        let keys = self.keys(!self.is_from_client);
        let ends = &self.received();
        let option = find(&self.segment[..self.header_len()])
            .expect("one")
            .expect("one");
        for at in 0..self.segment.len() {
            let mut damaged = self.segment.clone();
            damaged[at] ^= 0x10;
            let is_option = (20..self.header_len()).contains(&at);
            // Checksums are verified elsewhere, and structure and length decide before the code does.
            let skips = (16..18).contains(&at)
                || (is_option && !option.at.contains(&at))
                || (12..14).contains(&at);
            if !skips {
                assert!(session.verify(&keys, ends, &damaged).is_err(), "byte {at}");
            }
        }
        let verified = session.verify(&keys, ends, &self.segment);
        assert_eq!(verified, Ok(()), "{}", self.section);
    }
}

#[test]
fn rfc9235_each_segment_is_what_its_sender_signs_and_its_receiver_takes() {
    let all = vectors();
    assert_eq!(all.len(), 32);
    for connection in all.chunks(4) {
        let [syn, syn_ack, from_client, from_server] = connection else {
            panic!("four segments of each connection");
        };
        let mut client = syn
            .keys(true)
            .begin(syn.ends.remote, syn.seq())
            .expect("a key");
        syn.is_signed_by(&mut client);

        let keys = syn.keys(false);
        let ends = syn.received();
        let key_id = keys.verify_syn(&ends, &syn.segment);
        let key_id = key_id.expect("verified").expect("a key");
        let mut server = keys
            .resume(ends.remote, key_id, syn_ack.seq(), syn.seq())
            .expect("its keys");
        syn_ack.is_signed_by(&mut server);
        syn_ack.is_verified_by(&mut client);

        from_client.is_signed_by(&mut client);
        from_client.is_verified_by(&mut server);
        from_server.is_signed_by(&mut server);
        from_server.is_verified_by(&mut client);
        // The SYN again, as it was.
        let again = server.verify(&keys, &ends, &syn.segment);
        assert_eq!(again, Ok(()), "{}", syn.section);
        assert_eq!(client.info().accepted, 2);
        assert_eq!(client.info().last_received, Some((SERVER_ID, CLIENT_ID)));
    }
}

#[test]
fn rfc5925_7_5_a_syn_is_taken_with_the_key_of_its_number_only() {
    let all = vectors();
    let syn = &all[0];
    let (keys, ends) = (syn.keys(false), syn.received());
    let verify =
        |keys: &KeySet, segment: &[u8]| keys.verify_syn(&ends, segment).map(|kept| kept.is_some());
    assert_eq!(verify(&keys, &syn.segment), Ok(true));
    // The server's own number.
    assert_eq!(
        verify(&syn.keys(true), &syn.segment),
        Err(Fault::UnknownKey)
    );
    // Two options, one of them in the place of the timestamps.
    let mut twice = syn.segment.clone();
    twice[20 + 8..20 + 20].copy_from_slice(&[1, 1, 29, 10, 61, 84, 0, 0, 0, 0, 0, 0]);
    assert_eq!(verify(&keys, &twice), Err(Fault::Contradiction));
    // MD5 is longer than what is free: it takes the room of other options.
    let mut md5 = syn.segment.clone();
    md5[20..38].copy_from_slice(&[19, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    md5[38..40].copy_from_slice(&[1, 1]);
    assert_eq!(verify(&keys, &md5), Err(Fault::Contradiction));
    let mut without = syn.segment.clone();
    without[20 + 20..20 + 36].fill(1);
    assert_eq!(verify(&keys, &without), Err(Fault::Missing));
    // A shorter code is none of this key's.
    let mut short = syn.segment.clone();
    short[20 + 21] = 12;
    short[20 + 32..20 + 36].fill(1);
    assert_eq!(verify(&keys, &short), Err(Fault::Code));
    // Without a key for the peer it is a matter of configuration.
    let mut others = KeySet::default();
    let elsewhere = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let key = AoKey::new(AoAlgorithm::HmacSha1, 1, 1, b"x").expect("a key");
    let key = key.for_peers(crate::ip::prefix::Prefix::host(elsewhere));
    others.add(key).expect("the first");
    assert_eq!(verify(&others, &syn.segment), Ok(false));
    others.set_refuses_others(true);
    assert_eq!(verify(&others, &syn.segment), Err(Fault::Refused));
}
