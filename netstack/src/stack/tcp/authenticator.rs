//! The keys of sockets behind their lock, and the sessions of authenticated connections (TCP-AO, RFC 5925).
//!
//! A session lives with its connection, under the connection's lock. A handshake that is half open keeps the number
//! of its key, and its session is made anew for each of its segments: what a SYN leaves behind stays small. A connection in
//! TIME-WAIT stays what it is, since the entries of others have no room for a session.

use std::net::SocketAddr;
use std::sync::Arc;

use lockorder::{LockBefore, LockCtx, RwLock};
use packet::checksum;
use packet::{IpProto, TxPacket};

use super::super::levels;
use crate::ao::{AoInfo, Ends, Fault, KeySet, Session};
use crate::demux::FlowKey;
use crate::icmp::ErrorKind;
use crate::tcp::HalfOpen;

/// Place of the checksum in a TCP header.
const CHECKSUM_AT: usize = 16;

/// The keys of a socket and its connections, shared with the program.
#[derive(Clone)]
pub(crate) struct Keys(Arc<RwLock<levels::AuthenticationKeys, KeySet>>);

impl Default for Keys {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(KeySet::default())))
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    /// Runs `f` on the keys.
    pub(crate) fn read<L, R>(&self, ctx: &mut LockCtx<'_, L>, f: impl FnOnce(&KeySet) -> R) -> R
    where
        L: LockBefore<levels::AuthenticationKeys>,
    {
        self.0.with_read(ctx, |keys, _| f(keys))
    }

    /// Runs `f` on the keys, which it may change.
    pub(crate) fn write<L, R>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        f: impl FnOnce(&mut KeySet) -> R,
    ) -> R
    where
        L: LockBefore<levels::AuthenticationKeys>,
    {
        self.0.with_write(ctx, |keys, _| f(keys))
    }
}

/// The authentication of a connection.
#[derive(Debug)]
pub(crate) struct Authenticator {
    keys: Keys,
    session: Session,
    ends: Ends,
    /// Hard ICMP errors end the connection as they end others.
    pub(crate) heeds_icmp: bool,
}

/// Returns the ends of a flow.
pub(super) fn ends_of(flow: &FlowKey) -> Ends {
    Ends {
        local: flow.local(),
        remote: flow.remote(),
    }
}

impl Authenticator {
    fn new(keys: &Keys, flow: &FlowKey, session: Session) -> Box<Self> {
        Box::new(Self {
            keys: keys.clone(),
            session,
            ends: ends_of(flow),
            heeds_icmp: false,
        })
    }

    /// Begins the session of an active open; `None` if there is no key for the peer.
    pub(crate) fn begin<L>(
        keys: &Keys,
        ctx: &mut LockCtx<'_, L>,
        flow: &FlowKey,
        iss: u32,
    ) -> Option<Box<Self>>
    where
        L: LockBefore<levels::AuthenticationKeys>,
    {
        let session = keys.read(ctx, |keys| keys.begin(flow.remote(), iss))?;
        Some(Self::new(keys, flow, session))
    }

    /// Makes the session of a handshake; `None` if its key was removed.
    pub(super) fn resume<L>(
        keys: &Keys,
        ctx: &mut LockCtx<'_, L>,
        flow: &FlowKey,
        half: &HalfOpen,
    ) -> Option<Box<Self>>
    where
        L: LockBefore<levels::AuthenticationKeys>,
    {
        let (key_id, iss, irs) = (half.key_id()?, half.iss().0, half.irs().0);
        let session = keys.read(ctx, |keys| keys.resume(flow.remote(), key_id, iss, irs))?;
        Some(Self::new(keys, flow, session))
    }

    /// Verifies a segment, from its first byte to its last.
    pub(super) fn verify<L>(&mut self, ctx: &mut LockCtx<'_, L>, wire: &[u8]) -> Result<(), Fault>
    where
        L: LockBefore<levels::AuthenticationKeys>,
    {
        let (session, ends) = (&mut self.session, &self.ends);
        self.keys.read(ctx, |keys| session.verify(keys, ends, wire))
    }

    /// Signs a packet of the connection, in whose header there is room for it; false if that is not possible.
    pub(super) fn sign<L>(&mut self, ctx: &mut LockCtx<'_, L>, packet: &mut TxPacket) -> bool
    where
        L: LockBefore<levels::AuthenticationKeys>,
    {
        if packet.offload.segment.is_some() {
            // The device would cut it: each part would need a code of its own.
            return false;
        }
        let (session, ends) = (&mut self.session, &self.ends);
        let ip_len = if ends.local.is_ipv4() { 20 } else { 40 };
        let header = packet.head.as_mut_slice().get_mut(ip_len..);
        let header = header.unwrap_or(&mut []);
        let payload = &packet.payload;
        let is_signed = self.keys.read(ctx, |keys| {
            session.sign(keys, ends, header, payload.slices(), payload.len_bytes())
        });
        if is_signed && packet.offload.checksum.is_none() {
            // It was computed before there was a code.
            complete_checksum(ends, header, payload);
        }
        is_signed
    }

    /// Runs `f` on the session, with the keys as they are and the peer's address.
    pub(crate) fn change<L, R>(
        &mut self,
        ctx: &mut LockCtx<'_, L>,
        f: impl FnOnce(&mut Session, &KeySet, SocketAddr) -> R,
    ) -> R
    where
        L: LockBefore<levels::AuthenticationKeys>,
    {
        let (session, peer) = (&mut self.session, self.ends.remote);
        self.keys.read(ctx, |keys| f(session, keys, peer))
    }

    pub(crate) fn info(&self) -> AoInfo {
        self.session.info()
    }

    /// Returns true if an ICMP error is to be ignored, because nobody vouches for it (RFC 5925 section 7.8).
    pub(super) fn ignores(&self, kind: ErrorKind) -> bool {
        let is_ipv4 = self.ends.remote.is_ipv4();
        let is_listed = match kind {
            ErrorKind::PortUnreachable => true,
            // "Fragmentation needed" is one of the three codes. Packet Too Big of IPv6 is not.
            ErrorKind::ProtocolUnreachable | ErrorKind::PacketTooBig { .. } => is_ipv4,
            ErrorKind::AdminProhibited => !is_ipv4,
            _ => false,
        };
        is_listed && !self.heeds_icmp
    }
}

/// Writes the checksum of a segment whose header is complete.
fn complete_checksum(ends: &Ends, header: &mut [u8], payload: &packet::Chunks) {
    let len = (header.len() + payload.len_bytes()) as u32;
    let (src, dst) = (ends.local.ip(), ends.remote.ip());
    let mut sum = checksum::pseudo_header(src, dst, IpProto::TCP, len);
    if let Some(field) = header.get_mut(CHECKSUM_AT..CHECKSUM_AT + 2) {
        field.fill(0);
    }
    sum.add_bytes(header);
    for piece in payload.slices() {
        sum.add_bytes(piece);
    }
    let sum = sum.finish().to_be_bytes();
    if let Some(field) = header.get_mut(CHECKSUM_AT..CHECKSUM_AT + 2) {
        for (byte, value) in field.iter_mut().zip(sum) {
            *byte = value;
        }
    }
}

#[cfg(all(test, feature = "tcp-ao"))]
mod tests {
    use super::*;
    use crate::ao::{AoAlgorithm, AoKey};

    #[test]
    fn rfc5925_7_8_the_hard_errors_of_each_family_are_ignored() {
        let about = |remote: &str, kind| {
            let local = match remote.contains(':') {
                true => "fd00::1",
                false => "10.0.0.1",
            };
            let address = |text: &str| text.parse().expect("an address");
            let flow = FlowKey::of(address(local), 1, address(remote), 179);
            let mut keys = KeySet::default();
            let key = AoKey::new(AoAlgorithm::HmacSha1, 1, 1, b"secret").expect("a key");
            keys.add(key).expect("the first");
            let session = keys.begin(flow.remote(), 7).expect("a key");
            let mut authenticator = Authenticator::new(&Keys::default(), &flow, session);
            let ignored = authenticator.ignores(kind);
            authenticator.heeds_icmp = true;
            assert!(!authenticator.ignores(kind));
            ignored
        };
        let too_big = ErrorKind::PacketTooBig { mtu: 1_280 };
        // Type 3, codes 2 to 4; type 1, codes 1 and 4.
        for kind in [
            ErrorKind::ProtocolUnreachable,
            ErrorKind::PortUnreachable,
            too_big,
        ] {
            assert!(about("10.0.0.2", kind), "{kind:?}");
        }
        for kind in [ErrorKind::AdminProhibited, ErrorKind::PortUnreachable] {
            assert!(about("fd00::2", kind), "{kind:?}");
        }
        for (remote, kind) in [
            ("10.0.0.2", ErrorKind::HostUnreachable),
            ("10.0.0.2", ErrorKind::AdminProhibited),
            ("fd00::2", too_big),
            ("fd00::2", ErrorKind::NetUnreachable),
        ] {
            assert!(!about(remote, kind), "{remote} {kind:?}");
        }
    }
}
