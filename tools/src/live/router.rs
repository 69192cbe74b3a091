//! A TUN device whose packets the kernel hands on to a host behind another device of the namespace, and back.
//!
//! The kernel is a router on that way. The hop that it takes off is made up for on both ways, so both ends see the
//! packets as the other one sent them. Only a packet with the largest time to live arrives with one less.

use std::net::{IpAddr, Ipv6Addr};

use super::namespace::{Tun, await_v6, ip, set};
use crate::capture::packet::Packet;

/// The way to a host.
pub(crate) struct Router {
    tun: Tun,
}

impl Router {
    /// Makes a device in the namespace of this thread, and makes the kernel hand on what comes from these networks. An
    /// empty list stands for all that no other route leads to.
    ///
    /// # Errors
    /// The device cannot be made, or the kernel has no forwarding.
    pub(crate) fn open(
        name: &str,
        mtu: u16,
        networks: &[String],
        v6: bool,
    ) -> Result<Self, String> {
        for setting in forwarding(v6) {
            if !set(setting, "1") {
                return Err(format!(
                    "{setting} cannot be set: run this as root, where /proc/sys can be written"
                ));
            }
        }
        Self::open_where_forwarding_is_on(name, mtu, networks, v6)
    }

    /// As [`Router::open`], where forwarding is on and stays as it is.
    ///
    /// # Errors
    /// The device cannot be made.
    pub(crate) fn open_where_forwarding_is_on(
        name: &str,
        mtu: u16,
        networks: &[String],
        v6: bool,
    ) -> Result<Self, String> {
        let tun = Tun::new(name, mtu)?;
        ip(&format!("link set {name} up"))?;
        for network in networks {
            ip(&format!("route replace {network} dev {name}"))?;
        }
        if networks.is_empty() {
            let family = if v6 { "-6 " } else { "" };
            ip(&format!("{family}route replace default dev {name}"))?;
        }
        if v6 {
            await_v6(name, None);
        }
        Ok(Self { tun })
    }

    /// Returns the next packet that the host sent, if there is one.
    pub(crate) fn receive(&self) -> Option<Vec<u8>> {
        loop {
            let mut packet = self.tun.receive()?;
            if !is_of_the_kernel(&packet) {
                add_hop(&mut packet);
                return Some(packet);
            }
        }
    }

    /// Delivers a packet to the host.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub(crate) fn send(&self, packet: &[u8]) -> Result<(), String> {
        let mut packet = packet.to_vec();
        add_hop(&mut packet);
        self.tun.send(&packet)
    }
}

/// Returns the settings that make a router of the kernel.
pub(crate) fn forwarding(v6: bool) -> &'static [&'static str] {
    if v6 {
        &["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]
    } else {
        &["net.ipv4.ip_forward"]
    }
}

/// Returns true for what the kernel itself says on a device of IPv6: about groups, neighbours and routers.
fn is_of_the_kernel(packet: &[u8]) -> bool {
    let link = |ip: Ipv6Addr| ip.is_unspecified() || ip.is_unicast_link_local();
    match Packet::parse(packet, packet.len() as u32) {
        Some(packet) => match packet.source {
            IpAddr::V6(from) => link(from) && packet.destination.is_multicast(),
            IpAddr::V4(_) => packet.destination.is_multicast(),
        },
        None => true,
    }
}

/// Adds one to the time to live. A checksum that is wrong stays wrong.
fn add_hop(packet: &mut [u8]) {
    match packet.first().map(|first| first >> 4) {
        Some(4) if packet.len() >= 20 && packet[8] < u8::MAX => {
            packet[8] += 1;
            // The time to live is the higher byte of its word (RFC 1624, equation 3).
            let sum = u16::from_be_bytes([packet[10], packet[11]]);
            let (sum, carry) = (!sum).overflowing_add(0x0100);
            let sum = !(sum + u16::from(carry));
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        Some(6) if packet.len() >= 40 && packet[7] < u8::MAX => packet[7] += 1,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::checksum;

    #[test]
    fn a_hop_is_added_and_the_checksum_keeps_its_truth() {
        let mut packet = vec![0; 28];
        packet[0] = 0x45;
        packet[3] = 28;
        packet[9] = 17;
        for ttl in [1, 63, 64, 254, 255] {
            for last in 0..=255 {
                packet[8] = ttl;
                packet[19] = last;
                checksum::write_header(&mut packet);
                let mut sent = packet.clone();
                add_hop(&mut sent);
                assert_eq!(sent[8], ttl.saturating_add(1));
                let changed = sent.clone();
                checksum::write_header(&mut sent);
                assert_eq!(sent, changed, "TTL {ttl}, last byte {last}");
            }
        }
        packet[8] = 64;
        checksum::write_header(&mut packet);
        packet[10] ^= 1;
        add_hop(&mut packet);
        let wrong = packet.clone();
        checksum::write_header(&mut packet);
        assert_ne!(packet, wrong);
    }

    #[test]
    fn what_is_no_packet_stays() {
        for bytes in [vec![], vec![0x45], vec![0x60; 39], vec![0xff; 40]] {
            let mut packet = bytes.clone();
            add_hop(&mut packet);
            assert_eq!(packet, bytes);
        }
    }
}
