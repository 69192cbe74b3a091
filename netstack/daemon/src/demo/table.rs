//! The table: one row per check, one column per family, printed as the results come.

use std::io::Write as _;

/// Columns of the first, second and third column.
const WHAT_COLUMNS: usize = 42;
const RESULT_COLUMNS: usize = 34;

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// What was measured.
    Matched(String),
    /// What did not match.
    Failed(String),
}

/// Prints rows and counts failures.
#[derive(Debug)]
pub(super) struct Table {
    failures: usize,
}

impl Table {
    /// Prints the head.
    pub(super) fn begin() -> Self {
        print_line(&format!(
            "{:WHAT_COLUMNS$}{:RESULT_COLUMNS$}{}",
            "", "IPv4", "IPv6"
        ));
        print_line(&"-".repeat(WHAT_COLUMNS + 2 * RESULT_COLUMNS));
        Self { failures: 0 }
    }

    /// Prints a row with a cell for each family; failures are told in full below it.
    pub(super) fn row(&mut self, what: &str, cells: [impl Into<Outcome>; 2]) {
        let mut complaints = Vec::new();
        let cells = cells.map(|cell| match cell.into() {
            Outcome::Matched(text) => text,
            Outcome::Failed(why) => {
                complaints.push(why);
                "FAIL".to_owned()
            }
        });
        let [v4, v6] = cells;
        print_line(&format!("{what:WHAT_COLUMNS$}{v4:RESULT_COLUMNS$}{v6}"));
        for why in &complaints {
            print_line(&format!("  FAIL {why}"));
        }
        self.failures += complaints.len();
    }

    /// Prints a row with one cell.
    pub(super) fn line(&mut self, what: &str, cell: impl Into<Outcome>) {
        match cell.into() {
            Outcome::Matched(text) => print_line(&format!("{what:WHAT_COLUMNS$}{text}")),
            Outcome::Failed(why) => {
                print_line(&format!("{what:WHAT_COLUMNS$}FAIL {why}"));
                self.failures += 1;
            }
        }
    }

    /// How many cells failed.
    pub(super) fn failures(&self) -> usize {
        self.failures
    }
}

fn print_line(line: &str) {
    let mut stdout = std::io::stdout().lock();
    // A closed stdout shows nothing to anybody.
    let _ = writeln!(stdout, "{}", line.trim_end()).and_then(|()| stdout.flush());
}
