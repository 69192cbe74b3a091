//! Domains, levels, and the relation between levels.
//!
//! - **Define:** `B: LockAfter<A>` says that in the declared graph a chain leads from `A`
//!   to `B`. Over all levels of a domain the relation is a strict partial order.
//! - **Enforce:** all of these traits are unsafe to implement; `lock_order!`, which checks the
//!   graph before it writes the implementations, is the only implementor that is needed.
//! - **Consume:** every acquisition that waits is bounded by `P: LockBefore<L>` (which is
//!   `L: LockAfter<P>`), `P` being the level of the context that it borrows. The order is
//!   strict, so threads that wait for each other's locks cannot form a cycle.

use crate::graph::Graph;

/// A set of levels with one order, declared by one `lock_order!`.
///
/// The domain's type is also the root of its order: the level of a context when nothing is
/// held.
///
/// # Safety
///
/// The implementor must see to it that
/// - [`LockAfter`], over the levels whose [`Place::Domain`] is `Self`, together with `Self`
///   as the root, is a strict partial order (irreflexive and transitive);
/// - no level of another domain is in that relation;
/// - the slot, where the trait has one, is a thread-local of this domain alone, and is
///   touched by this crate only.
///
/// Implement it through [`lock_order!`](crate::lock_order).
///
/// # Robustness
///
/// No memory safety rests on this trait. The crate's promise does: a wrong implementation can make
/// programs deadlock that this crate says cannot.
pub unsafe trait Domain: Place<Domain = Self> {
    /// The order as data.
    const GRAPH: &'static Graph;

    /// Returns the order as data.
    #[must_use]
    fn graph() -> &'static Graph {
        Self::GRAPH
    }

    /// Runs `f` on the calling thread's slot of this domain.
    #[cfg(feature = "std")]
    #[doc(hidden)]
    fn __slot<R>(f: impl FnOnce(&crate::slot::Slot) -> R) -> R;

    /// Returns the counters of the feature `track`.
    #[cfg(feature = "track")]
    #[doc(hidden)]
    fn __stats() -> &'static crate::track::DomainStats;
}

/// A place in a domain's order: a level, or the domain itself, which is the root.
///
/// # Safety
///
/// `INDEX` must be the place in the domain's [`Graph::levels`], 0 for the domain alone, and
/// no two places of a domain may have the same one. Implement it through
/// [`lock_order!`](crate::lock_order).
///
/// # Robustness
///
/// The index is used to find rows in tables of diagnostics, and is checked there: a wrong one
/// gives wrong diagnostics, never undefined behaviour.
pub unsafe trait Place: Sized + 'static {
    /// The domain that declares it.
    type Domain: Domain;

    /// The type's name.
    const NAME: &'static str;

    /// Its index in the domain's [`Graph::levels`].
    const INDEX: usize;
}

/// A lock level: a type without values, used as the `L` of `Mutex<L, T>`.
///
/// # Safety
///
/// The type must not be a domain: a lock at the root could be taken by a thread that is said
/// to hold nothing. Implement it through [`lock_order!`](crate::lock_order).
///
/// # Robustness
///
/// As for [`Domain`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a lock level",
    label = "not declared with `level` in a `lock_order!`",
    note = "a domain is the root of its order and not a level: declare a level and use that"
)]
pub unsafe trait Level: Place {}

/// `Self` may be acquired while `Held` is the level last acquired on the thread.
///
/// # Safety
///
/// See [`Domain`]: with this implementation the relation must still be a strict partial
/// order in one domain. Implement it through [`lock_order!`](crate::lock_order).
///
/// # Robustness
///
/// See [`Domain`]: the promise against deadlock rests on it, memory safety does not.
#[diagnostic::on_unimplemented(
    message = "lock level `{Self}` may not be acquired while holding `{Held}`",
    label = "`{Self}` does not come after `{Held}` in the declared lock order",
    note = "the order is what the domain's `lock_order!` says; levels of different domains have none"
)]
pub unsafe trait LockAfter<Held>: Level {}

/// `After` may be acquired while `Self` is the level last acquired: [`LockAfter`] from the
/// other side, for generic code that names the level that it is going to acquire.
///
/// Implemented for exactly the pairs of `LockAfter`. The acquisitions ask for this one: its
/// `Self` is the level of the context given, so that a level with only one level before it
/// does not tempt the compiler to infer the context's type from the order.
///
/// # Safety
///
/// As for [`LockAfter`]; there is nothing to implement, since the one implementation covers
/// all pairs that `LockAfter` has.
///
/// # Robustness
///
/// As for [`Domain`].
#[diagnostic::on_unimplemented(
    message = "lock level `{After}` may not be acquired while holding `{Self}`",
    label = "`{After}` does not come after `{Self}` in the declared lock order",
    note = "the order is what the domain's `lock_order!` says; levels of different domains have none"
)]
pub unsafe trait LockBefore<After> {}

#[diagnostic::do_not_recommend]
// SAFETY: the same relation.
unsafe impl<Held, After: LockAfter<Held>> LockBefore<After> for Held {}

/// Every lock of `Self` may be acquired while `Held`, a place of another domain, is the level last
/// acquired on the thread: an edge `Held => extern Self` says so.
///
/// # Safety
///
/// See [`Domain`]: the edges between domains must have no cycle. Implement it through
/// [`lock_order!`](crate::lock_order).
///
/// # Robustness
///
/// As for [`Domain`].
#[diagnostic::on_unimplemented(
    message = "locks of domain `{Self}` may not be acquired while holding `{Held}`",
    label = "no edge `{Held} => extern {Self}` in the declared lock order"
)]
pub unsafe trait DomainAfter<Held>: Domain {}

/// Declares a domain: its levels and the order in which they may be acquired.
///
/// ```
/// mod levels {
///     lockorder::lock_order! {
///         /// The locks of the application. This type is also the root of the order.
///         pub domain App;
///
///         /// Configuration edits.
///         level Config;
///         /// One account each.
///         level Account;
///         level Journal, Statistics;
///
///         App => Config => Account => Journal;
///         App => Account;
///         {Config, Journal} => Statistics;
///     }
/// }
/// # fn main() {
/// use lockorder::Domain;
/// let graph = levels::App::graph();
/// assert_eq!(graph.levels().len(), 5);
/// assert_eq!(graph.levels()[0].name, "App");
/// # }
/// ```
///
/// - `A => B` allows `B` to be taken while `A` is held, and so do chains, transitively:
///   `A => B => C` allows `C` under `A`. Diamonds are fine; a level may have many before it.
/// - A group stands for each of its members.
/// - Levels have the domain's visibility unless they have their own. Doc comments and other
///   attributes go onto the generated types.
/// - Each level must be reachable from the domain.
/// - `A => extern lib::Net` says that every lock of the domain `lib::Net` comes after `A`, and
///   `extern lib::Net => B` that every one comes before `B`: see
///   [`LockCtx::enter`](crate::LockCtx::enter) and [`graph::check`](crate::graph::check).
/// - Cycles, self edges, repeated edges and unknown names are errors at the tokens that are
///   wrong; for a cycle, the edge that closes it, with the cycle spelled out.
///
/// The closure is computed at expansion and written out, so the depth of the graph meets no
/// recursion limit.
#[macro_export]
macro_rules! lock_order {
    ($($order:tt)*) => {
        $crate::__private::lock_order_impl! { ($crate unsafe) $($order)* }
    };
}
