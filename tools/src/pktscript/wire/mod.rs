//! Packets of a script and packets on the wire: build, read, translate, compare, print.

pub mod build;
pub mod compare;
pub mod flow;
pub mod icmp;
pub mod read;
pub mod show;
#[cfg(test)]
mod tests;

/// Returns the byte at `offset` of every stream of a script, so that a stream that is mixed up is found.
pub fn byte_at(offset: u32) -> u8 {
    // A period of a prime number, so that shifts by whole segments show.
    (offset % 251) as u8
}

/// Returns `len` bytes of the stream from `offset` on.
pub fn bytes_at(offset: u32, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| byte_at(offset.wrapping_add(at as u32)))
        .collect()
}
