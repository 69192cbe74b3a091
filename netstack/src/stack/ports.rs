//! Ephemeral ports (RFC 6056), for both transports.

use std::io;
use std::net::{IpAddr, SocketAddr};

use lockorder::{LockBefore, LockCtx, Mutex};

use super::levels;
use crate::demux::PortAllocator;

/// The allocator of ephemeral ports.
pub(crate) struct Ports(Mutex<levels::Ports, PortAllocator>);

impl Ports {
    pub(crate) fn new(allocator: PortAllocator) -> Self {
        Self(Mutex::new(allocator))
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
            .with(ctx, |ports, ctx| {
                ports.pick(local, remote, |port| in_use(ctx, port))
            })
            .map_err(|error| io::Error::new(io::ErrorKind::AddrInUse, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use crate::stack::foreign::locked;

    #[test]
    fn each_port_is_asked_about_once_and_then_there_is_none() {
        let allocator = PortAllocator::new(50_000, 50_009, &mut Rng::from_seed([1; 32]));
        let ports = Ports::new(allocator);
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
}
