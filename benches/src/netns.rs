//! Network namespaces that live as long as their handle, and the links and addresses in them.
//!
//! * **Define.** A [`Namespace`] is an open descriptor of a network namespace that it created.
//! * **Enforce.** Only threads that [`Namespace::run`] starts enter it, and they end there: no other
//!   thread of the process changes its namespace.
//! * **Consume.** Clients, servers and the daemon start from such a thread: a socket or a process
//!   belongs to the namespace of the thread that made it. The kernel removes the namespace with
//!   everything in it when the last of them and the handle are gone.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd as _};
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use futures::TryStreamExt as _;
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::packet_route::address::AddressHeaderFlags;
use rtnetlink::{Handle, LinkUnspec, LinkVeth};

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: &'static str,
    file: File,
}

impl Namespace {
    /// Creates a namespace with its loopback up; `name` is for messages.
    ///
    /// Duplicate address detection is off, so that IPv6 addresses are usable at once. The ephemeral
    /// ports and the TIME-WAIT table suit a client that opens many connections.
    pub fn new(name: &'static str) -> Result<Self> {
        let file = thread::scope(|scope| {
            scope
                .spawn(|| -> Result<File> {
                    unshare(CloneFlags::CLONE_NEWNET).with_context(|| {
                        format!(
                            "create network namespace {name}: run as root, or as root of a user \
                             namespace (unshare --user --map-root-user)"
                        )
                    })?;
                    Ok(File::open("/proc/thread-self/ns/net")?)
                })
                .join()
                .map_err(|_| anyhow!("the thread that makes namespace {name} panicked"))?
        })?;
        let namespace = Self { name, file };
        namespace.run(|| -> Result<()> {
            for (key, value) in [
                ("net/ipv6/conf/all/accept_dad", "0"),
                ("net/ipv6/conf/default/accept_dad", "0"),
                ("net/ipv6/conf/default/dad_transmits", "0"),
                ("net/ipv4/ip_local_port_range", "10000 65535"),
                ("net/ipv4/tcp_max_tw_buckets", "4096"),
            ] {
                let path = format!("/proc/sys/{key}");
                std::fs::write(&path, value)
                    .with_context(|| format!("set {key} in namespace {name}: write {path}"))?;
            }
            netlink(async |handle| link_up(&handle, "lo", None).await)
        })??;
        Ok(namespace)
    }

    /// Returns the name given at creation.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs `work` on a thread in the namespace and waits for it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)
                        .with_context(|| format!("enter network namespace {}", self.name))?;
                    Ok(work())
                })
                .join()
                .map_err(|_| anyhow!("a thread in namespace {} panicked", self.name))?
        })
    }

    /// Gives `addresses` to the link `name` of this namespace, and brings it up.
    pub fn up(&self, name: &str, addresses: &[(IpAddr, u8)]) -> Result<()> {
        self.run(|| netlink(async |handle| link_up(&handle, name, Some(addresses)).await))?
    }

    /// Joins this namespace and `other` by a veth pair, given the name and addresses of each end.
    pub fn veth(
        &self,
        here: (&str, &[(IpAddr, u8)]),
        other: &Self,
        there: (&str, &[(IpAddr, u8)]),
    ) -> Result<()> {
        let target = other.file.as_raw_fd();
        self.run(|| {
            netlink(async |handle| {
                handle
                    .link()
                    .add(LinkVeth::new(here.0, there.0).build())
                    .execute()
                    .await?;
                let index = link_index(&handle, there.0).await?;
                let moved = LinkUnspec::new_with_index(index)
                    .setns_by_fd(target)
                    .build();
                handle.link().set(moved).execute().await?;
                link_up(&handle, here.0, Some(here.1)).await
            })
        })??;
        other.run(|| netlink(async |handle| link_up(&handle, there.0, Some(there.1)).await))?
    }
}

/// Runs one netlink conversation in the calling thread's namespace.
fn netlink<F: AsyncFnOnce(Handle) -> Result<()>>(work: F) -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?
        .block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            let conversation = tokio::spawn(connection);
            let result = work(handle).await;
            conversation.abort();
            result
        })
}

async fn link_index(handle: &Handle, name: &str) -> Result<u32> {
    let mut links = handle.link().get().match_name(name.to_owned()).execute();
    links
        .try_next()
        .await?
        .map(|link| link.header.index)
        .ok_or_else(|| anyhow!("no link named {name}"))
}

async fn link_up(handle: &Handle, name: &str, addresses: Option<&[(IpAddr, u8)]>) -> Result<()> {
    let index = link_index(handle, name).await?;
    for (address, prefix) in addresses.unwrap_or_default() {
        let mut request = handle.address().add(index, *address, *prefix);
        if address.is_ipv6() {
            // No socket can be bound to a tentative address.
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        request
            .execute()
            .await
            .with_context(|| format!("give {address}/{prefix} to {name}"))?;
    }
    handle
        .link()
        .set(LinkUnspec::new_with_index(index).up().build())
        .execute()
        .await
        .with_context(|| format!("bring {name} up"))
}
