//! Opens a capture file: a name or `-` for stdin, plain, gzip or zstd.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::CaptureError;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Size of the buffer in front of the file.
const BUFFER_BYTES: usize = 1 << 18;

/// The bytes of a capture, decompressed.
pub struct Input {
    /// The name for messages.
    pub name: String,
    pub(super) bytes: Box<dyn Read>,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Returns a progress bar on stderr for a file of `bytes` bytes. Nothing is shown if stderr is no terminal.
pub fn progress(bytes: Option<u64>) -> ProgressBar {
    let bar = match bytes {
        Some(bytes) => ProgressBar::new(bytes),
        None => ProgressBar::no_length(),
    };
    let template = match bytes {
        Some(_) => "{percent:>3} % of {total_bytes}, {bytes_per_sec}, {eta} left",
        None => "{bytes} read, {bytes_per_sec}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Opens the capture at `path`, or stdin for `-`. `bar` advances with the bytes of the file that were read.
pub fn open(path: &Path, bar: &ProgressBar) -> Result<Input, CaptureError> {
    let name = path.display().to_string();
    if path == Path::new("-") {
        return Input::new("stdin", bar.wrap_read(io::stdin()));
    }
    let failed = |source| CaptureError::Open {
        path: name.clone(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    if metadata.is_file() {
        bar.set_length(metadata.len());
    }
    Input::new(&name, bar.wrap_read(file))
}

impl Input {
    /// Reads from `source`, decompressed if its first bytes are those of gzip or zstd.
    pub fn new(name: &str, source: impl Read + 'static) -> Result<Self, CaptureError> {
        let mut source = BufReader::with_capacity(BUFFER_BYTES, source);
        let mut magic = Vec::new();
        let failed = |source| CaptureError::Open {
            path: name.to_owned(),
            source,
        };
        (&mut source)
            .take(4)
            .read_to_end(&mut magic)
            .map_err(failed)?;
        let (gzip, zstd) = (magic.starts_with(&GZIP_MAGIC), magic == ZSTD_MAGIC);
        let whole = Cursor::new(magic).chain(source);
        let bytes: Box<dyn Read> = if gzip {
            Box::new(BufReader::with_capacity(
                BUFFER_BYTES,
                MultiGzDecoder::new(whole),
            ))
        } else if zstd {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, Zstd::new(whole)))
        } else {
            Box::new(whole)
        };
        Ok(Self {
            name: name.to_owned(),
            bytes,
        })
    }
}

/// All frames of a zstd file, one after the other; the decoder knows one frame.
struct Zstd<R: Read> {
    source: R,
    decoder: FrameDecoder,
    /// True between the header of a frame and its end.
    inside: bool,
}

impl<R: Read> Zstd<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            // Its limit of the window bounds the memory.
            decoder: FrameDecoder::new(),
            inside: false,
        }
    }

    /// Reads the header of the next frame, after frames to be skipped. Returns false at the end of the file.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            match self.decoder.init(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let mut skipped = (&mut self.source).take(u64::from(length));
                    io::copy(&mut skipped, &mut io::sink())?;
                }
                Err(FrameDecoderError::ReadFrameHeaderError(
                    ReadFrameHeaderError::MagicNumberReadError(_),
                )) => return Ok(false),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.inside {
                if !self.next_frame()? {
                    return Ok(0);
                }
                self.inside = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            let count = self.decoder.read(into)?;
            if count > 0 || into.is_empty() {
                return Ok(count);
            }
            self.inside = false;
        }
    }
}
