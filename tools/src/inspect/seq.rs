//! Comparison of sequence numbers, which wrap.

/// Returns true if `a` comes after `b`.
pub(super) fn after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

/// Returns true if `a` comes before `b`.
pub(super) fn before(a: u32, b: u32) -> bool {
    after(b, a)
}
