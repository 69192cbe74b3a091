//! Recordings: what a stack decided is decided again, to the last bit.

use std::io::{Cursor, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use netstack::base::Instant;
use netstack::device::memory::{Impairment, LinkConfig, pair};
use netstack::device::observe::Direction;
use netstack::engine::future::Turns;
use netstack::net::{Stack, TcpStream, UdpSocket};
use netstackd::failure::Failure;
use netstackd::record::{self, Beginning, DEFAULT_LIMIT, Out, Recorder};
use netstackd::replay::{Replayed, What, replay};
use netstackd::settings::{Parts, Settings};
use netstackd::sources::Sources;
use tests::recorded::{Packet, blocks_of, flip, packets_of};

/// Files in memory: what is written, and `None` where the next part begins.
struct Sink(Sender<Option<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.send(Some(bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Out for Sink {
    fn begin_part(&mut self) -> std::io::Result<()> {
        let _ = self.0.send(None);
        Ok(())
    }
}

fn settings(memory_bytes: Option<usize>) -> Settings {
    let parts = Parts {
        tun: "t0".parse().ok(),
        addr: "10.77.0.2/24".parse().ok(),
        addr6: "fd77::2/64".parse().ok(),
        queues: "1".parse().ok(),
        ..Parts::default()
    };
    // Less than a part holds.
    let config = netstack::Config {
        memory_bytes,
        ..netstack::Config::default()
    };
    Settings::from_parts(parts, config, Sources::default()).expect("settings")
}

/// Does what one client does: an echo, a piece of chargen, the page, datagrams; `times` as much as usual of the first two.
async fn clients(stack: Stack, seed: u64, times: usize) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let echo = TcpStream::connect(&stack, "10.77.0.2:7").await?;
    let sent = netstackd::probe::noise(seed, 40_000 * times);
    let (mut reader, mut writer) = tokio::io::split(echo);
    let write = async {
        writer.write_all(&sent).await?;
        writer.shutdown().await
    };
    let mut back = Vec::new();
    let (written, read) = futures::join!(write, reader.read_to_end(&mut back));
    written.and(read)?;
    assert!(
        back == sent,
        "{} bytes came back of {}",
        back.len(),
        sent.len()
    );
    let mut chargen = TcpStream::connect(&stack, "[fd77::2]:19").await?;
    let mut some = vec![0; 150_000 * times];
    chargen.read_exact(&mut some).await?;
    drop(chargen);
    for (at, line) in some.chunks(74).enumerate().take(some.len() / 74) {
        assert_eq!(line[0], b' ' + (at % 95) as u8, "line {at}");
    }
    let mut page = TcpStream::connect(&stack, "10.77.0.2:80").await?;
    page.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut text = String::new();
    page.read_to_string(&mut text).await?;
    assert!(
        text.contains("date: ") && text.contains("memory_used"),
        "{text}"
    );
    let daytime = UdpSocket::bind(&stack, "10.77.0.1:0").await?;
    daytime.send_to(b"?", "10.77.0.2:13").await?;
    daytime.send_to(b"?", "10.77.0.2:1").await?;
    let time = stack.time();
    let _ = time
        .timeout(Duration::from_secs(2), daytime.recv(&mut [0; 100]))
        .await;
    Ok(())
}

/// Turns both stacks on virtual time until `is_over`.
fn run(recorder: &mut Recorder, peer: &mut Turns, mut is_over: impl FnMut() -> bool) {
    let mut now = Instant::from_millis(3);
    for _ in 0..200_000 {
        loop {
            let ours = recorder.turn(now).expect("the stack runs");
            let theirs = peer.turn(now).expect("the peer runs");
            if !ours.busy && !theirs.busy {
                break;
            }
        }
        if is_over() {
            return;
        }
        recorder.park(now, Some(now)).expect("it does not wait");
        now = now + Duration::from_micros(700);
    }
    panic!("the clients have not finished");
}

/// Records a session over a bad link to one file.
fn session(seed: u64, limit: u64) -> (Vec<u8>, String) {
    let (files, why) = recorded(seed, limit, None);
    (files.concat(), why)
}

/// Records a session over a bad link.
fn recorded(seed: u64, limit: u64, parts: Option<record::Parts>) -> (Vec<Vec<u8>>, String) {
    let bad = Impairment {
        loss_ppm: 20_000,
        duplicate_ppm: 10_000,
        reorder_ppm: 10_000,
        reorder_by: Duration::from_millis(3),
        corrupt_ppm: 2_000,
        delay: Duration::from_millis(2),
        jitter: Duration::from_millis(1),
        ..Impairment::default()
    };
    let config = LinkConfig {
        a_to_b: bad.clone(),
        b_to_a: bad,
        tso: seed.is_multiple_of(2),
        uso: seed.is_multiple_of(2),
        seed,
        ..LinkConfig::default()
    };
    let (ours, theirs) = pair(&config);
    let beginning = Beginning {
        seed: [seed as u8; 32],
        origin: Duration::from_secs(1_700_000_000),
        start: Instant::from_millis(3),
        limit,
        parts,
    };
    let (sink, pieces) = channel();
    let settings = settings(parts.map(|_| 4 << 20));
    let begun = Recorder::with_services(&settings, Box::new(ours), &beginning, Sink(sink));
    let (_stack, mut recorder) = begun.expect("a stack");
    // What chargen may send while the stack comes to rest, before a part begins, is not in the parts.
    let mut config = netstack::Config::default();
    config.tcp.recv_buffer_max = 256 << 10;
    let (peer, mut turns) = Stack::builder()
        .config(config)
        .address([10, 77, 0, 1].into(), 24)
        .address("fd77::1".parse().expect("an address"), 64)
        .seed([!seed as u8; 32])
        .manual(vec![Box::new(theirs)], beginning.start)
        .expect("a peer");
    let (done, finished) = channel();
    let client = peer.clone();
    let times = if parts.is_some() { 80 } else { 1 };
    peer.spawn_on(0, async move {
        let result = clients(client, seed, times).await;
        let _ = done.send(result);
    });
    let mut result = None;
    let mut after = 0;
    run(&mut recorder, &mut turns[0], || {
        result = finished.try_recv().ok().or(result.take());
        after += u32::from(result.is_some());
        // The end of the connections, too.
        after > 500
    });
    result.expect("they end").expect("no error");
    let why = recorder.finish().expect("written");
    (collect(&pieces), why)
}

fn collect(pieces: &Receiver<Option<Vec<u8>>>) -> Vec<Vec<u8>> {
    let mut files = vec![Vec::new()];
    for piece in pieces.try_iter() {
        match (piece, files.last_mut()) {
            (Some(piece), Some(file)) => file.extend(piece),
            _ => files.push(Vec::new()),
        }
    }
    files
}

fn replayed(file: &[u8]) -> Result<Replayed, Failure> {
    replay(Cursor::new(file))
}

fn same(file: &[u8]) -> Replayed {
    let replayed = replayed(file).expect("a recording");
    if let Some(difference) = &replayed.difference {
        panic!("{difference}");
    }
    replayed
}

#[test]
fn sessions_over_a_bad_link_are_replayed_to_the_last_bit() {
    for seed in 0..12 {
        let (file, why) = session(seed, DEFAULT_LIMIT);
        let replayed = same(&file);
        assert_eq!(replayed.end, Some(why), "seed {seed}");
        assert!(!replayed.is_cut && replayed.other_version.is_none());
        let packets = packets_of(&file);
        let out = |packet: &&Packet| packet.direction == Direction::Out;
        let sent = packets.iter().filter(out).count() as u64;
        assert_eq!(replayed.packets_out, sent, "seed {seed}");
        assert_eq!(
            replayed.packets_in + sent,
            packets.len() as u64,
            "seed {seed}"
        );
        assert!(sent > 20, "seed {seed}: {sent} packets");
    }
}

/// The flipped packet is found, whichever it is, and not an earlier one.
#[test]
fn a_packet_that_differs_is_found() {
    let (file, _) = session(40, DEFAULT_LIMIT);
    let packets = packets_of(&file);
    let sent: Vec<&Packet> = packets
        .iter()
        .filter(|packet| packet.direction == Direction::Out)
        .collect();
    for number in [0, 1, sent.len() / 3, sent.len() / 2, sent.len() - 1] {
        let packet = sent[number];
        let (file, expected) = flip(&file, packet, packet.bytes.len() - 1);
        let replayed = replayed(&file).expect("a recording");
        let difference = replayed.difference.expect("one");
        assert_eq!(difference.packet, number as u64 + 1);
        let What::Packet { recorded, replayed } = difference.what else {
            panic!("{difference}");
        };
        assert_eq!((recorded, replayed), (expected, packet.bytes.clone()));
    }
}

/// Packets that arrive decide: with one of the packets that were read changed, the replay goes another way, but not before it.
#[test]
fn a_packet_that_arrives_otherwise_leads_elsewhere() {
    let (file, _) = session(41, DEFAULT_LIMIT);
    let packets = packets_of(&file);
    let (place, syn) = packets
        .iter()
        .enumerate()
        .find(|(_, packet)| packet.direction == Direction::In && packet.bytes.len() > 100)
        .expect("data");
    let (changed, _) = flip(&file, syn, syn.bytes.len() - 1);
    let difference = replayed(&changed).expect("a recording").difference;
    let difference = difference.expect("an acknowledgment is missing, or another echo");
    let before = packets[..place]
        .iter()
        .filter(|packet| packet.direction == Direction::Out)
        .count() as u64;
    assert!(difference.packet >= before, "{difference}");
}

#[test]
fn a_recording_ends_at_its_limit_and_what_is_there_is_replayed() {
    let limit = 200_000;
    let (file, why) = session(7, limit);
    assert!(
        why.contains("limit") && why.contains("--record-limit"),
        "{why}"
    );
    assert!(file.len() as u64 <= limit);
    assert_eq!(same(&file).end, Some(why));
}

/// A killed program and a full disk leave a file that ends anywhere.
#[test]
fn a_file_that_is_cut_is_replayed_up_to_there() {
    let (file, _) = session(3, DEFAULT_LIMIT);
    let whole = same(&file);
    let header = blocks_of(&file)[2].end;
    let mut most = 0;
    for step in 1..40 {
        let len = header + (file.len() - header) * step / 40;
        let replayed = same(&file[..len]);
        assert!(replayed.is_cut, "{len} bytes");
        assert!(replayed.turns >= most && replayed.turns < whole.turns);
        most = replayed.turns;
    }
    for len in (0..header).step_by(61) {
        let failure = replayed(&file[..len]).expect_err("nothing to replay");
        assert_eq!(failure.exit_code(), 10, "{len}: {failure}");
    }
}

/// Each damaged file leads to a verdict or a sentence.
#[test]
fn a_hostile_file_is_refused_or_differs() {
    let (file, _) = session(5, 60_000);
    let blocks = blocks_of(&file);
    for seed in 0..300_u64 {
        let noise = netstackd::probe::noise(seed, 24);
        let mut bad = file.clone();
        let block = &blocks[usize::from(noise[0]) * blocks.len() / 256];
        for change in noise[1..]
            .chunks_exact(4)
            .take(1 + usize::from(noise[23] % 4))
        {
            let at = u16::from_le_bytes([change[0], change[1]]);
            let at = block.start + usize::from(at) % block.len();
            bad[at] = match change[2] % 4 {
                0 => 0xff,
                1 => 0,
                2 => bad[at] ^ 1,
                _ => change[3],
            };
        }
        if let Err(failure) = replayed(&bad) {
            let text = failure.to_string();
            assert!(!text.contains('\n') && text.len() < 2_000, "{seed}: {text}");
        }
    }
    for foreign in [
        &b""[..],
        b"\n",
        b"not a recording, but a text that is long enough",
        &[0; 5_000],
        &file[blocks[1].start..],
    ] {
        let failure = replayed(foreign).expect_err("foreign");
        assert_eq!(failure.exit_code(), 10);
    }
    let capture = [&file[..blocks[1].end], &file[blocks[4].start..]].concat();
    let failure = replayed(&capture).expect_err("no header");
    assert!(failure.to_string().contains("is no recording"), "{failure}");
}

/// The parts of a ring.
const PARTS: record::Parts = record::Parts {
    first: 7,
    seed: |number| Ok([number as u8; 32]),
};

/// Most bytes of a part.
const PART_BYTES: u64 = 4 << 20;

/// Clients get all their bytes, wherever a part begins, and each part is replayed alone.
#[test]
fn parts_of_a_session_are_replayed_each_to_the_last_bit() {
    for seed in 60..64 {
        let (files, why) = recorded(seed, PART_BYTES, Some(PARTS));
        assert!(files.len() > 3, "seed {seed}: {} parts: {why}", files.len());
        let last = files.len() - 1;
        for (number, file) in files.iter().enumerate() {
            assert!(file.len() as u64 <= PART_BYTES, "seed {seed}: {number}");
            let replayed = replayed(file).expect("a part");
            if let Some(difference) = &replayed.difference {
                panic!("seed {seed}, part {number}: {difference}");
            }
            let end = match number == last {
                true => why.clone(),
                false => "the next part begins".to_owned(),
            };
            assert_eq!(replayed.end, Some(end), "seed {seed}, part {number}");
            let packets = packets_of(file);
            let sum = replayed.packets_in + replayed.packets_out;
            assert_eq!(sum, packets.len() as u64, "seed {seed}, part {number}");
        }
        // Most of it is in the parts: what is left out is sent while the stack comes to rest.
        let bytes: usize = files.iter().map(Vec::len).sum();
        assert!(bytes > 80 * 190_000, "seed {seed}: {bytes} bytes");
    }
}

/// A part in the middle of a session, with the places of its blocks of state.
fn middle_part() -> (Vec<u8>, Vec<std::ops::Range<usize>>) {
    let (files, _) = recorded(65, PART_BYTES, Some(PARTS));
    let file = files[files.len() / 2].clone();
    let blocks = blocks_of(&file).into_iter();
    let is_state = |block: &std::ops::Range<usize>| {
        file[block.start..].starts_with(&0x804e_5352_u32.to_le_bytes())
            && file[block.start + 8..].starts_with(&5_u32.to_le_bytes())
    };
    let state: Vec<_> = blocks.filter(is_state).collect();
    assert_eq!(state.len(), 1, "less than a block holds");
    (file, state)
}

#[test]
fn a_part_that_is_cut_is_replayed_up_to_there() {
    let (file, state) = middle_part();
    let head = state[0].end;
    let whole = same(&file);
    for step in 1..12 {
        let len = head + (file.len() - head) * step / 12;
        let replayed = same(&file[..len]);
        assert!(replayed.is_cut && replayed.turns < whole.turns, "{len}");
    }
    for len in (0..head).step_by(1 + head / 97) {
        let failure = replayed(&file[..len]).expect_err("nothing to replay");
        assert_eq!(failure.exit_code(), 10, "{len}: {failure}");
    }
}

/// CRC-32 of IEEE 802.3, as the head of a checkpoint has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

/// A state that is damaged is a sentence; one whose checksum was made to fit leads to a verdict or a sentence.
#[test]
fn a_damaged_head_is_refused_and_a_hostile_one_cannot_do_harm() {
    let (file, state) = middle_part();
    // Behind the head of the block, its kind and its length.
    let begin = state[0].start + 16;
    let contents = begin + 16..state[0].end - 4;
    let len = u32::from_le_bytes(file[begin - 4..begin].try_into().expect("four bytes"));
    let contents = contents.start..begin + len as usize;
    assert_eq!(
        file[begin + 12..begin + 16],
        crc32(&file[contents.clone()]).to_le_bytes()
    );
    let mut refused = 0;
    for seed in 0..400_u64 {
        let noise = netstackd::probe::noise(seed, 24);
        let mut bad = file.clone();
        for change in noise.chunks_exact(6).take(1 + usize::from(noise[23] % 4)) {
            let at = u32::from_le_bytes([change[0], change[1], change[2], 0]) as usize;
            // Half of the changes are in the first part, where the numbers of connections are.
            let room = if change[3] % 2 == 0 {
                contents.len()
            } else {
                contents.len().min(600)
            };
            bad[contents.start + at % room] = match change[3] / 2 % 4 {
                0 => 0xff,
                1 => 0,
                2 => change[4] ^ 1,
                _ => change[5],
            };
        }
        if bad == file {
            continue;
        }
        let failure = replayed(&bad).expect_err("the checksum is wrong");
        assert_eq!(failure.exit_code(), 10, "{seed}: {failure}");
        let sum = crc32(&bad[contents.clone()]).to_le_bytes();
        bad[begin + 12..begin + 16].copy_from_slice(&sum);
        if let Err(failure) = replayed(&bad) {
            let text = failure.to_string();
            assert_eq!(failure.exit_code(), 10, "{seed}: {text}");
            assert!(!text.contains('\n') && text.len() < 2_000, "{seed}: {text}");
            refused += 1;
        }
    }
    println!("{refused} refused");
    assert!(refused > 20, "{refused} refused");
}
