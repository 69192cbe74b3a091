//! The order cannot be changed by hand without saying `unsafe`.
#![allow(unused)]
use lockorder::{Level, LockAfter, LockBefore, Place};

mod levels {
    lockorder::lock_order! { pub domain Stack; level Ip, Device; Stack => Ip => Device; }
}
use levels::{Device, Ip, Stack};

impl LockAfter<Device> for Ip {}

impl LockBefore<Ip> for Device {}

impl Level for Stack {}

struct Mine;

impl Place for Mine {
    type Domain = Stack;
    const NAME: &'static str = "Mine";
    const INDEX: usize = 7;
}

impl Level for Mine {}

fn main() {}
