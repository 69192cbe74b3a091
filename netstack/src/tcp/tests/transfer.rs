//! Streams over good and bad links.

use core::time::Duration;

use super::link::{App, Impairment, Sim};
use super::rig::{ACK, Rig, plain};
use crate::base::TcpConfig;
use crate::tcp::{Readiness, Tcp};

#[test]
fn a_connection_is_small() {
    assert!(size_of::<Tcp>() <= 640, "{}", size_of::<Tcp>());
}

#[test]
fn a_lossless_link_moves_a_stream_each_way() {
    let cfg = TcpConfig::default();
    let mut sim = Sim::new(
        1,
        &cfg,
        [App::bulk(20 << 20), App::bulk(3 << 20)],
        Impairment::none(),
    );
    sim.connect(0);
    sim.run(Duration::from_secs(200));
    for e in &sim.ends {
        let info = e.tcp.as_ref().expect("tcp").info();
        assert_eq!(info.retransmits, 0, "{info:?}");
        assert!(
            e.readiness
                .contains(Readiness::ESTABLISHED | Readiness::PEER_CLOSED)
        );
        assert!(e.largest_out > 60_000);
    }
}

#[test]
fn a_bad_link_moves_a_stream_each_way() {
    let cfg = TcpConfig::default();
    for seed in 0..20 {
        let impair = Impairment {
            mark_per_million: 0,
            loss_per_million: 50_000,
            duplicate_per_million: 20_000,
            reorder_per_million: 100_000,
            reorder_by: Duration::from_millis(5),
            delay: Duration::from_millis(10),
            whole_per_million: 500_000,
            ..Impairment::none()
        };
        let mut sim = Sim::new(seed, &cfg, [App::bulk(300_000), App::bulk(100_000)], impair);
        sim.connect(0);
        sim.run(Duration::from_secs(600));
    }
}

#[test]
fn on_a_long_path_the_send_buffer_is_two_congestion_windows() {
    for (millis, follows) in [(50, true), (0, false)] {
        let cfg = TcpConfig {
            send_buffer_initial: 20_000,
            send_buffer: 100_000,
            ..plain()
        };
        let mut rig = Rig::established(cfg);
        for _ in 0..12 {
            let room = rig.tcp.send_room();
            let taken = rig.tcp.send(&vec![7; room], &rig.buffers);
            let mut sent = 0;
            while let Some(segment) = rig.tcp.poll_transmit(rig.now, 60_000) {
                sent += segment.payload.len_bytes();
            }
            assert!(taken > 0 && sent > 0);
            rig.pass(millis);
            let acked = rig.tcp.unacked() - rig.tcp.info().unsent as usize;
            let una = rig.tcp.info().bytes_out as u32 + 1;
            rig.recv(1, una + acked as u32, ACK, b"");
        }
        let cwnd = rig.tcp.info().cwnd as usize;
        let size = rig.tcp.send_room() + rig.tcp.unacked();
        let expected = if follows {
            (2 * cwnd).clamp(20_000, 100_000)
        } else {
            20_000
        };
        assert_eq!(size, expected, "{millis} ms, {cwnd}");
        assert!(!follows || size > 40_000, "it has grown");
    }
}
