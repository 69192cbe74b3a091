#![allow(unused)]
lockorder::lock_order! {
    domain Stack;
    level Ip, Ip, Stack;
    Stack => Ip;
}

fn main() {}
