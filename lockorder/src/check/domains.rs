//! Domains against each other, by what threads have done.
//!
//! Two graphs, one of the domains whose locks were waited for while another's were held, and one of
//! leaf locks in the closures of leaf locks. A pair that would close a cycle is not added.

use core::any::TypeId;
use core::panic::Location;
use std::collections::{BTreeMap, VecDeque};
use std::format;
use std::string::String;
use std::vec::Vec;

use crate::graph::Graph;

/// A domain of which a thread holds something, or wants it.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    pub(super) domain: TypeId,
    pub(super) graph: &'static Graph,
    pub(super) at: &'static Location<'static>,
}

/// The pairs of domains that were acquired one under the other.
pub(super) struct Pairs {
    locks: Vec<(Begun, Begun)>,
    leaves: Vec<(Begun, Begun)>,
}

impl Pairs {
    pub(super) const fn new() -> Self {
        Pairs {
            locks: Vec::new(),
            leaves: Vec::new(),
        }
    }

    /// Adds a lock that is waited for while another domain's is held. Returns the message if threads
    /// have done it the other way round, or an `extern` edge says the other way round.
    pub(super) fn add(&mut self, held: Begun, wanted: Begun) -> Option<String> {
        let (one, other) = (held.graph, wanted.graph);
        let declared = one.declares(one, other) || other.declares(one, other);
        let reverse = one.declares(other, one) || other.declares(other, one);
        let mut text = both_orders("locks", held, wanted);
        if reverse && !declared {
            text.push_str(&format!(
                "\n  the declared order is:\n    extern `{}` => `{}`",
                other.path(),
                one.path()
            ));
            return Some(text);
        }
        if declared {
            return None;
        }
        if let Some(steps) = chain(&self.locks, wanted.domain, held.domain) {
            push_steps(&mut text, steps);
            return Some(text);
        }
        self.locks.push((held, wanted));
        None
    }

    /// Adds a leaf lock that is taken in the closure of another domain's. Returns the message if
    /// threads have taken them the other way round.
    pub(super) fn add_leaf(&mut self, held: Begun, wanted: Begun) -> Option<String> {
        if let Some(steps) = chain(&self.leaves, wanted.domain, held.domain) {
            let mut text = both_orders("leaf locks", held, wanted);
            push_steps(&mut text, steps);
            return Some(text);
        }
        self.leaves.push((held, wanted));
        None
    }
}

/// Returns the head of a message about two domains.
fn both_orders(what: &str, held: Begun, wanted: Begun) -> String {
    let (one, other) = (held.graph.path(), wanted.graph.path());
    format!(
        "{what} of the domains `{one}` and `{other}` are held in both orders\n  this thread:\n    \
         holds `{one}`, acquired at {}\n    waits for `{other}` at {}",
        held.at, wanted.at
    )
}

/// Appends what threads have done.
fn push_steps(text: &mut String, steps: Vec<(Begun, Begun)>) {
    text.push_str("\n  the other way round, threads have:");
    for (before, after) in steps {
        text.push_str(&format!(
            "\n    waited for `{}` at {}, holding `{}` acquired at {}",
            after.graph.path(),
            after.at,
            before.graph.path(),
            before.at
        ));
    }
}

/// Returns the pairs that lead from one domain to another.
fn chain(pairs: &[(Begun, Begun)], from: TypeId, to: TypeId) -> Option<Vec<(Begun, Begun)>> {
    let mut parent: BTreeMap<TypeId, (Begun, Begun)> = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        for (before, after) in pairs {
            if before.domain == node && after.domain != from && !parent.contains_key(&after.domain)
            {
                parent.insert(after.domain, (*before, *after));
                queue.push_back(after.domain);
            }
        }
    }
    let mut steps = Vec::new();
    let mut node = to;
    while node != from {
        let step = *parent.get(&node)?;
        node = step.0.domain;
        steps.push(step);
    }
    steps.reverse();
    Some(steps)
}
