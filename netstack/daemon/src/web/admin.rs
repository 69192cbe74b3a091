//! The host's socket of the admin server: made while there are rights for it, and bound when its address is free.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::failure::Failure;
use crate::settings::Settings;

use super::refused;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// The host's place of the admin server.
#[derive(Debug)]
pub(crate) enum Admin {
    /// It listens.
    Listens(TcpListener),
    /// A socket for an address that is free when another daemon has ended.
    Waits(Socket, SocketAddr),
}

/// Listens on the address that the settings give, or takes the socket that the supervisor has passed on. An `inherited` address
/// is not listened on yet.
///
/// # Errors
/// The address cannot be listened on, or the socket is none of that kind.
pub(crate) fn listen(settings: &Settings, inherited: bool) -> Result<Option<Admin>, Failure> {
    if let Some(passed) = settings.passed.admin()? {
        return Ok(Some(Admin::Listens(passed)));
    }
    let Some(address) = settings.admin else {
        return Ok(None);
    };
    // Made here: whoever waits for the address may make no socket.
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
        .and_then(|socket| socket.set_reuse_address(true).map(|()| socket))
        .map_err(|error| refused("admin", address, &error))?;
    if inherited {
        return Ok(Some(Admin::Waits(socket, address)));
    }
    bind(&socket, address).map_err(|error| refused("admin", address, &error))?;
    Ok(Some(Admin::Listens(socket.into())))
}

fn bind(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)
}

impl Admin {
    /// Returns the listener, once the address is free.
    pub(super) async fn wait(self) -> Result<TcpListener, Failure> {
        let (socket, address) = match self {
            Self::Listens(listener) => return Ok(listener),
            Self::Waits(socket, address) => (socket, address),
        };
        for _ in 0..ATTEMPTS {
            match bind(&socket, address) {
                Ok(()) => return Ok(socket.into()),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    tokio::time::sleep(PAUSE).await
                }
                Err(error) => return Err(refused("admin", address, &error)),
            }
        }
        Err(refused("admin", address, &io::ErrorKind::AddrInUse.into()))
    }
}

/// Attempts to listen on the admin address after a take-over, and the pause between them.
const ATTEMPTS: usize = 200;
const PAUSE: Duration = Duration::from_millis(50);
