//! Files that follow each other, of which the newest are kept: those of a capture, the parts of a recording.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The names of such files: a number of five digits or more between the name and its extension.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    directory: PathBuf,
    /// The parts of a name before and behind the number.
    stem: OsString,
    suffix: OsString,
}

/// The files. Their numbers grow from run to run, so that one that is begun again removes the oldest first.
#[derive(Debug)]
pub(crate) struct Numbered {
    names: Names,
    /// Most files that are kept.
    most: Option<usize>,
    /// The numbers of the files that are there, in order.
    kept: VecDeque<u64>,
    /// The number of the file that was begun last.
    number: u64,
}

impl Names {
    /// Returns the names that are made from `path`.
    ///
    /// # Errors
    /// It names no file.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let named = path.file_name().zip(path.file_stem());
        let (_, stem) = named.ok_or(io::ErrorKind::IsADirectory)?;
        let mut suffix = OsString::new();
        if let Some(extension) = path.extension() {
            suffix.push(".");
            suffix.push(extension);
        }
        Ok(Self {
            directory: directory_of(path),
            stem: stem.to_owned(),
            suffix,
        })
    }

    /// Returns the path of file number `number`.
    pub(crate) fn path(&self, number: u64) -> PathBuf {
        let mut name = self.stem.clone();
        name.push(format!("-{number:05}"));
        name.push(&self.suffix);
        self.directory.join(name)
    }

    /// Returns the numbers of the files that are there, in order.
    fn numbers(&self) -> io::Result<VecDeque<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let found = entry?.file_name();
            // Only a name that is made here.
            let number = self.number_in(&found);
            numbers.extend(number.filter(|&number| self.path(number).ends_with(&found)));
        }
        numbers.sort_unstable();
        Ok(numbers.into())
    }

    fn number_in(&self, name: &OsStr) -> Option<u64> {
        let rest = name.as_encoded_bytes();
        let rest = rest.strip_prefix(self.stem.as_encoded_bytes())?;
        let rest = rest.strip_suffix(self.suffix.as_encoded_bytes())?;
        std::str::from_utf8(rest.strip_prefix(b"-")?)
            .ok()?
            .parse()
            .ok()
    }
}

/// Returns the directory that a file of this path is in.
pub(crate) fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

impl Numbered {
    /// Begins the first file, with the number behind the last one that is there.
    ///
    /// # Errors
    /// It cannot be written, or an older one not be removed.
    pub(crate) fn begin(path: &Path, most: Option<usize>) -> io::Result<(Self, File)> {
        let names = Names::of(path)?;
        let kept = names.numbers()?;
        let mut numbered = Self {
            number: kept.back().copied().unwrap_or_default(),
            names,
            most,
            kept,
        };
        let file = numbered.next()?;
        Ok((numbered, file))
    }

    /// Begins the next file. Removes the oldest ones first, until there is room for it.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub(crate) fn next(&mut self) -> io::Result<File> {
        self.make_room()?;
        self.number = self.number.saturating_add(1);
        self.kept.push_back(self.number);
        File::create(self.path())
    }

    fn make_room(&mut self) -> io::Result<()> {
        while self.most.is_some_and(|most| self.kept.len() >= most)
            && let Some(oldest) = self.kept.pop_front()
        {
            match fs::remove_file(self.names.path(oldest)) {
                // Somebody else has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    /// Returns the names of the files.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// Returns the number of the file that was begun last.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns its path.
    pub(crate) fn path(&self) -> PathBuf {
        self.names.path(self.number)
    }
}
