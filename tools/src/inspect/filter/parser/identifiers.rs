//! Qualifiers and what they qualify: addresses, ports, protocols.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::lexer::Token;
use super::super::{Expr, Test, Which, names};
use super::arithmetic::number;
use super::{Kind, Parsed, Parser, Proto, Qualifiers, RARP, SCTP};
use crate::capture::link::{ARP, IPV4, IPV6};
use crate::capture::packet::{ICMP, ICMPV6, TCP, UDP};

impl Parser {
    /// Qualifiers and an identifier, or a protocol alone.
    pub(super) fn qualified(&mut self) -> Parsed<Expr> {
        let start = self.at;
        let mut qualifiers = Qualifiers {
            proto: self.proto(),
            ..Qualifiers::default()
        };
        match (qualifiers.proto, self.word()) {
            (Some(Proto::Net(IPV4)), Some("broadcast")) => {
                return Ok(self.single(Test::Ip4Broadcast));
            }
            (Some(Proto::Net(IPV4)), Some("multicast")) => {
                return Ok(self.single(Test::Ip4Multicast));
            }
            (Some(Proto::Net(IPV6)), Some("multicast")) => {
                return Ok(self.single(Test::Ip6Multicast));
            }
            (Some(Proto::Ether), Some("broadcast")) => {
                return Ok(self.single(Test::Ether(Which::Destination, [0xff; 6])));
            }
            (Some(Proto::Ether), Some("multicast")) => {
                return Ok(self.single(Test::EtherMulticast));
            }
            _ => {}
        }
        qualifiers.which = self.which();
        qualifiers.kind = self.kind();
        let alone = qualifiers.which.is_none() && qualifiers.kind.is_none();
        if let (Some(proto), true) = (qualifiers.proto, alone)
            && !self.identifies()
        {
            return match proto {
                Proto::Ether => Err("\"ether\" needs host, src, dst or proto after it".to_owned()),
                Proto::Net(ethertype) => Ok(self.is(Test::Ethertype(ethertype))),
                Proto::Transport(protocol) => Ok(self.is(transport_alone(protocol))),
            };
        }
        if self.at == start {
            // A bare identifier: with the qualifiers of the one before it.
            qualifiers = self.last.unwrap_or_default();
        }
        self.last = Some(qualifiers);
        if self.sign("(") {
            return self.deeper(|parser| {
                let inner = parser.identifiers(qualifiers)?;
                parser.expect(")")?;
                Ok(inner)
            });
        }
        self.identifier(qualifiers)
    }

    /// Identifiers in parentheses, all with the qualifiers in front.
    fn identifiers(&mut self, qualifiers: Qualifiers) -> Parsed<Expr> {
        let one = |parser: &mut Self| {
            if parser.keyword("not") {
                return Ok(Expr::Not(Box::new(parser.identifier(qualifiers)?)));
            }
            parser.identifier(qualifiers)
        };
        let mut left = one(self)?;
        loop {
            if self.and() {
                left = Expr::And(Box::new(left), Box::new(one(self)?));
            } else if self.or() {
                left = Expr::Or(Box::new(left), Box::new(one(self)?));
            } else {
                return Ok(left);
            }
        }
    }

    /// Returns true if an identifier may be here, and no `and`, `or` or end.
    fn identifies(&self) -> bool {
        match self.peek() {
            Some(Token::Word(word)) => word != "and" && word != "or",
            Some(Token::Escaped(_) | Token::Sign("(")) => true,
            _ => false,
        }
    }

    fn proto(&mut self) -> Option<Proto> {
        let proto = match self.word()? {
            "ether" | "link" => Proto::Ether,
            "ip" => Proto::Net(IPV4),
            "ip6" => Proto::Net(IPV6),
            "arp" => Proto::Net(ARP),
            "rarp" => Proto::Net(RARP),
            "pppoed" => Proto::Net(0x8863),
            "tcp" => Proto::Transport(TCP),
            "udp" => Proto::Transport(UDP),
            "sctp" => Proto::Transport(SCTP),
            "icmp" => Proto::Transport(ICMP),
            "icmp6" => Proto::Transport(ICMPV6),
            "igmp" => Proto::Transport(2),
            "igrp" => Proto::Transport(9),
            "pim" => Proto::Transport(103),
            "vrrp" => Proto::Transport(112),
            "esp" => Proto::Transport(50),
            "ah" => Proto::Transport(51),
            _ => return None,
        };
        self.at += 1;
        Some(proto)
    }

    fn which(&mut self) -> Option<Which> {
        let (first, second) = match self.word()? {
            "src" => (Which::Source, "dst"),
            "dst" => (Which::Destination, "src"),
            _ => return None,
        };
        self.at += 1;
        let back = self.at;
        let joined = if self.or() {
            Which::Either
        } else if self.and() {
            Which::Both
        } else {
            return Some(first);
        };
        if self.keyword(second) {
            return Some(joined);
        }
        self.at = back;
        Some(first)
    }

    fn kind(&mut self) -> Option<Kind> {
        let kind = match self.word()? {
            "host" => Kind::Host,
            "net" => Kind::Net,
            "port" => Kind::Port,
            "portrange" => Kind::PortRange,
            "proto" => Kind::Proto,
            "protochain" => Kind::ProtoChain,
            _ => return None,
        };
        self.at += 1;
        Some(kind)
    }

    fn identifier(&mut self, qualifiers: Qualifiers) -> Parsed<Expr> {
        let word = match self.peek() {
            Some(Token::Word(word) | Token::Escaped(word)) => word.clone(),
            _ => return Err(format!("a name is missing before {}", self.here())),
        };
        if names::UNSUPPORTED.contains(&word.as_str()) {
            return Err(format!("\"{word}\" is not supported"));
        }
        self.at += 1;
        let which = qualifiers.which.unwrap_or_default();
        match (qualifiers.kind, qualifiers.proto) {
            (Some(Kind::Port), proto) => {
                let port = port(&word)?;
                let proto = transport_of(proto, "port")?;
                let of = |proto| Test::Ports(proto, which, port, port);
                if proto.is_none() && number(&word).is_none() {
                    // Names are those of services of TCP and UDP.
                    let [tcp, udp] = [TCP, UDP].map(|proto| Box::new(self.is(of(Some(proto)))));
                    return Ok(Expr::Or(tcp, udp));
                }
                Ok(self.is(of(proto)))
            }
            (Some(Kind::PortRange), proto) => {
                let (from, to) = word
                    .split_once('-')
                    .ok_or_else(|| format!("\"{word}\" is no range such as 1000-2000"))?;
                let (from, to) = (port(from)?, port(to)?);
                let proto = transport_of(proto, "portrange")?;
                Ok(self.is(Test::Ports(proto, which, from.min(to), from.max(to))))
            }
            (Some(Kind::Proto), proto) => self.protocol(&word, proto),
            (Some(Kind::ProtoChain), proto) => {
                let number = protocol(&word)?;
                Ok(self.is(Test::Chain(network_of(proto)?, number)))
            }
            (Some(Kind::Host | Kind::Net) | None, Some(Proto::Ether)) => {
                let address =
                    ether(&word).ok_or_else(|| format!("\"{word}\" is no hardware address"))?;
                Ok(self.is(Test::Ether(which, address)))
            }
            (kind @ (Some(Kind::Host | Kind::Net) | None), proto) => {
                if proto.is_none()
                    && let Some(address) = ether(&word)
                {
                    return Ok(self.is(Test::Ether(which, address)));
                }
                self.address(&word, kind, proto, which)
            }
        }
    }

    fn protocol(&mut self, word: &str, proto: Option<Proto>) -> Parsed<Expr> {
        if proto == Some(Proto::Ether) {
            let ethertype = number(word)
                .and_then(|n| u16::try_from(n).ok())
                .or_else(|| names::ethertype(word))
                .ok_or_else(|| format!("\"{word}\" is no protocol of Ethernet"))?;
            return Ok(self.is(Test::Ethertype(ethertype)));
        }
        let number = protocol(word)?;
        Ok(self.is(Test::Protocol(network_of(proto)?, number)))
    }

    fn address(
        &mut self,
        word: &str,
        kind: Option<Kind>,
        proto: Option<Proto>,
        which: Which,
    ) -> Parsed<Expr> {
        let network = network_of(proto)?;
        if let Ok(address) = word.parse::<Ipv6Addr>() {
            if !matches!(network, None | Some(IPV6)) {
                return Err(format!("\"{word}\" is an address of IPv6"));
            }
            let bits = self.prefix(128)?.unwrap_or(128);
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            let test = Test::Net6(which, (u128::from(address) & mask).into(), mask);
            return Ok(self.is(test));
        }
        let Some((address, octets)) = partial_v4(word) else {
            return Err(format!(
                "\"{word}\" is neither an address nor a keyword; names are not looked up"
            ));
        };
        if network == Some(IPV6) {
            return Err(format!("\"{word}\" is an address of IPv4"));
        }
        let mut bits = octets * 8;
        if let Some(prefix) = self.prefix(32)? {
            bits = prefix;
        }
        let mut mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        if kind == Some(Kind::Net) && self.keyword("mask") {
            let word = self.word().and_then(|word| word.parse::<Ipv4Addr>().ok());
            mask = word
                .ok_or_else(|| format!("a mask is missing before {}", self.here()))?
                .into();
            self.at += 1;
        }
        if u32::from(address) & !mask != 0 {
            return Err(format!("{word}: bits are set that the mask leaves out"));
        }
        Ok(self.is(Test::Net4(network, which, address, mask)))
    }

    fn prefix(&mut self, most: u32) -> Parsed<Option<u32>> {
        if !self.sign("/") {
            return Ok(None);
        }
        let bits = self.number("a prefix length")?;
        if bits > most {
            return Err(format!("/{bits}: a prefix has at most {most} bits"));
        }
        Ok(Some(bits))
    }
}

/// A transport's name alone: ICMP belongs to one version of IP each.
fn transport_alone(protocol: u8) -> Test {
    let network = match protocol {
        ICMP | 2 | 9 => Some(IPV4),
        ICMPV6 => Some(IPV6),
        _ => None,
    };
    Test::Protocol(network, protocol)
}

fn transport_of(proto: Option<Proto>, what: &str) -> Parsed<Option<u8>> {
    match proto {
        None => Ok(None),
        Some(Proto::Transport(protocol @ (TCP | UDP | SCTP))) => Ok(Some(protocol)),
        Some(_) => Err(format!("only tcp, udp and sctp have a {what}")),
    }
}

fn network_of(proto: Option<Proto>) -> Parsed<Option<u16>> {
    match proto {
        None => Ok(None),
        Some(Proto::Net(ethertype)) => Ok(Some(ethertype)),
        Some(Proto::Ether | Proto::Transport(_)) => {
            Err("this protocol has no addresses of IP: use ip, ip6 or arp".to_owned())
        }
    }
}

fn port(word: &str) -> Parsed<u16> {
    match number(word) {
        Some(number) => {
            u16::try_from(number).map_err(|_| format!("port {number} is larger than 65535"))
        }
        None => names::port(word).ok_or_else(|| format!("\"{word}\" is no port")),
    }
}

fn protocol(word: &str) -> Parsed<u8> {
    number(word)
        .and_then(|number| u8::try_from(number).ok())
        .or_else(|| names::protocol(word))
        .ok_or_else(|| format!("\"{word}\" is no protocol of IP"))
}

fn ether(word: &str) -> Option<[u8; 6]> {
    let mut address = [0; 6];
    let mut parts = word.split([':', '-']);
    for octet in &mut address {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 2 {
            return None;
        }
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(address)
}

/// Parses one to four octets with dots. Returns how many there were.
fn partial_v4(word: &str) -> Option<(Ipv4Addr, u32)> {
    let mut octets = [0; 4];
    let mut count = 0;
    for part in word.split('.') {
        *octets.get_mut(count)? = part.parse().ok()?;
        count += 1;
    }
    Some((octets.into(), count as u32))
}
