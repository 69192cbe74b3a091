//! The checked order: what `lock_order!` promises about its graph.
//!
//! - **Define:** an [`Order`] is acyclic, its closure is transitive, and the root comes
//!   before every level.
//! - **Enforce:** [`Order::build`] is the only way to make one.
//! - **Consume:** `emit` writes an `unsafe impl` for each pair in the closure.

use std::collections::HashMap;

use proc_macro::{Ident, Span, TokenStream, TokenTree};

use crate::parse::{Declaration, End};
use crate::tokens::Error;

/// Node 0 is the root, node `n + 1` the `n`th level as written; after the levels come the other
/// domains that edges name.
pub(crate) struct Order {
    /// For each node, the nodes that come before it in some chain (the closure).
    pub(crate) before: Vec<Bits>,
    /// For each node, the edges of the longest chain from the root to it.
    pub(crate) ranks: Vec<usize>,
    /// The edges as written, as pairs of nodes.
    pub(crate) edges: Vec<(usize, usize)>,
    /// The nodes so that each comes after all that it may be taken after, the root first.
    /// Other domains are left out.
    pub(crate) sorted: Vec<usize>,
    /// The paths of the other domains.
    pub(crate) externs: Vec<Vec<TokenTree>>,
}

impl Order {
    /// Returns the number of nodes that are places of this domain.
    pub(crate) fn places(&self) -> usize {
        self.before.len() - self.externs.len()
    }
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
}

/// Errors are gathered, so that one compilation shows all of them.
#[derive(Default)]
struct Errors(Vec<Error>);

impl Errors {
    fn push(&mut self, span: Span, message: String) {
        self.0.push(Error::new(span, message));
    }
}

impl Order {
    /// Checks the declaration and closes it.
    ///
    /// Each edge is added to a closure that is complete at every step, so the edge reported
    /// for a cycle is the very one that closes it; it is then left out, and the check goes
    /// on with the rest.
    pub(crate) fn build(declaration: &Declaration) -> Result<Order, Vec<Error>> {
        let mut errors = Errors::default();
        let mut nodes = Nodes::new(declaration, &mut errors);
        // All nodes first: the sets below have a bit for each. Errors stay with their edges.
        let ends: Vec<_> = declaration
            .edges
            .iter()
            .map(|edge| {
                let mut unknown = Errors::default();
                let before = nodes.find(&edge.before, declaration, &mut unknown);
                let after = nodes.find(&edge.after, declaration, &mut unknown);
                (before, after, edge.after.span(), unknown)
            })
            .collect();

        let count = nodes.names.len();
        let mut before = vec![Bits::new(count); count];
        let mut edges: Vec<(usize, usize)> = Vec::new();
        for (from, to, span, unknown) in ends {
            errors.0.extend(unknown.0);
            let (Some(from), Some(to)) = (from, to) else {
                continue;
            };
            if let Some(message) = mistake(&nodes.names, &before, &edges, from, to) {
                errors.push(span, message);
                continue;
            }
            edges.push((from, to));
            let mut gained = before[from].clone();
            gained.insert(from);
            for (node, bits) in before.iter_mut().enumerate() {
                if node == to || bits.contains(to) {
                    bits.union(&gained);
                }
            }
        }

        if errors.0.is_empty() {
            errors.0.extend(unreachable(declaration, &before));
        }
        if !errors.0.is_empty() {
            return Err(errors.0);
        }

        let (mut sorted, ranks) = sort(&before, &edges);
        sorted.retain(|node| *node <= declaration.levels.len());
        Ok(Order {
            before,
            ranks,
            edges,
            sorted,
            externs: nodes.externs,
        })
    }
}

/// The nodes by their names.
struct Nodes {
    names: Vec<String>,
    by_name: HashMap<String, usize>,
    externs: Vec<Vec<TokenTree>>,
}

impl Nodes {
    fn new(declaration: &Declaration, errors: &mut Errors) -> Self {
        let mut nodes = Nodes {
            names: Vec::new(),
            by_name: HashMap::new(),
            externs: Vec::new(),
        };
        let levels = declaration.levels.iter().map(|level| &level.name);
        for name in std::iter::once(&declaration.domain.name).chain(levels) {
            let text = name.to_string();
            match nodes.by_name.get(&text) {
                Some(earlier) => {
                    let what = if *earlier == 0 {
                        "the domain itself"
                    } else {
                        "declared twice"
                    };
                    errors.push(name.span(), format!("lock level `{text}` is {what}"));
                }
                None => {
                    nodes.by_name.insert(text.clone(), nodes.names.len());
                }
            }
            nodes.names.push(text);
        }
        nodes
    }

    fn find(&mut self, end: &End, declaration: &Declaration, errors: &mut Errors) -> Option<usize> {
        match end {
            End::Here(name) => {
                let found = self.by_name.get(&name.to_string()).copied();
                if found.is_none() {
                    errors.push(name.span(), unknown(name, declaration));
                }
                found
            }
            End::Extern(path) => {
                let text = path.iter().cloned().collect::<TokenStream>().to_string();
                let text = format!("extern {}", text.replace(' ', ""));
                let next = self.names.len();
                let node = *self.by_name.entry(text.clone()).or_insert(next);
                if node == next {
                    self.names.push(text);
                    self.externs.push(path.clone());
                }
                Some(node)
            }
        }
    }
}

/// Names a level that no chain leads to. An unreachable chain is one mistake: only its first level is
/// named.
fn unreachable(declaration: &Declaration, before: &[Bits]) -> Option<Error> {
    let last = declaration.levels.len();
    let unreached = |node: &usize| (0..=last).all(|earlier| !before[*node].contains(earlier));
    let node = (1..=last).find(unreached)?;
    let (name, domain) = (&declaration.levels[node - 1].name, &declaration.domain.name);
    Some(Error::new(
        name.span(),
        format!(
            "lock level `{name}` can never be taken: no chain leads to it from the domain (add `{domain} => {name};`)"
        ),
    ))
}

/// Describes the mistake in an edge, if there is one.
fn mistake(
    names: &[String],
    before: &[Bits],
    edges: &[(usize, usize)],
    from: usize,
    to: usize,
) -> Option<String> {
    let (earlier, later) = (&names[from], &names[to]);
    if from == to {
        Some(format!("lock level `{earlier}` cannot come after itself"))
    } else if to == 0 {
        Some(format!(
            "nothing comes before the domain `{later}`: it is the root, where nothing is held"
        ))
    } else if edges.contains(&(from, to)) {
        Some(format!("edge `{earlier} => {later}` is there already"))
    } else if before[from].contains(to) {
        Some(format!(
            "this edge closes a lock order cycle: {}",
            cycle(names, edges, from, to)
        ))
    } else {
        None
    }
}

fn unknown(name: &Ident, declaration: &Declaration) -> String {
    let domain = &declaration.domain.name;
    format!("unknown lock level `{name}` in domain `{domain}`: declare it with `level {name};`")
}

/// Returns the cycle that `from => to` would close, as `from → to → … → from`.
fn cycle(names: &[String], edges: &[(usize, usize)], from: usize, to: usize) -> String {
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
    let names: Vec<&str> = path.iter().map(|node| names[*node].as_str()).collect();
    names.join(" → ")
}

/// Returns a topological order that keeps to the order written where it may, and the ranks.
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
