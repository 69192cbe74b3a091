//! Each mistake is one error; the levels exist all the same, so uses of them add none.
#![allow(unused)]
mod levels {
    lockorder::lock_order! {
        pub domain Stack;
        level Ip, Device;
        Stack => Ip => Device => Ip;
        Ip => Nowhere;
        Device => Device;
    }
}

pub type Table = lockorder::Mutex<levels::Ip, Vec<u8>>;

fn main() {}
