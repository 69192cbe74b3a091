//! Filters in tcpdump's language (pcap-filter(7)): which packets are looked at.
//!
//! As there, expressions are about the outermost headers; `vlan`, `mpls` and `pppoes` move what comes after
//! them in the expression behind the tag; `and` and `or` have the same precedence; a load behind the end of a
//! packet selects nothing. Names of hosts are not looked up. What is not supported is refused by name.

mod eval;
mod lexer;
mod names;
mod parser;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, Ipv6Addr};

pub use self::eval::View;

/// The reason why an expression cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("filter \"{text}\": {what}")]
pub struct FilterError {
    /// The whole expression.
    pub text: String,
    /// The fault in it.
    pub what: String,
}

/// A compiled filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter(Expr);

impl Filter {
    /// Compiles an expression; `None` for an empty one, which selects everything.
    pub fn compile(text: &str) -> Result<Option<Self>, FilterError> {
        let compiled = lexer::tokens(text).and_then(parser::parse);
        compiled
            .map(|expr| expr.map(Self))
            .map_err(|what| FilterError {
                text: text.to_owned(),
                what,
            })
    }

    /// Returns true if the packet is selected.
    pub fn selects(&self, view: &View<'_>) -> bool {
        eval::eval(&self.0, view).unwrap_or(false)
    }
}

/// An expression.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Expr {
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Is(Test, Behind),
}

/// The tags that the expression has named before a test, which the test is behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Behind {
    vlan: u8,
    mpls: u8,
    pppoe: u8,
}

/// Which of the two addresses or ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Which {
    Source,
    Destination,
    #[default]
    Either,
    Both,
}

/// One test.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Test {
    /// The packet has this ethertype.
    Ethertype(u16),
    /// The IP packet (of this ethertype, or either) carries this protocol.
    Protocol(Option<u16>, u8),
    /// As `Protocol`, behind extension headers too.
    Chain(Option<u16>, u8),
    /// An IPv4 address; the ethertype restricts it to IP, ARP or RARP.
    Net4(Option<u16>, Which, Ipv4Addr, u32),
    /// An IPv6 address.
    Net6(Which, Ipv6Addr, u128),
    /// A port of TCP, UDP or SCTP, or of one of them.
    Ports(Option<u8>, Which, u16, u16),
    /// A hardware address.
    Ether(Which, [u8; 6]),
    EtherMulticast,
    Ip4Broadcast,
    Ip4Multicast,
    Ip6Multicast,
    /// A tag, with its number.
    Vlan(Option<u16>),
    Mpls(Option<u32>),
    Pppoe(Option<u16>),
    /// A comparison.
    Compare(Value, Relation, Value),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Relation {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// An arithmetic expression.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Value {
    Number(u32),
    /// Length of the packet on the wire.
    Length,
    /// Bytes of a header: offset and number of bytes.
    Load(Layer, Box<Value>, u8),
    Negative(Box<Value>),
    Binary(Box<Value>, Operator, Box<Value>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

/// The header that a load is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layer {
    Link,
    /// A network header of this ethertype.
    Network(u16),
    /// The transport header of this protocol, over IPv4.
    Transport(u8),
    /// ICMPv6 right behind the IPv6 header.
    Icmp6,
}
