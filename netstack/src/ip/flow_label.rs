//! Flow labels of IPv6 (RFC 6437): one for each flow, the same for all of its packets.
//!
//! A label is computed from the addresses and ports with a secret, so that routers spread flows by it and nobody
//! guesses that of a flow that he does not see (RFC 6437 sections 3 and 6.1). It is a function of the flow: nothing is
//! kept.

use core::net::{IpAddr, SocketAddr};

use crate::base::Rng;

/// The secret of a host's flow labels.
#[derive(Clone, Debug)]
pub struct FlowLabels([u64; 4]);

/// Multiplies to 128 bits and folds the halves.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    // Both halves.
    product as u64 ^ (product >> 64) as u64
}

/// Returns the halves of an address.
#[inline]
fn halves(address: u128) -> (u64, u64) {
    ((address >> 64) as u64, address as u64)
}

impl FlowLabels {
    /// Draws a secret.
    pub fn random(rng: &mut Rng) -> Self {
        Self([rng.u64(), rng.u64(), rng.u64(), rng.u64()])
    }

    /// Returns the label of packets from `local` to `remote`: 20 bits and not zero for IPv6, zero for IPv4, which has
    /// none.
    #[inline]
    pub fn label(&self, local: SocketAddr, remote: SocketAddr) -> u32 {
        let (IpAddr::V6(src), IpAddr::V6(dst)) = (local.ip(), remote.ip()) else {
            return 0;
        };
        let [a, b, c, d] = self.0;
        let (src, dst) = (halves(src.to_bits()), halves(dst.to_bits()));
        let ports = u64::from(local.port()) << 16 | u64::from(remote.port());
        let mixed = fold(src.0 ^ a, src.1 ^ b) ^ fold(dst.0 ^ c, dst.1 ^ d).rotate_left(1);
        let label = fold(mixed ^ a, ports ^ d) >> 44;
        // 20 bits.
        (label as u32).max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect(text)
    }

    #[test]
    fn a_flow_has_one_label_and_flows_have_different_ones() {
        let labels = FlowLabels::random(&mut Rng::from_u64(7));
        let others = FlowLabels::random(&mut Rng::from_u64(8));
        let local = at("[2001:db8::1]:80");
        let mut seen = BTreeSet::new();
        for port in 1..=4_000u16 {
            let remote = SocketAddr::new(at("[2001:db8::9]:1").ip(), port);
            let label = labels.label(local, remote);
            assert!((1..1 << 20).contains(&label));
            assert_eq!(label, labels.label(local, remote));
            seen.insert(label);
        }
        // Of 4,000 random ones among a million, about eight are doubles.
        assert!(seen.len() > 3_950, "{}", seen.len());
        let remote = at("[2001:db8::9]:1");
        let label = labels.label(local, remote);
        assert_ne!(label, labels.label(local, at("[2001:db8::8]:1")));
        assert_ne!(label, labels.label(at("[2001:db8::2]:80"), remote));
        assert_ne!(label, others.label(local, remote), "the secret counts");
        assert_eq!(labels.label(at("10.0.0.1:80"), at("10.0.0.9:1")), 0);
    }

    #[test]
    fn labels_are_spread_evenly() {
        let labels = FlowLabels::random(&mut Rng::from_u64(9));
        let mut buckets = [0u32; 16];
        for port in 0..16_000u16 {
            let local = SocketAddr::new(at("[2001:db8::1]:1").ip(), port);
            let label = labels.label(local, at("[2001:db8::9]:443"));
            buckets[(label >> 16) as usize] += 1;
        }
        assert!(
            buckets.iter().all(|count| (850..1_150).contains(count)),
            "{buckets:?}"
        );
    }
}
