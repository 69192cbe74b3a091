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
use crate::ip::multicast::change::{Change, GroupError};
use crate::ip::multicast::filter::SourceFilter;
use crate::ip::multicast::groups::{Effect, GroupLimits, Groups};
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

    /// Changes a membership, and what routers are told of the group; the host's own membership, which `addressing` says
    /// to the workers, begins with the first and ends with the last.
    fn change<L>(
        &mut self,
        ctx: &mut LockCtx<'_, L>,
        addressing: &CurrentAddressing,
        (group, socket, change): (IpAddr, &Arc<BoundSocket>, Change),
        now: Instant,
    ) -> Result<(), GroupError>
    where
        L: LockBefore<levels::Addressing>,
    {
        let member = Member(Arc::clone(socket));
        let effect = self.groups.change(group, member, change)?;
        match effect {
            Effect::First => {
                addressing.update(ctx, |addressing| addressing.addresses.join(group));
            }
            Effect::Last => {
                addressing.update(ctx, |addressing| addressing.addresses.leave(group));
            }
            Effect::Another => {}
        }
        let filter = self.groups.filter(group);
        let (reporter, rng) = self.reporter(IpVersion::of_addr(group));
        reporter.change(group, &filter, now, rng);
        Ok(())
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

    /// Changes the membership of `socket` in `group`.
    ///
    /// # Errors
    /// A [`GroupError`]; nothing is changed then.
    pub(super) fn change<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        addressing: &CurrentAddressing,
        change: (IpAddr, &Arc<BoundSocket>, Change),
        now: Instant,
    ) -> Result<(), GroupError>
    where
        L: LockBefore<levels::Groups>,
    {
        self.state.with_write(ctx, |state, ctx| {
            state.change(ctx, addressing, change, now)?;
            self.note_deadline(state);
            Ok(())
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
            for group in state.groups.joined(&Member(Arc::clone(socket))) {
                // It is a member, and a member may always leave.
                let _ = state.change(ctx, addressing, (group, socket, Change::Leave), now);
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

    /// Calls `each` with every member of `group`, the sources that it wants, and a context in which its lock may be
    /// taken.
    pub(super) fn for_members<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        group: IpAddr,
        mut each: impl FnMut(&BoundSocket, &SourceFilter, &mut LockCtx<'_, levels::Groups>),
    ) where
        L: LockBefore<levels::Groups>,
    {
        self.state.with_read(ctx, |state, ctx| {
            for (member, filter) in state.groups.members(group) {
                each(&member.0, filter, ctx);
            }
        });
    }

    /// Returns `true` if `socket` is a member of `group`.
    pub(super) fn is_member<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        group: IpAddr,
        socket: &Arc<BoundSocket>,
    ) -> bool
    where
        L: LockBefore<levels::Groups>,
    {
        self.state.with_read(ctx, |state, _| {
            let mut members = state.groups.members(group).iter();
            members.any(|(member, _)| Arc::ptr_eq(&member.0, socket))
        })
    }

    /// Returns `true` if a member of `group` wants what `source` sends.
    pub(super) fn wants<L>(&self, ctx: &mut LockCtx<'_, L>, group: IpAddr, source: IpAddr) -> bool
    where
        L: LockBefore<levels::Groups>,
    {
        self.state.with_read(ctx, |state, _| {
            let mut members = state.groups.members(group).iter();
            members.any(|(_, filter)| filter.wants(source))
        })
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
