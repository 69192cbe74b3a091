//! Manual pages and shell completions, for packages: made from the command line's own description.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::failure::Failure;
use crate::file::reason;

/// The section of the manual: what administrators run.
const SECTION: &str = "8";

/// A command for whoever makes packages.
#[derive(Debug, Subcommand)]
pub enum DocumentCommand {
    /// Writes a manual page for each command into a directory.
    #[command(hide = true)]
    Man {
        /// The directory, which is made if it is not there.
        directory: PathBuf,
    },
    /// Prints the completions for a shell.
    #[command(hide = true)]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Runs a command.
///
/// # Errors
/// The directory cannot be written to.
pub(crate) fn run<Cli: CommandFactory>(command: &DocumentCommand) -> Result<(), Failure> {
    let mut cli = Cli::command();
    match command {
        DocumentCommand::Man { directory } => {
            // Names the commands of commands as they are called.
            cli.build();
            write_pages(&cli, directory).map_err(|error| {
                Failure::Usage(format!(
                    "the manual pages cannot be written to {}: {}: name a directory that can be written to",
                    directory.display(),
                    reason(&error)
                ))
            })
        }
        DocumentCommand::Completions { shell } => {
            let mut script = Vec::new();
            let name = cli.get_name().to_owned();
            clap_complete::generate(*shell, &mut cli, name, &mut script);
            // A closed stdout needs no script.
            let _ = io::stdout().lock().write_all(&script);
            Ok(())
        }
    }
}

fn write_pages(command: &Command, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let page = Man::new(command.clone())
        .section(SECTION)
        .manual("netstackd");
    let mut text = Vec::new();
    page.render(&mut text)?;
    let name = command.get_display_name().unwrap_or(command.get_name());
    fs::write(directory.join(format!("{name}.{SECTION}")), text)?;
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    for command in shown {
        write_pages(command, directory)?;
    }
    Ok(())
}
