//! The user and the group that the daemon becomes, by name or number.

use std::ffi::CString;
use std::fmt;
use std::str::FromStr;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use serde::Deserialize;

use crate::failure::Failure;
use crate::settings::Settings;

/// Longest name of a user or a group, in bytes.
const NAME_BYTES: usize = 256;

/// A user or a group, as it is written: a name or a number.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Account(String);

impl FromStr for Account {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = (1..=NAME_BYTES).contains(&text.len())
            && text
                .chars()
                .all(|c| !c.is_control() && !c.is_whitespace() && c != ':' && c != '/');
        match is_name {
            true => Ok(Self(text.to_owned())),
            false => Err("write a name or a number, without spaces, ':' and '/'".to_owned()),
        }
    }
}

impl TryFrom<String> for Account {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Account {
    /// Returns the number that is written, if it is one. The largest one stands for nobody at all.
    fn number(&self) -> Option<u32> {
        self.0.parse().ok().filter(|number| *number != u32::MAX)
    }
}

/// The ids that the daemon takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    name: String,
    /// Where the user was named, for advice.
    pub(super) place: String,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(super) groups: Vec<Gid>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.name, self.uid, self.gid)
    }
}

/// Looks the user and the group of the settings up.
///
/// # Errors
/// The system does not know one of them.
pub(crate) fn of(settings: &Settings) -> Result<Option<Identity>, Failure> {
    let fault = |key: &str, text: &str| settings.sources.fault(key, text);
    let Some(user) = &settings.user else {
        return match &settings.group {
            None => Ok(None),
            Some(group) => {
                let text = format!("'{group}' is given without a user: give user, too");
                Err(fault("group", &text))
            }
        };
    };
    let unreadable = |key: &str, name: &Account, errno: Errno| {
        let why = errno.desc().to_lowercase();
        let text = format!("'{name}' cannot be looked up ({why}): give the number instead");
        fault(key, &text)
    };
    let found = User::from_name(&user.0).map_err(|errno| unreadable("user", user, errno))?;
    let found = match (found, user.number()) {
        (None, Some(number)) => User::from_uid(Uid::from_raw(number)).unwrap_or_default(),
        (found, _) => found,
    };
    let uid = found.as_ref().map(|user| user.uid);
    let uid = uid.or_else(|| user.number().map(Uid::from_raw));
    let uid = uid.ok_or_else(|| {
        let text = format!(
            "'{user}' is no user of this system: create it (useradd --system {user}), or name another one"
        );
        fault("user", &text)
    })?;
    let gid = match (&settings.group, &found) {
        (Some(group), _) => {
            let known =
                Group::from_name(&group.0).map_err(|errno| unreadable("group", group, errno))?;
            let gid = known.map(|group| group.gid);
            gid.or_else(|| group.number().map(Gid::from_raw))
                .ok_or_else(|| {
                    let text = format!(
                    "'{group}' is no group of this system: create it (groupadd --system {group}), or name another one"
                );
                    fault("group", &text)
                })?
        }
        (None, Some(user)) => user.gid,
        (None, None) => {
            let text = format!("'{user}' has no entry that names its group: give group, too");
            return Err(fault("user", &text));
        }
    };
    Ok(Some(Identity {
        name: user.0.clone(),
        place: super::place(settings, "user"),
        uid,
        gid,
        groups: groups(found.as_ref(), gid),
    }))
}

/// Returns the groups that a log-in of the user would have.
fn groups(user: Option<&User>, gid: Gid) -> Vec<Gid> {
    let name = user.and_then(|user| CString::new(user.name.as_str()).ok());
    let groups = name.and_then(|name| getgrouplist(&name, gid).ok());
    groups.unwrap_or_else(|| vec![gid])
}

#[cfg(test)]
mod tests {
    use netstack::base::Config;

    use super::*;
    use crate::settings::Parts;
    use crate::sources::Sources;

    fn settings(user: Option<&str>, group: Option<&str>) -> Settings {
        let account = |name: &str| name.parse().expect("a name");
        let parts = Parts {
            tun: "t0".parse().ok(),
            addr: "10.77.0.2/24".parse().ok(),
            user: user.map(account),
            group: group.map(account),
            ..Parts::default()
        };
        Settings::from_parts(parts, Config::default(), Sources::default()).expect("settings")
    }

    fn found(user: Option<&str>, group: Option<&str>) -> Option<(u32, u32)> {
        let identity = of(&settings(user, group)).expect("a user");
        identity.map(|identity| (identity.uid.as_raw(), identity.gid.as_raw()))
    }

    #[test]
    fn users_have_names_or_numbers() {
        assert_eq!(found(None, None), None);
        assert_eq!(found(Some("root"), None), Some((0, 0)));
        assert_eq!(found(Some("0"), None), Some((0, 0)));
        assert_eq!(found(Some("54321"), Some("root")), Some((54_321, 0)));
        assert_eq!(found(Some("54321"), Some("54322")), Some((54_321, 54_322)));
    }

    #[test]
    fn each_wrong_one_is_named_with_advice() {
        for (user, group, says) in [
            (None, Some("root"), "--group 'root' is given without a user"),
            (Some("no-such-one"), None, "--user 'no-such-one' is no user"),
            (Some("4294967295"), None, "is no user of this system"),
            (Some("54321"), None, "--user '54321' has no entry"),
            (
                Some("root"),
                Some("no-such-one"),
                "--group 'no-such-one' is no group",
            ),
        ] {
            let failure = of(&settings(user, group)).expect_err(says);
            let text = failure.to_string();
            assert_eq!(failure.exit_code(), 2, "{text}");
            assert!(text.contains(says) && !text.contains('\n'), "{text}");
        }
        for bad in ["", "a b", "a:b", "a/b", "a\n"] {
            assert!(bad.parse::<Account>().is_err(), "{bad:?}");
        }
    }
}
