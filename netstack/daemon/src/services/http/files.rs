//! The files of a directory.
//!
//! A [`Root`] opens them; whatever is open is sent.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED, LOCATION,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Request, Response, StatusCode};
use mime_guess::from_path;
use percent_encoding::percent_decode_str;
use rustix::io::Errno;
use tokio::runtime::{Builder, Runtime};

use super::answer;
use super::body::{Body, Part, Source};
use super::conditions::{Version, Wanted, judge};
use super::listing;
use super::root::Root;
use crate::failure::Failure;
use crate::file::reason;

/// Threads that read files, when that many are read.
const THREADS: usize = 8;
/// File that is sent for its directory.
const INDEX: &str = "index.html";

/// The files below a directory.
#[derive(Debug)]
pub(super) struct Files {
    root: Arc<Root>,
    lists: bool,
    threads: Threads,
    /// Line between the parts of an answer with several ranges. Nobody can write a file that has it.
    boundary: String,
}

/// Threads that end without being waited for: a disk may be stuck.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Something that a path names.
#[derive(Debug)]
enum Found {
    File(File, Version, PathBuf),
    Listing(Bytes),
    /// A directory, whose name ends with a slash.
    Directory,
}

/// The reason why nothing is sent.
#[derive(Debug, PartialEq, Eq)]
enum Absent {
    NotFound,
    Forbidden,
    /// This machine cannot at the moment.
    Failed,
}

impl From<Errno> for Absent {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => Self::NotFound,
            // Out of the root, a loop of links, a socket.
            Errno::XDEV | Errno::LOOP | Errno::ACCESS | Errno::PERM | Errno::NXIO => {
                Self::Forbidden
            }
            _ => Self::Failed,
        }
    }
}

impl From<io::Error> for Absent {
    fn from(error: io::Error) -> Self {
        Errno::from_io_error(&error).map_or(Self::Failed, Self::from)
    }
}

impl Files {
    /// Serves a directory.
    ///
    /// # Errors
    /// The system has no threads left.
    pub(super) fn new(root: Root, lists: bool) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread()
            .thread_name("files")
            .max_blocking_threads(THREADS)
            .build()
            .map_err(|error| {
                Failure::Stack(format!(
                    "the threads that read files cannot be started ({}): raise the limit of open files (ulimit -n)",
                    reason(&error)
                ))
            })?;
        let random = RandomState::new().build_hasher().finish();
        Ok(Self {
            root: Arc::new(root),
            lists,
            threads: Threads(Some(runtime)),
            boundary: format!("part-{random:016x}"),
        })
    }

    /// Answers a GET or HEAD.
    pub(super) async fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let Some(path) = relative(request.uri().path()) else {
            return answer::text(StatusCode::BAD_REQUEST, "the path is not one of a file\n");
        };
        let is_directory = request.uri().path().ends_with('/');
        let Some(runtime) = &self.threads.0 else {
            return absent(&Absent::Failed);
        };
        let (root, lists, wanted) = (Arc::clone(&self.root), self.lists, path.clone());
        let looking = runtime
            .handle()
            .spawn_blocking(move || find(&root, &wanted, is_directory, lists));
        match looking.await.unwrap_or(Err(Absent::Failed)) {
            Ok(Found::File(file, version, path)) => {
                let source = Source {
                    file: Arc::new(file),
                    threads: runtime.handle().clone(),
                };
                self.send(request, source, &version, &path)
            }
            Ok(Found::Listing(page)) => answer::html(page),
            Ok(Found::Directory) => redirect(&path),
            Err(why) => absent(&why),
        }
    }
}

/// Returns the names of a request's path, one below the other; `None` for one that no file can have.
fn relative(path: &str) -> Option<PathBuf> {
    let mut names = PathBuf::new();
    for part in path.split('/') {
        let name: Vec<u8> = percent_decode_str(part).collect();
        match &name[..] {
            b"" | b"." => {}
            // A slash would make names of one.
            b".." => return None,
            name if name.contains(&0) || name.contains(&b'/') => return None,
            name => names.push(Path::new(OsStr::from_bytes(name))),
        }
    }
    Some(names)
}

/// Finds what to send for a path.
fn find(root: &Root, path: &Path, is_directory: bool, lists: bool) -> Result<Found, Absent> {
    let file = root.file(path)?;
    let facts = file.metadata()?;
    if facts.is_file() {
        // "file/" names nothing.
        return match is_directory {
            true => Err(Absent::NotFound),
            false => Ok(found(file, &facts, path.to_owned())),
        };
    }
    if !facts.is_dir() {
        return Err(Absent::Forbidden);
    }
    if !is_directory {
        return Ok(Found::Directory);
    }
    let index = path.join(INDEX);
    match root.file(&index) {
        Ok(file) => {
            let facts = file.metadata()?;
            match facts.is_file() {
                true => Ok(found(file, &facts, index)),
                false => Err(Absent::Forbidden),
            }
        }
        Err(Errno::NOENT) if lists => {
            let shown = match path.as_os_str().is_empty() {
                true => "/".to_owned(),
                false => format!("/{}/", path.display()),
            };
            Ok(Found::Listing(listing::page(&file, &shown)?))
        }
        Err(errno) => Err(errno.into()),
    }
}

fn found(file: File, facts: &std::fs::Metadata, path: PathBuf) -> Found {
    let seconds = u64::try_from(facts.mtime()).unwrap_or_default();
    let nanos = u32::try_from(facts.mtime_nsec()).unwrap_or_default();
    let version = Version {
        len: facts.len(),
        modified: Duration::new(seconds, nanos),
    };
    Found::File(file, version, path)
}

fn absent(why: &Absent) -> Response<Body> {
    match why {
        Absent::NotFound => answer::text(StatusCode::NOT_FOUND, "there is no such file\n"),
        Absent::Forbidden => answer::text(StatusCode::FORBIDDEN, "this is not served\n"),
        Absent::Failed => answer::text(
            StatusCode::SERVICE_UNAVAILABLE,
            "it cannot be read at the moment\n",
        ),
    }
}

/// Sends the client to the name of a directory, with a slash: relative links of its page are below it.
fn redirect(path: &Path) -> Response<Body> {
    let mut location = String::new();
    for name in path {
        location.push('/');
        location.push_str(&listing::encoded(name.as_bytes()).to_string());
    }
    location.push('/');
    let mut response = answer::text(StatusCode::MOVED_PERMANENTLY, "it is a directory\n");
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Returns the type of a file by its name.
fn kind_of(path: &Path) -> String {
    let kind = from_path(path).first_or_octet_stream();
    let charset = match kind.type_().as_str() {
        "text" => "; charset=utf-8",
        _ => "",
    };
    format!("{kind}{charset}")
}

impl Files {
    fn send(
        &self,
        request: &Request<Incoming>,
        source: Source,
        version: &Version,
        path: &Path,
    ) -> Response<Body> {
        let kind = kind_of(path);
        let mut response = match judge(request.headers(), version) {
            Wanted::NotModified => with_status(StatusCode::NOT_MODIFIED, Body::default()),
            Wanted::PreconditionFailed => answer::text(
                StatusCode::PRECONDITION_FAILED,
                "it is not the version that was asked for\n",
            ),
            Wanted::Unsatisfiable => {
                let line = "no such bytes are there\n";
                let mut response = answer::text(StatusCode::RANGE_NOT_SATISFIABLE, line);
                insert(
                    &mut response,
                    CONTENT_RANGE,
                    &format!("bytes */{}", version.len),
                );
                return response;
            }
            Wanted::Whole => {
                let body = Body::of_parts(source, vec![Part::Slice(0..version.len)]);
                let mut response = with_status(StatusCode::OK, body);
                insert(&mut response, CONTENT_TYPE, &kind);
                response
            }
            Wanted::Ranges(ranges) => self.partial(source, version.len, &ranges, &kind),
        };
        insert(&mut response, ETAG, &version.tag());
        let modified = httpdate::fmt_http_date(version.time());
        insert(&mut response, LAST_MODIFIED, &modified);
        let headers = response.headers_mut();
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    /// Returns parts of a file: one as it is, several in a body of type multipart/byteranges (RFC 9110 section 14.6).
    fn partial(
        &self,
        source: Source,
        len: u64,
        ranges: &[std::ops::RangeInclusive<u64>],
        kind: &str,
    ) -> Response<Body> {
        let describe = |range: &std::ops::RangeInclusive<u64>| {
            format!("bytes {}-{}/{len}", range.start(), range.end())
        };
        let slice = |range: &std::ops::RangeInclusive<u64>| {
            Part::Slice(*range.start()..range.end().saturating_add(1))
        };
        let boundary = &self.boundary;
        if let [range] = ranges {
            let body = Body::of_parts(source, vec![slice(range)]);
            let mut response = with_status(StatusCode::PARTIAL_CONTENT, body);
            insert(&mut response, CONTENT_TYPE, kind);
            insert(&mut response, CONTENT_RANGE, &describe(range));
            return response;
        }
        let mut parts = Vec::with_capacity(2 * ranges.len() + 1);
        for range in ranges {
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {}\r\n\r\n",
                describe(range)
            );
            parts.push(Part::Text(Bytes::from(head)));
            parts.push(slice(range));
        }
        parts.push(Part::Text(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
        let body = Body::of_parts(source, parts);
        let mut response = with_status(StatusCode::PARTIAL_CONTENT, body);
        let kind = format!("multipart/byteranges; boundary={boundary}");
        insert(&mut response, CONTENT_TYPE, &kind);
        response
    }
}

fn with_status(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// Adds a header whose value has no control characters.
fn insert(response: &mut Response<Body>, name: hyper::header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_names_and_no_way_up() {
        for (path, names) in [
            ("/", Some("")),
            ("/a/b.txt", Some("a/b.txt")),
            ("//a/./b/", Some("a/b")),
            ("/a%20b/%C3%A9", Some("a b/é")),
            ("/...", Some("...")),
            ("/a/..", None),
            ("/a/../../etc/passwd", None),
            ("/%2e%2e/etc", None),
            ("/a%2Fb", None),
            ("/..%2f..%2fetc", None),
            ("/a%00", None),
        ] {
            assert_eq!(relative(path), names.map(PathBuf::from), "{path}");
        }
    }

    #[test]
    fn a_directory_is_named_by_its_own_path() {
        // Never a host: "//host/" would be one.
        let response = redirect(&relative("//example.org").expect("a path"));
        assert_eq!(response.headers()[LOCATION], "/example.org/");
    }
}
