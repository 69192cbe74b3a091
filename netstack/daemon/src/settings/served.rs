//! The settings of the services.

use std::path::PathBuf;
use std::time::Duration;

use super::Parts;
use crate::failure::Failure;
use crate::sources::Sources;

/// Time that a client of http has for the headers of its next request, unless the file sets another.
const DEFAULT_HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest such time.
const MAX_HEADER_TIMEOUT: Duration = Duration::from_secs(3600);
/// Requests on one connection, unless the file sets another number.
const DEFAULT_REQUESTS: u32 = 1_000;
/// Connections of one peer to http, unless the file sets another number.
const DEFAULT_HTTP_PER_PEER: u32 = 512;

/// The settings of http.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The directory whose files are served; without one it is the page of counters.
    pub root: Option<PathBuf>,
    /// Directories are listed.
    pub listing: bool,
    /// Time that a client has for the headers of its next request.
    pub header_timeout: Duration,
    /// Most requests on one connection.
    pub requests: u32,
}

impl Http {
    /// Fills in defaults and checks the parts.
    ///
    /// # Errors
    /// A value is out of its bounds.
    pub(super) fn from_parts(parts: &Parts, sources: &Sources) -> Result<Self, Failure> {
        let header_timeout = parts.http_header_timeout.unwrap_or(DEFAULT_HEADER_TIMEOUT);
        if header_timeout.is_zero() || header_timeout > MAX_HEADER_TIMEOUT {
            let shown = humantime::format_duration(header_timeout);
            let text = format!("{shown} is out of range: use a time up to 1h, at least 1ms");
            return Err(sources.fault("http-header-timeout", &text));
        }
        let requests = parts.http_requests.unwrap_or(DEFAULT_REQUESTS);
        if requests == 0 {
            let text = "0 is out of range: a connection is for at least 1 request";
            return Err(sources.fault("http-requests", text));
        }
        Ok(Self {
            root: parts.http_root.clone(),
            listing: parts.http_listing.unwrap_or(false),
            header_timeout,
            requests,
        })
    }
}

/// The number of connections that one peer may have to each service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerPeer(Option<u32>);

impl PerPeer {
    /// Checks a number.
    ///
    /// # Errors
    /// It is 0.
    pub(super) fn from_parts(parts: &Parts, sources: &Sources) -> Result<Self, Failure> {
        if parts.connections_per_peer == Some(0) {
            let text = "0 is out of range: use at least 1, or leave a service out of services";
            return Err(sources.fault("connections-per-peer", text));
        }
        Ok(Self(parts.connections_per_peer))
    }

    /// Returns the number that is set, if one is.
    pub(crate) fn given(self) -> Option<u32> {
        self.0
    }

    /// Returns the number for services whose connections cost next to nothing: without one, the stack's shares of peers
    /// decide when something is full.
    pub(crate) fn of_plain(self) -> u32 {
        self.0.unwrap_or(u32::MAX)
    }

    /// Returns the number for http.
    pub(crate) fn of_http(self) -> u32 {
        self.0.unwrap_or(DEFAULT_HTTP_PER_PEER)
    }
}
