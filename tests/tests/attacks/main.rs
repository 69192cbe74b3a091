//! Attacks, each with what it costs the stack: time on the processor for each packet, with every check on,
//! and memory.
//!
//! The stack is on virtual time and the attackers send raw packets, over IPv4 and over IPv6. `--nocapture` shows the
//! costs. During and after each attack a ping is answered, and a polite peer is served within a second.

use std::time::Duration;

use netstack::base::Config;
use tests::hostile::{Family, Lab, Peer};

/// Makes a test of each function for each family.
macro_rules! attacks {
    ($($name:ident),+ $(,)?) => {
        mod v4 {
            $(#[test] fn $name() { super::$name(tests::hostile::Family::V4); })+
        }
        mod v6 {
            $(#[test] fn $name() { super::$name(tests::hostile::Family::V6); })+
        }
    };
}

mod holders;
mod packets;
mod segments;
mod shares;

/// More than this for a packet, on average, is more than any attack may cost: 1 ms, with every check of every
/// invariant, on a machine that others use.
const MOST_EACH: Duration = Duration::from_millis(1);

/// As much again for each packet that the stack sends: an acknowledgment may let a window of the smallest segments out.
const MOST_EACH_SENT: Duration = Duration::from_micros(5);

fn lab(family: Family) -> Lab {
    Lab::new(Config::default(), 1, family)
}

fn little(family: Family) -> Lab {
    let config = Config {
        memory_bytes: Some(4 << 20),
        ..Config::default()
    };
    Lab::new(config, 1, family)
}

/// Others are served, the memory is back, and no packet cost too much.
fn survives(mut lab: Lab, what: &str) {
    let what = format!("{what}, {:?}", lab.family());
    assert!(lab.ping(), "{what}: a ping");
    let served = lab.exchange(50_000, 3_000, Duration::from_secs(1));
    assert!(
        served.is_some(),
        "{what}: a connection\n{}",
        lab.handle().counters()
    );
    let (processor, received, sent) = lab.cost();
    assert!(
        processor < MOST_EACH * received as u32 + MOST_EACH_SENT * sent as u32,
        "{what}: {processor:?} for {received} received and {sent} sent"
    );
    lab.report(&what);
}

/// As [`survives`]; beyond that every connection and buffer is gone once `peers` are.
fn leaves_nothing(mut lab: Lab, peers: &mut [Peer], what: &str) {
    for peer in peers {
        peer.listen(&mut lab);
        peer.reset(&mut lab);
    }
    lab.end_deaf();
    lab.wait(Duration::from_secs(1));
    assert_eq!(
        lab.buffers_in_use(),
        0,
        "{what}: {}",
        lab.handle().counters()
    );
    survives(lab, what);
}
