//! A checkpoint as bytes: a header with the format and a checksum, then the contents.

use super::{Checkpoint, CheckpointError};

/// The first bytes of a checkpoint.
const MAGIC: &[u8; 8] = b"netstack";

/// Bytes before the contents: the magic, the format, the checksum.
const HEADER_BYTES: usize = 16;

impl Checkpoint {
    /// The format of [`Checkpoint::to_bytes`], which changes with every field of every part. A test holds the bytes of one.
    pub const FORMAT: u32 = 4;

    /// Returns the checkpoint as bytes.
    ///
    /// # Errors
    /// It cannot be encoded; it always can.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&Self::FORMAT.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        let damaged = |error: postcard::Error| CheckpointError::Damaged(error.to_string());
        let mut bytes = postcard::to_extend(self, bytes).map_err(damaged)?;
        let sum = sum_of(&bytes).to_le_bytes();
        if let Some(place) = bytes.get_mut(HEADER_BYTES - 4..HEADER_BYTES) {
            place.copy_from_slice(&sum);
        }
        Ok(bytes)
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// It has another format, or is damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let damaged = |why: &str| CheckpointError::Damaged(why.to_owned());
        let short = || damaged("it is too short");
        let word = |at: usize| -> Option<u32> {
            let word = bytes.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(word))
        };
        if !bytes.starts_with(MAGIC) {
            return Err(damaged("it does not begin as one"));
        }
        let found = word(MAGIC.len()).ok_or_else(short)?;
        if found != Self::FORMAT {
            return Err(CheckpointError::Version {
                found,
                expected: Self::FORMAT,
            });
        }
        let contents = bytes.get(HEADER_BYTES..).ok_or_else(short)?;
        if word(HEADER_BYTES - 4) != Some(sum_of(bytes)) {
            return Err(damaged("its checksum is wrong"));
        }
        Self::of_contents(contents)
    }

    /// Reads what follows the header.
    ///
    /// # Errors
    /// It is damaged.
    pub(super) fn of_contents(contents: &[u8]) -> Result<Self, CheckpointError> {
        let damaged = |error: postcard::Error| CheckpointError::Damaged(error.to_string());
        postcard::from_bytes(contents).map_err(damaged)
    }
}

fn sum_of(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes.get(HEADER_BYTES..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::super::host::Host;
    use super::*;

    #[test]
    fn damaged_and_foreign_bytes_are_refused_with_a_sentence() {
        let good = Checkpoint::of(&Host::example(), HashMap::new());
        let bytes = good.to_bytes().expect("bytes");
        let again = Checkpoint::from_bytes(&bytes).expect("good bytes");
        assert_eq!(again.to_bytes().expect("bytes"), bytes);
        let says = |bytes: &[u8]| {
            let error = Checkpoint::from_bytes(bytes).expect_err("bad bytes");
            error.to_string()
        };
        for len in 0..bytes.len() {
            assert!(says(&bytes[..len]).contains("damaged"), "{len}");
        }
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            let text = says(&bad);
            let is_format = (MAGIC.len()..MAGIC.len() + 4).contains(&at);
            assert_eq!(text.contains("restores format"), is_format, "{at}: {text}");
        }
    }
}
