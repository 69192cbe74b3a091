//! `--pcap` writes every packet of the device.

use netstackd::probe::ping::Pinger;
use pcap_file::pcap::PcapReader;
use tests::program;
use tests::world::{BOTH, Scratch, in_namespace, serve};

#[test]
fn every_packet_is_in_the_file() {
    let scratch = Scratch::new("pcap");
    let path = scratch.path("run.pcap");
    in_namespace(|| {
        let mut daemon = serve(program!(), &["--pcap", &path.display().to_string()]);
        for target in BOTH {
            for size in [0, 100, 5_000] {
                Pinger::new(target, 0x7003)
                    .and_then(|mut p| p.ping(size))
                    .expect("an answer");
            }
        }
        let counts = daemon.counters().expect("counters");
        assert!(
            daemon.terminate().expect("it ends").success(),
            "{}",
            daemon.stderr()
        );
        let file = std::fs::File::open(&path).expect("the capture");
        let mut reader = PcapReader::new(file).expect("a pcap header");
        let mut packets = 0;
        while let Some(packet) = reader.next_packet() {
            let packet = packet.expect("a whole packet");
            let version = packet.data[0] >> 4;
            assert!(version == 4 || version == 6, "raw IP");
            packets += 1;
        }
        let carried = counts.get("packets_in") + counts.get("packets_out");
        println!("{packets} packets captured, {carried} counted before the end");
        assert!(packets >= carried, "{packets} of {carried} packets");
    });
}

#[test]
fn a_file_that_cannot_be_written_is_reported() {
    in_namespace(|| {
        let failure = tests::world::try_serve(program!(), &["--pcap", "/nonexistent/x.pcap"])
            .expect_err("no such directory");
        assert_eq!(failure.exit_code(), 2);
        assert!(
            failure.to_string().contains("/nonexistent/x.pcap"),
            "{failure}"
        );
    });
}
