//! The algorithms of RFC 5926: how a traffic key is derived, and how a code is computed with it.

#[cfg(feature = "tcp-ao")]
use aes::Aes128;
#[cfg(feature = "tcp-ao")]
use cmac::{Cmac, Mac};
#[cfg(feature = "tcp-ao")]
use hmac::Hmac;
#[cfg(feature = "tcp-ao")]
use sha1::Sha1;
#[cfg(feature = "tcp-ao")]
use subtle::ConstantTimeEq as _;
#[cfg(feature = "tcp-ao")]
use zeroize::Zeroizing;

/// Length of a code, in bytes (RFC 5926 section 3.2).
pub(super) const CODE_LEN: usize = 12;

/// The algorithms of a key: that of its traffic keys, and that of the codes.
#[cfg(feature = "tcp-ao")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum AoAlgorithm {
    /// KDF_HMAC_SHA1 and HMAC-SHA-1-96: "SHA1" in the configuration of most systems (RFC 5926 sections 3.1.1.1 and 3.2.1).
    #[default]
    HmacSha1,
    /// KDF_AES_128_CMAC and AES-128-CMAC-96: "AES128" (RFC 5926 sections 3.1.1.2 and 3.2.2).
    AesCmac,
}

/// The algorithms of a key. There are none without the feature `tcp-ao`.
#[cfg(not(feature = "tcp-ao"))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AoAlgorithm {}

/// The bytes of a master key, which are overwritten when they are dropped.
#[cfg(feature = "tcp-ao")]
pub(super) type Secret = Zeroizing<Vec<u8>>;

/// The bytes of a master key. There are none without the feature `tcp-ao`.
#[cfg(not(feature = "tcp-ao"))]
pub(super) type Secret = Vec<u8>;

/// A traffic key, ready to compute codes (RFC 5925 section 3.2).
#[derive(Clone)]
pub(super) struct TrafficKey(State);

#[derive(Clone)]
enum State {
    #[cfg(feature = "tcp-ao")]
    HmacSha1(Hmac<Sha1>),
    #[cfg(feature = "tcp-ao")]
    AesCmac(Box<Cmac<Aes128>>),
    #[cfg(not(feature = "tcp-ao"))]
    None(AoAlgorithm),
}

impl std::fmt::Debug for TrafficKey {
    /// Writes nothing of the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TrafficKey")
    }
}

/// The input of the key derivation: `i || Label || Context || Output_Length` (RFC 5926 section 3.1.1).
#[cfg(feature = "tcp-ao")]
fn derive<M: Mac>(mut mac: M, context: &[u8], output_bits: u16) -> M {
    mac.update(&[1]);
    mac.update(b"TCP-AO");
    mac.update(context);
    mac.update(&output_bits.to_be_bytes());
    mac
}

#[cfg(feature = "tcp-ao")]
fn hmac_sha1(key: &[u8]) -> Hmac<Sha1> {
    // HMAC takes keys of any length.
    <Hmac<Sha1> as Mac>::new_from_slice(key).unwrap_or_else(|_| unreachable!("any key fits"))
}

#[cfg(feature = "tcp-ao")]
fn aes_cmac(key: &[u8; 16]) -> Cmac<Aes128> {
    <Cmac<Aes128> as Mac>::new(key.into())
}

#[cfg(feature = "tcp-ao")]
impl AoAlgorithm {
    /// Derives the traffic key of a connection from a master key (RFC 5926 section 3.1).
    pub(super) fn traffic_key(self, secret: &[u8], context: &[u8]) -> TrafficKey {
        TrafficKey(match self {
            Self::HmacSha1 => {
                let derived = derive(hmac_sha1(secret), context, 160).finalize();
                let key = Zeroizing::<[u8; 20]>::new(derived.into_bytes().into());
                State::HmacSha1(hmac_sha1(&*key))
            }
            Self::AesCmac => {
                let secret = Zeroizing::<[u8; 16]>::new(secret.try_into().unwrap_or_else(|_| {
                    let mut extractor = aes_cmac(&[0; 16]);
                    extractor.update(secret);
                    extractor.finalize().into_bytes().into()
                }));
                let derived = derive(aes_cmac(&secret), context, 128).finalize();
                let key = Zeroizing::<[u8; 16]>::new(derived.into_bytes().into());
                State::AesCmac(Box::new(aes_cmac(&key)))
            }
        })
    }
}

#[cfg(not(feature = "tcp-ao"))]
impl AoAlgorithm {
    pub(super) fn traffic_key(self, _secret: &[u8], _context: &[u8]) -> TrafficKey {
        TrafficKey(State::None(self))
    }
}

impl TrafficKey {
    /// Computes the code of a message that `feed` gives piece by piece.
    pub(super) fn code(&self, feed: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Code {
        match &self.0 {
            #[cfg(feature = "tcp-ao")]
            State::HmacSha1(keyed) => code_of(keyed.clone(), feed),
            #[cfg(feature = "tcp-ao")]
            State::AesCmac(keyed) => code_of(Cmac::clone(keyed), feed),
            #[cfg(not(feature = "tcp-ao"))]
            State::None(none) => {
                drop(feed);
                match *none {}
            }
        }
    }
}

#[cfg(feature = "tcp-ao")]
fn code_of<M: Mac>(mut mac: M, feed: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Code {
    feed(&mut |piece| mac.update(piece));
    let mut code = [0; CODE_LEN];
    for (byte, from) in code.iter_mut().zip(mac.finalize().into_bytes()) {
        *byte = from;
    }
    Code(code)
}

/// The code of a segment. Codes can be compared in constant time only.
#[cfg(feature = "tcp-ao")]
pub(super) struct Code([u8; CODE_LEN]);

/// The code of a segment. There are none without the feature `tcp-ao`.
#[cfg(not(feature = "tcp-ao"))]
pub(super) struct Code(AoAlgorithm);

#[cfg(feature = "tcp-ao")]
impl Code {
    /// Returns true if a segment has this code.
    pub(super) fn is(&self, received: &[u8]) -> bool {
        self.0.ct_eq(received).into()
    }

    pub(super) fn bytes(&self) -> &[u8; CODE_LEN] {
        &self.0
    }
}

#[cfg(not(feature = "tcp-ao"))]
impl Code {
    pub(super) fn is(&self, _received: &[u8]) -> bool {
        match self.0 {}
    }

    pub(super) fn bytes(&self) -> &[u8; CODE_LEN] {
        match self.0 {}
    }
}
