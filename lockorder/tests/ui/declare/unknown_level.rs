#![allow(unused)]
lockorder::lock_order! {
    domain Stack;
    level Ip;
    Stack => Ip => Devise;
}

fn main() {}
