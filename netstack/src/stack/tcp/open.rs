//! Active opens: addresses, port, owner and parameters of a new connection (RFC 9293 section 3.10.1).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use lockorder::Key;
use packet::buf::Level;

use super::super::events::EventLog;
use super::super::foreign::locked;
use super::super::host::Host;
use super::super::ip::outbound::{LOOPBACK, path_to};
use super::super::levels::StackLocks;
use super::authenticator::Authenticator;
use super::connection::Connection;
use super::control::abort;
use super::displace::make_room_to_connect;
use super::options::Options;
use super::table::InsertError;
use crate::ao::KeySet;
use crate::base::Instant;
use crate::base::counters::Counter;
use crate::demux::FlowKey;
use crate::tcp::{Open, Tcp};

/// Ports that are tried when another thread takes the chosen one first.
const PORT_ATTEMPTS: usize = 8;

/// Starts an active open; the SYN leaves with the owner's next turn.
pub(crate) fn connect(
    host: &Host,
    local: Option<SocketAddr>,
    remote: SocketAddr,
    options: &Options,
) -> io::Result<Arc<Connection>> {
    start(host, local, remote, options, None).map(|(connection, _)| connection)
}

/// Starts an active open with `data` for the peer, which leaves with the SYN if a cookie is known. Returns how much of it
/// was taken.
pub(crate) fn connect_with_data(
    host: &Host,
    local: Option<SocketAddr>,
    remote: SocketAddr,
    options: &Options,
    data: &[u8],
) -> io::Result<(Arc<Connection>, usize)> {
    start(host, local, remote, options, Some(data))
}

/// Returns how many bytes would leave with the SYN of a connection to `remote`.
pub(crate) fn fast_open_room(
    host: &Host,
    local: Option<SocketAddr>,
    remote: SocketAddr,
    options: &Options,
) -> io::Result<usize> {
    let addressing = host.ip.addressing.get();
    let local = addressing.choose_local(local, remote, options.source_preference)?;
    let flow = FlowKey::new(local, remote);
    let room = locked(|key| {
        let now = host.clock.now();
        let mss = path_mss(host, key, &flow, now).min(options.config.max_mss);
        let ctx = &mut key.ctx();
        if let Some(keys) = &options.keys
            && keys.read(ctx, |keys| keys.is_for(remote))
        {
            return 0;
        }
        let fast_open = &host.tcp.fast_open;
        fast_open.connect(ctx, local.ip(), remote, mss, now).room
    });
    Ok(room.into())
}

fn start(
    host: &Host,
    local: Option<SocketAddr>,
    remote: SocketAddr,
    options: &Options,
    data: Option<&[u8]>,
) -> io::Result<(Arc<Connection>, usize)> {
    host.ending.check_open()?;
    if host.buffers.level() == Level::Limit {
        return Err(io::Error::new(
            io::ErrorKind::OutOfMemory,
            "connect: the stack's memory is nearly used up; try again later, or raise memory_bytes",
        ));
    }
    let addressing = host.ip.addressing.get();
    addressing.check_peer(remote)?;
    let local = addressing.choose_local(local, remote, options.source_preference)?;
    let (connection, taken) = insert(host, local, remote, options, data)?;
    // The end of the stack resets the connections of the table: it may have missed this one.
    if let Err(ended) = host.ending.check_open() {
        abort(host, &connection);
        return Err(ended);
    }
    // So does the removal of an address.
    let addressing = host.ip.addressing.get();
    if let Err(removed) = addressing.check_bind("connect", &local) {
        abort(host, &connection);
        return Err(removed);
    }
    Ok((connection, taken))
}

/// Enters a new connection in the table.
fn insert(
    host: &Host,
    local: SocketAddr,
    remote: SocketAddr,
    options: &Options,
    data: Option<&[u8]>,
) -> io::Result<(Arc<Connection>, usize)> {
    let attempts = if local.port() == 0 { PORT_ATTEMPTS } else { 1 };
    let mut may_make_room = true;
    for _ in 0..=attempts {
        match locked(|key| try_connect(host, key, local, remote, options, data))? {
            Ok(started) => return Ok(started),
            Err(InsertError::Exists) if local.port() == 0 => {}
            Err(InsertError::Exists) => break,
            Err(InsertError::Full) => {
                let flow = FlowKey::new(local, remote);
                if !std::mem::take(&mut may_make_room) || !make_room_to_connect(host, &flow) {
                    return Err(io::Error::new(
                        io::ErrorKind::OutOfMemory,
                        "connect: max_connections reached; raise it in the configuration",
                    ));
                }
            }
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        format!("connect: {local} to {remote} is in use by another connection"),
    ))
}

fn try_connect(
    host: &Host,
    key: &mut Key<StackLocks>,
    local: SocketAddr,
    remote: SocketAddr,
    options: &Options,
    data: Option<&[u8]>,
) -> io::Result<Result<(Arc<Connection>, usize), InsertError>> {
    let owner = host.workers.choose_owner(&local, &remote);
    let flow = match local.port() {
        0 => choose_port(host, key, local, remote)?,
        _ => FlowKey::new(local, remote),
    };
    let now = host.clock.now();
    let open = open_parameters(host, key, &flow, now);
    let mut events = Vec::new();
    let mut log = EventLog::new(&host.subscription, &flow, &mut events);
    let cfg = &options.config;
    let authenticator = authenticate(key, &flow, open.isn.0, options)?;
    let (tcp, taken) = match data {
        None => (Tcp::connect(cfg, open, log.context(now)), 0),
        Some(data) => {
            let fast_open = &host.tcp.fast_open;
            let mss = open.path_mss.min(cfg.max_mss);
            let (local, ctx) = (flow.local().ip(), &mut key.ctx());
            let mut connect = fast_open.connect(ctx, local, remote, mss, now);
            if authenticator.is_some() {
                // A listener with keys gives no cookies.
                connect.option = None;
            }
            Tcp::connect_early(cfg, open, connect, data, &host.buffers, log.context(now))
        }
    };
    let connection = Connection::new(flow, owner, tcp, options, authenticator);
    let connections = &host.tcp.connections;
    let inserted = connections.insert(&mut key.ctx(), Arc::clone(&connection));
    Ok(inserted.map(|()| {
        host.workers.counters_here().add(Counter::TcpConnects, 1);
        // No lock is held, but this thread's key is: the subscriber may need it.
        key.lend(|| host.subscription.deliver(&mut events));
        host.workers.drive(&connection);
        (connection, taken)
    }))
}

/// Begins the authentication of a connection, if there is a key for its peer.
fn authenticate(
    key: &mut Key<StackLocks>,
    flow: &FlowKey,
    iss: u32,
    options: &Options,
) -> io::Result<Option<Box<Authenticator>>> {
    let Some(keys) = &options.keys else {
        return Ok(None);
    };
    let ctx = &mut key.ctx();
    let authenticator = Authenticator::begin(keys, ctx, flow, iss);
    if authenticator.is_none() && keys.read(ctx, KeySet::refuses_others) {
        let remote = flow.remote();
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "connect: no key for {remote}: add one to the keys of this socket, or let them accept other peers"
            ),
        ));
    }
    Ok(authenticator)
}

/// Picks an ephemeral port for a connection (RFC 6056).
fn choose_port(
    host: &Host,
    key: &mut Key<StackLocks>,
    local: SocketAddr,
    remote: SocketAddr,
) -> io::Result<FlowKey> {
    let flow = |port| FlowKey::of(local.ip(), port, remote.ip(), remote.port());
    let connections = &host.tcp.connections;
    host.ports
        .pick(&mut key.ctx(), local.ip(), remote, |ctx, port| {
            // A connection of a port to itself would open without a listener.
            let is_itself = port == remote.port() && local.ip() == remote.ip();
            is_itself || connections.contains(ctx, &flow(port))
        })
        .map(flow)
}

/// Returns the sequence number, timestamp offset and MSS of a new connection.
pub(in crate::stack) fn open_parameters(
    host: &Host,
    key: &mut Key<StackLocks>,
    flow: &FlowKey,
    now: Instant,
) -> Open {
    let (local, remote) = (flow.local(), flow.remote());
    Open {
        isn: host.tcp.isn.isn(now, local, remote),
        ts_offset: host.tcp.isn.ts_offset(local, remote),
        mss: mss_for(host.ip.paths.link_mtu(), remote.is_ipv4()),
        path_mss: path_mss(host, key, flow, now),
    }
}

/// Returns the largest segment that the path to the peer carries.
pub(super) fn path_mss(
    host: &Host,
    key: &mut Key<StackLocks>,
    flow: &FlowKey,
    now: Instant,
) -> u16 {
    let (local, remote) = (flow.local().ip(), flow.remote().ip());
    // Not all connections of the host to itself, but those that nobody bound to two different addresses.
    let path = if remote.is_loopback() || remote == local {
        LOOPBACK
    } else {
        path_to(host, key, remote, now)
    };
    mss_for(path.mtu, remote.is_ipv4())
}

/// Returns the payload of a full segment without options on a path of that MTU (RFC 9293 section
/// 3.7.1).
pub(in crate::stack) fn mss_for(mtu: u16, ipv4: bool) -> u16 {
    mtu.saturating_sub(headers_len(ipv4))
}

/// Returns the length of the fixed headers of IP and TCP.
pub(in crate::stack) fn headers_len(ipv4: bool) -> u16 {
    if ipv4 { 40 } else { 60 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9293 section 3.7.1, RFC 8200 section 8.3.
    #[test]
    fn the_mss_is_the_mtu_less_both_headers() {
        for (mtu, v4, v6) in [(1_500, 1_460, 1_440), (1_280, 1_240, 1_220), (40, 0, 0)] {
            assert_eq!((mss_for(mtu, true), mss_for(mtu, false)), (v4, v6));
        }
    }
}
