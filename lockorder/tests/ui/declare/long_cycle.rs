#![allow(unused)]
lockorder::lock_order! {
    domain Stack;
    level Control, Conn, Accept, Demux, Routes;
    Stack => Control => Conn => Accept => Demux;
    Conn => Routes;
    {Routes, Demux} => Control;
}

fn main() {}
