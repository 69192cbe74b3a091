//! The reader of captures takes every dialect of pcap and pcapng, compressed or not, and says what is wrong
//! with bad files.

use std::io::{Cursor, Write as _};

use tools::capture::{CaptureError, Input, Reader, Warnings};

/// A frame, as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Read {
    interface: u32,
    link: u16,
    time_nanos: Option<i128>,
    wire_len: u32,
    data: Vec<u8>,
    comment: Option<String>,
}

fn read_all(bytes: &[u8]) -> Result<(Vec<Read>, Warnings), CaptureError> {
    let mut reader = Reader::new(Input::new("test.pcap", Cursor::new(bytes.to_vec()))?)?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        frames.push(Read {
            interface: frame.interface,
            link: frame.link.kind,
            time_nanos: frame.time_nanos,
            wire_len: frame.wire_len,
            data: frame.data.to_vec(),
            comment: frame.comment.map(str::to_owned),
        });
    }
    reader.check_supported()?;
    Ok((frames, reader.warnings().clone()))
}

/// Writes numbers in one byte order.
#[derive(Clone, Copy, Debug)]
struct Order {
    big: bool,
}

impl Order {
    fn u32(self, value: u32) -> [u8; 4] {
        if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn u16(self, value: u16) -> [u8; 2] {
        if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn pcap(self, magic: u32, extra: usize, packets: &[(u32, u32, &[u8])]) -> Vec<u8> {
        let mut file = Vec::new();
        file.extend(self.u32(magic));
        file.extend(self.u16(2));
        file.extend(self.u16(4));
        for word in [0, 0, 65_535, 101] {
            file.extend(self.u32(word));
        }
        for (seconds, ticks, data) in packets {
            for word in [*seconds, *ticks, data.len() as u32, data.len() as u32] {
                file.extend(self.u32(word));
            }
            file.extend(vec![0; extra]);
            file.extend(*data);
        }
        file
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padded = body.len().next_multiple_of(4);
        let len = padded as u32 + 12;
        let mut block = Vec::new();
        block.extend(self.u32(kind));
        block.extend(self.u32(len));
        block.extend(body);
        block.resize(8 + padded, 0);
        block.extend(self.u32(len));
        block
    }

    fn section(self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(self.u32(0x1a2b_3c4d));
        body.extend(self.u16(1));
        body.extend(self.u16(0));
        body.extend([0xff; 8]);
        self.block(0x0a0d_0d0a, &body)
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let mut option = Vec::new();
        option.extend(self.u16(code));
        option.extend(self.u16(value.len() as u16));
        option.extend(value);
        option.resize(4 + value.len().next_multiple_of(4), 0);
        option
    }

    fn interface(self, link: u16, options: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(self.u16(link));
        body.extend(self.u16(0));
        body.extend(self.u32(0));
        body.extend(options);
        self.block(1, &body)
    }

    fn enhanced(self, interface: u32, ticks: u64, data: &[u8], options: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for word in [
            interface,
            (ticks >> 32) as u32,
            ticks as u32,
            data.len() as u32,
            data.len() as u32,
        ] {
            body.extend(self.u32(word));
        }
        body.extend(data);
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(options);
        self.block(6, &body)
    }
}

const BOTH: [Order; 2] = [Order { big: false }, Order { big: true }];
const IP: &[u8] = &[0x45, 1, 2, 3, 4];
const SECOND: i128 = 1_000_000_000;

#[test]
fn every_dialect_of_pcap() {
    for order in BOTH {
        for (magic, extra, tick) in [
            (0xa1b2_c3d4, 0, 1_000),
            (0xa1b2_3c4d, 0, 1),
            (0xa1b2_cd34, 8, 1_000),
        ] {
            let file = order.pcap(magic, extra, &[(7, 42, IP), (8, 43, b"E")]);
            let (frames, warnings) = read_all(&file).expect("a capture");
            assert_eq!(frames.len(), 2, "{order:?} {magic:x}");
            assert_eq!(frames[0].time_nanos, Some(7 * SECOND + 42 * tick));
            assert_eq!(frames[0].data, IP);
            assert_eq!(frames[1].data, b"E");
            assert_eq!(warnings, Warnings::default());
        }
    }
}

#[test]
fn every_block_with_packets_and_every_clock_of_pcapng() {
    for order in BOTH {
        let mut file = order.section();
        file.extend(order.interface(101, &[]));
        // Nanoseconds, without the end of the options; then powers of two with an offset.
        file.extend(order.interface(1, &order.option(9, &[9])));
        let offset = if order.big {
            (-5_i64).to_be_bytes()
        } else {
            (-5_i64).to_le_bytes()
        };
        let options = [
            order.option(9, &[0x80 | 1]),
            order.option(14, &offset),
            order.option(0, &[]),
        ];
        file.extend(order.interface(101, &options.concat()));
        // A block that nobody knows, and statistics.
        file.extend(order.block(0x0bad_0bad, &[1; 40]));
        file.extend(order.block(5, &[0; 12]));
        let comments = [order.option(1, b"one"), order.option(1, b"caf\xe9")];
        file.extend(order.enhanced(0, 1_700_000_000_123_457, IP, &comments.concat()));
        file.extend(order.enhanced(1, 1_700_000_000_123_456_789, &[0; 14], &[]));
        file.extend(order.enhanced(2, 21, IP, &[]));
        let mut simple = order.u32(5).to_vec();
        simple.extend(IP);
        file.extend(order.block(3, &simple));
        let mut obsolete = Vec::new();
        obsolete.extend(order.u16(1));
        obsolete.extend(order.u16(0));
        for word in [0, 99, 5, 9] {
            obsolete.extend(order.u32(word));
        }
        obsolete.extend(IP);
        file.extend(order.block(2, &obsolete));
        let (frames, warnings) = read_all(&file).expect("a capture");
        let times: Vec<_> = frames.iter().map(|frame| frame.time_nanos).collect();
        assert_eq!(
            times,
            [
                Some(1_700_000_000_123_457_000),
                Some(1_700_000_000_123_456_789),
                Some(10 * SECOND + SECOND / 2 - 5 * SECOND),
                None,
                Some(99),
            ],
            "{order:?}"
        );
        assert_eq!(frames[0].comment.as_deref(), Some("one; caf\u{fffd}"));
        assert_eq!(frames[3].data, IP);
        assert_eq!(frames[4].wire_len, 9);
        assert_eq!((frames[4].link, frames[4].interface), (1, 1));
        assert_eq!(warnings.cut_frames, 1);
        // Another section, in the other byte order, has its own interfaces.
        let other = Order { big: !order.big };
        file.extend(other.section());
        file.extend(other.interface(101, &[]));
        file.extend(other.enhanced(0, 1, IP, &[]));
        assert_eq!(read_all(&file).expect("a capture").0.len(), 6);
    }
}

#[test]
fn compressed_files_read_as_plain_ones() {
    let order = BOTH[0];
    let plain = order.pcap(0xa1b2_c3d4, 0, &[(7, 42, IP); 1_000]);
    let expected = read_all(&plain).expect("a capture").0;
    assert_eq!(expected.len(), 1_000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).expect("in memory");
    let gzip = gzip.finish().expect("in memory");
    // Two frames with one between them that is skipped.
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let (first, second) = plain.split_at(1_000);
    let mut zstd = ruzstd::encoding::compress_to_vec(first, level);
    zstd.extend([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    zstd.extend(ruzstd::encoding::compress_to_vec(second, level));
    for file in [gzip, zstd] {
        assert_eq!(read_all(&file).expect("a capture").0, expected);
        // What is cut is used as far as it goes.
        for len in [file.len() - 1, file.len() - 9, file.len() / 2] {
            if let Ok((frames, _)) = read_all(&file[..len]) {
                assert!(frames.len() <= expected.len());
            }
        }
    }
}

#[test]
fn a_file_that_is_cut_anywhere_gives_what_is_before() {
    for order in BOTH {
        let pcap = order.pcap(0xa1b2_c3d4, 0, &[(7, 42, IP); 3]);
        let mut pcapng = order.section();
        pcapng.extend(order.interface(101, &[]));
        let start = pcapng.len();
        for _ in 0..3 {
            pcapng.extend(order.enhanced(0, 1, IP, &[]));
        }
        for (file, start) in [(&pcap, 24), (&pcapng, start)] {
            let record = (file.len() - start) / 3;
            for len in 0..file.len() {
                let result = read_all(&file[..len]);
                if len < start {
                    assert!(result.is_err() || result.is_ok_and(|(frames, _)| frames.is_empty()));
                    continue;
                }
                let (frames, warnings) = result.expect("a capture");
                assert_eq!(frames.len(), (len - start) / record);
                assert_eq!(warnings.cut_end, (len - start) % record != 0, "{len}");
            }
        }
    }
}

#[test]
fn every_bad_file_says_what_is_wrong_and_where() {
    let order = BOTH[0];
    let mut huge = order.pcap(0xa1b2_c3d4, 0, &[(7, 42, IP)]);
    huge.extend([[0_u8; 4], [0; 4], [0xff; 4], [0xff; 4]].concat());
    let mut undescribed = order.section();
    undescribed.extend(order.enhanced(3, 1, IP, &[]));
    let mut torn = order.section();
    torn.extend(order.interface(101, &[]));
    let mut block = order.enhanced(0, 1, IP, &[]);
    let end = block.len() - 4;
    block[end] ^= 0x40;
    torn.extend(block);
    let mut short = order.section();
    short.extend([[6, 0, 0, 0], [8, 0, 0, 0], [0; 4]].concat());
    let mut wifi = order.pcap(0xa1b2_c3d4, 0, &[(7, 42, IP)]);
    wifi[20] = 105;
    for (file, expected) in [
        (&b""[..], "neither pcap nor pcapng: make the capture with"),
        (b"GIF89a.....", "test.pcap: starts with [47, 49, 46, 38]"),
        (
            &[0xd4, 0xc3, 0xb2, 0xa1, 2, 0],
            "after packet 0: the file ends in its header",
        ),
        (&huge, "after packet 1: a packet of 4294967295 bytes"),
        (
            &undescribed,
            "after packet 0: interface 3 was never described",
        ),
        (&torn, "at its start and"),
        (&short, "a block of 8 bytes"),
        (
            &wifi,
            "all 1 packets have link type IEEE802_11 (105): capture on",
        ),
        (&[0x1f, 0x8b, 8, 0], "test.pcap"),
    ] {
        let error = read_all(file).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn memory_grows_only_with_bytes_that_are_there() {
    // A record that claims 16 MB, of which nothing follows.
    let order = BOTH[0];
    let mut file = order.pcap(0xa1b2_c3d4, 0, &[]);
    let claimed = 16 << 20;
    for word in [0, 0, claimed, claimed] {
        file.extend(order.u32(word));
    }
    let (frames, warnings) = read_all(&file).expect("a capture");
    assert!(frames.is_empty() && warnings.cut_end);
}
