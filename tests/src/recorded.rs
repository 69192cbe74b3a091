//! The blocks of a recording, as any reader of pcapng finds them, and its replay.

use std::ops::Range;
use std::path::Path;
use std::process::{Command, Output};

use netstack::device::observe::Direction;

/// Type of a packet block.
const PACKET: u32 = 6;

/// A packet of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its direction, as its flags say.
    pub direction: Direction,
    /// Where its bytes begin in the file.
    pub at: usize,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

fn word(file: &[u8], at: usize) -> u32 {
    let field = file[at..at + 4].try_into().expect("four bytes");
    u32::from_le_bytes(field)
}

/// Returns the places of the blocks of a file, as far as they are whole.
///
/// # Panics
/// Panics if a block has no length.
pub fn blocks_of(file: &[u8]) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let mut at = 0;
    while at + 12 <= file.len() {
        let length = word(file, at + 4) as usize;
        assert!(length >= 12, "a block of {length} bytes at {at}");
        if at + length > file.len() {
            break;
        }
        blocks.push(at..at + length);
        at += length;
    }
    blocks
}

/// Returns the packets of a file.
///
/// # Panics
/// Panics if a packet block is malformed.
pub fn packets_of(file: &[u8]) -> Vec<Packet> {
    let packets = blocks_of(file).into_iter();
    let packets = packets.filter(|block| word(file, block.start) == PACKET);
    packets
        .map(|block| {
            let length = word(file, block.start + 20) as usize;
            let at = block.start + 28;
            let options = at + length.next_multiple_of(4);
            // The flags are the first option.
            assert_eq!(word(file, options), 4 << 16 | 2);
            let direction = match word(file, options + 4) & 3 {
                1 => Direction::In,
                _ => Direction::Out,
            };
            Packet {
                direction,
                at,
                bytes: file[at..at + length].to_vec(),
            }
        })
        .collect()
}

/// Flips a bit of byte `byte` of a packet. Returns the file, and the packet as it is there.
pub fn flip(file: &[u8], packet: &Packet, byte: usize) -> (Vec<u8>, Vec<u8>) {
    let mut changed = file.to_vec();
    changed[packet.at + byte] ^= 0x10;
    let end = packet.at + packet.bytes.len();
    let bytes = changed[packet.at..end].to_vec();
    (changed, bytes)
}

/// Replays a file with `program`.
///
/// # Panics
/// Panics if the program cannot be started.
pub fn replay(program: &Path, flags: &[&str], file: &Path) -> Output {
    let mut command = Command::new(program);
    command.arg("replay").args(flags).arg(file);
    command.output().expect("the program runs")
}

/// Returns what a program printed.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns the replay's numbers, after every packet was as recorded.
///
/// # Panics
/// Panics if the file is no recording, or if one was not.
pub fn same(program: &Path, file: &Path) -> String {
    let output = replay(program, &["--json"], file);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text} {output:?}");
    assert!(text.contains(r#""difference":null"#), "{text}");
    text
}
