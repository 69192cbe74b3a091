//! Peers as far as limits are concerned, and the rule by which one of them makes room for another.
//!
//! * **Define.** A [`PeerNet`] is an IPv4 address, or an IPv6 /64: whoever has one address of a /64 usually has
//!   all of them.
//! * **Enforce.** There is no other way to make one than from an address.
//! * **Consume.** A full table passes a random sample of its entries to [`crowding`].
//!
//! The table keeps no count per peer: that would cost every connection some memory and every handshake some
//! time, for tables that are hardly ever full. A sample of a full table shows which peer has most of it: the more it
//! has, the more surely. A peer that is not in the sample twice has little.

use core::net::IpAddr;

/// An address or network that limits count as one peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerNet(u64);

impl PeerNet {
    /// The peer of the unspecified addresses, which has nothing.
    pub const NOBODY: Self = Self(0);

    /// Returns the peer that an address belongs to.
    pub fn of(address: IpAddr) -> Self {
        // The numbers of IPv4 addresses are those of networks in ::/32, which no host has.
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(u64::from(v4.to_bits())),
            IpAddr::V6(v6) => Self((v6.to_bits() >> 64) as u64),
        }
    }
}

/// Entries of a full table that are looked at to find who has most of it.
pub const SAMPLE: usize = 32;

/// Returns the peer that must make room for one more entry of `newcomer` in a full table, of which `sample` is a
/// random part: the one with most entries, if it has at least two and more than twice as many as the newcomer.
/// Sorts the sample.
///
/// ```
/// use netstack::ip::peer::{PeerNet, crowding};
///
/// let peer = |n| PeerNet::of([10, 0, 0, n].into());
/// let mut sample = [peer(1), peer(2), peer(1), peer(1), peer(1)];
/// assert_eq!(crowding(&mut sample, peer(9)), Some(peer(1)));
/// assert_eq!(crowding(&mut sample, peer(1)), None);
/// ```
pub fn crowding(sample: &mut [PeerNet], newcomer: PeerNet) -> Option<PeerNet> {
    sample.sort_unstable();
    let runs = || sample.chunk_by(|a, b| a == b);
    let own = runs()
        .find(|run| run.first() == Some(&newcomer))
        .map_or(0, <[PeerNet]>::len);
    let most = runs().max_by_key(|run| run.len())?;
    (most.len() >= 2 && most.len() > 2 * own).then_some(*most.first()?)
}

/// The result of a sample of a full table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sample<K> {
    /// The entry that makes room: one of the peer that crowds the others out.
    Entry(K),
    /// Some peer has several entries, but the newcomer has as many or nearly.
    Shared,
    /// No peer was drawn twice.
    Scattered,
}

impl<K> Sample<K> {
    /// Returns the entry that makes room, if there is one.
    pub fn entry(self) -> Option<K> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::Shared | Self::Scattered => None,
        }
    }
}

/// As [`sample_crowding`]; returns the entry alone.
pub fn draw_crowding<K: Copy + PartialEq>(
    newcomer: PeerNet,
    draw: impl FnMut() -> Option<(K, PeerNet)>,
    prefer: impl FnMut(K, K) -> K,
) -> Option<K> {
    sample_crowding(newcomer, draw, prefer).entry()
}

/// Draws random entries of a full table, and returns one of the peer that must make room for one more entry of
/// `newcomer`: see [`crowding`]. `prefer` returns the better of two entries. Draws few if these show nothing: a flood
/// from many sources must not cost much.
pub fn sample_crowding<K: Copy + PartialEq>(
    newcomer: PeerNet,
    mut draw: impl FnMut() -> Option<(K, PeerNet)>,
    prefer: impl FnMut(K, K) -> K,
) -> Sample<K> {
    /// Entries after which a sample in which no peer is twice, or the newcomer always, is given up.
    const LOOK: usize = 4;
    let mut sample: [Option<(K, PeerNet)>; SAMPLE] = [None; SAMPLE];
    let mut len = 0;
    for number in 0..SAMPLE {
        let seen = sample.get(..len).unwrap_or(&[]);
        let is_new = |(key, _): &(K, PeerNet)| seen.iter().flatten().all(|(other, _)| other != key);
        let drawn = draw().filter(is_new);
        if let Some((place, drawn)) = sample.get_mut(len).zip(drawn) {
            *place = Some(drawn);
            len += 1;
        }
        if number + 1 == LOOK {
            let seen = sample.get(..len).unwrap_or(&[]);
            if !is_twice(seen, |_| true) {
                return Sample::Scattered;
            }
            if !is_twice(seen, |peer| peer != newcomer) {
                return Sample::Shared;
            }
        }
    }
    let entries = || sample.iter().flatten();
    let mut peers = [PeerNet::NOBODY; SAMPLE];
    for (peer, (_, drawn)) in peers.iter_mut().zip(entries()) {
        *peer = *drawn;
    }
    let peers = peers.get_mut(..len).unwrap_or(&mut []);
    let Some(crowding) = crowding(peers, newcomer) else {
        return Sample::Shared;
    };
    let of_peer = entries().filter(|(_, peer)| *peer == crowding);
    let entry = of_peer.map(|(key, _)| *key).reduce(prefer);
    entry.map_or(Sample::Shared, Sample::Entry)
}

/// The share of newcomers to a full table for which it is sampled: all of them while samples find a peer with several
/// entries, down to one in 16 while they are [`Sample::Scattered`].
///
/// Each sample reads entries that no cache holds. Under a flood from random sources it would be the most expensive
/// part of a SYN, and find nothing.
#[derive(Clone, Copy, Default, Debug)]
pub struct SampleRate {
    /// The binary logarithm of the number of newcomers per sample.
    halvings: u32,
}

impl SampleRate {
    const MAX_HALVINGS: u32 = 4;

    /// Returns true if the table is to be sampled for this newcomer, of which `random` is a random number.
    pub fn is_due(self, random: u64) -> bool {
        random.trailing_zeros() >= self.halvings
    }

    /// Takes note of a sample.
    pub fn note<K>(&mut self, sample: &Sample<K>) {
        self.halvings = match sample {
            Sample::Scattered => (self.halvings + 1).min(Self::MAX_HALVINGS),
            Sample::Entry(_) | Sample::Shared => 0,
        };
    }
}

/// Returns true if a peer for which `counts` holds is there twice.
fn is_twice<K>(sample: &[Option<(K, PeerNet)>], counts: impl Fn(PeerNet) -> bool) -> bool {
    let peers = || sample.iter().flatten().map(|(_, peer)| *peer);
    peers()
        .enumerate()
        .any(|(at, peer)| counts(peer) && peers().skip(at + 1).any(|other| other == peer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn peer(text: &str) -> PeerNet {
        PeerNet::of(text.parse().expect(text))
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_peer() {
        assert_eq!(peer("2001:db8:1:2::1"), peer("2001:db8:1:2:ffff::9"));
        assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
        assert_ne!(peer("10.0.0.1"), peer("10.0.0.2"));
        assert_eq!(peer("10.0.0.1"), peer("::ffff:10.0.0.1"));
    }

    #[test]
    fn who_has_most_makes_room_for_who_has_much_less() {
        let [a, b, c] = ["10.0.0.1", "10.0.0.2", "fd77::1"].map(peer);
        let cases: [(&[PeerNet], PeerNet, Option<PeerNet>); 7] = [
            (&[], a, None),
            (&[a], b, None),
            (&[a, b], c, None),
            (&[a, a], b, Some(a)),
            (&[a, a, b], b, None),
            (&[b, a, a, a, b, b], c, Some(a)),
            (&[a, a, a, b], b, Some(a)),
        ];
        for (sample, newcomer, expected) in cases {
            let mut sorted = sample.to_vec();
            let found = crowding(&mut sorted, newcomer);
            // Of two that have the same number, either makes room.
            assert_eq!(found.is_some(), expected.is_some(), "{sample:?}");
            if sample.len() != 6 {
                assert_eq!(found, expected, "{sample:?}");
            }
        }
    }

    #[test]
    fn a_sample_is_given_up_if_it_shows_nothing() {
        let mut rng = Rng::from_u64(1);
        let own = peer("10.9.9.9");
        // (number of peers among 1,000 entries, or the newcomer's alone) → at most this many draws
        for (peers, most) in [(Some(1_000), 8), (Some(1), SAMPLE), (None, 4)] {
            let mut draws = 0;
            let drawn = || {
                draws += 1;
                let at = rng.below(1_000);
                let peer = peers.map_or(own, |peers| PeerNet(u64::from(at % peers)));
                Some((at, peer))
            };
            let entry = draw_crowding(own, drawn, u32::max);
            assert!(draws <= most, "{peers:?}: {draws}");
            assert_eq!(entry.is_none(), peers != Some(1), "{peers:?}");
        }
        assert!(draw_crowding(own, || None::<(u32, PeerNet)>, u32::max).is_none());
    }

    #[test]
    fn a_table_is_sampled_less_often_while_samples_find_nothing() {
        let mut rng = Rng::from_u64(7);
        let mut rate = SampleRate::default();
        let mut share = |rate: SampleRate| (0..16_000).filter(|_| rate.is_due(rng.u64())).count();
        assert_eq!(share(rate), 16_000);
        for _ in 0..100 {
            rate.note(&Sample::<u32>::Scattered);
        }
        assert!((800..1_200).contains(&share(rate)));
        // Many entries of one peer, the newcomer's own included, are worth a look for each that comes.
        rate.note(&Sample::<u32>::Shared);
        assert_eq!(share(rate), 16_000);
    }

    #[test]
    fn of_the_entries_of_the_crowding_peer_the_preferred_one_goes() {
        let (most, other) = (peer("10.0.0.1"), peer("10.0.0.2"));
        let mut draws = [(3, most), (9, other), (7, most), (5, most)]
            .into_iter()
            .cycle();
        let mut draw =
            |prefer: fn(u32, u32) -> u32| draw_crowding(peer("10.0.0.9"), || draws.next(), prefer);
        assert_eq!(draw(u32::max), Some(7));
        assert_eq!(draw(u32::min), Some(3));
        assert_eq!(draw(|first, _| first), Some(3));
    }

    /// Peers that each want as many places as they can get share them: none has more than a few times as many as
    /// another that wants as much.
    #[test]
    fn peers_that_want_everything_share_it() {
        for seed in 0..20 {
            let mut rng = Rng::from_u64(seed);
            let peers: Vec<PeerNet> = (0..2 + rng.below(6) as u8)
                .map(|n| PeerNet::of([10, 0, 0, n].into()))
                .collect();
            // The first was there before the others came.
            let mut table = vec![peers[0]; 1_000];
            for _ in 0..20_000 {
                let newcomer = peers[rng.below(peers.len() as u32) as usize];
                let mut draw = || table[rng.below(1_000) as usize];
                let mut sample: [PeerNet; SAMPLE] = core::array::from_fn(|_| draw());
                if let Some(crowding) = crowding(&mut sample, newcomer) {
                    let at = table.iter().position(|peer| *peer == crowding);
                    table[at.expect("it was sampled")] = newcomer;
                }
            }
            let fair = 1_000 / peers.len();
            for peer in &peers {
                let count = table.iter().filter(|other| *other == peer).count();
                assert!(
                    (fair / 4..=fair * 3).contains(&count),
                    "seed {seed}: {count} of {fair}"
                );
            }
        }
    }
}
