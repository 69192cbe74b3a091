//! Programs from seeds: a random order, and random walks through it, legal and not.
// Writing to a string cannot fail.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;

/// xorshift64*, for programs that are the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// A random order: node 0 is the root, and edges go from lower to higher nodes.
struct Order {
    edges: Vec<(usize, usize)>,
    after: Vec<Vec<bool>>,
}

impl Order {
    fn new(random: &mut Random) -> Self {
        let count = 5 + random.below(6);
        let mut edges = Vec::new();
        for node in 1..count {
            // Reachable, and often by more than one way.
            for _ in 0..=random.below(3) {
                let edge = (random.below(node), node);
                if !edges.contains(&edge) {
                    edges.push(edge);
                }
            }
        }
        // As written: in no order.
        for place in (1..edges.len()).rev() {
            edges.swap(place, random.below(place + 1));
        }
        let mut after = vec![vec![false; count]; count];
        for node in 0..count {
            for (from, to) in edges.iter().filter(|(_, to)| *to == node) {
                let before = after[*from].clone();
                for (earlier, is_before) in after[*to].iter_mut().enumerate() {
                    *is_before |= earlier == *from || before[earlier];
                }
            }
        }
        Order { edges, after }
    }

    fn count(&self) -> usize {
        self.after.len()
    }

    /// Returns the levels that may be taken under `held`, or those that may not.
    fn next(&self, held: usize, legal: bool) -> Vec<usize> {
        (1..self.count())
            .filter(|level| self.after[*level][held] == legal)
            .collect()
    }

    fn declaration(&self) -> String {
        let name = |node: usize| match node {
            0 => "Root".to_owned(),
            node => format!("L{node}"),
        };
        let levels: Vec<_> = (1..self.count()).rev().map(name).collect();
        let mut text = String::new();
        writeln!(text, "lockorder::lock_order! {{").unwrap();
        writeln!(text, "    pub(crate) domain Root;").unwrap();
        writeln!(text, "    level {};", levels.join(", ")).unwrap();
        for (from, to) in &self.edges {
            writeln!(text, "    {} => {};", name(*from), name(*to)).unwrap();
        }
        writeln!(text, "}}\n").unwrap();
        text
    }

    /// Three locks of each level: mutexes at even ones, reader-writer locks at odd ones.
    fn locks(&self) -> String {
        let mut text = String::from("#[derive(Default)]\npub(crate) struct Locks {\n");
        for level in 1..self.count() {
            let kind = ["Mutex", "RwLock"][level % 2];
            writeln!(text, "    pub(crate) l{level}: [{kind}<L{level}, u64>; 3],").unwrap();
        }
        text.push_str("}\n");
        text
    }
}

/// One acquisition at that level, up to the opening of its closure, and what is done in it.
fn acquisition(level: usize, random: &mut Random) -> (String, &'static str) {
    let (one, other) = (random.below(3), random.below(2));
    let other = (one + 1 + other) % 3;
    let lock = format!("l.l{level}");
    let set = format!("LockSet::try_new((&{lock}[{one}], &{lock}[{other}])).unwrap()");
    match (random.below(4), level % 2) {
        (0, 0) => (
            format!("{set}.with"),
            "|(a, b), ctx| { *a += 1; *b += 1; let _ = &ctx;",
        ),
        (0, _) => (
            format!("{set}.with_read"),
            "|(a, b), ctx| { let _ = (*a + *b, &ctx);",
        ),
        (1, 0) => (
            format!("LockSet::new(&{lock}).with"),
            "|all, ctx| { all.map(|n| *n += 1); let _ = &ctx;",
        ),
        (1, _) => (
            format!("{lock}[{one}].with_read"),
            "|n, ctx| { let _ = (*n, &ctx);",
        ),
        (_, 0) => (
            format!("{lock}[{one}].with"),
            "|n, ctx| { *n += 1; let _ = &ctx;",
        ),
        (_, _) => (
            format!("{lock}[{one}].with_write"),
            "|n, ctx| { *n += 1; let _ = &ctx;",
        ),
    }
}

/// Returns a module with an order, its locks, and walks down the order as functions.
pub(crate) fn legal(seed: u64) -> String {
    let mut random = Random::new(seed);
    let order = Order::new(&mut random);
    let mut text = String::from(
        "//! Made by `generate.rs`.\n#![allow(clippy::unwrap_used, dead_code, unused_must_use)]\n\n\
         use lockorder::{Key, LockSet, Mutex, RwLock};\n\n",
    );
    text += &order.declaration();
    text += &order.locks();
    let walks = 12;
    for walk in 0..walks {
        writeln!(text, "\nfn walk_{walk}(l: &Locks, key: &mut Key<Root>) {{").unwrap();
        let mut held = 0;
        let mut depth = 0;
        while depth < 5 {
            let next = order.next(held, true);
            if next.is_empty() {
                break;
            }
            let level = next[random.below(next.len())];
            let (acquire, body) = acquisition(level, &mut random);
            let ctx = if held == 0 { "&mut key.ctx()" } else { "ctx" };
            writeln!(text, "{acquire}({ctx}, {body}").unwrap();
            held = level;
            depth += 1;
        }
        writeln!(text, "{}\n}}", "});".repeat(depth)).unwrap();
    }
    let names: Vec<_> = (0..walks).map(|walk| format!("walk_{walk}")).collect();
    writeln!(
        text,
        "\npub(crate) const WALKS: [fn(&Locks, &mut Key<Root>); {walks}] = [{}];",
        names.join(", ")
    )
    .unwrap();
    text
}

/// Returns a program with legal ways to some level and one step from there that is not: the lines
/// that must be refused end in [`REFUSED`].
pub(crate) fn illegal(seed: u64) -> String {
    let mut random = Random::new(seed ^ 0xdead);
    let order = Order::new(&mut random);
    let mut text =
        String::from("#![allow(unused)]\nuse lockorder::{Key, LockSet, Mutex, RwLock};\n\n");
    text += &order.declaration();
    text += &order.locks();
    for walk in 0..8 {
        writeln!(text, "\nfn walk_{walk}(l: &Locks, key: &mut Key<Root>) {{").unwrap();
        let mut held = 0;
        let mut depth = 0;
        loop {
            let ctx = if held == 0 { "&mut key.ctx()" } else { "ctx" };
            let (legal, refused) = (order.next(held, true), order.next(held, false));
            let stop = held != 0 && (legal.is_empty() || depth == 4 || random.below(3) == 0);
            let level = if stop {
                refused[random.below(refused.len())]
            } else {
                legal[random.below(legal.len())]
            };
            let (acquire, body) = acquisition(level, &mut random);
            let mark = if stop { REFUSED } else { "" };
            writeln!(text, "    {acquire}({ctx}, {body}{mark}").unwrap();
            depth += 1;
            if stop {
                break;
            }
            held = level;
        }
        writeln!(text, "    {}\n}}", "});".repeat(depth)).unwrap();
    }
    text += "\nfn main() {}\n";
    text
}

/// The end of a line that the compiler must refuse.
pub(crate) const REFUSED: &str = " // refused";
