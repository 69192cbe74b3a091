//! The checks of debug builds and of the feature `lockdep`: what a thread really holds, at each
//! acquisition that waits.
//!
//! - **Define:** a wait is in order if every lock that the thread holds comes before the one that
//!   it waits for: by the declared order within a domain, and by what any thread has done so far
//!   (and by the `extern` edges) between domains.
//! - **Enforce:** every acquisition that waits calls [`before_waiting`] first.
//! - **Consume:** a violation is a panic that names both chains of acquisition, in the thread
//!   that could wait for ever otherwise. What is in order is remembered, as the other chain of a
//!   later violation.
//!
//! The acquisitions of the typed locks are in order by their types; here they are compared with
//! those of the module `lockdep`, with other domains, and with leaf locks. A leaf in the closure of
//! another domain's leaf is compared with what any thread has done so far, too.

mod domains;

use core::any::TypeId;
use core::cell::Cell;
use core::panic::Location;
use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::sync::PoisonError;
use std::vec::Vec;

use domains::{Begun, Pairs};

use crate::graph::Graph;
use crate::held::Entry;
use crate::{Domain, Level};

type At = &'static Location<'static>;

/// In a model all threads are one of the operating system's, so [`THREAD`] says nothing.
const MODELS: bool = cfg!(feature = "loom");

/// As many domains at once are remembered per thread.
const DOMAINS: usize = 8;
/// As many pairs that were in order are remembered per thread, to look no further for them.
const KNOWN: usize = 32;

/// The guards of a thread, over all domains. Like the slots it has no destructor, so it works in the
/// destructors of other thread-locals.
struct Thread {
    total: Cell<usize>,
    domains: [Cell<Option<Begun>>; DOMAINS],
    /// How many leaf locks are held, and of which domains, the outermost first.
    leaves: Cell<usize>,
    leaf_domains: [Cell<Option<Begun>>; DOMAINS],
    /// This thread is comparing. An allocator that locks is called then, and is not compared.
    busy: Cell<bool>,
    /// Addresses of places in graphs: of the earlier one and of the later one.
    known: [Cell<(usize, usize)>; KNOWN],
    next: Cell<usize>,
}

std::thread_local! {
    static THREAD: Thread = const {
        Thread {
            total: Cell::new(0),
            domains: [const { Cell::new(None) }; DOMAINS],
            leaves: Cell::new(0),
            leaf_domains: [const { Cell::new(None) }; DOMAINS],
            busy: Cell::new(false),
            known: [const { Cell::new((0, 0)) }; KNOWN],
            next: Cell::new(0),
        }
    };
}

impl Thread {
    /// Returns whether the pair is known to be in order; remembers it from now on.
    fn knows(&self, pair: (usize, usize)) -> bool {
        if self.known.iter().any(|known| known.get() == pair) {
            return true;
        }
        let next = self.next.get();
        self.known[next % KNOWN].set(pair);
        self.next.set(next.wrapping_add(1));
        false
    }

    /// Forgets the pair that was looked for last: it is to be told again at the next attempt.
    fn forget_last(&self) {
        self.known[self.next.get().wrapping_sub(1) % KNOWN].set((0, 0));
    }
}

/// The pairs that were acquired one under the other, with the places in the code.
struct Seen {
    levels: BTreeMap<(TypeId, u16, u16), (At, At)>,
    domains: Pairs,
}

// Not a lock of this crate: it is taken below everything, and nothing is taken under it.
#[allow(clippy::disallowed_types)]
static SEEN: std::sync::Mutex<Seen> = std::sync::Mutex::new(Seen {
    levels: BTreeMap::new(),
    domains: Pairs::new(),
});

fn seen<R>(f: impl FnOnce(&mut Seen) -> R) -> R {
    let _busy = Busy::begin();
    f(&mut SEEN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The thread is busy comparing until this is dropped.
struct Busy;

impl Busy {
    fn begin() -> Self {
        THREAD.with(|thread| thread.busy.set(true));
        Busy
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        THREAD.with(|thread| thread.busy.set(false));
    }
}

fn is_busy() -> bool {
    THREAD.with(|thread| thread.busy.get())
}

/// A guard of the domain has been listed in the slot.
pub(crate) fn begin<D: Domain>(at: At) {
    THREAD.with(|thread| {
        thread.total.set(thread.total.get() + 1);
        if D::__slot(|slot| slot.held.count()) == 1 {
            let free = thread.domains.iter().find(|place| place.get().is_none());
            if let Some(place) = free {
                place.set(Some(Begun {
                    domain: TypeId::of::<D>(),
                    graph: D::GRAPH,
                    at,
                }));
            }
        }
    });
}

/// A guard of the domain has been taken off the list.
pub(crate) fn end<D: Domain>() {
    THREAD.with(|thread| {
        thread.total.set(thread.total.get().saturating_sub(1));
        if D::__slot(|slot| slot.held.count()) == 0 {
            let domain = TypeId::of::<D>();
            for place in &thread.domains {
                if place.get().is_some_and(|begun| begun.domain == domain) {
                    place.set(None);
                }
            }
        }
    });
}

/// The closure of a leaf lock begins. In every case [`leave_leaf`] must be called.
///
/// # Panics
///
/// In the closure of a leaf of another domain, if a thread has taken the two the other way round.
pub(crate) fn enter_leaf<D: Domain>(at: At) {
    let wanted = Begun {
        domain: TypeId::of::<D>(),
        graph: D::GRAPH,
        at,
    };
    let problem = THREAD.with(|thread| {
        let outer = thread.leaves.replace(thread.leaves.get() + 1);
        if let Some(place) = thread.leaf_domains.get(outer) {
            place.set(Some(wanted));
        }
        if MODELS || thread.busy.get() {
            return None;
        }
        let held = thread.leaf_domains.iter().take(outer);
        held.filter_map(Cell::get).find_map(|held| {
            // Beside the pairs of domains, which are pairs of these addresses.
            let leaf = |graph| core::ptr::from_ref::<Graph>(graph).addr() + 1;
            let known = (leaf(held.graph), leaf(wanted.graph));
            if thread.knows(known) {
                return None;
            }
            let problem = seen(|seen| seen.domains.add_leaf(held, wanted));
            if problem.is_some() {
                thread.forget_last();
            }
            problem
        })
    });
    if let Some(problem) = problem {
        panic!("{problem}");
    }
}

/// The closure of a leaf lock ends.
pub(crate) fn leave_leaf() {
    THREAD.with(|thread| thread.leaves.set(thread.leaves.get().saturating_sub(1)));
}

/// Checks an acquisition of level `L` that is about to wait.
///
/// # Panics
///
/// If it is out of order.
pub(crate) fn before_waiting<L: Level>(unordered: bool, at: At) {
    if is_busy() {
        return;
    }
    let problem = L::Domain::__slot(|slot| {
        // Of this domain only by a leak; of another one the slot does not know.
        let other = !MODELS && THREAD.with(|thread| thread.leaves.get()) > 0;
        if other || slot.in_leaf() {
            return Some(format!(
                "lock level `{}` of domain `{}` is waited for at {at} in the closure of a leaf lock: \
                 nothing may be acquired there",
                L::NAME,
                <L::Domain as Domain>::GRAPH.path(),
            ));
        }
        let held = &slot.held;
        if unordered || held.unordered() > 0 {
            let bad = held.entries().find(|entry| {
                (unordered || entry.unordered)
                    && !L::Domain::GRAPH.may_follow(usize::from(entry.level), L::INDEX)
            });
            if let Some(bad) = bad {
                let chain: Vec<Entry> = held.entries().collect();
                return Some(out_of_order::<L>(bad, &chain, at));
            }
        }
        if let Some(last) = held.entries().next_back() {
            remember::<L>(last, at);
        }
        THREAD.with(|thread| {
            let others = !MODELS && thread.total.get() > held.count();
            others
                .then(|| between_domains::<L::Domain>(thread, at))
                .flatten()
        })
    });
    if let Some(problem) = problem {
        panic!("{problem}");
    }
}

/// Checks a wait on a condition variable, which releases one lock of the domain.
///
/// # Panics
///
/// If the thread holds another one, acquired without a context.
#[track_caller]
pub(crate) fn alone<D: Domain>() {
    let problem = D::__slot(|slot| {
        let other = slot.held.entries().find(|entry| entry.unordered)?;
        let name = D::GRAPH.levels().get(usize::from(other.level))?.name;
        let at = other.at?;
        Some(format!(
            "a condition variable is waited on while holding `{name}`, acquired at {at}"
        ))
    });
    if let Some(problem) = problem {
        panic!("{problem}");
    }
}

fn remember<L: Level>(last: Entry, at: At) {
    let levels = L::Domain::GRAPH.levels();
    let place = |index: usize| levels.as_ptr().wrapping_add(index).addr();
    let (before, after) = (last.level, u16::try_from(L::INDEX).unwrap_or(u16::MAX));
    let pair = (place(usize::from(before)), place(usize::from(after)));
    let Some(held_at) = last.at else { return };
    if before != after && !THREAD.with(|thread| thread.knows(pair)) {
        let key = (TypeId::of::<L::Domain>(), before, after);
        seen(|seen| {
            seen.levels.entry(key).or_insert((held_at, at));
        });
    }
}

/// Returns the message for a level that is waited for under one that it does not come after.
fn out_of_order<L: Level>(bad: Entry, chain: &[Entry], at: At) -> String {
    let graph = L::Domain::GRAPH;
    let name = |level: u16| {
        let info = graph.levels().get(usize::from(level));
        info.map_or("?", |info| info.name)
    };
    let mut text = format!(
        "lock level `{}` may not be acquired while holding `{}`\n  this thread holds:",
        L::NAME,
        name(bad.level)
    );
    for entry in chain {
        text.push_str(&format!("\n    `{}`", name(entry.level)));
        if let Some(at) = entry.at {
            text.push_str(&format!(", acquired at {at}"));
        }
    }
    text.push_str(&format!("\n  and waits for:\n    `{}` at {at}", L::NAME));
    let wanted = u16::try_from(L::INDEX).unwrap_or(u16::MAX);
    let before = TypeId::of::<L::Domain>();
    let steps = seen(|seen| {
        way(wanted, bad.level, graph.levels().len(), |from, to| {
            seen.levels.get(&(before, from, to)).copied()
        })
    });
    if let Some(steps) = steps.filter(|steps| !steps.is_empty()) {
        text.push_str("\n  the other way round, threads have acquired:");
        for (from, to, (held_at, at)) in steps {
            text.push_str(&format!(
                "\n    `{}` at {at}, under `{}` acquired at {held_at}",
                name(to),
                name(from)
            ));
        }
    } else if let Some(steps) = way(wanted, bad.level, graph.levels().len(), |from, to| {
        let edge = |edge: &crate::graph::Edge| {
            (edge.before, edge.after) == (usize::from(from), usize::from(to))
        };
        graph.edges().iter().any(edge).then_some(())
    }) {
        text.push_str(&format!("\n  the declared order is:\n    `{}`", L::NAME));
        for (_, to, ()) in steps {
            text.push_str(&format!(" => `{}`", name(to)));
        }
    } else {
        text.push_str("\n  the declared order has no chain from the one to the other");
    }
    text
}

/// Returns the shortest way from one level to another along the pairs that `step` knows.
fn way<S>(
    from: u16,
    to: u16,
    levels: usize,
    step: impl Fn(u16, u16) -> Option<S>,
) -> Option<Vec<(u16, u16, S)>> {
    let count = u16::try_from(levels).unwrap_or(u16::MAX);
    let mut parent: BTreeMap<u16, u16> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        for next in 0..count {
            if next != from && !parent.contains_key(&next) && step(node, next).is_some() {
                parent.insert(next, node);
                queue.push_back(next);
            }
        }
    }
    let mut steps = Vec::new();
    let mut node = to;
    while node != from {
        let before = *parent.get(&node)?;
        steps.push((before, node, step(before, node)?));
        node = before;
    }
    steps.reverse();
    Some(steps)
}

/// Compares the domains held with the one waited for. Returns the message if a thread has held
/// them the other way round, or an `extern` edge says the other way round.
fn between_domains<D: Domain>(thread: &Thread, at: At) -> Option<String> {
    let wanted = Begun {
        domain: TypeId::of::<D>(),
        graph: D::GRAPH,
        at,
    };
    for held in thread.domains.iter().filter_map(Cell::get) {
        let pair = (
            core::ptr::from_ref(held.graph).addr(),
            core::ptr::from_ref(wanted.graph).addr(),
        );
        if held.domain == wanted.domain || thread.knows(pair) {
            continue;
        }
        let cycle = seen(|seen| seen.domains.add(held, wanted));
        if let Some(cycle) = cycle {
            thread.forget_last();
            return Some(cycle);
        }
    }
    None
}
