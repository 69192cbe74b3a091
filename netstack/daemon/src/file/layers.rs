//! Values from flags (`--set KEY=VALUE`) and from the environment, read as the same key of the file is.

use std::ffi::OsString;
use std::path::Path;

use super::schema::File;
use super::text::Text;
use crate::failure::Failure;
use crate::sources::variable_of;

/// The beginning of the name of each variable that is ours.
const PREFIX: &str = "NETSTACKD_";

/// The variable that names the file; it is no key of the file.
const CONFIG_VARIABLE: &str = "NETSTACKD_CONFIG";

/// Reads `KEY=VALUE` of a flag `--set`.
///
/// # Errors
/// Returns [`Failure::Usage`] with the key and what to do.
pub(crate) fn of_flag(text: &str) -> Result<File, Failure> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(Failure::Usage(format!(
            "--set '{text}' has no value: write --set KEY=VALUE, for example --set tcp.time_wait=30s"
        )));
    };
    let key = key.trim();
    if !File::keys().any(|known| known == key) {
        return Err(Failure::Usage(format!(
            "--set {key} is no key{}: netstackd config example lists them",
            suggestion(key)
        )));
    }
    of_value(key, value.trim()).map_err(|why| {
        Failure::Usage(format!(
            "--set {key} '{}' cannot be used: {why}",
            value.trim()
        ))
    })
}

/// Reads the variables of the environment that are ours.
///
/// # Errors
/// Returns [`Failure::Usage`] with the variable and what to do.
pub(crate) fn of_environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<File, Failure> {
    let mut file = File::default();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        if name == CONFIG_VARIABLE {
            continue;
        }
        let Some(key) = File::keys().find(|key| variable_of(key) == name) else {
            let key = name.trim_start_matches(PREFIX).to_ascii_lowercase();
            return Err(Failure::Usage(format!(
                "the variable {name} is for no key{}: unset it, netstackd config example lists the keys",
                suggestion(&key)
            )));
        };
        let Some(value) = value.to_str() else {
            return Err(Failure::Usage(format!(
                "{name} is no text in UTF-8: set it again"
            )));
        };
        let one = of_value(key, value)
            .map_err(|why| Failure::Usage(format!("{name} '{value}' cannot be used: {why}")))?;
        file = file.or(one);
    }
    Ok(file)
}

/// The configuration below the flags.
#[derive(Debug)]
pub(crate) struct Below {
    pub(crate) variables: File,
    pub(crate) file: File,
    pub(crate) text: Option<Text>,
}

impl Below {
    /// Returns the values of both; a variable wins over the file.
    pub(crate) fn merged(self) -> File {
        self.variables.or(self.file)
    }
}

/// Reads the environment, and the file that `config` or the environment names, if any.
///
/// # Errors
/// Returns [`Failure::Config`] for an error in the file, [`Failure::Usage`] for one in the environment.
pub(crate) fn below_flags(
    config: Option<&Path>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Below, Failure> {
    let environment: Vec<_> = environment.collect();
    let named = environment.iter().find(|(name, _)| name == CONFIG_VARIABLE);
    let named = named.map(|(_, path)| Path::new(path).to_owned());
    let path = config.map(Path::to_owned).or(named);
    let variables = of_environment(environment.into_iter())?;
    let (file, text) = path.map(|path| super::read(&path)).transpose()?.unzip();
    Ok(Below {
        variables,
        file: file.unwrap_or_default(),
        text,
    })
}

/// Reads the value of a key. A number, a list or a switch is written as in the file; anything else needs no quotes.
fn of_value(key: &str, value: &str) -> Result<File, String> {
    let read = |value: &str| {
        toml::from_str::<File>(&format!("{key} = {value}"))
            .map_err(|error| super::message_of(&error))
    };
    let quoted = super::value::quoted(value);
    // Of a text that would be a number in the file, such as a name or permissions, the quotes decide.
    let is_plain =
        value.parse::<i64>().is_ok() || value.parse::<bool>().is_ok() || value.starts_with('[');
    if is_plain {
        return read(value).or_else(|why| read(&quoted).map_err(|_| why));
    }
    read(&quoted)
}

/// Returns the words that propose the key that is meant, if one is near.
pub(super) fn suggestion(key: &str) -> String {
    let flat = |text: &str| text.replace(['-', '.'], "_");
    let near = File::keys()
        .map(|known| (distance(&flat(known), &flat(key)), known))
        .min();
    match near {
        Some((distance, known)) if distance <= 2 => format!(" (did you mean {known}?)"),
        _ => String::new(),
    }
}

/// Returns how many letters must change to make one word of another (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    // A word this long is near nothing.
    if b.len() > 64 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((other, pair), left) in b.iter().zip(row.windows(2)).zip(0..) {
            let changed = pair[0] + usize::from(letter != *other);
            next.push(changed.min(pair[1] + 1).min(next[left] + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Result<File, Failure> {
        of_environment(
            pairs
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        )
    }

    #[test]
    fn every_key_has_a_variable_of_its_own() {
        let mut names: Vec<String> = File::keys().map(variable_of).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(!names.contains(&CONFIG_VARIABLE.to_owned()));
    }

    #[test]
    fn values_are_read_as_in_the_file() {
        for (set, key) in [
            ("tcp.time_wait=30s", "tcp.time_wait"),
            ("max_connections = 10", "max_connections"),
            ("tcp.nagle=false", "tcp.nagle"),
            ("services=echo,http", "services"),
            ("services=[\"echo\"]", "services"),
            ("control-mode=660", "control-mode"),
            ("tun=7", "tun"),
            ("addr=10.77.0.2/24", "addr"),
        ] {
            assert_eq!(of_flag(set).expect(set).given(), [key]);
        }
        let file = environment(&[
            ("NETSTACKD_TCP_SACK", "true"),
            ("HOME", "/"),
            ("NETSTACKD_CONFIG", "x"),
        ]);
        assert_eq!(file.expect("good").given(), ["tcp.sack"]);
    }

    #[test]
    fn a_wrong_value_names_its_flag_or_variable() {
        for (set, says) in [
            ("mtu", "--set 'mtu' has no value"),
            ("mtus=1", "--set mtus is no key (did you mean mtu?)"),
            ("mtu=big", "--set mtu 'big' cannot be used: "),
            ("grace=5", "\"5s\""),
            ("tcp.nagle=yes", "true or false"),
            ("max_connections=-1", "a whole number from 0"),
        ] {
            let failure = of_flag(set).expect_err(set);
            assert_eq!(failure.exit_code(), 2);
            let text = failure.to_string();
            assert!(text.contains(says) && !text.contains('\n'), "{set}: {text}");
        }
        for (name, value, says) in [
            (
                "NETSTACKD_MTUS",
                "1",
                "NETSTACKD_MTUS is for no key (did you mean mtu?)",
            ),
            (
                "NETSTACKD_MTU",
                "70000",
                "NETSTACKD_MTU '70000' cannot be used: 70000 is out of range",
            ),
        ] {
            let failure = environment(&[(name, value)]).expect_err(name);
            assert_eq!(failure.exit_code(), 2);
            assert!(failure.to_string().contains(says), "{failure}");
        }
    }
}
