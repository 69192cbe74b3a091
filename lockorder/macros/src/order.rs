//! The checked order: what `lock_order!` promises about its graph.
//!
//! - **Define:** an [`Order`] is acyclic, its closure is transitive, and the root comes
//!   before every level.
//! - **Enforce:** [`Order::build`] is the only way to make one.
//! - **Consume:** `emit` writes an `unsafe impl` for each pair in the closure.

use std::collections::HashMap;

use proc_macro2::Span;
use syn::{Error, Ident};

use crate::parse::Declaration;

/// Node 0 is the root, node `n + 1` the `n`th level as written.
pub(crate) struct Order {
    /// For each node, the nodes that come before it in some chain (the closure).
    pub(crate) before: Vec<Bits>,
    /// For each node, the edges of the longest chain from the root to it.
    pub(crate) ranks: Vec<usize>,
    /// The edges as written, as pairs of nodes.
    pub(crate) edges: Vec<(usize, usize)>,
    /// The nodes so that each comes after all that it may be taken after, the root first.
    pub(crate) sorted: Vec<usize>,
}

/// A set of nodes.
#[derive(Clone)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    fn new(nodes: usize) -> Self {
        Bits(vec![0; nodes.div_ceil(64)])
    }

    pub(crate) fn contains(&self, node: usize) -> bool {
        self.0[node / 64] >> (node % 64) & 1 == 1
    }

    fn insert(&mut self, node: usize) {
        self.0[node / 64] |= 1 << (node % 64);
    }

    fn union(&mut self, other: &Bits) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

/// Errors are gathered, so that one compilation shows all of them.
#[derive(Default)]
struct Errors(Option<Error>);

impl Errors {
    fn push(&mut self, span: Span, message: String) {
        let error = Error::new(span, message);
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }
}

impl Order {
    /// Checks the declaration and closes it.
    ///
    /// Each edge is added to a closure that is complete at every step, so the edge reported
    /// for a cycle is the very one that closes it; it is then left out, and the check goes
    /// on with the rest.
    pub(crate) fn build(declaration: &Declaration) -> Result<Order, Error> {
        let mut errors = Errors::default();
        let names: Vec<&Ident> = std::iter::once(&declaration.domain.name)
            .chain(declaration.levels.iter().map(|level| &level.name))
            .collect();
        let mut nodes = HashMap::new();
        for (node, name) in names.iter().enumerate() {
            let text = name.to_string();
            if let Some(earlier) = nodes.get(&text) {
                let what = if *earlier == 0 {
                    "the domain itself"
                } else {
                    "declared twice"
                };
                errors.push(name.span(), format!("lock level `{text}` is {what}"));
            } else {
                nodes.insert(text, node);
            }
        }

        let mut before = vec![Bits::new(names.len()); names.len()];
        let mut edges: Vec<(usize, usize)> = Vec::new();
        for edge in &declaration.edges {
            let mut find = |name: &Ident| {
                let found = nodes.get(&name.to_string()).copied();
                if found.is_none() {
                    errors.push(name.span(), unknown(name, declaration));
                }
                found
            };
            let (from, to) = (find(&edge.before), find(&edge.after));
            let (Some(from), Some(to)) = (from, to) else {
                continue;
            };
            if from == to {
                errors.push(
                    edge.after.span(),
                    format!("lock level `{}` cannot come after itself", names[from]),
                );
            } else if to == 0 {
                errors.push(
                    edge.after.span(),
                    format!(
                        "nothing comes before the domain `{}`: it is the root, where nothing is held",
                        names[0]
                    ),
                );
            } else if edges.contains(&(from, to)) {
                errors.push(
                    edge.after.span(),
                    format!("edge `{} => {}` is there already", names[from], names[to]),
                );
            } else if before[from].contains(to) {
                errors.push(
                    edge.after.span(),
                    format!(
                        "this edge closes a lock order cycle: {}",
                        cycle(&names, &edges, from, to)
                    ),
                );
            } else {
                edges.push((from, to));
                let mut gained = before[from].clone();
                gained.insert(from);
                for (node, bits) in before.iter_mut().enumerate() {
                    if node == to || bits.contains(to) {
                        bits.union(&gained);
                    }
                }
            }
        }

        for node in 1..names.len() {
            if before[node].is_empty() || !before[node].contains(0) {
                let (name, domain) = (names[node], names[0]);
                // An unreachable chain is one mistake: only its first level is named.
                if before[node].is_empty() && errors.0.is_none() {
                    errors.push(
                        name.span(),
                        format!(
                            "lock level `{name}` can never be taken: no chain leads to it from the domain (add `{domain} => {name};`)"
                        ),
                    );
                }
            }
        }
        if let Some(error) = errors.0 {
            return Err(error);
        }

        let (sorted, ranks) = sort(&before, &edges);
        Ok(Order {
            before,
            ranks,
            edges,
            sorted,
        })
    }
}

fn unknown(name: &Ident, declaration: &Declaration) -> String {
    let domain = &declaration.domain.name;
    format!("unknown lock level `{name}` in domain `{domain}`: declare it with `level {name};`")
}

/// The cycle that `from => to` would close, as `from → to → … → from`.
fn cycle(names: &[&Ident], edges: &[(usize, usize)], from: usize, to: usize) -> String {
    // The shortest path from `to` back to `from`, by breadth.
    let mut parent = vec![usize::MAX; names.len()];
    let mut queue = std::collections::VecDeque::from([to]);
    while let Some(node) = queue.pop_front() {
        for (before, after) in edges {
            if *before == node && *after != to && parent[*after] == usize::MAX {
                parent[*after] = node;
                queue.push_back(*after);
            }
        }
    }
    let mut path = vec![from];
    let mut node = from;
    while node != to && parent[node] != usize::MAX {
        node = parent[node];
        path.push(node);
    }
    path.push(from);
    path.reverse();
    let names: Vec<String> = path.iter().map(|node| names[*node].to_string()).collect();
    names.join(" → ")
}

/// A topological order that keeps to the order written where it may, and the ranks.
fn sort(before: &[Bits], edges: &[(usize, usize)]) -> (Vec<usize>, Vec<usize>) {
    let count = before.len();
    let predecessors = |node: usize| (0..count).filter(|n| before[node].contains(*n)).count();
    let mut sorted: Vec<usize> = (0..count).collect();
    // A node has strictly more predecessors than each of its predecessors.
    sorted.sort_by_key(|node| (predecessors(*node), *node));
    let mut incoming = vec![Vec::new(); count];
    for (from, to) in edges {
        incoming[*to].push(*from);
    }
    let mut ranks = vec![0; count];
    for node in &sorted {
        ranks[*node] = incoming[*node]
            .iter()
            .map(|earlier| ranks[*earlier] + 1)
            .max()
            .unwrap_or(0);
    }
    (sorted, ranks)
}
