//! Reads the IP packets of capture files, pcap and pcapng.

use std::fs::File;
use std::io::{Read, Seek as _};
use std::path::Path;
use std::time::Duration;

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError, TsResolution};

use super::{CaptureError, LinkType};

const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const PCAP_MAGICS: [u32; 4] = [0xa1b2_c3d4, 0xd4c3_b2a1, 0xa1b2_3c4d, 0x4d3c_b2a1];

/// One captured IP packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// Number of the packet in the file, from 1, as capture viewers show it.
    pub number: usize,
    /// Time of the capture, since the epoch.
    pub time: Duration,
    /// The packet from its IP header on; link padding may follow.
    pub ip: Vec<u8>,
}

/// Reads every IP packet of the capture at `path`, in file order, and skips other packets.
pub fn read(path: &Path) -> Result<Vec<Captured>, CaptureError> {
    let name = path.display().to_string();
    let open_error = |source| CaptureError::Open {
        path: name.clone(),
        source,
    };
    let mut file = File::open(path).map_err(open_error)?;
    let mut magic = Vec::new();
    (&mut file)
        .take(4)
        .read_to_end(&mut magic)
        .map_err(open_error)?;
    file.rewind().map_err(open_error)?;
    read_from(file, &magic, &name)
}

/// As [`read`], from any reader; `magic` is its first four bytes, `name` is for messages.
pub fn read_from(
    reader: impl Read,
    magic: &[u8],
    name: &str,
) -> Result<Vec<Captured>, CaptureError> {
    let four: Option<[u8; 4]> = magic.try_into().ok();
    if four == Some(PCAPNG_MAGIC) {
        read_pcapng(reader, name)
    } else if four.is_some_and(|four| PCAP_MAGICS.contains(&u32::from_be_bytes(four))) {
        read_pcap(reader, name)
    } else {
        Err(CaptureError::NotACapture {
            path: name.to_owned(),
            magic: magic.to_vec(),
        })
    }
}

fn damaged(name: &str, number: usize, error: &PcapError) -> CaptureError {
    let what = match error {
        PcapError::IoError(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the file ends in the middle of it".to_owned()
        }
        PcapError::IoError(source) => source.to_string(),
        other => other.to_string(),
    };
    CaptureError::Damaged {
        path: name.to_owned(),
        number,
        what,
    }
}

fn link_type(name: &str, link: DataLink) -> Result<LinkType, CaptureError> {
    LinkType::from_pcap(link).ok_or_else(|| CaptureError::LinkType {
        path: name.to_owned(),
        link: format!("{link:?} ({})", u32::from(link)),
    })
}

/// Keeps an IP packet, skips any other packet, and refuses one that was cut short.
fn keep(
    packets: &mut Vec<Captured>,
    name: &str,
    link: LinkType,
    number: usize,
    time: Duration,
    (frame, length): (&[u8], usize),
) -> Result<(), CaptureError> {
    let Some(ip) = link.ip(frame) else {
        return Ok(());
    };
    if frame.len() < length {
        return Err(CaptureError::Cut {
            path: name.to_owned(),
            number,
            kept: frame.len(),
            length,
        });
    }
    packets.push(Captured {
        number,
        time,
        ip: ip.to_vec(),
    });
    Ok(())
}

fn read_pcap(reader: impl Read, name: &str) -> Result<Vec<Captured>, CaptureError> {
    let mut reader = PcapReader::new(reader).map_err(|error| damaged(name, 0, &error))?;
    let header = reader.header();
    let link = link_type(name, header.datalink)?;
    let tick_nanos = match header.ts_resolution {
        TsResolution::MicroSecond => 1_000,
        TsResolution::NanoSecond => 1,
    };
    let mut packets = Vec::new();
    let mut number = 0;
    // Raw packets: the library's checks of parsed ones refuse files of real tools, such as a packet
    // longer than the header's snapshot length.
    while let Some(packet) = reader.next_raw_packet() {
        number += 1;
        let packet = packet.map_err(|error| damaged(name, number, &error))?;
        let time = Duration::from_secs(u64::from(packet.ts_sec))
            + Duration::from_nanos(u64::from(packet.ts_frac) * tick_nanos);
        let frame = (&packet.data[..], packet.orig_len as usize);
        keep(&mut packets, name, link, number, time, frame)?;
    }
    Ok(packets)
}

fn read_pcapng(reader: impl Read, name: &str) -> Result<Vec<Captured>, CaptureError> {
    let mut reader = PcapNgReader::new(reader).map_err(|error| damaged(name, 0, &error))?;
    let mut interfaces: Vec<(DataLink, u32, f64)> = Vec::new();
    let mut packets = Vec::new();
    let mut number = 0;
    while let Some(block) = reader.next_block() {
        let block = block.map_err(|error| damaged(name, number + 1, &error))?;
        match block {
            Block::SectionHeader(_) => interfaces.clear(),
            Block::InterfaceDescription(description) => {
                let tick = description.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfTsResol(code) => Some(tick_seconds(*code)),
                    _ => None,
                });
                interfaces.push((
                    description.linktype,
                    description.snaplen,
                    tick.unwrap_or(1e-6),
                ));
            }
            Block::EnhancedPacket(packet) => {
                number += 1;
                let Some((link, _, tick)) = interfaces.get(packet.interface_id as usize) else {
                    return Err(CaptureError::Damaged {
                        path: name.to_owned(),
                        number,
                        what: format!("interface {} was never described", packet.interface_id),
                    });
                };
                // The library returns the file's ticks as if they were nanoseconds.
                let ticks = packet.timestamp.as_nanos() as f64;
                let time = Duration::try_from_secs_f64(ticks * tick).unwrap_or_default();
                let frame = (&packet.data[..], packet.original_len as usize);
                let link = link_type(name, *link)?;
                keep(&mut packets, name, link, number, time, frame)?;
            }
            Block::SimplePacket(packet) => {
                number += 1;
                let Some((link, _, _)) = interfaces.first() else {
                    return Err(CaptureError::Damaged {
                        path: name.to_owned(),
                        number,
                        what: "no interface was described before it".to_owned(),
                    });
                };
                let frame = (&packet.data[..], packet.original_len as usize);
                let link = link_type(name, *link)?;
                keep(&mut packets, name, link, number, Duration::ZERO, frame)?;
            }
            _ => {}
        }
    }
    Ok(packets)
}

/// Returns the length of a pcapng clock tick: a negative power of ten, or of two if the top bit is set.
fn tick_seconds(code: u8) -> f64 {
    let base: f64 = if code & 0x80 == 0 { 10.0 } else { 2.0 };
    base.powi(-i32::from(code & 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
    use pcap_file::pcapng::PcapNgWriter;
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
    use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;

    const IP: [u8; 4] = [0x45, 1, 2, 3];

    fn pcap(link: DataLink, orig_len: u32) -> Vec<u8> {
        let header = PcapHeader {
            datalink: link,
            ts_resolution: TsResolution::NanoSecond,
            ..PcapHeader::default()
        };
        let mut writer = PcapWriter::with_header(Vec::new(), header).expect("header");
        let time = Duration::new(7, 42);
        writer
            .write_packet(&PcapPacket::new(time, orig_len, &IP))
            .expect("packet");
        writer.into_writer()
    }

    fn parse(bytes: &[u8]) -> Result<Vec<Captured>, CaptureError> {
        read_from(bytes, &bytes[..bytes.len().min(4)], "test.pcap")
    }

    #[test]
    fn pcap_keeps_nanoseconds() {
        let packets = parse(&pcap(DataLink::RAW, 4)).expect("a capture");
        assert_eq!(packets.len(), 1);
        assert_eq!(packets[0].time, Duration::new(7, 42));
        assert_eq!(packets[0].ip, IP);
    }

    #[test]
    fn pcapng_scales_its_ticks() {
        let mut writer = PcapNgWriter::new(Vec::new()).expect("section");
        let interface = InterfaceDescriptionBlock::new(DataLink::RAW, 65_535);
        writer.write_pcapng_block(interface).expect("interface");
        writer
            .write_pcapng_block(EnhancedPacketBlock {
                interface_id: 0,
                // Ticks: microseconds where the interface says nothing.
                timestamp: Duration::from_nanos(3_000_001),
                original_len: 4,
                data: IP.to_vec().into(),
                options: Vec::new(),
            })
            .expect("packet");
        let packets = parse(&writer.into_inner()).expect("a capture");
        assert_eq!(packets.len(), 1);
        assert_eq!(packets[0].time.as_micros(), 3_000_001);
        assert_eq!(packets[0].ip, IP);
    }

    #[test]
    fn every_bad_file_says_what_where_and_what_to_do() {
        let whole = pcap(DataLink::RAW, 4);
        for (bytes, expected) in [
            (&b""[..], "neither pcap nor pcapng: make the capture with"),
            (b"GIF89a.....", "test.pcap: starts with [47, 49, 46, 38]"),
            (&whole[..20], "packet 0: the file ends in the middle"),
            (&whole[..30], "packet 1: the file ends in the middle"),
            (&whole[..42], "packet 1: the file ends in the middle"),
            (
                &pcap(DataLink::IEEE802_11, 4),
                "IEEE802_11 (105): capture on",
            ),
            (&pcap(DataLink::RAW, 9), "packet 1: only 4 of 9 bytes"),
        ] {
            let error = parse(bytes).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = read(Path::new("/nowhere.pcap")).expect_err("no file");
        assert!(error.to_string().starts_with("/nowhere.pcap: "), "{error}");
    }

    #[test]
    fn cut_anywhere_never_panics() {
        let whole = pcap(DataLink::ETHERNET, 4);
        for len in 0..whole.len() {
            let _ = parse(&whole[..len]);
        }
    }
}
