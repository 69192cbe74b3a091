//! The demo's table: one row per check, one column per family, printed as the results arrive.

use super::CheckResult;
use crate::console::print_line;

/// Width of the first column, in characters.
const WHAT_COLUMNS: usize = 42;
/// Width of the second and the third column, in characters.
const RESULT_COLUMNS: usize = 34;

/// Prints rows and counts failures.
#[derive(Debug)]
pub(super) struct Table {
    failures: usize,
}

impl Table {
    /// Prints the table's head.
    pub(super) fn begin() -> Self {
        print_line(&format!(
            "{:WHAT_COLUMNS$}{:RESULT_COLUMNS$}{}",
            "", "IPv4", "IPv6"
        ));
        print_line(&"-".repeat(WHAT_COLUMNS + 2 * RESULT_COLUMNS));
        Self { failures: 0 }
    }

    /// Prints a row with a cell for each family, and each failure in full below it.
    pub(super) fn row(&mut self, what: &str, cells: [CheckResult; 2]) {
        let mut failures = Vec::new();
        let cells = cells.map(|cell| {
            cell.unwrap_or_else(|why| {
                failures.push(why);
                "FAIL".to_owned()
            })
        });
        let [v4, v6] = cells;
        print_line(&format!("{what:WHAT_COLUMNS$}{v4:RESULT_COLUMNS$}{v6}"));
        for why in &failures {
            print_line(&format!("  FAIL {why}"));
        }
        self.failures += failures.len();
    }

    /// Prints a row with one cell.
    pub(super) fn line(&mut self, what: &str, cell: CheckResult) {
        match cell {
            Ok(text) => print_line(&format!("{what:WHAT_COLUMNS$}{text}")),
            Err(why) => {
                print_line(&format!("{what:WHAT_COLUMNS$}FAIL {why}"));
                self.failures += 1;
            }
        }
    }

    /// Returns the number of cells that failed.
    pub(super) fn failures(&self) -> usize {
        self.failures
    }
}
