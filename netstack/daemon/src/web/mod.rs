//! The admin server: the dashboard and its data, and `/metrics`, on a loopback address of the host and, where that is asked
//! for, on an address of the stack.
//!
//! * **Define.** Whoever reaches the address may look, and nobody can change anything. A request costs a bounded amount
//!   of memory and time, and a reader that does not read costs nothing more.
//! * **Enforce.** [`guard`] lets only GET from pages of this server through. [`server`] bounds connections, their headers,
//!   their lifetimes and how long they may be stuck. Counters are read without a lock, and all browsers together get one
//!   list of sockets, made in at most a fifth of a core's time.
//! * **Consume.** One thread of low priority serves. Nothing that a browser does makes a worker wait.
//!
//! | module | |
//! |---|---|
//! | [`admin`] | the socket of the host |
//! | [`server`], [`guard`] | connections; what is refused, and the headers of every answer |
//! | [`routes`], [`files`] | paths to answers; the files of the dashboard |
//! | [`history`] | the last minutes of every counter |
//! | [`flows`] | the list of sockets: rates, order, search |
//! | [`flow`] | one connection, as it happens |

pub(crate) mod admin;
mod files;
mod flow;
mod flows;
mod guard;
mod history;
mod locks;
mod routes;
mod server;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use axum::Router;
use netstack::net::TcpListener as StackListener;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::control::{Target, step_back};
use crate::failure::Failure;
use crate::file::reason;
use crate::settings::Settings;
use admin::Admin;
use routes::Web;

/// Serves on what `admin` is, if anything, and on the address of the stack that the settings give, if any.
///
/// # Errors
/// The address cannot be listened on, or the thread cannot be started.
pub(crate) fn start(
    target: &Arc<Target>,
    settings: &Settings,
    admin: Option<Admin>,
) -> Result<(), Failure> {
    if admin.is_none() && settings.dashboard.is_none() {
        return Ok(());
    }
    let unstarted = |error: io::Error| {
        Failure::Stack(format!(
            "the admin server cannot be started: {}: check the limits of threads and open files (ulimit -a)",
            reason(&error)
        ))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(unstarted)?;
    let stack = settings
        .dashboard
        .map(|address| {
            let listener = StackListener::bind_now(&target.stack(), address);
            listener.map_err(|error| refused("dashboard", address, &error))
        })
        .transpose()?;
    let web = Arc::new(Web::new(target));
    thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || {
            step_back();
            run(&runtime, &web, admin, stack);
        })
        .map(drop)
        .map_err(unstarted)
}

fn refused(key: &str, address: SocketAddr, error: &io::Error) -> Failure {
    let text = format!(
        "the {key} address {address} cannot be listened on: {}: choose another port (--{key})",
        reason(error)
    );
    match error.kind() {
        io::ErrorKind::AddrInUse => Failure::InUse(text),
        _ => Failure::Stack(text),
    }
}

/// Serves for as long as the program runs.
fn run(runtime: &Runtime, web: &Arc<Web>, admin: Option<Admin>, stack: Option<StackListener>) {
    let app: Router = routes::router(web);
    runtime.block_on(async {
        if let Some(admin) = admin {
            tokio::spawn(serve_host(admin, app.clone()));
        }
        if let Some(listener) = stack {
            tokio::spawn(server::serve(listener, app));
        }
        web.history.keep(&web.target).await;
    });
}

/// Serves on the host once the address is free: the daemon that was taken over has it until it has ended.
async fn serve_host(admin: Admin, app: Router) {
    let listener = match admin.wait().await {
        Ok(listener) => listener,
        Err(why) => {
            tracing::error!(target: "netstackd::web", "there is no admin server: {why}");
            return;
        }
    };
    let listener = listener
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(listener));
    match listener {
        Ok(listener) => server::serve(listener, app).await,
        Err(error) => {
            tracing::error!(target: "netstackd::web", "there is no admin server: {}", reason(&error));
        }
    }
}

/// Parses an address on which only this machine can reach the daemon.
pub(crate) fn parse_admin(text: &str) -> Result<SocketAddr, String> {
    let address = parse_address(text, "127.0.0.1:9100")?;
    check_admin(address)?;
    Ok(address)
}

/// Checks that only this machine can reach an address.
///
/// # Errors
/// Others can: a sentence that says what to do.
pub(crate) fn check_admin(address: SocketAddr) -> Result<(), String> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    Err(
        "it is no loopback address, and what is served there is not protected: use 127.0.0.1 or [::1]"
            .to_owned(),
    )
}

/// Parses an address on which the stack serves the dashboard.
pub(crate) fn parse_dashboard(text: &str) -> Result<SocketAddr, String> {
    parse_address(text, "10.77.0.2:8080")
}

fn parse_address(text: &str, example: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("write it as ADDRESS:PORT, for example {example}"))
}
