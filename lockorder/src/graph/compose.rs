//! The orders of several domains as one graph.
//!
//! - **Define:** a domain comes before another one if an edge that names it with `extern` says
//!   so, in either's declaration or in a third one.
//! - **Enforce:** every `lock_order!` checks, in a constant, all that it can see: its own edges
//!   and those of every domain that it names, and of those that they name. [`check`] does the
//!   same at the start of a program for domains that do not name each other.
//! - **Consume:** [`LockCtx::enter`](crate::LockCtx::enter) takes another domain's key where an
//!   edge allows it; debug builds compare what threads really do with the edges.
//!
//! # Why the compiler cannot do all of it
//!
//! - The levels of `lib::Net` cannot be ordered after `App::Leaf` for every level at once:
//!   `unsafe impl<L: Level<Domain = lib::Net>> LockAfter<Leaf> for L` is refused (E0210, a type
//!   parameter before the first local type), because `lib` could write the same implementation.
//!   A macro could name each level if it could see them, but a macro sees the tokens of its own
//!   call and not those of another crate.
//! - A key is taken at run time ([`Key::take`](crate::Key::take)). That a function of the
//!   library takes its key says nothing in its signature about what its callers hold.
//!
//! So edges between domains are data. A cycle among them is found when the crate that closes it
//! is compiled; whether threads keep to them is found by debug builds at run time.

// The error lies in the value because a constant cannot allocate; it is made once, at the start.
#![allow(clippy::result_large_err)]

use core::fmt;

use super::{Extern, Graph};

/// Domains that are considered at once; more are refused by [`check`].
const MOST: usize = 32;

/// A cycle in the order of domains.
#[derive(Clone, Copy)]
pub struct DomainCycle {
    domains: [&'static str; MOST],
    length: usize,
}

impl DomainCycle {
    /// Returns the paths of the domains: each comes before the next one, and the last before the first.
    #[must_use]
    pub fn domains(&self) -> &[&'static str] {
        &self.domains[..self.length]
    }
}

impl fmt::Debug for DomainCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DomainCycle").field(&self.domains()).finish()
    }
}

/// Spells the cycle out: `app::App → lib::Net → app::App`.
impl fmt::Display for DomainCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lock order cycle between domains: ")?;
        for domain in self.domains() {
            write!(f, "{domain} → ")?;
        }
        f.write_str(self.domains().first().copied().unwrap_or(""))
    }
}

impl core::error::Error for DomainCycle {}

/// Checks the order of domains that do not name each other, once, at the start of a program.
///
/// Domains that one of these names with `extern` are included. The function is `const`.
///
/// ```
/// # mod a { lockorder::lock_order! { pub domain A; level X; A => X; } }
/// # mod b { lockorder::lock_order! { pub domain B; level Y; B => Y => extern crate::a::A; } }
/// # fn main() -> Result<(), lockorder::graph::DomainCycle> {
/// use lockorder::{Domain, graph};
/// graph::check(&[a::A::GRAPH, b::B::GRAPH])?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The first cycle found. A program with more than 32 domains gets an error that names the
/// domain that was one too many, alone.
pub const fn check(graphs: &[&'static Graph]) -> Result<(), DomainCycle> {
    let mut all = Domains::new();
    let mut index = 0;
    while index < graphs.len() {
        if all.add(graphs[index]).is_none() {
            return Err(all.cycle_of(graphs[index]));
        }
        index += 1;
    }
    // The list grows while it is walked: each domain brings in those that it names.
    let mut next = 0;
    while next < all.count {
        if let Err(cycle) = all.add_edges_of(next) {
            return Err(cycle);
        }
        next += 1;
    }
    all.find_cycle()
}

/// Panics, in a constant of `lock_order!`, if the domain is part of a cycle.
#[doc(hidden)]
pub const fn __assert_no_cycle(graph: &'static Graph) {
    let Err(cycle) = check(&[graph]) else {
        return;
    };
    let mut text = Text {
        bytes: [0; 1024],
        length: 0,
    };
    text.push("lock order cycle between domains: ");
    let mut index = 0;
    while index < cycle.length {
        text.push(cycle.domains[index]);
        text.push(" → ");
        index += 1;
    }
    text.push(cycle.domains[0]);
    match core::str::from_utf8(text.bytes.split_at(text.length).0) {
        Ok(text) => panic!("{}", text),
        Err(_) => panic!("lock order cycle between domains"),
    }
}

/// A message that is put together in a constant. What does not fit is left out.
struct Text {
    bytes: [u8; 1024],
    length: usize,
}

impl Text {
    const fn push(&mut self, text: &str) {
        let text = text.as_bytes();
        if self.length + text.len() > self.bytes.len() {
            return;
        }
        let mut index = 0;
        while index < text.len() {
            self.bytes[self.length] = text[index];
            self.length += 1;
            index += 1;
        }
    }
}

/// The domains found so far, and which of them comes before which.
struct Domains {
    graphs: [Option<&'static Graph>; MOST],
    count: usize,
    /// Bit `after` of word `before`.
    edges: [u32; MOST],
    /// Bit `inner` of word `outer`: the levels of `outer` lie on both sides of `inner`.
    around: [u32; MOST],
}

impl Domains {
    const fn new() -> Self {
        Domains {
            graphs: [None; MOST],
            count: 0,
            edges: [0; MOST],
            around: [0; MOST],
        }
    }

    /// Returns the index of the domain, added if it is new; `None` if there is no room.
    const fn add(&mut self, graph: &'static Graph) -> Option<usize> {
        let mut index = 0;
        while index < self.count {
            if let Some(known) = self.graphs[index]
                && known.is(graph)
            {
                return Some(index);
            }
            index += 1;
        }
        if self.count == MOST {
            return None;
        }
        self.graphs[self.count] = Some(graph);
        self.count += 1;
        Some(self.count - 1)
    }

    const fn path(&self, index: usize) -> &'static str {
        match self.graphs[index] {
            Some(graph) => graph.path,
            None => "",
        }
    }

    const fn cycle_of(&self, graph: &'static Graph) -> DomainCycle {
        let mut domains = [""; MOST];
        domains[0] = graph.path;
        DomainCycle { domains, length: 1 }
    }

    /// Adds the edges of a domain's declaration. A domain that is named as coming
    /// both before and after its namer lies between the namer's levels: the namer's own check,
    /// level by level, has accepted that. No other declaration may order such a pair.
    const fn add_edges_of(&mut self, owner: usize) -> Result<(), DomainCycle> {
        let Some(graph) = self.graphs[owner] else {
            return Ok(());
        };
        let mut index = 0;
        while index < graph.externs.len() {
            let (before, after) = match graph.externs[index] {
                Extern::After(_, other) => (graph, other),
                Extern::Before(other, _) => (other, graph),
                Extern::Between(before, after) => (before, after),
            };
            index += 1;
            if graph.interleaves(before) || graph.interleaves(after) {
                let other = if graph.interleaves(before) {
                    before
                } else {
                    after
                };
                let Some(inner) = self.add(other) else {
                    return Err(self.cycle_of(other));
                };
                self.around[owner] |= 1 << inner;
                continue;
            }
            let (Some(from), Some(to)) = (self.add(before), self.add(after)) else {
                return Err(self.cycle_of(before));
            };
            self.edges[from] |= 1 << to;
        }
        Ok(())
    }

    /// Looks for a way from each domain back to itself, the shortest one, by breadth.
    const fn find_cycle(&self) -> Result<(), DomainCycle> {
        let mut start = 0;
        while start < self.count {
            if let Some(cycle) = self.cycle_through(start) {
                return Err(cycle);
            }
            if let Some(cycle) = self.ordered_around(start) {
                return Err(cycle);
            }
            start += 1;
        }
        Ok(())
    }

    /// Looks for a domain that lies between the levels of `outer`, and that another declaration
    /// puts before or after all of them.
    const fn ordered_around(&self, outer: usize) -> Option<DomainCycle> {
        let mut inner = 0;
        while inner < self.count {
            let between = self.around[outer] >> inner & 1 == 1;
            if between && (self.edges[outer] >> inner | self.edges[inner] >> outer) & 1 == 1 {
                let mut domains = [""; MOST];
                domains[0] = self.path(outer);
                domains[1] = self.path(inner);
                return Some(DomainCycle { domains, length: 2 });
            }
            inner += 1;
        }
        None
    }

    const fn cycle_through(&self, start: usize) -> Option<DomainCycle> {
        let mut parent = [MOST; MOST];
        let mut queue = [0; MOST];
        queue[0] = start;
        let (mut head, mut tail) = (0, 1);
        while head < tail {
            let node = queue[head];
            head += 1;
            if self.edges[node] >> start & 1 == 1 {
                return Some(self.spell(start, node, &parent));
            }
            let mut next = 0;
            while next < self.count {
                if self.edges[node] >> next & 1 == 1 && next != start && parent[next] == MOST {
                    parent[next] = node;
                    queue[tail] = next;
                    tail += 1;
                }
                next += 1;
            }
        }
        None
    }

    /// The way from `start` to `last` by the parents.
    const fn spell(&self, start: usize, last: usize, parent: &[usize; MOST]) -> DomainCycle {
        let mut length = 1;
        let mut node = last;
        while node != start {
            length += 1;
            node = parent[node];
        }
        let mut domains = [""; MOST];
        let (mut place, mut node) = (length, last);
        while place > 0 {
            place -= 1;
            domains[place] = self.path(node);
            if node != start {
                node = parent[node];
            }
        }
        DomainCycle { domains, length }
    }
}

const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    true
}

impl Graph {
    /// Returns whether both are the graph of one domain.
    const fn is(&self, other: &Graph) -> bool {
        same(self.path, other.path) && same(self.place, other.place)
    }

    /// Returns whether the declaration puts that domain both before and after levels of its own.
    const fn interleaves(&self, other: &Graph) -> bool {
        let (mut before, mut after) = (false, false);
        let mut index = 0;
        while index < self.externs.len() {
            match self.externs[index] {
                Extern::After(_, named) => after |= named.is(other),
                Extern::Before(named, _) => before |= named.is(other),
                Extern::Between(..) => {}
            }
            index += 1;
        }
        before && after
    }

    /// Returns whether this declaration says that `before` comes before `after`, of which one is its own
    /// domain or both are others'.
    #[cfg(all(feature = "std", any(debug_assertions, feature = "lockdep")))]
    pub(crate) fn declares(&self, before: &Graph, after: &Graph) -> bool {
        self.externs.iter().any(|edge| {
            let (from, to) = match edge {
                Extern::After(_, other) => (self, *other),
                Extern::Before(other, _) => (*other, self),
                Extern::Between(from, to) => (*from, *to),
            };
            from.is(before) && to.is(after)
        })
    }
}
