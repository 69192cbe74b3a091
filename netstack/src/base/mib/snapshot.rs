//! All objects at one moment.

use core::fmt;
use std::sync::atomic::Ordering;

use packet::ip::IpVersion;

use super::objects::{
    IcmpObject, IcmpStats, IpObject, IpStats, TcpObject, TcpStats, UdpObject, UdpStats,
};
use crate::base::Counters;
use crate::base::counters::Counter;

/// The objects of the MIBs at one moment, summed over the workers. Displays itself as `nstat -a` does: a line for each
/// object with its name and value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mib {
    /// IPv4.
    pub ip: IpStats,
    /// IPv6.
    pub ip6: IpStats,
    /// ICMP.
    pub icmp: IcmpStats,
    /// ICMPv6.
    pub icmp6: IcmpStats,
    /// UDP over IPv4.
    pub udp: UdpStats,
    /// UDP over IPv6.
    pub udp6: UdpStats,
    /// TCP over both.
    pub tcp: TcpStats,
    /// Connections in ESTABLISHED or CLOSE-WAIT now (`tcpCurrEstab`).
    pub tcp_curr_estab: u64,
}

impl Mib {
    /// Sums the counters of all workers.
    pub(crate) fn sum<'a>(counters: impl Iterator<Item = &'a Counters>, curr_estab: u64) -> Self {
        let mut mib = Self {
            tcp_curr_estab: curr_estab,
            ..Self::default()
        };
        for worker in counters {
            for (version, ip, icmp, udp) in [
                (IpVersion::V4, &mut mib.ip, &mut mib.icmp, &mut mib.udp),
                (IpVersion::V6, &mut mib.ip6, &mut mib.icmp6, &mut mib.udp6),
            ] {
                let family = worker.mib.family(version);
                for &object in IpObject::ALL {
                    *ip.get_mut(object) += family.ip[object as usize].load(Ordering::Relaxed);
                }
                for &object in IcmpObject::ALL {
                    *icmp.get_mut(object) += family.icmp[object as usize].load(Ordering::Relaxed);
                }
                for &object in UdpObject::ALL {
                    *udp.get_mut(object) += family.udp[object as usize].load(Ordering::Relaxed);
                }
            }
            for &object in TcpObject::ALL {
                *mib.tcp.get_mut(object) += worker.mib.tcp[object as usize].load(Ordering::Relaxed);
            }
            // Counted under other names.
            mib.tcp.retrans_segs += worker.count(Counter::TcpRetransmits);
            mib.tcp.out_rsts += worker.count(Counter::TcpResetsOut);
            mib.tcp.active_opens += worker.count(Counter::TcpConnects);
            for failed in [
                Counter::TcpAttemptFails,
                Counter::TcpHandshakesExpired,
                Counter::TcpHandshakesDisplaced,
            ] {
                mib.tcp.attempt_fails += worker.count(failed);
            }
            mib.tcp.estab_resets += worker.count(Counter::TcpEstabResets);
        }
        // Each retransmission left as a segment, too.
        mib.tcp.out_segs = mib.tcp.out_segs.saturating_sub(mib.tcp.retrans_segs);
        mib
    }

    /// Returns every object by its name in `nstat`.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let ip = IpObject::ALL.iter();
        let v4 = ip.clone().map(|&o| (o.nstat_v4(), self.ip.get(o)));
        let v6 = ip.map(|&o| (o.nstat_v6(), self.ip6.get(o)));
        let icmp = IcmpObject::ALL.iter();
        let icmp4 = icmp.clone().map(|&o| (o.nstat_v4(), self.icmp.get(o)));
        let icmp6 = icmp.map(|&o| (o.nstat_v6(), self.icmp6.get(o)));
        let udp = UdpObject::ALL.iter();
        let udp4 = udp.clone().map(|&o| (o.nstat_v4(), self.udp.get(o)));
        let udp6 = udp.map(|&o| (o.nstat_v6(), self.udp6.get(o)));
        let tcp = TcpObject::ALL.iter();
        let tcp = tcp.map(|&o| (o.nstat_v4(), self.tcp.get(o)));
        let curr_estab = [("TcpCurrEstab", self.tcp_curr_estab)];
        v4.chain(icmp4)
            .chain(tcp)
            .chain(curr_estab)
            .chain(udp4)
            .chain(v6)
            .chain(icmp6)
            .chain(udp6)
            .filter(|(name, _)| !name.is_empty())
    }

    /// Returns the value of the object with that name in `nstat`, or `None` if there is none.
    pub fn get(&self, nstat: &str) -> Option<u64> {
        let mut all = self.iter();
        let found = all.find(|(name, _)| *name == nstat);
        found.map(|(_, value)| value)
    }
}

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "#kernel")?;
        for (name, value) in self.iter() {
            // The last column is a rate, which one moment does not have.
            writeln!(f, "{name:<32}{value:<16}{:>6.1}", 0.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::super::Tally;
    use super::*;

    #[test]
    fn each_object_has_a_name_of_its_own_and_its_own_value() {
        let mib = Mib::default();
        let names: Vec<_> = mib.iter().map(|(name, _)| name).collect();
        let distinct: BTreeSet<_> = names.iter().collect();
        assert_eq!(names.len(), distinct.len());
        for name in [
            "IpInReceives",
            "Ip6InReceives",
            "UdpNoPorts",
            "TcpCurrEstab",
        ] {
            assert_eq!(mib.get(name), Some(0), "{name}");
        }
        assert_eq!(mib.get("Icmp6InPktTooBigs"), Some(0));
        assert_eq!((mib.get("IcmpInPktTooBigs"), mib.get("")), (None, None));
    }

    #[test]
    fn workers_are_summed() {
        let workers = [Arc::new(Counters::new()), Arc::new(Counters::new())];
        for (n, worker) in workers.iter().enumerate() {
            let mut tally = Tally::new(worker);
            let count = n as u64 + 1;
            tally.ip(IpVersion::V6, IpObject::InReceives, count);
            tally.icmp(IpVersion::V4, IcmpObject::InEchos, count * 10);
            tally.udp(IpVersion::V4, UdpObject::NoPorts, count * 100);
            tally.tcp(TcpObject::OutSegs, count * 1_000);
            worker.add(Counter::TcpRetransmits, 1);
        }
        let mib = Mib::sum(workers.iter().map(|worker| &**worker), 7);
        assert_eq!((mib.ip6.in_receives, mib.ip.in_receives), (3, 0));
        assert_eq!((mib.icmp.in_echos, mib.udp.no_ports), (30, 300));
        assert_eq!((mib.tcp.out_segs, mib.tcp.retrans_segs), (2_998, 2));
        let text = mib.to_string();
        assert!(
            text.starts_with("#kernel\nIpInReceives                    0                  0.0\n")
        );
        assert!(text.contains("\nTcpCurrEstab                    7                  0.0\n"));
    }
}
