//! Assertions over `tcp_info`: the part of Python that scripts use between `%{` and `}%`.
//!
//! Statements are `assert EXPRESSION [, MESSAGE]`, `name = EXPRESSION`, `name += EXPRESSION` and
//! `print(…)`, which does nothing. Expressions have numbers, names, comparisons (chained ones too), `and`, `or`,
//! `not`, arithmetic and parentheses. Anything else is not supported, and says so.

mod expression;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use expression::Evaluator;

/// Values by name: those of `tcp_info`, constants, and what earlier code assigned.
pub type Names = HashMap<String, i64>;

/// The reason why code did not hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodeError {
    /// An assertion is false.
    #[error("assert {assertion}: {values}")]
    False {
        /// The assertion.
        assertion: String,
        /// The values of the names in it.
        values: String,
    },
    /// Something that this evaluator has not.
    #[error("{0}")]
    Unsupported(String),
}

/// Constants that code may name, as Linux has them.
pub const CONSTANTS: &[(&str, i64)] = &[
    ("TCP_ESTABLISHED", 1),
    ("TCP_SYN_SENT", 2),
    ("TCP_SYN_RECV", 3),
    ("TCP_FIN_WAIT1", 4),
    ("TCP_FIN_WAIT2", 5),
    ("TCP_TIME_WAIT", 6),
    ("TCP_CLOSE", 7),
    ("TCP_CLOSE_WAIT", 8),
    ("TCP_LAST_ACK", 9),
    ("TCP_LISTEN", 10),
    ("TCP_CLOSING", 11),
    // The same by the names of scripts for FreeBSD.
    ("TCPI_ESTABLISHED", 1),
    ("TCPI_SYN_SENT", 2),
    ("TCPI_SYN_RECEIVED", 3),
    ("TCPI_FIN_WAIT_1", 4),
    ("TCPI_FIN_WAIT_2", 5),
    ("TCPI_TIME_WAIT", 6),
    ("TCPI_CLOSED", 7),
    ("TCPI_CLOSE_WAIT", 8),
    ("TCPI_LAST_ACK", 9),
    ("TCPI_LISTEN", 10),
    ("TCPI_CLOSING", 11),
    ("TCP_CA_Open", 0),
    ("TCP_CA_Disorder", 1),
    ("TCP_CA_CWR", 2),
    ("TCP_CA_Recovery", 3),
    ("TCP_CA_Loss", 4),
    ("TCP_INFINITE_SSTHRESH", 0x7fff_ffff),
    ("TCPI_OPT_TIMESTAMPS", 1),
    ("TCPI_OPT_SACK", 2),
    ("TCPI_OPT_WSCALE", 4),
    ("TCPI_OPT_ECN", 8),
    ("TCPI_OPT_ECN_SEEN", 16),
    ("TCPI_OPT_SYN_DATA", 32),
];

/// Runs code over `info`, the values of `tcp_info`. What it assigns stays in `variables`.
///
/// ```
/// use tools::pktscript::code::{Names, run};
///
/// let info = Names::from([("tcpi_snd_cwnd".to_owned(), 10)]);
/// let mut variables = Names::new();
/// run("cwnd = 10; assert tcpi_snd_cwnd == cwnd, tcpi_snd_cwnd", &info, &mut variables).unwrap();
/// let error = run("assert 5 < tcpi_snd_cwnd < cwnd", &info, &mut variables).unwrap_err();
/// assert_eq!(error.to_string(), "assert 5 < tcpi_snd_cwnd < cwnd: tcpi_snd_cwnd = 10, cwnd = 10");
/// ```
///
/// # Errors
/// The first assertion that is false, or the first thing that is not understood.
pub fn run(code: &str, info: &Names, variables: &mut Names) -> Result<(), CodeError> {
    let joined = code.replace("\\\n", " ");
    for line in joined.lines() {
        let line = line.split('#').next().unwrap_or_default();
        for statement in split(line) {
            one(statement.trim(), info, variables)?;
        }
    }
    Ok(())
}

/// Returns the statements of a line: what stands between semicolons outside of strings.
fn split(line: &str) -> Vec<&str> {
    let mut quote = None;
    line.split(|c| {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, ';') => return true,
            _ => {}
        }
        false
    })
    .collect()
}

fn one(statement: &str, info: &Names, variables: &mut Names) -> Result<(), CodeError> {
    if statement.is_empty() || statement == "pass" || statement.starts_with("print") {
        return Ok(());
    }
    let look_up = |name: &str, variables: &Names| {
        let constant = || {
            CONSTANTS
                .iter()
                .find(|(constant, _)| *constant == name)
                .map(|(_, value)| *value)
        };
        variables
            .get(name)
            .or_else(|| info.get(name))
            .copied()
            .or_else(constant)
    };
    if let Some(assertion) = statement.strip_prefix("assert ") {
        let names = |name: &str| look_up(name, variables);
        let mut evaluator = Evaluator::new(assertion, &names);
        let value = evaluator.whole().map_err(CodeError::Unsupported)?;
        if value != 0 {
            return Ok(());
        }
        let assertion = evaluator.consumed().trim().to_owned();
        let values = evaluator.values();
        return Err(CodeError::False { assertion, values });
    }
    let Some((target, value)) = statement.split_once('=') else {
        return Err(CodeError::Unsupported(format!("the code `{statement}`")));
    };
    let (target, adds) = match target.trim().strip_suffix('+') {
        Some(target) => (target.trim(), true),
        None => (target.trim(), false),
    };
    if target.is_empty()
        || !target
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_')
    {
        return Err(CodeError::Unsupported(format!("the code `{statement}`")));
    }
    let names = |name: &str| look_up(name, variables);
    let value = Evaluator::new(value, &names)
        .whole()
        .map_err(CodeError::Unsupported)?;
    let before = if adds {
        look_up(target, variables)
            .ok_or_else(|| CodeError::Unsupported(format!("the unknown name `{target}`")))?
    } else {
        0
    };
    variables.insert(target.to_owned(), before.saturating_add(value));
    Ok(())
}
