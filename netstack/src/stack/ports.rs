//! Ephemeral ports (RFC 6056), for both transports.

use std::io;
use std::net::{IpAddr, SocketAddr};

use lockorder::{LockBefore, LockCtx, Mutex};

use super::levels;
use crate::base::Rng;
use crate::demux::PortAllocator;

/// The allocator of ephemeral ports, and the randomness of those without a peer.
pub(crate) struct Ports(Mutex<levels::Ports, (PortAllocator, Rng)>);

impl Ports {
    pub(crate) fn new(allocator: PortAllocator, rng: Rng) -> Self {
        Self(Mutex::new((allocator, rng)))
    }

    /// Picks a port for a socket without a peer (RFC 6056 section 3.3.1).
    ///
    /// # Errors
    /// `AddrInUse` if each port of the range is in use.
    pub(crate) fn pick_unconnected<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        mut in_use: impl FnMut(&mut LockCtx<'_, levels::Ports>, u16) -> bool,
    ) -> io::Result<u16>
    where
        L: LockBefore<levels::Ports>,
    {
        self.0
            .with(ctx, |(ports, rng), ctx| {
                ports.pick_unconnected(rng, |port| in_use(ctx, port))
            })
            .map_err(|error| io::Error::new(io::ErrorKind::AddrInUse, error))
    }

    /// Picks a port for a flow from `local` to `remote` that `in_use` does not know.
    ///
    /// # Errors
    /// `AddrInUse` if each port of the range is in use.
    pub(crate) fn pick<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        local: IpAddr,
        remote: SocketAddr,
        mut in_use: impl FnMut(&mut LockCtx<'_, levels::Ports>, u16) -> bool,
    ) -> io::Result<u16>
    where
        L: LockBefore<levels::Ports>,
    {
        self.0
            .with(ctx, |(ports, _), ctx| {
                ports.pick(local, remote, |port| in_use(ctx, port))
            })
            .map_err(|error| io::Error::new(io::ErrorKind::AddrInUse, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::foreign::locked;

    #[test]
    fn each_port_is_asked_about_once_and_then_there_is_none() {
        let allocator = PortAllocator::new(50_000, 50_009, &mut Rng::from_seed([1; 32]));
        let ports = Ports::new(allocator, Rng::from_seed([2; 32]));
        let remote = SocketAddr::from(([192, 0, 2, 1], 80));
        let mut asked = Vec::new();
        let error = locked(|key| {
            ports.pick(&mut key.ctx(), remote.ip(), remote, |_, port| {
                asked.push(port);
                true
            })
        })
        .expect_err("all in use");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        asked.sort_unstable();
        assert_eq!(asked, (50_000..=50_009).collect::<Vec<_>>());
    }

    #[test]
    fn sockets_without_a_peer_get_ports_that_do_not_follow_each_other() {
        let allocator = PortAllocator::new(32_768, 60_999, &mut Rng::from_seed([1; 32]));
        let ports = Ports::new(allocator, Rng::from_seed([2; 32]));
        let picked: Vec<u16> = (0..32)
            .map(|_| {
                locked(|key| ports.pick_unconnected(&mut key.ctx(), |_, _| false)).expect("free")
            })
            .collect();
        let consecutive = picked.windows(2).filter(|w| w[0].abs_diff(w[1]) <= 1);
        assert_eq!(consecutive.count(), 0, "{picked:?}");
    }
}
