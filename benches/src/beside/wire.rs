//! The few fields of headers that the reflector and the device read and write.

pub(super) const PROTOCOL_TCP: u8 = 6;
pub(super) const PROTOCOL_UDP: u8 = 17;

/// The version of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ip {
    V4,
    V6,
}

impl Ip {
    /// Returns the version of `packet`. Options and extension headers are not looked for.
    pub(super) fn of(packet: &[u8]) -> Self {
        if packet.first().is_some_and(|first| first >> 4 == 6) {
            Self::V6
        } else {
            Self::V4
        }
    }

    /// Returns the bytes of its header.
    pub(super) fn header_len(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }

    /// Returns the protocol of the payload.
    pub(super) fn protocol(self, packet: &[u8]) -> u8 {
        match self {
            Self::V4 => packet[9],
            Self::V6 => packet[6],
        }
    }

    /// Returns where the source address is; the destination follows it.
    fn addresses(self) -> std::ops::Range<usize> {
        match self {
            Self::V4 => 12..20,
            Self::V6 => 8..40,
        }
    }

    /// Returns the source address, in the first bytes.
    pub(super) fn source(self, packet: &[u8]) -> [u8; 16] {
        let both = self.addresses();
        let len = both.len() / 2;
        let mut source = [0; 16];
        source[..len].copy_from_slice(&packet[both.start..both.start + len]);
        source
    }

    /// Swaps source and destination.
    pub(super) fn turn(self, packet: &mut [u8]) {
        let both = &mut packet[self.addresses()];
        let (source, destination) = both.split_at_mut(both.len() / 2);
        source.swap_with_slice(destination);
    }

    /// Sets the length of what follows the header.
    pub(super) fn set_payload_len(self, packet: &mut [u8], len: usize) {
        match self {
            Self::V4 => {
                packet[2..4].copy_from_slice(&((20 + len) as u16).to_be_bytes());
                packet[10..12].fill(0);
                let sum = !fold(sum(&packet[..20]));
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            Self::V6 => packet[4..6].copy_from_slice(&(len as u16).to_be_bytes()),
        }
    }

    /// Returns the sum of the pseudo-header for `len` bytes of payload.
    pub(super) fn pseudo_sum(self, packet: &[u8], len: usize) -> u16 {
        let addresses = sum(&packet[self.addresses()]);
        fold(addresses + u64::from(self.protocol(packet)) + len as u64)
    }
}

fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(2);
    words
        .map(|word| u64::from(u16::from_be_bytes([word[0], word[1]])))
        .sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Returns the big-endian number of two bytes at `at`.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Returns the big-endian number of four bytes at `at`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
