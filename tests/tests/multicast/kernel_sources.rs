//! Sources of groups over a TUN device: the kernel's sockets and ours make the same calls, say the same to routers, and
//! receive the same; a query about sources is answered.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket as KernelSocket};

use netstack::DropReason;
use netstack::net::{Stack, UdpSocket};
use socket2::{SockRef, Socket};
use tests::world::{TUN, eventually, in_namespace, ip};

use super::kernel::{HOST_V4, OURS_V4, PORT, Wire, send_raw, start};
use super::{ALLOW, BLOCK, GROUP_V4, IS_IN, SourceRecord, TO_EX, TO_IN, igmp_source_query};

/// Another address of the kernel's host.
const OTHER_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);
const GROUP: IpAddr = IpAddr::V4(GROUP_V4);

/// A socket under test, whose calls return Linux's kinds of errors.
trait Member {
    fn join(&self) -> io::Result<()>;
    fn leave(&self) -> io::Result<()>;
    fn join_source(&self, source: Ipv4Addr) -> io::Result<()>;
    fn leave_source(&self, source: Ipv4Addr) -> io::Result<()>;
    /// Returns a datagram that is there already.
    fn receive(&self) -> Option<u8>;
}

impl Member for KernelSocket {
    fn join(&self) -> io::Result<()> {
        self.join_multicast_v4(&GROUP_V4, &HOST_V4)
    }

    fn leave(&self) -> io::Result<()> {
        self.leave_multicast_v4(&GROUP_V4, &HOST_V4)
    }

    fn join_source(&self, source: Ipv4Addr) -> io::Result<()> {
        SockRef::from(self).join_ssm_v4(&source, &GROUP_V4, &HOST_V4)
    }

    fn leave_source(&self, source: Ipv4Addr) -> io::Result<()> {
        SockRef::from(self).leave_ssm_v4(&source, &GROUP_V4, &HOST_V4)
    }

    fn receive(&self) -> Option<u8> {
        let mut buffer = [0];
        self.recv(&mut buffer).ok()?;
        Some(buffer[0])
    }
}

impl Member for UdpSocket {
    fn join(&self) -> io::Result<()> {
        self.join_multicast_v4(GROUP_V4, OURS_V4)
    }

    fn leave(&self) -> io::Result<()> {
        self.leave_multicast_v4(GROUP_V4, OURS_V4)
    }

    fn join_source(&self, source: Ipv4Addr) -> io::Result<()> {
        self.join_source_group(GROUP, source.into())
    }

    fn leave_source(&self, source: Ipv4Addr) -> io::Result<()> {
        self.leave_source_group(GROUP, source.into())
    }

    fn receive(&self) -> Option<u8> {
        let mut buffer = [0];
        self.try_recv_from(&mut buffer).ok()?;
        Some(buffer[0])
    }
}

fn kernel_socket(port: u16) -> KernelSocket {
    let socket = KernelSocket::bind(("0.0.0.0", port)).expect("bound");
    socket.set_nonblocking(true).expect("set");
    let all = SockRef::from(&socket).set_multicast_all_v4(false);
    all.expect("only what was joined");
    socket
}

fn our_socket(stack: &Stack, port: u16) -> UdpSocket {
    UdpSocket::bind_now(stack, ("0.0.0.0", port)).expect("bound")
}

/// Returns the results of calls in every state of a membership.
fn results(socket: &impl Member) -> Vec<Result<(), ErrorKind>> {
    let [a, b] = [1, 2].map(|number| Ipv4Addr::new(192, 0, 2, number));
    let calls = [
        socket.leave_source(a),
        socket.leave(),
        socket.join_source(a),
        socket.join_source(a),
        socket.join_source(b),
        socket.join(),
        socket.leave_source(a),
        socket.leave_source(a),
        // The last one ends the membership.
        socket.leave_source(b),
        socket.leave(),
        socket.join(),
        // From all sources to one.
        socket.join_source(a),
        socket.leave(),
        socket.leave(),
    ];
    let kinds = calls.map(|result| result.map_err(|error| error.kind()));
    kinds.into()
}

#[test]
fn memberships_of_sources_have_the_kernels_rules() {
    in_namespace(|| {
        let stack = start();
        let of_kernel = results(&kernel_socket(PORT));
        assert_eq!(results(&our_socket(&stack, PORT)), of_kernel);
        assert!(of_kernel.iter().any(Result::is_ok) && of_kernel.iter().any(Result::is_err));
    });
}

/// Waits until the kernel and the stack have each said this twice, as often as their robustness variable says.
fn expect_of_both(wire: &mut Wire, record: &SourceRecord) {
    let mut left = [HOST_V4, OURS_V4].map(|from| (from, 2));
    wire.wait_for(&format!("{record:?} of both"), |from, records| {
        if records == std::slice::from_ref(record) {
            let said = left.iter_mut().filter(|(address, _)| from == *address);
            said.for_each(|(_, left)| *left -= 1);
        }
        left.iter().all(|(_, left)| *left <= 0)
    });
}

#[test]
fn changes_of_sources_are_reported_as_the_kernel_reports_them() {
    in_namespace(|| {
        let stack = start();
        let mut wire = Wire::open();
        let kernel = [PORT, PORT + 1].map(kernel_socket);
        let ours = [PORT, PORT + 1].map(|port| our_socket(&stack, port));
        let [a, b] = [1, 2].map(|number| Ipv4Addr::new(192, 0, 2, number));
        let mut said = |kind: u8, sources: &[Ipv4Addr]| {
            let sources = sources.iter().map(|source| IpAddr::V4(*source));
            expect_of_both(&mut wire, &(kind, GROUP, sources.collect()));
        };
        for source in [a, b] {
            kernel[0].join_source(source).expect("joined");
            ours[0].join_source(source).expect("joined");
            said(ALLOW, &[source]);
        }
        kernel[1].join().expect("joined");
        ours[1].join().expect("joined");
        said(TO_EX, &[]);
        let ([kernel, second], [ours, our_second]) = (kernel, ours);
        drop((second, our_second));
        said(TO_IN, &[a, b]);
        kernel.leave_source(a).expect("left");
        ours.leave_source(a).expect("left");
        said(BLOCK, &[a]);
        drop((kernel, ours));
        said(BLOCK, &[b]);
    });
}

#[test]
fn datagrams_of_other_sources_are_dropped_as_the_kernel_drops_them() {
    in_namespace(|| {
        let stack = start();
        ip(&format!("addr add {OTHER_V4}/24 dev {TUN}"));
        let (kernel, ours) = (kernel_socket(PORT), our_socket(&stack, PORT));
        kernel.join_source(HOST_V4).expect("joined");
        ours.join_source(HOST_V4).expect("joined");
        let send = |from: Ipv4Addr, number: u8| {
            let sender = KernelSocket::bind((from, 0)).expect("a sender");
            let sender = Socket::from(sender);
            sender.set_multicast_if_v4(&HOST_V4).expect("the interface");
            let to = SocketAddr::from((GROUP_V4, PORT)).into();
            sender.send_to(&[number], &to).expect("sent");
        };
        send(OTHER_V4, 1);
        send(HOST_V4, 2);
        received(&kernel, 2);
        received(&ours, 2);
        let unwanted = DropReason::GroupSourceUnwanted;
        assert_eq!(stack.counters().dropped(unwanted), 1);
        ours.join_source(OTHER_V4).expect("joined");
        kernel.join_source(OTHER_V4).expect("joined");
        send(OTHER_V4, 3);
        received(&kernel, 3);
        received(&ours, 3);

        // A querier on the kernel's host asks about two sources.
        let mut wire = Wire::open();
        let asked = [HOST_V4, Ipv4Addr::new(192, 0, 2, 9)].map(IpAddr::V4);
        send_raw(
            &igmp_source_query(HOST_V4, Some(GROUP_V4), 5, &asked),
            GROUP_V4,
        );
        let answer = (IS_IN, GROUP, vec![IpAddr::V4(HOST_V4)]);
        wire.wait_for("an answer", |from, records| {
            from == OURS_V4 && records.contains(&answer)
        });
    });
}

/// Waits for this datagram, which is the next one.
fn received(socket: &impl Member, number: u8) {
    let mut found = None;
    eventually("a datagram", || {
        found = socket.receive();
        found.is_some()
    });
    assert_eq!(found, Some(number));
}
