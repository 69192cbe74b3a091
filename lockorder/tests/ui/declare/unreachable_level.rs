#![allow(unused)]
lockorder::lock_order! {
    domain Stack;
    level Ip, Device, Orphan, Child;
    Stack => Ip => Device;
    Orphan => Child;
}

fn main() {}
