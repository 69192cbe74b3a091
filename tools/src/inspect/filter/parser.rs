//! Expressions from words and signs.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::lexer::Token;
use super::{Behind, Expr, Layer, Operator, Relation, Test, Value, Which, names};
use crate::capture::link::{ARP, IPV4, IPV6};
use crate::capture::packet::{ICMP, ICMPV6, TCP, UDP};

const RARP: u16 = 0x8035;
const SCTP: u8 = 132;
/// Deepest nesting of an expression.
const MAX_DEPTH: u32 = 64;

type Parsed<T> = Result<T, String>;

/// The protocol in front of a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Proto {
    Ether,
    Net(u16),
    Transport(u8),
}

/// What kind of thing an identifier names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Host,
    Net,
    Port,
    PortRange,
    Proto,
    ProtoChain,
}

/// The qualifiers in front of an identifier, which hold for bare identifiers after it, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Qualifiers {
    proto: Option<Proto>,
    which: Option<Which>,
    kind: Option<Kind>,
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: u32,
    behind: Behind,
    last: Option<Qualifiers>,
}

/// Parses an expression; `None` if it is empty.
pub(super) fn parse(tokens: Vec<Token>) -> Parsed<Option<Expr>> {
    if tokens.is_empty() {
        return Ok(None);
    }
    let mut parser = Parser {
        tokens,
        at: 0,
        depth: 0,
        behind: Behind::default(),
        last: None,
    };
    let expr = parser.expression()?;
    match parser.peek() {
        None => Ok(Some(expr)),
        Some(_) => Err(format!("{} is not expected there", parser.here())),
    }
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn word(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn here(&self) -> String {
        match self.peek() {
            None => "the end".to_owned(),
            Some(Token::Word(word) | Token::Escaped(word)) => format!("\"{word}\""),
            Some(Token::Sign(sign)) => format!("\"{sign}\""),
        }
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(other)) if *other == sign);
        self.at += usize::from(found);
        found
    }

    fn keyword(&mut self, word: &str) -> bool {
        let found = self.word() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &'static str) -> Parsed<()> {
        if self.sign(sign) {
            return Ok(());
        }
        Err(format!("\"{sign}\" is missing before {}", self.here()))
    }

    fn and(&mut self) -> bool {
        self.keyword("and") || self.sign("&&")
    }

    fn or(&mut self) -> bool {
        self.keyword("or") || self.sign("||")
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} levels of parentheses"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Terms with `and` and `or`, which bind equally, from left to right.
    fn expression(&mut self) -> Parsed<Expr> {
        let mut left = self.term()?;
        loop {
            if self.and() {
                left = Expr::And(Box::new(left), Box::new(self.term()?));
            } else if self.or() {
                left = Expr::Or(Box::new(left), Box::new(self.term()?));
            } else {
                return Ok(left);
            }
        }
    }

    fn term(&mut self) -> Parsed<Expr> {
        if self.keyword("not") {
            return self.deeper(|parser| Ok(Expr::Not(Box::new(parser.term()?))));
        }
        if self.compares() {
            return self.comparison();
        }
        if self.sign("(") {
            return self.deeper(|parser| {
                let inner = parser.expression()?;
                parser.expect(")")?;
                Ok(inner)
            });
        }
        self.primitive()
    }

    fn is(&self, test: Test) -> Expr {
        Expr::Is(test, self.behind)
    }

    /// Returns true if arithmetic begins here: a parenthesis belongs to it if a comparison follows it.
    fn compares(&self) -> bool {
        let mut open = 0_u32;
        for (distance, token) in self.tokens.iter().skip(self.at).enumerate() {
            match token {
                Token::Sign("(" | "[") => open += 1,
                Token::Sign(")" | "]") if open == 0 => return false,
                Token::Sign(")" | "]") => {
                    open -= 1;
                    continue;
                }
                Token::Sign("&&" | "||") if open == 0 => return false,
                Token::Sign("<" | ">" | "=" | "<=" | ">=" | "==" | "!=") if open == 0 => {
                    return true;
                }
                Token::Word(word) if open == 0 && (word == "and" || word == "or") => return false,
                Token::Word(word) if word == "and" || word == "or" || word == "not" => {
                    return false;
                }
                _ => {}
            }
            if distance == 0 && matches!(token, Token::Word(word) if word == "not") {
                return false;
            }
        }
        false
    }

    fn comparison(&mut self) -> Parsed<Expr> {
        let left = self.value()?;
        let relation = match self.peek() {
            Some(Token::Sign("=" | "==")) => Relation::Equal,
            Some(Token::Sign("!=")) => Relation::Unequal,
            Some(Token::Sign("<")) => Relation::Less,
            Some(Token::Sign("<=")) => Relation::LessOrEqual,
            Some(Token::Sign(">")) => Relation::Greater,
            Some(Token::Sign(">=")) => Relation::GreaterOrEqual,
            _ => return Err(format!("a comparison is missing before {}", self.here())),
        };
        self.at += 1;
        let right = self.value()?;
        Ok(self.is(Test::Compare(left, relation, right)))
    }

    fn value(&mut self) -> Parsed<Value> {
        self.deeper(|parser| parser.binary(0))
    }

    /// Operators by precedence, the weakest first.
    fn binary(&mut self, level: usize) -> Parsed<Value> {
        const LEVELS: [&[(&str, Operator)]; 4] = [
            &[
                ("&", Operator::And),
                ("|", Operator::Or),
                ("^", Operator::Xor),
            ],
            &[("<<", Operator::ShiftLeft), (">>", Operator::ShiftRight)],
            &[("+", Operator::Add), ("-", Operator::Subtract)],
            &[
                ("*", Operator::Multiply),
                ("/", Operator::Divide),
                ("%", Operator::Remainder),
            ],
        ];
        let Some(operators) = LEVELS.get(level) else {
            return self.operand();
        };
        let mut left = self.binary(level + 1)?;
        'more: loop {
            for (sign, operator) in *operators {
                if self.sign(sign) {
                    let right = self.binary(level + 1)?;
                    left = Value::Binary(Box::new(left), *operator, Box::new(right));
                    continue 'more;
                }
            }
            return Ok(left);
        }
    }

    fn operand(&mut self) -> Parsed<Value> {
        if self.sign("-") {
            return self.deeper(|parser| Ok(Value::Negative(Box::new(parser.operand()?))));
        }
        if self.sign("(") {
            let inner = self.value()?;
            self.expect(")")?;
            return Ok(inner);
        }
        let Some(word) = self.word().map(str::to_owned) else {
            return Err(format!("a number is missing before {}", self.here()));
        };
        self.at += 1;
        if word == "len" || word == "length" {
            return Ok(Value::Length);
        }
        if let Some(number) = number(&word) {
            return Ok(Value::Number(number));
        }
        if self.sign("[") {
            let layer = layer(&word)
                .ok_or_else(|| format!("the header \"{word}\" is not supported in \"{word}[\""))?;
            let offset = self.value()?;
            let size = if self.sign(":") {
                match self.word().and_then(number) {
                    Some(size @ (1 | 2 | 4)) => {
                        self.at += 1;
                        size as u8
                    }
                    _ => return Err("1, 2 or 4 bytes can be read at once".to_owned()),
                }
            } else {
                1
            };
            self.expect("]")?;
            return Ok(Value::Load(layer, Box::new(offset), size));
        }
        names::constant(&word)
            .map(Value::Number)
            .ok_or_else(|| format!("\"{word}\" is no number"))
    }

    fn primitive(&mut self) -> Parsed<Expr> {
        let Some(word) = self.word().map(str::to_owned) else {
            return Err(format!("a test is missing before {}", self.here()));
        };
        if names::UNSUPPORTED.contains(&word.as_str()) {
            return Err(format!("\"{word}\" is not supported"));
        }
        match word.as_str() {
            "broadcast" => return Ok(self.single(Test::Ether(Which::Destination, [0xff; 6]))),
            "multicast" => return Ok(self.single(Test::EtherMulticast)),
            "less" | "greater" => {
                self.at += 1;
                let bound = self.number("a length")?;
                let relation = if word == "less" {
                    Relation::LessOrEqual
                } else {
                    Relation::GreaterOrEqual
                };
                return Ok(self.is(Test::Compare(Value::Length, relation, Value::Number(bound))));
            }
            "vlan" | "mpls" | "pppoes" => return self.tag(&word),
            _ => {}
        }
        self.qualified()
    }

    fn single(&mut self, test: Test) -> Expr {
        self.at += 1;
        self.is(test)
    }

    fn number(&mut self, what: &str) -> Parsed<u32> {
        let found = self.word().and_then(number);
        let found = found.ok_or_else(|| format!("{what} is missing before {}", self.here()))?;
        self.at += 1;
        Ok(found)
    }

    /// A tag with an optional number; what comes later in the expression is behind it.
    fn tag(&mut self, word: &str) -> Parsed<Expr> {
        self.at += 1;
        let id = self.word().and_then(number);
        self.at += usize::from(id.is_some());
        let small = |id: Option<u32>| -> Parsed<Option<u16>> {
            id.map(|id| u16::try_from(id).map_err(|_| format!("{word} {id} is too large")))
                .transpose()
        };
        let behind = self.behind;
        let (test, counter) = match word {
            "vlan" => (Test::Vlan(small(id)?), &mut self.behind.vlan),
            "mpls" => (Test::Mpls(id), &mut self.behind.mpls),
            _ => (Test::Pppoe(small(id)?), &mut self.behind.pppoe),
        };
        *counter = counter.saturating_add(1);
        Ok(Expr::Is(test, behind))
    }

    /// Qualifiers and an identifier, or a protocol alone.
    fn qualified(&mut self) -> Parsed<Expr> {
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

fn number(word: &str) -> Option<u32> {
    if let Some(hex) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        return u32::from_str_radix(hex, 16).ok();
    }
    if word.len() > 1
        && let Some(octal) = word.strip_prefix('0')
    {
        return u32::from_str_radix(octal, 8).ok();
    }
    word.parse().ok()
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

fn layer(word: &str) -> Option<Layer> {
    Some(match word {
        "ether" | "link" => Layer::Link,
        "ip" => Layer::Network(IPV4),
        "ip6" => Layer::Network(IPV6),
        "arp" => Layer::Network(ARP),
        "rarp" => Layer::Network(RARP),
        "tcp" => Layer::Transport(TCP),
        "udp" => Layer::Transport(UDP),
        "sctp" => Layer::Transport(SCTP),
        "icmp" => Layer::Transport(ICMP),
        "igmp" => Layer::Transport(2),
        "igrp" => Layer::Transport(9),
        "pim" => Layer::Transport(103),
        "vrrp" => Layer::Transport(112),
        "icmp6" => Layer::Icmp6,
        _ => return None,
    })
}
