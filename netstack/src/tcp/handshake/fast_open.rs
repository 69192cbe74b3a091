//! The cookies of TCP Fast Open (RFC 7413 section 4.1.2): what a server gives to a client that asked, and takes as proof
//! that a SYN with data comes from that address.
//!
//! * **Define.** [`FastOpenSecrets`] are the key that makes cookies, and the one before.
//! * **Enforce.** A cookie is a keyed hash of both addresses. The keys are private; random ones are replaced every
//!   [`FAST_OPEN_KEY_LIFE`], so a cookie is valid for once to twice as long.
//! * **Consume.** A SYN makes a connection only with a cookie that [`FastOpenSecrets::judge`] found valid.
//!
//! The hash is the one of Linux (SipHash-2-4 of the client's and the server's address), so hosts that share a key and an
//! address take each other's cookies (section 6.3.3), whichever of the two systems they run.

use core::hash::Hasher;
use core::net::IpAddr;
use core::time::Duration;

use packet::tcp::FastOpen;
use siphasher::sip::SipHasher24;

use crate::base::{Instant, Rng};

/// Time for which a random key makes cookies.
pub const FAST_OPEN_KEY_LIFE: Duration = Duration::from_secs(12 * 3_600);

/// The keys of Fast Open cookies.
#[derive(Clone)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub struct FastOpenSecrets {
    current: [u8; 16],
    previous: Option<[u8; 16]>,
    /// When the current key is to be replaced; `Instant::FAR_FUTURE`: the program sets the keys.
    rotates_at: Instant,
}

impl core::fmt::Debug for FastOpenSecrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FastOpenSecrets")
    }
}

/// The judgment about a cookie that came with a SYN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CookieCheck {
    /// It was made with the current key.
    Current,
    /// It was made with the key before: it is valid, and the client should get a new one.
    Previous,
    /// It was not made here for these addresses, or too long ago.
    Invalid,
}

impl FastOpenSecrets {
    /// Creates random secrets, which are replaced as time passes.
    pub fn new(rng: &mut Rng, now: Instant) -> Self {
        let mut current = [0; 16];
        rng.fill(&mut current);
        Self {
            current,
            previous: None,
            rotates_at: now + FAST_OPEN_KEY_LIFE,
        }
    }

    /// Creates secrets that never change: the program shares them with other hosts and replaces them itself.
    pub fn fixed(current: [u8; 16], previous: Option<[u8; 16]>) -> Self {
        Self {
            current,
            previous,
            rotates_at: Instant::FAR_FUTURE,
        }
    }

    /// Returns true if [`rotate`](Self::rotate) must be called before a cookie is made or judged.
    pub fn is_rotation_due(&self, now: Instant) -> bool {
        now >= self.rotates_at
    }

    /// Replaces the keys whose time is over.
    pub fn rotate(&mut self, now: Instant, rng: &mut Rng) {
        if !self.is_rotation_due(now) {
            return;
        }
        let is_recent = now < self.rotates_at + FAST_OPEN_KEY_LIFE;
        self.previous = is_recent.then_some(self.current);
        rng.fill(&mut self.current);
        self.rotates_at = now + FAST_OPEN_KEY_LIFE;
    }

    /// Returns the cookie for a client.
    pub fn cookie(&self, client: IpAddr, server: IpAddr) -> FastOpen {
        let cookie = hash(&self.current, client, server).to_le_bytes();
        FastOpen::new(&cookie).unwrap_or(FastOpen::REQUEST)
    }

    /// Judges the cookie that came with a client's SYN.
    pub fn judge(&self, client: IpAddr, server: IpAddr, presented: &FastOpen) -> CookieCheck {
        let Ok(presented) = presented.cookie().try_into().map(u64::from_le_bytes) else {
            return CookieCheck::Invalid;
        };
        let is_made_with = |key| hash(key, client, server) == presented;
        if is_made_with(&self.current) {
            CookieCheck::Current
        } else if self.previous.as_ref().is_some_and(is_made_with) {
            CookieCheck::Previous
        } else {
            CookieCheck::Invalid
        }
    }
}

fn hash(key: &[u8; 16], client: IpAddr, server: IpAddr) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    for address in [client, server] {
        match address {
            IpAddr::V4(v4) => hasher.write(&v4.octets()),
            IpAddr::V6(v6) => hasher.write(&v6.octets()),
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> (IpAddr, IpAddr) {
        ([192, 0, 2, 1].into(), [192, 168, 0, 1].into())
    }

    /// The cookies that Linux makes with these keys, as scripts of public suites have them.
    #[test]
    fn cookies_are_those_of_linux_with_the_same_key() {
        let words = [0xa1_u8, 0xb2, 0xc3, 0xd4].map(|byte| [byte; 4]);
        let key: [u8; 16] = words.as_flattened().try_into().expect("16 bytes");
        let (client, server) = addresses();
        let secrets = FastOpenSecrets::fixed(key, None);
        let expected = 0x3021_b9d8_8901_7eeb_u64.to_be_bytes();
        assert_eq!(secrets.cookie(client, server).cookie(), expected);
    }

    #[test]
    fn a_cookie_is_valid_for_its_addresses_and_for_two_lives_of_keys() {
        let mut rng = Rng::from_u64(7);
        let (client, server) = addresses();
        let mut now = Instant::from_millis(5);
        let mut secrets = FastOpenSecrets::new(&mut rng, now);
        let cookie = secrets.cookie(client, server);
        assert_eq!(secrets.judge(client, server, &cookie), CookieCheck::Current);
        assert_eq!(secrets.judge(server, client, &cookie), CookieCheck::Invalid);
        assert!(!secrets.is_rotation_due(now));
        now = now + FAST_OPEN_KEY_LIFE;
        assert!(secrets.is_rotation_due(now));
        secrets.rotate(now, &mut rng);
        assert_eq!(
            secrets.judge(client, server, &cookie),
            CookieCheck::Previous
        );
        let renewed = secrets.cookie(client, server);
        assert_ne!(renewed, cookie);
        now = now + FAST_OPEN_KEY_LIFE;
        secrets.rotate(now, &mut rng);
        assert_eq!(secrets.judge(client, server, &cookie), CookieCheck::Invalid);
        assert_eq!(
            secrets.judge(client, server, &renewed),
            CookieCheck::Previous
        );
        // Nobody asked for a long time.
        secrets.rotate(now + FAST_OPEN_KEY_LIFE * 5, &mut rng);
        for old in [cookie, renewed] {
            assert_eq!(secrets.judge(client, server, &old), CookieCheck::Invalid);
        }
    }

    #[test]
    fn nothing_but_eight_bytes_is_a_cookie_of_ours() {
        let (client, server) = addresses();
        let secrets = FastOpenSecrets::fixed([3; 16], Some([4; 16]));
        for len in [0, 4, 16] {
            let other = FastOpen::new(&vec![0; len]).expect("a valid length");
            let check = secrets.judge(client, server, &other);
            assert_eq!(check, CookieCheck::Invalid);
        }
        let old = FastOpenSecrets::fixed([4; 16], None).cookie(client, server);
        assert_eq!(secrets.judge(client, server, &old), CookieCheck::Previous);
    }
}
