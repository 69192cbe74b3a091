//! The parameters of one authenticated connection (RFC 5925 section 4).

use std::net::SocketAddr;
use std::sync::Arc;

use packet::tcp::{TcpFlags, TcpUnverified, WireHeader};

use super::algorithm::{CODE_LEN, TrafficKey};
use super::extension::Extension;
use super::key::{AoKey, AoKeyError, KeySet};
use super::wire::{Covered, Found, context, find};

/// The two ends of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    /// This end.
    pub local: SocketAddr,
    /// The peer.
    pub remote: SocketAddr,
}

/// The reason to discard a segment without an answer (RFC 5925 section 7.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// There is a key for the peer, and the segment has no option.
    Missing,
    /// The segment has two options, or one beside that of MD5.
    Contradiction,
    /// No key for the peer has this number.
    UnknownKey,
    /// The code is of the wrong length, or not the right one.
    Code,
    /// There is no key for the peer, and the socket refuses others.
    Refused,
}

/// The keys in use by a connection, and what became of its segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct AoInfo {
    /// SendID of the key that signs what is sent (Current_key).
    pub current_key: u8,
    /// RecvID of the key that the peer is asked to sign with (Rnext_key).
    pub rnext_key: u8,
    /// KeyID and RNextKeyID of the newest segment that was accepted.
    pub last_received: Option<(u8, u8)>,
    /// Segments whose code was right.
    pub accepted: u64,
    /// Segments whose code was wrong.
    pub bad: u64,
    /// Segments without the option, or with two.
    pub missing: u64,
    /// Segments with the number of no key.
    pub unknown_key: u64,
}

/// Traffic keys of one master key: they follow from both initial sequence numbers.
#[derive(Debug)]
struct TrafficKeys {
    of: Arc<AoKey>,
    send: TrafficKey,
    recv: TrafficKey,
}

impl TrafficKeys {
    fn derive(key: &Arc<AoKey>, ends: &Ends, (iss, irs): (u32, u32)) -> Self {
        let Ends { local, remote } = *ends;
        Self {
            of: Arc::clone(key),
            send: key.traffic_key(&context(local, remote, iss, irs)),
            recv: key.traffic_key(&context(remote, local, irs, iss)),
        }
    }
}

/// The authentication of one connection.
#[derive(Debug)]
pub struct Session {
    /// Our initial sequence number.
    iss: u32,
    /// The peer's, once a segment told it whose code was right.
    irs: Option<u32>,
    current: Arc<AoKey>,
    rnext: Arc<AoKey>,
    sent: Extension,
    received: Extension,
    /// Those of each key that was used.
    traffic: Vec<TrafficKeys>,
    /// The change of the set that `traffic` follows.
    generation: Option<u64>,
    info: AoInfo,
}

/// A segment's fields that the option needs.
#[derive(Clone, Copy)]
struct Fields {
    seq: u32,
    /// It is a SYN without ACK: its sender knows one initial sequence number only.
    opens: bool,
    has_syn: bool,
}

impl Fields {
    fn of(wire: &WireHeader) -> Self {
        let has_syn = wire.control().contains(TcpFlags::SYN);
        Self {
            seq: wire.seq.get(),
            opens: has_syn && !wire.control().contains(TcpFlags::ACK),
            has_syn,
        }
    }
}

/// A segment from the peer, in its parts.
struct Parts<'a> {
    fields: Fields,
    header: &'a [u8],
    payload: &'a [u8],
    option: Found,
}

impl<'a> Parts<'a> {
    fn of(segment: &'a [u8]) -> Result<Self, Fault> {
        let wire = TcpUnverified::parse(segment).map_err(|_| Fault::Missing)?;
        let len = usize::from(wire.wire().data_offset >> 4) * 4;
        let (header, payload) = segment.split_at_checked(len).ok_or(Fault::Missing)?;
        let option = find(header).map_err(|_| Fault::Contradiction)?;
        Ok(Self {
            fields: Fields::of(wire.wire()),
            header,
            payload,
            option: option.ok_or(Fault::Missing)?,
        })
    }

    /// Checks the code.
    fn check(
        &self,
        ends: &Ends,
        (key, traffic): (&AoKey, &TrafficKey),
        extension: u32,
    ) -> Result<(), Fault> {
        // Before anything is computed.
        if self.option.code().len() != CODE_LEN {
            return Err(Fault::Code);
        }
        let covered = Covered {
            extension,
            src: ends.remote.ip(),
            dst: ends.local.ip(),
            header: self.header,
            option: &self.option,
            with_options: key.covers_options(),
        };
        let code = covered.code(traffic, [self.payload].into_iter(), self.payload.len());
        let received = self.header.get(self.option.code()).unwrap_or(&[]);
        code.is(received).then_some(()).ok_or(Fault::Code)
    }
}

impl KeySet {
    /// Verifies the SYN of a peer (RFC 5925 section 7.5, step 1). Returns the RecvID of its key, for
    /// [`resume`](Self::resume), or `None` if the connection is not authenticated.
    ///
    /// # Errors
    /// The reason to discard it.
    pub fn verify_syn(&self, ends: &Ends, syn: &[u8]) -> Result<Option<u8>, Fault> {
        let remote = ends.remote;
        if !self.is_for(remote) {
            return match self.refuses_others() {
                true => Err(Fault::Refused),
                false => Ok(None),
            };
        }
        let syn = Parts::of(syn)?;
        let key = self.receiving(remote, syn.option.key_id);
        let key = key.ok_or(Fault::UnknownKey)?;
        let traffic = key.traffic_key(&context(remote, ends.local, syn.fields.seq, 0));
        syn.check(ends, (key, &traffic), 0)?;
        Ok(Some(key.recv_id()))
    }

    /// Returns true if connections with that peer are authenticated.
    pub fn is_for(&self, peer: SocketAddr) -> bool {
        self.of(peer).next().is_some()
    }

    /// Begins the session of an active open: the first key for the peer signs the SYN. `None`: there is no key.
    pub fn begin(&self, remote: SocketAddr, iss: u32) -> Option<Session> {
        let key = self.of(remote).next()?;
        Some(Session::new(iss, None, key))
    }

    /// Continues the handshake of a peer with the key that verified its SYN, in both directions; `None` if the key was
    /// removed meanwhile. Which key the peer is ready for, its next segment says again.
    pub fn resume(&self, remote: SocketAddr, recv_id: u8, iss: u32, irs: u32) -> Option<Session> {
        let key = self.receiving(remote, recv_id)?;
        Some(Session::new(iss, Some(irs), key))
    }
}

impl Session {
    fn new(iss: u32, irs: Option<u32>, key: &Arc<AoKey>) -> Self {
        Self {
            iss,
            irs,
            current: Arc::clone(key),
            rnext: Arc::clone(key),
            sent: Extension::new(iss),
            received: Extension::new(irs.unwrap_or(0)),
            traffic: Vec::new(),
            generation: None,
            info: AoInfo::default(),
        }
    }

    /// Verifies a segment from the peer, from its first byte to its last (RFC 5925 section 7.5, step 2).
    ///
    /// # Errors
    /// The reason to discard it. Nothing changed but the counts.
    pub fn verify(&mut self, keys: &KeySet, ends: &Ends, segment: &[u8]) -> Result<(), Fault> {
        let verified = self.accept(keys, ends, segment);
        let count = match verified {
            Ok(()) => &mut self.info.accepted,
            Err(Fault::Missing | Fault::Contradiction | Fault::Refused) => &mut self.info.missing,
            Err(Fault::UnknownKey) => &mut self.info.unknown_key,
            Err(Fault::Code) => &mut self.info.bad,
        };
        *count += 1;
        verified
    }

    fn accept(&mut self, keys: &KeySet, ends: &Ends, segment: &[u8]) -> Result<(), Fault> {
        self.follow(keys);
        let parts = Parts::of(segment)?;
        let fields = parts.fields;
        let key = keys.receiving(ends.remote, parts.option.key_id);
        let key = key.ok_or(Fault::UnknownKey)?;
        let verify = |traffic: &TrafficKey, extension| parts.check(ends, (key, traffic), extension);
        let derive =
            |dst_isn| key.traffic_key(&context(ends.remote, ends.local, fields.seq, dst_isn));
        match self.irs {
            _ if fields.opens => {
                verify(&derive(0), 0)?;
                if self.irs.is_some() {
                    // Whoever recorded it can repeat it at any time: it says nothing about this connection.
                    return Ok(());
                }
            }
            None if fields.has_syn => verify(&derive(self.iss), 0)?,
            // Whoever sends it does not know the connection.
            None => return Err(Fault::Code),
            Some(irs) => {
                let whole = self.received.whole(fields.seq);
                let extension = whole.extension();
                match self.known(key) {
                    Some(traffic) => verify(&traffic.recv, extension)?,
                    None => {
                        let traffic = TrafficKeys::derive(key, ends, (self.iss, irs));
                        verify(&traffic.recv, extension)?;
                        self.traffic.push(traffic);
                    }
                }
                let is_newest = self.received.is_newest(whole);
                self.received.note(whole);
                if !is_newest {
                    // What it asks for was overtaken.
                    return Ok(());
                }
            }
        }
        self.note_accepted(keys, ends, &parts.option, fields);
        Ok(())
    }

    /// Notes what the newest segment says whose code is right.
    fn note_accepted(&mut self, keys: &KeySet, ends: &Ends, option: &Found, fields: Fields) {
        if self.irs.is_none() {
            self.irs = Some(fields.seq);
            self.received = Extension::new(fields.seq);
        }
        self.info.last_received = Some((option.key_id, option.next_key_id));
        if option.next_key_id != self.current.send_id()
            && let Some(key) = keys.sending(ends.remote, option.next_key_id)
        {
            self.current = Arc::clone(key);
        }
    }

    /// Signs a segment (RFC 5925 section 7.4, step 2): fills identifiers and code into the option of its header, for which
    /// [`TcpOptions::authentication_len`](packet::tcp::TcpOptions::authentication_len) left room. `payload` has
    /// `payload_len` bytes in pieces. Returns false if it cannot be signed: there is no key for the peer any more, or the
    /// peer's initial sequence number is not known.
    #[must_use]
    pub fn sign<'p>(
        &mut self,
        keys: &KeySet,
        ends: &Ends,
        header: &mut [u8],
        payload: impl Iterator<Item = &'p [u8]>,
        payload_len: usize,
    ) -> bool {
        self.follow(keys);
        if !self.has_keys(keys, ends) {
            return false;
        }
        let (Ok(wire), Ok(Some(option))) = (TcpUnverified::parse(header), find(header)) else {
            return false;
        };
        let fields = Fields::of(wire.wire());
        if option.code().len() != CODE_LEN {
            return false;
        }
        let ids = [self.current.send_id(), self.rnext.recv_id()];
        let at = option.at.start + 2..option.at.start + 4;
        let place = header.get_mut(at).unwrap_or(&mut []);
        for (byte, id) in place.iter_mut().zip(ids) {
            *byte = id;
        }
        let key = Arc::clone(&self.current);
        let whole = self.sent.whole(fields.seq);
        let covered = Covered {
            extension: whole.extension(),
            src: ends.local.ip(),
            dst: ends.remote.ip(),
            header,
            option: &option,
            with_options: key.covers_options(),
        };
        let code = if fields.opens {
            let traffic = key.traffic_key(&context(ends.local, ends.remote, self.iss, 0));
            covered.code(&traffic, payload, payload_len)
        } else if let Some(irs) = self.irs {
            if self.known(&key).is_none() {
                let traffic = TrafficKeys::derive(&key, ends, (self.iss, irs));
                self.traffic.push(traffic);
            }
            match self.known(&key) {
                Some(traffic) => covered.code(&traffic.send, payload, payload_len),
                None => return false,
            }
        } else {
            return false;
        };
        let place = header.get_mut(option.code()).unwrap_or(&mut []);
        for (byte, from) in place.iter_mut().zip(code.bytes()) {
            *byte = *from;
        }
        self.sent.note(whole);
        true
    }

    /// Signs from now on with the key that has the number `send_id` (RFC 5925 section 7.1).
    ///
    /// # Errors
    /// [`AoKeyError::NotFound`] if no key for the peer has it.
    pub fn set_current(
        &mut self,
        keys: &KeySet,
        peer: SocketAddr,
        id: u8,
    ) -> Result<(), AoKeyError> {
        let key = keys.sending(peer, id);
        let which = "send";
        self.current = Arc::clone(key.ok_or(AoKeyError::NotFound { peer, which, id })?);
        Ok(())
    }

    /// Asks the peer from now on to sign with the key that has the number `recv_id` here (RFC 5925 section 7.1).
    ///
    /// # Errors
    /// [`AoKeyError::NotFound`] if no key for the peer has it.
    pub fn set_rnext(&mut self, keys: &KeySet, peer: SocketAddr, id: u8) -> Result<(), AoKeyError> {
        let key = keys.receiving(peer, id);
        let which = "receive";
        self.rnext = Arc::clone(key.ok_or(AoKeyError::NotFound { peer, which, id })?);
        Ok(())
    }

    /// Returns the keys in use, and the counts.
    pub fn info(&self) -> AoInfo {
        AoInfo {
            current_key: self.current.send_id(),
            rnext_key: self.rnext.recv_id(),
            ..self.info
        }
    }

    /// Returns the traffic keys of a master key that was used before.
    fn known(&self, key: &Arc<AoKey>) -> Option<&TrafficKeys> {
        self.traffic.iter().find(|keys| Arc::ptr_eq(&keys.of, key))
    }

    /// Drops what was derived of master keys that left the set, if it changed.
    fn follow(&mut self, keys: &KeySet) {
        if self.generation != Some(keys.generation()) {
            self.generation = Some(keys.generation());
            self.traffic.retain(|traffic| keys.holds(&traffic.of));
        }
    }

    /// Replaces a key that left the set by another one for the peer; false if there is none.
    fn has_keys(&mut self, keys: &KeySet, ends: &Ends) -> bool {
        let Some(first) = keys.of(ends.remote).next() else {
            return false;
        };
        if !keys.holds(&self.rnext) {
            self.rnext = Arc::clone(first);
        }
        if !keys.holds(&self.current) {
            self.current = Arc::clone(&self.rnext);
        }
        true
    }
}
