//! The state of a stack for TCP Fast Open (RFC 7413): the keys of the cookies that it gives, and the cookies that peers gave.

use std::net::{IpAddr, SocketAddr};

use lockorder::{LockBefore, LockCtx, Mutex};
use packet::tcp::FastOpen;

use super::super::levels;
use crate::base::{Instant, Rng};
use crate::demux::FlowKey;
use crate::ip::key::HashKey;
use crate::tcp::{CookieCheck, FastConnect, FastOpenCache, FastOpenNews, FastOpenSecrets};

/// The keys and the cookies of a stack.
pub(crate) struct FastOpens(Mutex<levels::FastOpen, State>);

struct State {
    secrets: FastOpenSecrets,
    peers: FastOpenCache<HashKey>,
    rng: Rng,
}

impl FastOpens {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self(Mutex::new(State {
            secrets: FastOpenSecrets::new(rng, Instant::ZERO),
            peers: FastOpenCache::new(HashKey::random(rng)),
            rng: Rng::from_u64(rng.u64()),
        }))
    }

    /// Sets the keys, which the program replaces from now on.
    pub(crate) fn set_keys<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        current: [u8; 16],
        previous: Option<[u8; 16]>,
    ) where
        L: LockBefore<levels::FastOpen>,
    {
        self.0.with(ctx, |state, _| {
            state.secrets = FastOpenSecrets::fixed(current, previous);
        });
    }

    /// Returns the keys.
    pub(crate) fn secrets<L>(&self, ctx: &mut LockCtx<'_, L>) -> FastOpenSecrets
    where
        L: LockBefore<levels::FastOpen>,
    {
        self.0.with(ctx, |state, _| state.secrets.clone())
    }

    /// Takes over the keys of another stack.
    pub(crate) fn import<L>(&self, ctx: &mut LockCtx<'_, L>, secrets: FastOpenSecrets)
    where
        L: LockBefore<levels::FastOpen>,
    {
        self.0.with(ctx, |state, _| state.secrets = secrets);
    }

    /// Judges the option of a client's SYN. The second value is the cookie that the client should have.
    pub(in crate::stack) fn judge<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        flow: &FlowKey,
        option: &FastOpen,
        now: Instant,
    ) -> (CookieCheck, FastOpen)
    where
        L: LockBefore<levels::FastOpen>,
    {
        let (client, server) = (flow.remote().ip(), flow.local().ip());
        self.0.with(ctx, |state, _| {
            state.secrets.rotate(now, &mut state.rng);
            let check = state.secrets.judge(client, server, option);
            (check, state.secrets.cookie(client, server))
        })
    }

    /// Returns what a SYN from `local` to `remote` may have.
    pub(crate) fn connect<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        local: IpAddr,
        remote: SocketAddr,
        mss: u16,
        now: Instant,
    ) -> FastConnect
    where
        L: LockBefore<levels::FastOpen>,
    {
        self.0.with(ctx, |state, _| {
            state.peers.connect((local, remote), mss, now)
        })
    }

    /// Notes what a SYN-ACK said.
    pub(in crate::stack) fn note<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        flow: &FlowKey,
        news: FastOpenNews,
        now: Instant,
    ) where
        L: LockBefore<levels::FastOpen>,
    {
        let path = (flow.local().ip(), flow.remote());
        self.0
            .with(ctx, |state, _| state.peers.note(path, news, now));
    }
}
