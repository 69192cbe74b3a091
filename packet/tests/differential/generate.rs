//! The packets: captured ones, ones from a seeded generator, and mutations of both.

use packet::checksum;

/// The splitmix64 generator.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

pub(crate) fn captured() -> Vec<Vec<u8>> {
    let packets: Vec<Vec<u8>> = include_str!("../data/captured.hex")
        .lines()
        .map(|line| {
            let digit = |at| u8::from_str_radix(&line[at..at + 2], 16).expect("hex");
            (0..line.len()).step_by(2).map(digit).collect()
        })
        .collect();
    assert!(packets.len() > 40);
    packets
}

pub(crate) fn transport(rng: &mut Rng) -> (u8, Vec<u8>) {
    match rng.below(4) {
        0 => {
            let options = match rng.below(4) {
                0 => vec![],
                1 => vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
                2 => vec![
                    2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7,
                ],
                _ => {
                    let len = rng.below(11) * 4;
                    rng.bytes(len)
                }
            };
            let mut bytes = rng.bytes(20);
            bytes[12] = ((5 + options.len() / 4) << 4) as u8;
            bytes.extend(options);
            let len = rng.below(40);
            bytes.extend(rng.bytes(len));
            (6, bytes)
        }
        1 => {
            let len = rng.below(40);
            let mut bytes = rng.bytes(8 + len);
            let field = if rng.chance(8) { 0 } else { 8 + len as u8 };
            bytes[4..6].copy_from_slice(&[0, field]);
            if rng.chance(4) {
                bytes[6..8].fill(0);
            }
            (17, bytes)
        }
        2 => (rng.pick(&[1, 58]), rng.bytes(16)),
        _ => {
            let len = rng.below(30);
            (rng.pick(&[50, 51, 59, 132, 0, 60]), rng.bytes(len))
        }
    }
}

pub(crate) fn made_v4(rng: &mut Rng) -> Vec<u8> {
    let (proto, payload) = transport(rng);
    let options = match rng.below(4) {
        0 => vec![148, 4, 0, 0],
        1 => vec![7, 7, 4, 0, 0, 0, 0, 0],
        2 => {
            let len = rng.below(11) * 4;
            rng.bytes(len)
        }
        _ => vec![],
    };
    let header_len = 20 + options.len();
    let mut bytes = vec![0x40 | (header_len / 4) as u8, 0];
    bytes.extend(((header_len + payload.len()) as u16).to_be_bytes());
    bytes.extend(rng.bytes(2));
    bytes.extend(if rng.chance(3) {
        rng.bytes(2)
    } else {
        vec![0x40, 0]
    });
    bytes.extend([64, proto, 0, 0]);
    bytes.extend(rng.bytes(8));
    bytes.extend(options);
    bytes.extend(payload);
    fix_checksum(&mut bytes);
    bytes
}

pub(crate) fn fix_checksum(bytes: &mut [u8]) {
    let len = usize::from(bytes.first().copied().unwrap_or(0) & 15) * 4;
    if bytes.len() < len || len < 20 {
        return;
    }
    bytes[10..12].fill(0);
    let sum = checksum::of(&bytes[..len]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
}

pub(crate) fn made_v6(rng: &mut Rng) -> Vec<u8> {
    let (proto, payload) = transport(rng);
    let mut chain = Vec::new();
    let count = if rng.chance(12) { 10 } else { rng.below(5) };
    let mut kinds = Vec::new();
    for at in 0..count {
        kinds.push(if at == 0 {
            rng.pick(&[0, 60, 43, 44, 51])
        } else {
            rng.pick(&[60, 60, 43, 44, 51, 60, 0])
        });
    }
    kinds.push(proto);
    let first = kinds[0];
    for pair in kinds.windows(2) {
        let (kind, next) = (pair[0], pair[1]);
        match kind {
            44 => {
                let offset_more = rng.pick(&[0u16, 0, 0, 1, 8, 9]) | (rng.next() as u16 & 0xff8e);
                let offset_more = if rng.chance(2) {
                    offset_more & 1
                } else {
                    offset_more
                };
                let [high, low] = offset_more.to_be_bytes();
                chain.extend([next, 0, high, low, 1, 2, 3, 4]);
            }
            43 => {
                let left = u8::from(rng.chance(3));
                let routing = rng.pick(&[0, 2, 3, 4]);
                chain.extend([next, 0, routing, left, 0, 0, 0, 0]);
            }
            51 => chain.extend([next, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]),
            _ => {
                let options = match rng.below(3) {
                    0 => vec![1, 4, 0, 0, 0, 0],
                    1 => vec![5, 2, 0, 0, 1, 0],
                    _ => rng.bytes(6),
                };
                chain.extend([next, 0]);
                chain.extend(options);
            }
        }
    }
    let len = if rng.chance(20) {
        0
    } else {
        chain.len() + payload.len()
    };
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend((len as u16).to_be_bytes());
    bytes.extend([first, 64]);
    bytes.extend(rng.bytes(32));
    bytes.extend(chain);
    bytes.extend(payload);
    bytes
}

pub(crate) fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.below(4) {
        let len = bytes.len();
        match rng.below(6) {
            0 => bytes.truncate(rng.below(len + 1)),
            1 => {
                let extra = rng.below(9);
                bytes.extend(rng.bytes(extra));
            }
            // Mutations of the headers are the interesting ones.
            _ if len > 0 => {
                let at = rng.below(len.min(80));
                bytes[at] = rng.next() as u8;
            }
            _ => {}
        }
    }
    if rng.chance(2) {
        fix_checksum(bytes);
    }
}
