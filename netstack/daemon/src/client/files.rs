//! Where a capture goes: one file or pipe, or files that follow each other, of which the newest are kept.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::numbered::Numbered;
use crate::pcapng::SNAPLEN_MAX;

/// Types of the blocks that describe the others.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;

/// Shortest block, and a length that none of a daemon has.
const MIN_BLOCK: usize = 12;
const MAX_BLOCK: usize = SNAPLEN_MAX as usize + 4_096;

/// The output of a capture.
#[derive(Debug)]
pub(super) enum Out {
    Pipe(io::Stdout),
    File { path: PathBuf, file: File },
    Files(Box<Files>),
}

/// How a capture is divided into files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Division {
    /// Most bytes of a file, unless one packet needs more.
    pub(super) file_bytes: u64,
    /// Most files that are kept.
    pub(super) files: Option<usize>,
}

impl Out {
    /// Opens `path`, or the first file that is named after it.
    ///
    /// # Errors
    /// It cannot be written, or an older file not be removed.
    pub(super) fn open(path: &Path, division: Option<Division>) -> io::Result<Self> {
        match division {
            _ if path.as_os_str() == "-" => Ok(Self::Pipe(io::stdout())),
            None => Ok(Self::File {
                path: path.to_owned(),
                file: File::create(path)?,
            }),
            Some(division) => Files::open(path, division).map(|files| Self::Files(Box::new(files))),
        }
    }

    /// Returns the name of what is written to now.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Pipe(_) => "stdout".to_owned(),
            Self::File { path, .. } => path.display().to_string(),
            Self::Files(files) => files.numbered.path().display().to_string(),
        }
    }

    /// Writes a piece of a pcapng file.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Pipe(pipe) => pipe.write_all(piece).and_then(|()| pipe.flush()),
            Self::File { file, .. } => file.write_all(piece),
            Self::Files(files) => files.write(piece),
        }
    }
}

/// Files that follow each other, each of them whole.
#[derive(Debug)]
pub(super) struct Files {
    numbered: Numbered,
    file_bytes: u64,
    file: File,
    /// Bytes of the file so far.
    bytes: u64,
    /// The blocks with which each file begins.
    head: Vec<u8>,
    /// The beginning of a block whose end has not come yet.
    cut: Vec<u8>,
}

impl Files {
    fn open(path: &Path, division: Division) -> io::Result<Self> {
        let (numbered, file) = Numbered::begin(path, division.files)?;
        Ok(Self {
            numbered,
            file_bytes: division.file_bytes,
            file,
            bytes: 0,
            head: Vec::new(),
            cut: Vec::new(),
        })
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.cut);
        bytes.extend(piece);
        // The blocks that are not written yet are those from here on.
        let (mut from, mut at) = (0, 0);
        while let Some((kind, len)) = block(bytes.get(at..).unwrap_or_default())? {
            let Some(whole) = bytes.get(at..at + len) else {
                break;
            };
            if matches!(kind, SECTION_HEADER | INTERFACE) {
                self.head.extend(whole);
            }
            let is_first = self.bytes <= self.head.len() as u64;
            if self.bytes + len as u64 > self.file_bytes && !is_first {
                self.file
                    .write_all(bytes.get(from..at).unwrap_or_default())?;
                self.begin_next()?;
                from = at;
            }
            self.bytes += len as u64;
            at += len;
        }
        self.file
            .write_all(bytes.get(from..at).unwrap_or_default())?;
        self.cut = bytes.split_off(at);
        Ok(())
    }

    fn begin_next(&mut self) -> io::Result<()> {
        self.file = self.numbered.next()?;
        self.file.write_all(&self.head)?;
        self.bytes = self.head.len() as u64;
        Ok(())
    }
}

/// Returns the type and the length of the block that begins here, once enough of it is there.
fn block(bytes: &[u8]) -> io::Result<Option<(u32, usize)>> {
    let Some((&kind, rest)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    let Some(&len) = rest.first_chunk() else {
        return Ok(None);
    };
    let len = u32::from_le_bytes(len) as usize;
    if !(MIN_BLOCK..=MAX_BLOCK).contains(&len) {
        let why = format!("the daemon sends a block of {len} bytes, which is no pcapng");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(Some((u32::from_le_bytes(kind), len)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A directory that goes with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let name = format!("netstackd-files-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).expect("a directory");
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            // What cannot be removed is left to the system.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn block_of(kind: u32, len: u32) -> Vec<u8> {
        let mut block = vec![0; len as usize];
        block[..4].copy_from_slice(&kind.to_le_bytes());
        block[4..8].copy_from_slice(&len.to_le_bytes());
        block
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().into_string())
            .collect::<Result<_, _>>()
            .expect("text");
        names.sort();
        names
    }

    fn head() -> Vec<u8> {
        [block_of(SECTION_HEADER, 28), block_of(INTERFACE, 20)].concat()
    }

    fn division(files: usize) -> Division {
        Division {
            file_bytes: 400,
            files: Some(files),
        }
    }

    #[test]
    fn each_file_is_whole_and_the_oldest_goes() {
        let scratch = Scratch::new("ring");
        let path = scratch.0.join("run.pcapng");
        let mut out = Out::open(&path, Some(division(3))).expect("open");
        let blocks = [head(), block_of(6, 100).repeat(12)].concat();
        // However the stream is cut.
        for piece in blocks.chunks(77) {
            out.write(piece).expect("written");
        }
        let kept = ["run-00002.pcapng", "run-00003.pcapng", "run-00004.pcapng"];
        assert_eq!(names(&scratch.0), kept);
        for name in kept {
            let file = fs::read(scratch.0.join(name)).expect("a file");
            assert_eq!(file, [head(), block_of(6, 100).repeat(3)].concat());
        }
        assert!(out.shown().ends_with("run-00004.pcapng"));
        drop(out);
        // What another run or program has left: only names of this form count.
        fs::write(scratch.0.join("run-x.pcapng"), "").expect("written");
        fs::write(scratch.0.join("run-7.pcapng"), "").expect("written");
        let mut out = Out::open(&path, Some(division(2))).expect("open");
        out.write(&head()).expect("written");
        assert!(out.shown().ends_with("run-00005.pcapng"));
        let kept = [
            "run-00004.pcapng",
            "run-00005.pcapng",
            "run-7.pcapng",
            "run-x.pcapng",
        ];
        assert_eq!(names(&scratch.0), kept);
    }

    #[test]
    fn a_packet_that_is_longer_than_a_file_gets_one_of_its_own() {
        let scratch = Scratch::new("long");
        let path = scratch.0.join("long");
        let mut out = Out::open(&path, Some(division(9))).expect("open");
        let long = block_of(6, 1_000);
        out.write(&[head(), long.clone(), long.clone()].concat())
            .expect("written");
        assert_eq!(names(&scratch.0), ["long-00001", "long-00002"]);
        let file = fs::read(scratch.0.join("long-00002")).expect("a file");
        assert_eq!(file, [head(), long].concat());
    }

    #[test]
    fn what_is_no_pcapng_is_refused_and_not_kept() {
        let scratch = Scratch::new("bad");
        let path = scratch.0.join("bad.pcapng");
        for len in [0, 11, u32::MAX] {
            let mut out = Out::open(&path, Some(division(9))).expect("open");
            let mut bad = block_of(6, 12);
            bad[4..8].copy_from_slice(&len.to_le_bytes());
            let error = out.write(&bad).expect_err("no such block");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
        let nothing = Out::open(Path::new("/nonexistent/x.pcapng"), Some(division(9)));
        assert!(nothing.is_err());
    }
}
