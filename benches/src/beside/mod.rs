//! Programs to compare the daemon with, each behind a TUN device of its own that cuts and sums for it as ours does:
//! smoltcp, and a reflector that checks nothing, which is the least that any stack costs.

use std::io::{self, Write as _};
use std::thread;

use anyhow::Result;

mod light;
mod smoltcp;
mod tun;
mod wire;

/// The device of each program, in its namespace.
pub const DEVICE: &str = "beside";

/// A program to compare with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Beside {
    /// A reflector that checks nothing.
    Light,
    /// smoltcp with `segmentation-offload`.
    Smoltcp,
}

impl Beside {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Light, Self::Smoltcp];

    /// Returns the name of its column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Smoltcp => "smoltcp",
        }
    }

    /// Returns the third byte of its IPv4 addresses: 10.`net`.0.1 for the clients, 10.`net`.0.2 for itself, and fd`net`::
    /// likewise.
    pub fn net(self) -> u8 {
        match self {
            Self::Light => 75,
            Self::Smoltcp => 76,
        }
    }

    /// Opens the device, prints `ready` and serves echo, discard and chargen in the namespace of the calling thread until
    /// standard input ends.
    pub fn serve(self) -> Result<()> {
        let tun = tun::Tun::open(DEVICE)?;
        thread::spawn(move || {
            let result = match self {
                Self::Light => light::serve(tun),
                Self::Smoltcp => smoltcp::serve(tun),
            };
            if let Err(error) = result {
                eprintln!("{}: {error:#}", self.name());
            }
            std::process::exit(1);
        });
        println!("ready");
        io::stdout().flush()?;
        io::copy(&mut io::stdin(), &mut io::sink())?;
        Ok(())
    }
}
