//! The configuration file: the flags' keys at the top level, the stack's limits beside them, the TCP
//! limits in `[tcp]`. Every message names file, line and key.
//!
//! `netstackd.example.toml` beside this package's `Cargo.toml` documents every key.

pub(crate) mod layers;
mod schema;
mod text;
mod value;

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use netstack::base::{Config, ConfigError};

use crate::failure::Failure;
use crate::sources::{Origin, Sources};
pub(crate) use schema::{File, Flags, show_limits};
pub(crate) use text::Text;
pub(crate) use value::quoted;

/// Largest file that is read, in bytes: many times what every key takes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The documentation of every key, which is a file itself.
pub(crate) const EXAMPLE: &str = include_str!("../../netstackd.example.toml");

/// Reads the file at `path`.
///
/// # Errors
///
/// Returns [`Failure::Config`] if the file cannot be read, is not TOML, has a key that does not
/// exist, or a value that is of another kind.
pub(crate) fn read(path: &Path) -> Result<(File, Text), Failure> {
    let text = read_text(path).map_err(|error| {
        Failure::Config(format!(
            "cannot read the configuration file {}: {}: check the path given to --config",
            path.display(),
            reason(&error)
        ))
    })?;
    parse(Text::new(path, text))
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // A device such as /dev/zero never ends.
    let read = fs::File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => io::Error::other("it is not text in UTF-8"),
            _ => error,
        })?;
    if read as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

/// Reads the text of a file.
///
/// # Errors
///
/// As [`read`], but for the file that cannot be read.
pub(crate) fn parse(text: Text) -> Result<(File, Text), Failure> {
    let file = toml::from_str::<File>(text.as_str())
        .map_err(|error| text.fault_at(error.span(), &message_of(&error)))?;
    Ok((file, text))
}

/// Returns what is wrong in one line, in the words of the file's format.
fn message_of(error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', " ");
    let wrong_type = message.strip_prefix("invalid type: ");
    let Some((found, expected)) = wrong_type.and_then(|text| text.split_once(", expected ")) else {
        return message.replacen("unknown field", "unknown key", 1);
    };
    let found = match found {
        "sequence" => "a list",
        "map" => "a table",
        found => found,
    };
    let found = found.replacen("floating point", "number", 1);
    let found = found
        .replacen("boolean", "switch", 1)
        .replacen("integer", "number", 1);
    let found = found.replacen("string", "text", 1).replace('`', "");
    let expected = match expected {
        "a string" | "path string" => "a text in quotes",
        expected => expected,
    };
    format!("found {found}, expected {expected}")
}

/// Checks the stack's limits against each other.
///
/// # Errors
/// Names the key that is out of its bounds. Where nobody set that one, a key that somebody did set has moved its bounds:
/// the message points at that one.
pub(crate) fn check_limits(config: &Config, sources: &Sources) -> Result<(), Failure> {
    let Err(ConfigError { key, value, must }) = config.validate() else {
        return Ok(());
    };
    match sources.origin(key) {
        Origin::Default => {}
        Origin::File(_) => return Err(sources.fault(key, &format!("it is {value}: {must}"))),
        origin => return Err(Failure::Usage(format!("{origin} is {value}: {must}"))),
    }
    let must = must.replacen("set it", &format!("set {key}"), 1);
    let message = format!("{key} is {value} by default: {must}");
    let bound = must
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))
        .find(|word| sources.origin(word) != Origin::Default);
    Err(match bound.map(|bound| (bound, sources.origin(bound))) {
        Some((bound, Origin::File(_))) => sources.fault(bound, &message),
        Some((_, origin)) => Failure::Usage(format!("{origin}: {message}")),
        None => Failure::Usage(message),
    })
}

/// Returns an I/O error's reason without the error code at its end.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let (first, rest) = text.split_at_checked(1).unwrap_or_default();
    first.to_lowercase() + rest
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use netstack::device::OffloadMode;

    use super::*;
    use crate::settings::{Parts, Settings, default_config};
    use crate::values::{Queues, TunName};

    fn parse_text(text: &str) -> Result<(Parts, Config, Text), Failure> {
        let (file, text) = parse(Text::new(Path::new("net.toml"), text.to_owned()))?;
        let (parts, config) = file.split();
        let sources = Sources {
            file: Some(text.clone()),
            ..Sources::default()
        };
        check_limits(&config, &sources)?;
        Ok((parts, config, text))
    }

    fn refusal(text: &str) -> String {
        let failure = parse_text(text).expect_err(text);
        assert_eq!(failure.exit_code(), 3);
        let text = failure.to_string();
        assert!(!text.contains('\n'), "{text}");
        text
    }

    #[test]
    fn every_key_reaches_its_place() {
        let text = r#"
            tun = "t0"
            addr = "10.77.0.2/24"
            addr6 = "fd77::2/64"
            host-addr = "10.77.0.9"
            mtu = 9000
            queues = 3
            offload = "off"
            services = ["echo", "http"]
            grace = "250ms"
            max_connections = 10
            reassembly_timeout = "3s"
            [tcp]
            time_wait = "1s"
            keepalive_idle = "0s"
            data_retries = 4
        "#;
        let (parts, config, _) = parse_text(text).expect("good");
        assert_eq!(parts.tun.as_ref().map(TunName::as_str), Some("t0"));
        assert_eq!(parts.host_addr, Some(Ipv4Addr::new(10, 77, 0, 9)));
        assert_eq!(parts.mtu, Some(9000));
        assert_eq!(parts.queues.map(Queues::get), Some(3));
        assert_eq!(parts.offload, Some(OffloadMode::Off));
        assert_eq!(
            parts.services.map(|s| s.to_string()),
            Some("echo,http".to_owned())
        );
        assert_eq!(parts.grace, Some(Duration::from_millis(250)));
        assert_eq!(config.max_connections, 10);
        assert_eq!(config.reassembly_timeout, Duration::from_secs(3));
        assert_eq!(config.tcp.time_wait, Duration::from_secs(1));
        assert_eq!(config.tcp.keepalive_idle, None);
        assert_eq!(config.tcp.data_retries, 4);
    }

    #[test]
    fn complaints_name_file_line_and_key() {
        let text = refusal("tun = \"t0\"\n\nmut = 1500\n");
        assert!(
            text.starts_with("net.toml, line 3: key 'mut': unknown key"),
            "{text}"
        );
        let text = refusal("mtu = \"big\"\n");
        assert!(text.starts_with("net.toml, line 1: key 'mtu': "), "{text}");
        let text = refusal("mtu = 70000\n");
        assert!(text.starts_with("net.toml, line 1: key 'mtu': "), "{text}");
        let text = refusal("queues = 0\n");
        assert!(
            text.starts_with("net.toml, line 1: key 'queues': use 1 to 256"),
            "{text}"
        );
        let text = refusal("# a\n[tcp]\nnagle = true\ntime_wait = \"soon\"\n");
        assert!(
            text.starts_with("net.toml, line 4: key 'tcp.time_wait': 'soon'"),
            "{text}"
        );
        let text = refusal("[tcp]\nnagle = true\nsend_buffer = 1\n");
        assert!(
            text.starts_with("net.toml, line 3: key 'tcp.send_buffer': it is 1"),
            "{text}"
        );
        let text = refusal("services = [\"echo\", \"finger\"]\n");
        assert!(
            text.contains("'services': there is no service 'finger'"),
            "{text}"
        );
        let text = refusal("grace = 5\n");
        assert!(
            text.starts_with("net.toml, line 1: key 'grace': ") && text.contains("\"5s\""),
            "{text}"
        );
        let text = refusal("addr = \"10.0.0.1\"\n");
        assert!(text.starts_with("net.toml, line 1: key 'addr': "), "{text}");
        let text = refusal("tun = \"t0\nmtu = 1\n");
        assert!(text.starts_with("net.toml, line 1: "), "{text}");
    }

    #[test]
    fn messages_name_no_rust_types() {
        for text in [
            "mtu = \"big\"",
            "mtu = 70000",
            "mtu = -1",
            "queues = \"two\"",
            "queues = -1",
            "grace = 5",
            "max_connections = \"many\"",
            "ttl = 256",
            "tun = 5",
            "pcap = 5",
            "services = 5",
            "addr = 5",
            "tcp = 5",
            "tcp.nagle = \"yes\"",
            "tcp.syn_retries = 1.5",
            "tcp.time_wait = 60",
        ] {
            let text = refusal(text);
            assert_is_plain(&text);
            assert!(text.starts_with("net.toml, line 1: key '"), "{text}");
        }
        // Every key with a value of each kind: what is not accepted is refused in plain words.
        for key in File::keys() {
            for value in [
                "true",
                "-5",
                "1.5",
                "\"?\"",
                "[]",
                "[1]",
                "[[]]",
                "{}",
                "{ a = 1 }",
            ] {
                if let Err(failure) = parse_text(&format!("{key} = {value}")) {
                    let text = failure.to_string();
                    assert_is_plain(&text);
                    assert!(text.starts_with("net.toml, line 1: key '"), "{text}");
                }
            }
        }
    }

    /// Checks that a message has no word of the language in which the parser is written.
    fn assert_is_plain(text: &str) {
        let foreign = "u8 u16 u32 u64 usize i64 f64 struct TcpLimits sequence map string integer boolean enum variant untagged";
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        let found = words.find(|word| foreign.split(' ').any(|foreign| foreign == *word));
        assert_eq!(found, None, "{text}");
    }

    #[test]
    fn a_limit_that_another_key_contradicts_is_reported_at_that_key() {
        let text = refusal("[tcp]\n\nrecv_buffer_max = 5000\n");
        assert!(
            text.starts_with(
                "net.toml, line 3: key 'tcp.recv_buffer_max': tcp.recv_buffer_initial is 262144 by \
                 default: set tcp.recv_buffer_initial between"
            ),
            "{text}"
        );
        let text = refusal("ephemeral_port_last = 1000\n");
        assert!(
            text.starts_with(
                "net.toml, line 1: key 'ephemeral_port_last': ephemeral_port_first is 32768 by default"
            ),
            "{text}"
        );
        let text = refusal("[tcp]\nrto_max = \"500ms\"\n");
        assert!(
            text.starts_with(
                "net.toml, line 2: key 'tcp.rto_max': tcp.rto_initial is 1s by default"
            ),
            "{text}"
        );
    }

    /// Returns the keys that the parser lists when it refuses an unknown one.
    fn known_keys(text: &str) -> Vec<String> {
        let text = refusal(text);
        let (_, list) = text.split_once("expected one of ").expect("a list of keys");
        let keys = list.split(", ").map(|key| key.trim_matches('`').to_owned());
        keys.collect()
    }

    #[test]
    fn the_example_has_every_key_with_its_default() {
        let (top, tcp) = EXAMPLE.split_once("\n[tcp]\n").expect("a [tcp] table");
        let sets = |part: &str, key: &str| {
            part.lines().any(|line| {
                line.trim_start_matches('#')
                    .trim_start()
                    .starts_with(&format!("{key} = "))
            })
        };
        let (top_keys, tcp_keys) = (known_keys("nokey = 1"), known_keys("[tcp]\nnokey = 1"));
        assert_eq!((top_keys.len(), tcp_keys.len()), (50, 39));
        for key in top_keys.iter().filter(|key| *key != "tcp") {
            assert!(sets(top, key), "{key} is not in the example");
        }
        for key in &tcp_keys {
            assert!(sets(tcp, key), "tcp.{key} is not in the example");
        }

        let defaults = format!("{:?}", default_config());
        let (_, config, _) = parse_text(EXAMPLE).expect("the example as it is");
        assert_eq!(format!("{config:?}"), defaults);
        // A comment is "# text", a default "#key = value".
        let is_default = |line: &str| {
            line.strip_prefix('#')
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
        };
        let all: String = EXAMPLE
            .lines()
            .map(|line| if is_default(line) { &line[1..] } else { line })
            .flat_map(|line| [line, "\n"])
            .collect();
        let (parts, config, text) = parse_text(&all).expect("the example with every default");
        assert_eq!(format!("{config:?}"), defaults);
        assert!(
            ["tcp.min_mss", "ttl", "grace"]
                .iter()
                .all(|key| text.place_of(key).is_some())
        );
        let given = Settings::from_parts(parts, config, Sources::default()).expect("settings");
        let (least, ..) = parse_text(EXAMPLE).expect("the example as it is");
        let filled = Settings::from_parts(least, default_config(), Sources::default());
        let filled = filled.expect("settings");
        assert_eq!(
            (
                given.mtu,
                given.offload,
                given.services,
                given.grace,
                given.http,
                given.policy,
                given.v4,
                given.v6
            ),
            (
                filled.mtu,
                filled.offload,
                filled.services,
                filled.grace,
                filled.http,
                filled.policy,
                filled.v4,
                filled.v6
            )
        );
    }

    #[test]
    fn a_file_that_does_not_end_is_refused() {
        let failure = read(Path::new("/dev/zero")).expect_err("endless");
        let text = failure.to_string();
        assert!(
            text.contains("/dev/zero: it is larger than 1 MiB") && text.contains("--config"),
            "{text}"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let failure = read(Path::new("/nonexistent/netstackd.toml")).expect_err("missing");
        let text = failure.to_string();
        assert!(
            text.contains("/nonexistent/netstackd.toml: no such file"),
            "{text}"
        );
    }
}
