//! A forwarded port, as it is written: `udp:127.0.0.1:5353=10.77.0.1:53,keep-client`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

/// The protocol of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

/// A forwarded port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Forward {
    pub(crate) protocol: Protocol,
    /// Where clients connect to.
    pub(crate) listen: SocketAddr,
    /// Where their connections go.
    pub(crate) to: SocketAddr,
    /// The server sees the client's address.
    pub(crate) keep_client: bool,
}

impl Forward {
    /// Returns the name of the port where clients connect to, such as `tcp:127.0.0.1:80`.
    pub(crate) fn port_name(&self) -> String {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        format!("{protocol}:{}", self.listen)
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.port_name(), self.to)?;
        if self.keep_client {
            f.write_str(",keep-client")?;
        }
        Ok(())
    }
}

/// Parses a port of this machine; its address is 127.0.0.1 unless one is given.
///
/// # Errors
/// Returns what to write.
pub(crate) fn parse_publish(text: &str) -> Result<Forward, String> {
    let advice =
        "write [tcp:|udp:][ADDR:]PORT=ADDR:PORT[,keep-client], for example 8080=10.77.0.1:80";
    let local = |text: &str| {
        let port = text.parse::<u16>().ok();
        let port = port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        text.parse().ok().or(port)
    };
    let forward = parse(text, local).ok_or(advice)?;
    if forward.keep_client && forward.listen.is_ipv4() != forward.to.is_ipv4() {
        return Err("with keep-client both addresses must be of one family".to_owned());
    }
    Ok(forward)
}

/// Parses a port of the stack.
///
/// # Errors
/// Returns what to write.
pub(crate) fn parse_expose(text: &str) -> Result<Forward, String> {
    let advice =
        "write [tcp:|udp:]ADDR:PORT=ADDR:PORT[,keep-client], for example 10.77.0.2:22=127.0.0.1:22";
    let forward = parse(text, |text| text.parse().ok()).ok_or(advice)?;
    let is_v4 = forward.listen.is_ipv4() && forward.to.is_ipv4();
    if forward.keep_client && (forward.protocol == Protocol::Udp || !is_v4) {
        return Err("keep-client works for tcp over IPv4 here: leave it out".to_owned());
    }
    Ok(forward)
}

fn parse(text: &str, local: impl Fn(&str) -> Option<SocketAddr>) -> Option<Forward> {
    let (protocol, rest) = if let Some(rest) = text.strip_prefix("udp:") {
        (Protocol::Udp, rest)
    } else {
        (Protocol::Tcp, text.strip_prefix("tcp:").unwrap_or(text))
    };
    let (rest, keep_client) = match rest.strip_suffix(",keep-client") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let (listen, to) = rest.split_once('=')?;
    let (listen, to) = (local(listen)?, to.parse::<SocketAddr>().ok()?);
    (listen.port() != 0 && to.port() != 0).then_some(Forward {
        protocol,
        listen,
        to,
        keep_client,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        for (text, printed) in [
            ("8080=10.77.0.1:80", "tcp:127.0.0.1:8080=10.77.0.1:80"),
            (
                "udp:[::1]:53=[fd77::1]:53,keep-client",
                "udp:[::1]:53=[fd77::1]:53,keep-client",
            ),
        ] {
            let forward = parse_publish(text).expect(text);
            assert_eq!(forward.to_string(), printed);
            assert_eq!(parse_publish(printed), Ok(forward));
        }
        let exposed = "tcp:10.77.0.2:22=127.0.0.1:22,keep-client";
        assert_eq!(parse_expose(exposed).expect(exposed).to_string(), exposed);
    }

    #[test]
    fn mistakes_are_answered_with_a_form() {
        for text in [
            "",
            "8080",
            "8080=80",
            "0=10.0.0.1:80",
            "x:1=10.0.0.1:80",
            "8080=10.0.0.1:0",
            "sctp:1=10.0.0.1:1",
        ] {
            let error = parse_publish(text).expect_err(text);
            assert!(error.contains("PORT=ADDR:PORT"), "{error}");
        }
        assert!(parse_expose("22=127.0.0.1:22").is_err());
        for text in [
            "udp:10.0.0.1:1=10.0.0.2:2,keep-client",
            "[::1]:1=[::1]:2,keep-client",
        ] {
            assert!(parse_expose(text).expect_err(text).contains("leave it out"));
        }
        assert!(parse_publish("1=[fd77::1]:1,keep-client").is_err());
    }
}
