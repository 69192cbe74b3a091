//! A domain's order as data, for documentation and diagnostics.
//!
//! The compiler decides by the trait implementations that `lock_order!` writes beside this data.

mod compose;

use core::fmt;

pub use compose::{__assert_no_cycle, DomainCycle, check};

/// A domain's levels and edges, in [`Domain::GRAPH`](crate::Domain::GRAPH).
#[derive(Debug, PartialEq, Eq)]
pub struct Graph {
    /// The path of the domain's type.
    path: &'static str,
    /// Where it is declared. Graphs are told apart by both: the path of a type that is declared in
    /// a function is that of the module, and two versions of one crate have the same paths.
    place: &'static str,
    levels: &'static [LevelInfo],
    edges: &'static [Edge],
    /// The closure: `levels.len()` rows of as many bits, in words of 64; bit `before` of row
    /// `after`.
    closure: &'static [u64],
    externs: &'static [Extern],
}

/// An edge between this domain and another one, or between two others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extern {
    /// The level of that index comes before all levels of the domain.
    After(usize, &'static Graph),
    /// All levels of the domain come before the level of that index.
    Before(&'static Graph, usize),
    /// All levels of the first domain come before all levels of the second.
    Between(&'static Graph, &'static Graph),
}

impl Extern {
    #[doc(hidden)]
    #[must_use]
    pub const fn __after(before: usize, after: &'static Graph) -> Self {
        Extern::After(before, after)
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn __before(before: &'static Graph, after: usize) -> Self {
        Extern::Before(before, after)
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn __between(before: &'static Graph, after: &'static Graph) -> Self {
        Extern::Between(before, after)
    }
}

/// One level, or the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelInfo {
    /// The type's name.
    pub name: &'static str,
    /// The text of its doc comments, lines joined by `\n`.
    pub doc: &'static str,
    /// The number of edges in the longest chain from the root: 0 for the root only, and
    /// strictly more than the rank of each level that it may be taken after.
    pub rank: usize,
}

/// `before => after`, as indices into [`Graph::levels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The level that is held.
    pub before: usize,
    /// The level that may be taken then.
    pub after: usize,
}

impl LevelInfo {
    #[doc(hidden)]
    #[must_use]
    pub const fn __new(name: &'static str, doc: &'static str, rank: usize) -> Self {
        LevelInfo { name, doc, rank }
    }
}

impl Edge {
    #[doc(hidden)]
    #[must_use]
    pub const fn __new(before: usize, after: usize) -> Self {
        Edge { before, after }
    }
}

impl Graph {
    #[doc(hidden)]
    #[must_use]
    pub const fn __new(
        levels: &'static [LevelInfo],
        edges: &'static [Edge],
        closure: &'static [u64],
    ) -> Self {
        Self::__composed("", "", levels, edges, closure, &[])
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn __composed(
        path: &'static str,
        place: &'static str,
        levels: &'static [LevelInfo],
        edges: &'static [Edge],
        closure: &'static [u64],
        externs: &'static [Extern],
    ) -> Self {
        Graph {
            path,
            place,
            levels,
            edges,
            closure,
            externs,
        }
    }

    /// Returns the path of the domain's type, such as `app::levels::App`.
    #[must_use]
    pub const fn path(&self) -> &'static str {
        self.path
    }

    /// Returns the edges to and from other domains, closed over the levels of this one.
    #[must_use]
    pub const fn externs(&self) -> &'static [Extern] {
        self.externs
    }

    /// Returns the levels in a topological order, the root (the domain) first. A level's
    /// [`INDEX`](crate::Place::INDEX) is its place here.
    #[must_use]
    pub const fn levels(&self) -> &'static [LevelInfo] {
        self.levels
    }

    /// Returns the edges as written, groups multiplied out, not closed.
    #[must_use]
    pub const fn edges(&self) -> &'static [Edge] {
        self.edges
    }

    /// Returns the index of the level of that name.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.levels.iter().position(|level| level.name == name)
    }

    /// Returns whether `after` may be taken while `before` is the level last taken: the
    /// transitive question that the compiler answers by `After: LockAfter<Before>`. False for
    /// indices that are not in the graph.
    #[must_use]
    pub fn may_follow(&self, before: usize, after: usize) -> bool {
        let words = self.levels.len().div_ceil(64);
        before < self.levels.len()
            && after < self.levels.len()
            && self
                .closure
                .get(after * words + before / 64)
                .is_some_and(|word| word >> (before % 64) & 1 == 1)
    }

    /// Returns the graph in Graphviz's language.
    ///
    /// ```
    /// # mod levels { lockorder::lock_order! { pub domain D; level A; D => A; } }
    /// use lockorder::Domain;
    /// assert!(levels::D::GRAPH.to_dot().to_string().starts_with("digraph \"D\" {"));
    /// ```
    #[must_use]
    pub fn to_dot(&'static self) -> Dot {
        Dot { graph: self }
    }
}

/// Prints a [`Graph`] in Graphviz's language.
#[derive(Debug, Clone, Copy)]
pub struct Dot {
    graph: &'static Graph,
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let levels = self.graph.levels;
        let root = levels.first().map_or("", |level| level.name);
        writeln!(f, "digraph \"{root}\" {{")?;
        writeln!(f, "    node [shape=box];")?;
        for (index, level) in levels.iter().enumerate() {
            let shape = if index == 0 {
                ", shape=doublecircle"
            } else {
                ""
            };
            write!(f, "    n{index} [label=\"{}\"", level.name)?;
            if !level.doc.is_empty() {
                write!(f, ", tooltip=\"")?;
                for c in level.doc.chars() {
                    match c {
                        '"' | '\\' => write!(f, "\\{c}")?,
                        '\n' => write!(f, "\\n")?,
                        c => write!(f, "{c}")?,
                    }
                }
                write!(f, "\"")?;
            }
            writeln!(f, "{shape}];")?;
        }
        for edge in self.graph.edges {
            writeln!(f, "    n{} -> n{};", edge.before, edge.after)?;
        }
        writeln!(f, "}}")
    }
}
