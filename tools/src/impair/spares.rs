//! Buffers of packets that have left, for packets that come: a packet costs no allocation.

/// Most buffers that are kept, and the largest: together half a megabyte.
const COUNT_MAX: usize = 256;
const BYTES_MAX: usize = 2_048;

/// Empty buffers.
#[derive(Debug, Default)]
pub struct Spares(Vec<Vec<u8>>);

impl Spares {
    /// Returns a buffer that holds a copy of `bytes`.
    pub fn filled(&mut self, bytes: &[u8]) -> Vec<u8> {
        // Next to the copy of a large packet its allocation costs nothing, and a small buffer would be copied when it grows.
        if bytes.len() > BYTES_MAX {
            return bytes.to_vec();
        }
        let mut buffer = self.0.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        buffer
    }

    /// Keeps a buffer for later, unless there are enough of them, or it is large.
    pub fn keep(&mut self, buffer: Vec<u8>) {
        if self.0.len() < COUNT_MAX && buffer.capacity() <= BYTES_MAX {
            self.0.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_and_holds_nothing_of_before() {
        let mut spares = Spares::default();
        let first = spares.filled(&[7; 1_000]);
        let place = first.as_ptr();
        spares.keep(first);
        let second = spares.filled(&[8; 10]);
        assert_eq!((second.as_ptr(), &second[..]), (place, &[8; 10][..]));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut spares = Spares::default();
        let large = spares.filled(&[1; 64 << 10]);
        assert_eq!(large.len(), 64 << 10);
        spares.keep(large);
        assert!(spares.0.is_empty());
        for _ in 0..2 * COUNT_MAX {
            spares.keep(vec![0; 100]);
        }
        assert_eq!(spares.0.len(), COUNT_MAX);
    }
}
