//! A script as a tree: what the parser makes, and what the interpreter walks.

use std::fmt;

/// A place in a script, counted from one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A whole script.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Script {
    /// The options at its top: `--name` or `--name=value`.
    pub options: Vec<ScriptOption>,
    /// The commands before the first event.
    pub setup: Vec<Command>,
    /// The events, in order.
    pub events: Vec<Event>,
    /// The commands after the last event.
    pub cleanup: Vec<Command>,
}

/// An option at the top of a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptOption {
    /// Its place.
    pub at: Position,
    /// The name, without the dashes.
    pub name: String,
    /// The value behind the equals sign.
    pub value: Option<String>,
}

/// A shell command in backticks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// Its place.
    pub at: Position,
    /// The text between the backticks.
    pub text: String,
}

/// Something that happens, or is expected to happen, at a time.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Its place.
    pub at: Position,
    /// When.
    pub time: Time,
    /// The action.
    pub action: Action,
}

/// A time, in microseconds of the script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Time {
    /// Since the first event.
    Absolute(i64),
    /// After the event before: `+0.1`.
    Relative(i64),
    /// Any: `*`.
    Any,
    /// Between two times since the first event: `1.0~1.2`.
    AbsoluteRange(i64, i64),
    /// Between two times after the event before: `+0.1~+0.2`.
    RelativeRange(i64, i64),
}

/// The action of an event.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// A packet that arrives at the stack, or one that it must send.
    Packet(Box<Packet>),
    /// A socket call with its result.
    Call(Box<Call>),
    /// A shell command.
    Command(Command),
    /// Assertions over `tcp_info`: `%{ … }%`.
    Code(String),
}

/// The way of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// `<`: it arrives at the stack.
    In,
    /// `>`: the stack sends it.
    Out,
}

/// A packet.
#[derive(Clone, PartialEq, Debug)]
pub struct Packet {
    /// Its way.
    pub direction: Direction,
    /// Headers around it that are not understood, by name.
    pub encapsulation: Option<String>,
    /// The fields of the IP header that the script names.
    pub ip: IpInfo,
    /// Source and destination port.
    pub ports: Option<(u16, u16)>,
    /// The ports of a UDP header in front of TCP: `/udp(9811 > 1)`.
    pub udp_tunnel: Option<(u16, u16)>,
    /// Its content.
    pub body: Body,
}

/// The payload of the IP packet.
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    /// A TCP segment.
    Tcp(Tcp),
    /// A UDP datagram with that many bytes of payload.
    Udp(u16),
    /// An ICMP message.
    Icmp(Icmp),
}

/// The bits of explicit congestion notification in an IP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ecn {
    /// Exactly these two bits.
    Bits(u8),
    /// ECT(0) or ECT(1).
    AnyEct,
}

/// The fields of an IP header that a script names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IpInfo {
    /// Congestion notification.
    pub ecn: Option<Ecn>,
    /// The whole byte of type of service or traffic class.
    pub tos: Option<u8>,
    /// Time to live or hop limit.
    pub ttl: Option<u8>,
    /// Flow label.
    pub flow_label: Option<u32>,
}

/// A TCP segment, with numbers as the script has them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tcp {
    /// Control bits, as in the header.
    pub flags: u16,
    /// The counter of accurate ECN, if the flags are written with a digit.
    pub ace: Option<u8>,
    /// First sequence number.
    pub seq: u32,
    /// The number is that of the packet, not counted from the first one: `0:0(0)!`.
    pub is_absolute: bool,
    /// The number is any: `...(0)`.
    pub is_any_seq: bool,
    /// Bytes of payload.
    pub len: u16,
    /// Acknowledgement number.
    pub ack: Option<u32>,
    /// Window field.
    pub window: Option<u16>,
    /// Urgent pointer.
    pub urgent: Option<u16>,
    /// Options; `None`: any (`<...>`).
    pub options: Option<Vec<TcpOpt>>,
}

/// A TCP option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TcpOpt {
    /// No operation.
    Nop,
    /// End of the list.
    Eol,
    /// Maximum segment size.
    Mss(u16),
    /// Window scale.
    WindowScale(u8),
    /// Selective acknowledgements are permitted.
    SackOk,
    /// Selective acknowledgements.
    Sack(Vec<(u32, u32)>),
    /// Timestamps.
    Timestamps {
        /// The sender's.
        val: u32,
        /// The echo of the receiver's.
        ecr: u32,
    },
    /// Signature; `None`: one that is valid.
    Md5(Option<Vec<u8>>),
    /// Fast Open: a cookie, or the request for one.
    FastOpen(Vec<u8>),
    /// Fast Open with the experimental kind.
    FastOpenExperimental(Vec<u8>),
    /// Accurate ECN: the kind and its counters of 24 bits, in their order.
    AccEcn {
        /// ECT(1) comes first.
        ect1_first: bool,
        /// The counters.
        counters: Vec<u32>,
    },
    /// Any other kind with its bytes.
    Other {
        /// The kind.
        kind: u8,
        /// The bytes behind the length.
        data: Vec<u8>,
    },
}

/// An ICMP message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Icmp {
    /// The name of its type.
    pub kind: String,
    /// The name of its code.
    pub code: Option<String>,
    /// The MTU that it reports.
    pub mtu: Option<u32>,
    /// The identifier of an echo.
    pub id: Option<u16>,
    /// The packet that it quotes.
    pub quote: Quote,
    /// The ports of a UDP header in front of the quoted segment.
    pub quoted_tunnel: Option<(u16, u16)>,
}

/// The beginning of the packet that an ICMP error is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quote {
    /// A TCP segment: its first sequence number and its payload bytes.
    Tcp(u32, u16),
    /// A UDP datagram: its payload bytes.
    Udp(u16),
    /// Nothing that is known.
    Raw(u16),
}

/// A socket call.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// For a call that blocks, when it returns, written as the event's time.
    pub end: Option<i64>,
    /// The name.
    pub name: String,
    /// The arguments.
    pub arguments: Vec<Expr>,
    /// The result.
    pub result: Expr,
    /// The error's name, as `EAGAIN`.
    pub error: Option<String>,
    /// A remark in parentheses.
    pub note: Option<String>,
}

/// An argument or a result.
#[derive(Clone, PartialEq, Debug)]
pub enum Expr {
    /// `...`: what is usual.
    Ellipsis,
    /// A number.
    Int(i64),
    /// A name.
    Word(String),
    /// A string.
    Text(String),
    /// Bits of both sides.
    Or(Box<Expr>, Box<Expr>),
    /// A field: `name = value`.
    Field(String, Box<Expr>),
    /// `[…]`
    List(Vec<Expr>),
    /// `{…}`
    Struct(Vec<Expr>),
    /// `name(…)`, as in `htons(80)`.
    Apply(String, Vec<Expr>),
}

impl Expr {
    /// Returns the value of a field of a structure.
    pub fn field(&self, name: &str) -> Option<&Expr> {
        let Self::Struct(fields) = self else {
            return None;
        };
        fields.iter().find_map(|field| match field {
            Self::Field(found, value) if found == name => Some(&**value),
            _ => None,
        })
    }
}
