//! From the number in the configuration to the buffers of a host.

use packet::Buffers;
use packet::buf::SMALL_SLAB_BYTES;

use crate::base::{Config, ConfigError, LinkCaps};

/// Slabs of each worker that are set aside for receiving: at most more than it receives in one turn, at least
/// two, so that one packet can be received while another is looked at.
const RESERVE_SLABS: std::ops::RangeInclusive<usize> = 2..=64;

/// The part of the memory that is set aside for receiving.
const RESERVE_PART: usize = 16;

/// The least that a worker needs, in large slabs.
const LEAST_SLABS: usize = 7;

/// Packets that a worker takes in in one turn: at most enough to batch, few enough that acknowledgements do not
/// come in bursts.
const BATCH: std::ops::RangeInclusive<usize> = 2..=32;

/// Returns the memory of a host, in bytes.
pub(in crate::stack) fn bytes(config: &Config, link: &LinkCaps) -> usize {
    let large = config.max_large_slabs.saturating_mul(link.slab_bytes());
    let small = config.max_small_slabs.saturating_mul(SMALL_SLAB_BYTES);
    let memory = config.memory_bytes.unwrap_or(Config::DEFAULT_MEMORY_BYTES);
    memory.min(large.saturating_add(small))
}

/// Length of a super-segment with its headers, in bytes.
const SUPER_SEGMENT_BYTES: usize = 65_535 + 64;

/// Super-segments that there must be memory for, to make every large slab as long as one.
const SUPER_SEGMENTS: usize = 256;

/// Returns the length of the large slabs, in bytes: that of the largest packet from the link, or that of a super-segment
/// where the link takes such and there is much memory. A link that merges what it receives fills them, too.
fn slab_bytes(config: &Config, link: &LinkCaps) -> usize {
    let needed = link.slab_bytes();
    let is_plenty = bytes(config, link) / SUPER_SEGMENTS >= SUPER_SEGMENT_BYTES;
    if link.offload.tso && is_plenty {
        needed.max(SUPER_SEGMENT_BYTES)
    } else {
        needed
    }
}

/// Creates the buffers of a host with `workers` workers on a link.
///
/// # Errors
/// The memory is too little for so many workers.
pub(in crate::stack) fn buffers(
    config: &Config,
    link: &LinkCaps,
    workers: usize,
) -> Result<Buffers, ConfigError> {
    let (bytes, slab) = (bytes(config, link), slab_bytes(config, link));
    let workers = workers.max(1);
    check(bytes, slab, workers)?;
    let reserve =
        (bytes / RESERVE_PART / slab / workers).clamp(*RESERVE_SLABS.start(), *RESERVE_SLABS.end());
    Ok(Buffers::with_limit(slab, bytes, reserve * workers))
}

/// Checks that `bytes` of memory are enough for `workers` workers and large slabs of that length.
///
/// # Errors
/// They are not.
pub(in crate::stack) fn check(
    bytes: usize,
    slab: usize,
    workers: usize,
) -> Result<(), ConfigError> {
    if bytes / LEAST_SLABS / slab < workers {
        return Err(ConfigError {
            key: "memory_bytes",
            value: format!("{bytes}, for {workers} queues of packets of {slab} bytes"),
            must: "set at least 7 packets for each queue, or use fewer queues",
        });
    }
    Ok(())
}

/// Returns how many packets each worker of a host takes in in one turn: all that are on their way through it at
/// the same time are a small part of the memory.
pub(in crate::stack) fn batch(config: &Config, link: &LinkCaps, workers: usize) -> usize {
    (bytes(config, link) / RESERVE_PART / slab_bytes(config, link) / workers.max(1))
        .clamp(*BATCH.start(), *BATCH.end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::OffloadCaps;

    #[test]
    fn slabs_hold_super_segments_where_there_is_memory_for_many() {
        let link = |tso| LinkCaps {
            mtu: 1_500,
            max_packet: 1_500,
            offload: OffloadCaps {
                tso,
                tx_checksum: tso,
                uso: false,
            },
        };
        let config = |megabytes: usize| Config {
            memory_bytes: Some(megabytes << 20),
            ..Config::default()
        };
        let len = |megabytes, tso| slab_bytes(&config(megabytes), &link(tso));
        assert_eq!(len(256, true), SUPER_SEGMENT_BYTES);
        assert_eq!(len(15, true), link(true).slab_bytes());
        assert_eq!(len(256, false), link(false).slab_bytes());
    }

    #[test]
    fn the_reserve_is_a_small_part_of_any_memory() {
        let link = LinkCaps {
            mtu: 1_500,
            max_packet: 65_535,
            offload: OffloadCaps::default(),
        };
        for (megabytes, workers) in [(1, 1), (1, 2), (15, 1), (15, 8), (256, 2), (1_024, 64)] {
            let config = Config {
                memory_bytes: Some(megabytes << 20),
                ..Config::default()
            };
            let buffers = buffers(&config, &link, workers).expect("enough");
            let reserve = buffers.reserve().max_slabs();
            assert!(reserve >= 2 * workers);
            assert!(reserve * link.slab_bytes() <= (megabytes << 20) / 3);
            assert_eq!(buffers.memory_use().limit, megabytes << 20);
            let batch = batch(&config, &link, workers);
            assert!((2..=32).contains(&batch));
        }
        let config = Config {
            memory_bytes: Some(1 << 20),
            ..Config::default()
        };
        let error = buffers(&config, &link, 16).expect_err("too little");
        assert!(
            error.to_string().contains("7 packets for each queue"),
            "{error}"
        );
    }
}
