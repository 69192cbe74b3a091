#![allow(unused)]
lockorder::lock_order! {
    domain Stack;
    level Ip;
    Stack => Ip => Stack;
}

fn main() {}
