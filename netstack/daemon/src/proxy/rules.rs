//! Which flow goes where: the rules, the upstream proxy, and the text in which both are written.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;

use super::upstream::Upstream;

/// Most rules.
const RULES_MAX: usize = 4_096;
/// Most destinations or ports of one rule.
const WORDS_MAX: usize = 256;

/// The way of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// It goes out through the machine's own sockets.
    Direct,
    /// It goes through the upstream proxy.
    Proxy,
    /// It is refused: TCP with a reset, UDP with an ICMP error, a ping without an answer.
    Reject,
    /// It is not answered.
    Drop,
}

/// The protocol of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP echo.
    Icmp,
}

/// One rule. It holds for flows that match all of its parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    action: Action,
    protocol: Option<Protocol>,
    /// Empty: any.
    destinations: Vec<IpNet>,
    /// Empty: any.
    ports: Vec<RangeInclusive<u16>>,
}

impl Rule {
    fn holds(&self, protocol: Protocol, to: SocketAddr) -> bool {
        let is_protocol = self.protocol.is_none_or(|mine| mine == protocol);
        let mut destinations = self.destinations.iter();
        let is_there =
            self.destinations.is_empty() || destinations.any(|net| net.contains(&to.ip()));
        let is_port =
            self.ports.is_empty() || self.ports.iter().any(|ports| ports.contains(&to.port()));
        is_protocol && is_there && is_port
    }
}

impl fmt::Display for Rule {
    /// Writes the rule as it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
            match items {
                [] => "any".to_owned(),
                items => items.iter().map(show).collect::<Vec<_>>().join(","),
            }
        }
        f.write_str(match self.action {
            Action::Direct => "direct",
            Action::Proxy => "proxy",
            Action::Reject => "reject",
            Action::Drop => "drop",
        })?;
        if let Some(protocol) = self.protocol {
            write!(f, " {protocol}")?;
        }
        write!(f, " {}", list(&self.destinations, ToString::to_string))?;
        if !self.ports.is_empty() {
            let show = |ports: &RangeInclusive<u16>| match (ports.start(), ports.end()) {
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            };
            write!(f, " {}", list(&self.ports, show))?;
        }
        Ok(())
    }
}

/// Rules in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleList(pub Vec<Rule>);

impl RuleList {
    /// Parses a rule from each text.
    ///
    /// # Errors
    /// Returns the first wrong one, or that there are too many.
    pub(crate) fn parse<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut policy = Policy::default();
        for text in texts {
            let rule = text.parse().map_err(|why| format!("'{text}': {why}"))?;
            policy.push(rule)?;
        }
        Ok(Self(policy.rules))
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace().peekable();
        let action = match words.next() {
            Some("direct") => Action::Direct,
            Some("proxy") => Action::Proxy,
            Some("reject") => Action::Reject,
            Some("drop") => Action::Drop,
            other => {
                let word = other.unwrap_or_default();
                return Err(format!(
                    "'{word}' is no action: begin with direct, proxy, reject or drop"
                ));
            }
        };
        let protocol = match words.peek() {
            Some(&"tcp") => Some(Protocol::Tcp),
            Some(&"udp") => Some(Protocol::Udp),
            Some(&"icmp") => Some(Protocol::Icmp),
            _ => None,
        };
        if protocol.is_some() {
            words.next();
        }
        let destinations = words.next().ok_or_else(|| {
            format!("'{text}' names no destination: add a prefix such as 10.0.0.0/8, or any")
        })?;
        let ports = words.next().unwrap_or("any");
        if let Some(word) = words.next() {
            return Err(format!(
                "'{word}' is too much: write ACTION [tcp|udp|icmp] DESTINATIONS [PORTS], lists with commas"
            ));
        }
        if protocol == Some(Protocol::Icmp) && ports != "any" {
            return Err(format!("'{ports}' cannot be: icmp has no ports"));
        }
        Ok(Self {
            action,
            protocol,
            destinations: list(destinations, parse_destination)?,
            ports: list(ports, parse_ports)?,
        })
    }
}

/// Parses a list with commas; `any` is the empty one.
fn list<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    if text == "any" {
        return Ok(Vec::new());
    }
    if text.split(',').count() > WORDS_MAX {
        return Err(format!(
            "a list is longer than {WORDS_MAX}: write several rules"
        ));
    }
    text.split(',').map(parse).collect()
}

fn parse_destination(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>().ok();
    let host = || text.parse::<IpAddr>().ok().map(IpNet::from);
    net.or_else(host).ok_or_else(|| {
        format!("'{text}' is no destination: write an address, a prefix such as 10.0.0.0/8, or any")
    })
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err(format!(
            "'{text}' is no port: write 1 to 65535, a range such as 8000-8999, or any"
        )),
    }
}

/// The rules and the upstream proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
    /// The upstream proxy, if there is one.
    pub upstream: Option<Upstream>,
}

impl Policy {
    /// Makes a policy of rules and an upstream proxy.
    pub fn new(rules: Vec<Rule>, upstream: Option<Upstream>) -> Self {
        Self { rules, upstream }
    }

    /// Returns the rules, in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.upstream.is_none()
    }

    /// Returns what becomes of a flow: what the first rule that holds for it says; without one it goes to the upstream
    /// proxy, or directly if there is none.
    ///
    /// Pings cannot pass a proxy: where one is set, they are dropped unless a rule says that they go directly.
    pub fn decide(&self, protocol: Protocol, to: SocketAddr) -> Action {
        let rule = self.rules.iter().find(|rule| rule.holds(protocol, to));
        let action = match (rule, &self.upstream) {
            (Some(rule), _) => rule.action,
            (None, Some(_)) => Action::Proxy,
            (None, None) => Action::Direct,
        };
        match (action, &self.upstream) {
            // A rule says so, and there is nothing to go through: never past it.
            (Action::Proxy, None) => Action::Reject,
            (Action::Proxy, Some(upstream)) if !upstream.carries(protocol) => Action::Drop,
            _ => action,
        }
    }

    /// Adds a rule behind the others.
    ///
    /// # Errors
    /// There are too many.
    pub fn push(&mut self, rule: Rule) -> Result<(), String> {
        if self.rules.len() >= RULES_MAX {
            return Err(format!(
                "there are more than {RULES_MAX} rules: use larger prefixes"
            ));
        }
        self.rules.push(rule);
        Ok(())
    }

    /// Adds what a file says: a rule or `upstream URL` on each line, `#` before a comment.
    ///
    /// # Errors
    /// Returns the first wrong line, with its number.
    pub fn read(&mut self, text: &str) -> Result<(), String> {
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            let read = match line.split_once(char::is_whitespace) {
                Some(("upstream", url)) => url.trim().parse().map(|url| self.upstream = Some(url)),
                _ if line.is_empty() => Ok(()),
                _ => line.parse().and_then(|rule| self.push(rule)),
            };
            read.map_err(|error| format!("line {number}: {error}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        let mut policy = Policy::default();
        policy.read(text).expect(text);
        policy
    }

    fn decide(policy: &Policy, protocol: Protocol, to: &str) -> Action {
        policy.decide(protocol, to.parse().expect(to))
    }

    #[test]
    fn the_first_rule_that_holds_decides() {
        let policy = policy(
            "upstream socks5://127.0.0.1:1080\n\
             # mail\n\
             reject tcp any 25,465   # no mail\n\
             direct 10.0.0.0/8,fd00::/8\n\
             drop udp any 443\n\
             direct icmp any\n\
             direct tcp 192.0.2.7 8000-8999\n",
        );
        use Action::{Direct, Drop, Proxy, Reject};
        use Protocol::{Icmp, Tcp, Udp};
        for (protocol, to, action) in [
            (Tcp, "10.1.1.1:25", Reject),
            (Udp, "10.1.1.1:25", Direct),
            (Tcp, "[fd00::1]:80", Direct),
            (Udp, "192.0.2.1:443", Drop),
            (Tcp, "192.0.2.1:443", Proxy),
            (Icmp, "192.0.2.1:0", Direct),
            (Tcp, "192.0.2.7:8999", Direct),
            (Tcp, "192.0.2.7:9000", Proxy),
            (Tcp, "192.0.2.8:8000", Proxy),
        ] {
            assert_eq!(decide(&policy, protocol, to), action, "{protocol} {to}");
        }
    }

    #[test]
    fn a_rule_is_shown_as_it_is_read() {
        for text in [
            "direct any",
            "reject tcp any 25,465",
            "drop udp 10.0.0.0/8,fd00::/8 1-9,443",
            "direct icmp any",
            "proxy 192.0.2.7/32",
        ] {
            let rule: Rule = text.parse().expect(text);
            assert_eq!(rule.to_string(), text);
        }
        let list = RuleList::parse(["direct any", "drop any"].into_iter());
        assert_eq!(list.expect("two").0.len(), 2);
        let wrong = RuleList::parse(["direct any", "x"].into_iter()).expect_err("no rule");
        assert!(wrong.starts_with("'x': "), "{wrong}");
    }

    #[test]
    fn nothing_passes_a_proxy_that_cannot_carry_it() {
        let any = "192.0.2.1:53";
        let none = policy("");
        assert_eq!(decide(&none, Protocol::Udp, any), Action::Direct);
        let socks = policy("upstream socks5://127.0.0.1:1080");
        assert_eq!(decide(&socks, Protocol::Udp, any), Action::Proxy);
        assert_eq!(decide(&socks, Protocol::Icmp, any), Action::Drop);
        let http = policy("upstream http://127.0.0.1:3128");
        assert_eq!(decide(&http, Protocol::Tcp, any), Action::Proxy);
        assert_eq!(decide(&http, Protocol::Udp, any), Action::Drop);
        let nowhere = policy("proxy any");
        assert_eq!(decide(&nowhere, Protocol::Tcp, any), Action::Reject);
    }

    #[test]
    fn each_mistake_is_one_sentence_with_its_line() {
        for (line, what, advice) in [
            ("allow any", "'allow'", "direct, proxy, reject or drop"),
            ("direct", "no destination", "any"),
            ("direct tcp", "no destination", "any"),
            ("direct 10.0.0.0/33", "10.0.0.0/33", "10.0.0.0/8"),
            ("direct example.org", "example.org", "10.0.0.0/8"),
            ("direct any 0x50", "0x50", "8000-8999"),
            ("direct any 9-1", "9-1", "8000-8999"),
            ("direct any 80 90", "'90'", "commas"),
            ("direct icmp any 80", "80", "no ports"),
            ("upstream ftp://x", "ftp://x", "socks5://"),
        ] {
            let mut policy = Policy::default();
            let error = policy.read(&format!("\n# two\n{line}")).expect_err(line);
            assert!(error.starts_with("line 3: "), "{error}");
            assert!(error.contains(what) && error.contains(advice), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
        let many = "direct any\n".repeat(RULES_MAX + 1);
        assert!(Policy::default().read(&many).is_err());
    }
}
