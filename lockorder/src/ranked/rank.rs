//! The types of ranks.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A value whose order is total and does not change: integers, `char`, `bool`, addresses, and
/// arrays and tuples of these.
///
/// # Safety
///
/// `Ord` must be a total order, and must give the same answer for the same two values at all
/// times: two threads that compare two locks' ranks must agree.
///
/// # Robustness
///
/// The promise against deadlock rests on it, memory safety does not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the rank of a lock",
    label = "not a type whose order is known to be total",
    note = "integers, `char`, addresses, and arrays and tuples of these can be ranks"
)]
pub unsafe trait Rank: Copy + Ord + fmt::Debug {}

macro_rules! ranks {
    ($($type:ty),*) => {$(
        // SAFETY: the standard library's order, which is total; the value has no interior
        // mutability.
        unsafe impl Rank for $type {}
    )*};
}

ranks!(
    u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, char, bool, IpAddr, Ipv4Addr,
    Ipv6Addr, SocketAddr
);

// SAFETY: lexicographic orders of total orders are total.
unsafe impl<K: Rank, const N: usize> Rank for [K; N] {}
// SAFETY: as above.
unsafe impl<A: Rank, B: Rank> Rank for (A, B) {}
// SAFETY: as above.
unsafe impl<A: Rank, B: Rank, C: Rank> Rank for (A, B, C) {}

/// A lock was wanted out of order: its rank is not above that of one acquired before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRank<K> {
    /// The highest rank that was acquired.
    pub held: K,
    /// The rank of the lock that was wanted.
    pub wanted: K,
}

impl<K: fmt::Debug> fmt::Display for OutOfRank<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the lock of rank {:?} may not be waited for after that of rank {:?}: try it, or release all and acquire in ascending order",
            self.wanted, self.held
        )
    }
}

impl<K: fmt::Debug> core::error::Error for OutOfRank<K> {}
