#![allow(unused)]
lockorder::lock_order! {
    level Ip;
}

fn main() {}
