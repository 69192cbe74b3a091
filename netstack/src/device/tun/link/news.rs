//! The kernel's announcements of changes of one interface.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;

use super::netlink::{Netlink, describe, messages, request_bytes};

/// The multicast group of changes of links (`RTNLGRP_LINK`).
const LINK_GROUP: u32 = 1;
/// Room for one datagram of the kernel, in bytes: its messages about a link have less than half as many.
const DATAGRAM_BYTES: usize = 8_192;
/// Most datagrams that are read in one look.
const DATAGRAMS_MAX: usize = 64;

/// A subscription to the changes of one interface.
pub(in super::super) struct LinkNews {
    socket: Socket,
    index: u32,
    /// True if announcements were lost, and the present state was not asked for since.
    has_lost: AtomicBool,
}

impl fmt::Debug for LinkNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkNews")
            .field("fd", &self.socket.as_raw_fd())
            .field("index", &self.index)
            .finish()
    }
}

impl LinkNews {
    /// Subscribes to the changes of the interface of that name, and returns its present MTU with the subscription.
    ///
    /// # Errors
    /// There is no such interface, or netlink is not available.
    pub(in super::super) fn subscribe(name: &str) -> io::Result<(Self, u16)> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.add_membership(LINK_GROUP)?;
        socket.set_non_blocking(true)?;
        // Asked after the subscription: no change falls between the two.
        let link = Netlink::open()?.link(name)?;
        let link = link.ok_or_else(|| io::Error::from(Errno::NODEV))?;
        let index = link.index;
        let news = Self {
            socket,
            index,
            has_lost: AtomicBool::new(false),
        };
        Ok((news, mtu_of(link.mtu)))
    }

    /// Returns the MTU that was announced last since the call before, if any was.
    pub(in super::super) fn latest_mtu(&self) -> Option<u16> {
        let mut latest = None;
        let mut room = [0; DATAGRAM_BYTES];
        for _ in 0..DATAGRAMS_MAX {
            match self.socket.recv(&mut &mut room[..], 0) {
                Ok(len) => latest = self.mtu_in(room.get(..len)?).or(latest),
                // The kernel says so once for each time that the socket runs full, and then only if it was emptied.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
                    self.has_lost.store(true, Ordering::Relaxed);
                }
                Err(_) => {
                    // Everything was read, so there is room for an answer.
                    if self.has_lost.swap(false, Ordering::Relaxed) {
                        self.ask();
                    }
                    break;
                }
            }
        }
        latest
    }

    /// Asks for the present MTU. The answer comes like an announcement.
    fn ask(&self) {
        let mut message = LinkMessage::default();
        message.header.index = self.index;
        let request = request_bytes(RouteNetlinkMessage::GetLink(message), 0, 0);
        let _ = self.socket.send(&request, 0);
    }

    /// Returns the last MTU that a datagram announces for the interface.
    fn mtu_in(&self, datagram: &[u8]) -> Option<u16> {
        let announced = messages(datagram).filter_map(|message| match message.ok()?.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link))
                if link.header.index == self.index =>
            {
                Some(describe(&link).mtu).filter(|mtu| *mtu > 0)
            }
            _ => None,
        });
        announced.last().map(mtu_of)
    }
}

/// Converts an MTU of the kernel, which allows a TUN device at most 65,535.
fn mtu_of(mtu: u32) -> u16 {
    u16::try_from(mtu).unwrap_or(u16::MAX)
}
