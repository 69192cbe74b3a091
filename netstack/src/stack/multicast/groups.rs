//! The groups of the stack, behind one lock: their members, and what is reported of them.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockorder::{LockBefore, LockCtx, RwLock};
use packet::ip::IpVersion;
use packet::membership::Membership;

use super::super::ip::addressing::CurrentAddressing;
use super::super::levels;
use super::super::udp::socket::BoundSocket;
use crate::base::{Instant, Rng};
use crate::ip::multicast::groups::{GroupLimits, Groups, JoinError, Joined, Left};
use crate::ip::multicast::reporter::{Report, Reporter};

/// A socket as the member of a group.
#[derive(Clone, Debug)]
pub(in crate::stack) struct Member(pub(in crate::stack) Arc<BoundSocket>);

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The groups of the stack.
pub(crate) struct HostGroups {
    state: RwLock<levels::Groups, State>,
    /// When a report is due, in nanoseconds; `u64::MAX` if none is. A worker reads it once a turn without the
    /// lock.
    deadline_nanos: AtomicU64,
}

struct State {
    groups: Groups<Member>,
    v4: Reporter,
    v6: Reporter,
    rng: Rng,
}

impl State {
    fn reporter(&mut self, family: IpVersion) -> (&mut Reporter, &mut Rng) {
        match family {
            IpVersion::V4 => (&mut self.v4, &mut self.rng),
            IpVersion::V6 => (&mut self.v6, &mut self.rng),
        }
    }

    /// Tells routers that the last member of `group` left it, and ends the host's membership.
    fn end<L>(
        &mut self,
        ctx: &mut LockCtx<'_, L>,
        addressing: &CurrentAddressing,
        group: IpAddr,
        now: Instant,
    ) where
        L: LockBefore<levels::Addressing>,
    {
        let (reporter, rng) = self.reporter(IpVersion::of_addr(group));
        reporter.leave(group, now, rng);
        addressing.update(ctx, |addressing| addressing.addresses.leave(group));
    }
}

impl HostGroups {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            state: RwLock::new(State {
                groups: Groups::new(GroupLimits::default()),
                v4: Reporter::new(IpVersion::V4),
                v6: Reporter::new(IpVersion::V6),
                rng,
            }),
            deadline_nanos: AtomicU64::new(u64::MAX),
        }
    }

    /// Returns when a report is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let nanos = self.deadline_nanos.load(Ordering::Relaxed);
        (nanos != u64::MAX).then(|| Instant::from_nanos(nanos))
    }

    /// Under the lock, so that the deadline is never older than the reporters.
    fn note_deadline(&self, state: &State) {
        let deadlines = [&state.v4, &state.v6].map(Reporter::poll_timeout);
        let deadline = deadlines.into_iter().flatten().min();
        let deadline = deadline.unwrap_or(Instant::FAR_FUTURE);
        self.deadline_nanos
            .store(deadline.as_nanos(), Ordering::Relaxed);
    }

    /// Makes `socket` a member of `group`, and the host, too, which `addressing` says to the workers.
    ///
    /// # Errors
    /// A [`JoinError`]; nothing is changed then.
    pub(super) fn join<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        addressing: &CurrentAddressing,
        group: IpAddr,
        socket: &Arc<BoundSocket>,
        now: Instant,
    ) -> Result<(), JoinError>
    where
        L: LockBefore<levels::Groups>,
    {
        self.state.with_write(ctx, |state, ctx| {
            let joined = state.groups.join(group, Member(Arc::clone(socket)))?;
            if joined == Joined::First {
                addressing.update(ctx, |addressing| addressing.addresses.join(group));
                let (reporter, rng) = state.reporter(IpVersion::of_addr(group));
                reporter.join(group, now, rng);
                self.note_deadline(state);
            }
            Ok(())
        })
    }

    /// Ends a membership. Returns `false` if there was none.
    pub(super) fn leave<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        addressing: &CurrentAddressing,
        group: IpAddr,
        socket: &Arc<BoundSocket>,
        now: Instant,
    ) -> bool
    where
        L: LockBefore<levels::Groups>,
    {
        self.state.with_write(ctx, |state, ctx| {
            let left = state.groups.leave(group, &Member(Arc::clone(socket)));
            if left == Some(Left::Last) {
                state.end(ctx, addressing, group, now);
                self.note_deadline(state);
            }
            left.is_some()
        })
    }

    /// Ends all memberships of `socket`.
    pub(super) fn leave_all<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        addressing: &CurrentAddressing,
        socket: &Arc<BoundSocket>,
        now: Instant,
    ) where
        L: LockBefore<levels::Groups>,
    {
        self.state.with_write(ctx, |state, ctx| {
            for group in state.groups.leave_all(&Member(Arc::clone(socket))) {
                state.end(ctx, addressing, group, now);
            }
            self.note_deadline(state);
        });
    }

    /// Reports every IPv6 group again: the host got a link-local address.
    pub(in crate::stack) fn report_all_v6<L>(&self, ctx: &mut LockCtx<'_, L>, now: Instant)
    where
        L: LockBefore<levels::Groups>,
    {
        self.state.with_write(ctx, |state, _| {
            let (reporter, rng) = state.reporter(IpVersion::V6);
            reporter.report_all(now, rng);
            self.note_deadline(state);
        });
    }

    /// Calls `each` with every member of `group`, and a context in which its lock may be taken.
    pub(super) fn for_members<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        group: IpAddr,
        mut each: impl FnMut(&BoundSocket, &mut LockCtx<'_, levels::Groups>),
    ) where
        L: LockBefore<levels::Groups>,
    {
        self.state.with_read(ctx, |state, ctx| {
            for member in state.groups.members(group) {
                each(&member.0, ctx);
            }
        });
    }

    /// Takes in a message that was received.
    pub(super) fn on_message<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        family: IpVersion,
        message: Membership<'_>,
        now: Instant,
    ) where
        L: LockBefore<levels::Groups>,
    {
        self.state.with_write(ctx, |state, _| {
            let (reporter, rng) = state.reporter(family);
            match message {
                Membership::Query(query) => reporter.on_query(&query, now, rng),
                Membership::Report(group) => reporter.on_old_report(group, now),
                Membership::Other => {}
            }
            self.note_deadline(state);
        });
    }

    /// Takes out the next report that is due. One is at most `max_bytes` of the family long behind its header.
    pub(super) fn poll_transmit<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        max_bytes: impl Fn(IpVersion) -> usize,
        now: Instant,
    ) -> Option<(IpVersion, Report)>
    where
        L: LockBefore<levels::Groups>,
    {
        self.state.with_write(ctx, |state, _| {
            let next = [IpVersion::V4, IpVersion::V6]
                .into_iter()
                .find_map(|family| {
                    let (reporter, rng) = state.reporter(family);
                    let report = reporter.poll_transmit(now, max_bytes(family), rng)?;
                    Some((family, report))
                });
            self.note_deadline(state);
            next
        })
    }
}
