//! Even with `unsafe`, a pair that the declaration has cannot be had twice.
#![allow(unused)]
use lockorder::LockAfter;

mod levels {
    lockorder::lock_order! { pub domain Stack; level Ip, Device; Stack => Ip => Device; }
}
use levels::{Device, Ip};

unsafe impl LockAfter<Ip> for Device {}

fn main() {}
