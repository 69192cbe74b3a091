//! `netstackd proxy`: flows that enter the device go out through sockets of the machine, and through proxies.
//!
//! The device is moved to a namespace of the clients; the daemon, the proxies and the servers stay.

mod rules;
mod taken_over;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::jobs::{self, SERVER};
use tests::upstream::Through;
use tests::world::{Running, eventually, in_namespace, ip};
use tests::{program, upstream};

const UNSPECIFIED: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];
const PATIENCE: Duration = Duration::from_secs(60);

type Job = Box<dyn FnOnce() + Send>;

/// Runs `test` in a namespace with the servers' addresses.
fn outside(test: impl FnOnce() + Send) {
    in_namespace(|| {
        jobs::outside();
        test();
    });
}

/// A daemon, and the namespace of its clients.
struct World {
    daemon: Running,
    jobs: Sender<Job>,
}

impl World {
    /// Starts the daemon in this thread's namespace, and moves its device to a new one.
    fn new(flags: &[&str]) -> Self {
        let daemon = jobs::start(program!(), "proxy", flags);
        let (sender, path) = channel();
        let (jobs, received) = channel::<Job>();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            let thread = rustix::thread::gettid().as_raw_nonzero();
            let process = std::process::id();
            let _ = sender.send(format!("/proc/{process}/task/{thread}/ns/net"));
            for job in received {
                job();
            }
        });
        let path = path.recv().expect("a namespace");
        ip(&format!("link set t0 netns {path}"));
        let world = Self { daemon, jobs };
        world.inside(|| {
            ip("link set lo up");
            ip("link set t0 up");
            ip("addr add 10.77.0.1/24 dev t0");
            ip("addr add fd77::1/64 dev t0 nodad");
            ip("route add default dev t0");
            ip("-6 route add default dev t0");
            eventually("an IPv6 address", || UdpSocket::bind("[fd77::1]:0").is_ok());
        });
        world
    }

    /// Runs something in the clients' namespace.
    fn inside<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, result) = channel();
        let job = Box::new(move || drop(sender.send(job())));
        self.jobs.send(job).expect("the thread lives");
        result
            .recv_timeout(2 * PATIENCE)
            .expect("the job ends well")
    }

    /// Makes the daemon read everything again, and returns what it says about that.
    fn reloaded(&mut self) -> String {
        let pid = i32::try_from(self.daemon.0.id()).expect("a process");
        kill(Pid::from_raw(pid), Signal::SIGHUP).expect("sent");
        jobs::next_line(&mut self.daemon)
    }

    /// Sends `data` to a server that reverses it, and returns what comes back.
    fn reversed(&self, to: SocketAddr, data: &'static [u8]) -> Vec<u8> {
        self.inside(move || {
            let mut stream = connect(to).expect("a connection");
            stream.write_all(data).expect("sent");
            stream
                .shutdown(std::net::Shutdown::Write)
                .expect("shut down");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("the answer");
            all
        })
    }

    fn refusal(&self, to: SocketAddr) -> Option<i32> {
        self.inside(move || connect(to).err().and_then(|error| error.raw_os_error()))
    }

    /// Exchanges a datagram with a server that echoes.
    fn echoed(&self, to: SocketAddr, patience: Duration) -> bool {
        self.inside(move || {
            let any = UNSPECIFIED[usize::from(to.is_ipv6())];
            let socket = UdpSocket::bind((any, 0)).expect("a socket");
            socket.connect(to).expect("connected");
            socket.set_read_timeout(Some(patience)).expect("a timeout");
            socket.send(b"datagram").expect("sent");
            let mut buffer = [0; 100];
            socket
                .recv(&mut buffer)
                .is_ok_and(|len| &buffer[..len] == b"datagram")
        })
    }
}

fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Serves connections that get back reversed what they sent until its end.
fn reverser(address: &str) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).expect("a port");
    let local = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut stream = stream.expect("a client");
                let mut all = Vec::new();
                let _ = stream.read_to_end(&mut all);
                all.reverse();
                let _ = stream.write_all(&all);
            });
        }
    });
    local
}

fn echo(address: &str) -> SocketAddr {
    let socket = UdpSocket::bind((address, 0)).expect("a port");
    let local = socket.local_addr().expect("bound");
    thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..len], from);
        }
    });
    local
}

/// A port that nobody listens at.
fn closed(address: &str) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).expect("a port");
    listener.local_addr().expect("bound")
}

const REFUSED: Option<i32> = Some(nix::libc::ECONNREFUSED);
const NO_NETWORK: Option<i32> = Some(nix::libc::ENETUNREACH);
const NO_HOST: Option<i32> = Some(nix::libc::EHOSTUNREACH);

#[test]
fn flows_go_out_directly() {
    outside(|| {
        let servers = SERVER.map(|address| (reverser(address), echo(address), closed(address)));
        let world = World::new(&[]);
        for (tcp, udp, closed) in servers {
            assert_eq!(world.reversed(tcp, b"hello"), b"olleh");
            assert!(world.echoed(udp, PATIENCE), "{udp}");
            assert_eq!(world.refusal(closed), REFUSED, "{closed}");
        }
        for nowhere in ["198.51.100.1:80", "[2001:db8:1::1]:80"] {
            assert_eq!(
                world.refusal(nowhere.parse().expect("an address")),
                NO_NETWORK
            );
        }
    });
}

fn upstream_flags(scheme: &str, proxy: SocketAddr) -> String {
    format!("{scheme}://{}@{proxy}", upstream::CREDENTIALS)
}

#[test]
fn flows_go_through_socks5() {
    outside(|| {
        let servers = SERVER.map(|address| (reverser(address), echo(address), closed(address)));
        let (proxy, through) = upstream::socks5(SERVER[0].parse().expect("an address"));
        let world = World::new(&["--upstream", &upstream_flags("socks5", proxy)]);
        for (tcp, _, closed) in servers {
            assert_eq!(world.reversed(tcp, b"hello"), b"olleh");
            assert_eq!(world.refusal(closed), REFUSED, "{closed}");
        }
        assert_eq!(through.connections(), 4);
        assert!(world.echoed(servers[0].1, PATIENCE));
        assert_eq!(through.associations(), 1);
        // Proxies differ in what they say about this.
        let nowhere = "198.51.100.1:80".parse().expect("an address");
        let refusal = world.refusal(nowhere);
        assert!([NO_NETWORK, NO_HOST].contains(&refusal), "{refusal:?}");
    });
}

#[test]
fn flows_go_through_http_connect() {
    outside(|| {
        let (tcp, udp, closed) = (reverser(SERVER[0]), echo(SERVER[0]), closed(SERVER[0]));
        // someone:p@ss:word
        let (proxy, through) = upstream::http_connect("c29tZW9uZTpwQHNzOndvcmQ=");
        let world = World::new(&["--upstream", &upstream_flags("http", proxy)]);
        assert_eq!(world.reversed(tcp, b"hello"), b"olleh");
        assert_eq!(world.refusal(closed), REFUSED);
        assert_eq!(through.connections(), 2);
        assert!(
            !world.echoed(udp, Duration::from_millis(300)),
            "datagrams cannot pass"
        );
    });
}

#[test]
fn a_wrong_password_and_a_dead_proxy_are_no_connection() {
    outside(|| {
        let tcp = reverser(SERVER[0]);
        let direct = reverser(SERVER[1]);
        let (proxy, through): (_, Through) =
            upstream::socks5(SERVER[0].parse().expect("an address"));
        let wrong = format!("socks5://someone:else@{proxy}");
        let dead = format!("socks5://{}", closed("127.0.0.1"));
        for (upstream, errors) in [
            (wrong, [NO_HOST, Some(nix::libc::EACCES)]),
            (dead, [NO_NETWORK; 2]),
        ] {
            let flags = ["--upstream", &upstream, "--rule", "direct 2001:db8::/32"];
            let world = World::new(&flags);
            let error = world.refusal(tcp);
            assert!(errors.contains(&error), "{upstream}: {error:?}");
            // What has nothing to do with it goes on.
            assert_eq!(world.reversed(direct, b"direct"), b"tcerid");
            drop(world);
            eventually("the device's end", || {
                !std::path::Path::new("/sys/class/net/t0").exists()
            });
        }
        assert_eq!(through.connections(), 0);
    });
}

#[test]
fn names_go_to_the_proxy_as_names() {
    outside(|| {
        let tcp = reverser(SERVER[0]);
        let (proxy, through) = upstream::socks5(SERVER[0].parse().expect("an address"));
        let world = World::new(&[
            "--upstream",
            &upstream_flags("socks5", proxy),
            "--dns",
            "virtual",
        ]);
        let address = world.inside(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.connect("10.77.0.2:53").expect("connected");
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            query.extend(b"\x04some\x04test\x00\x00\x01\x00\x01");
            socket.send(&query).expect("sent");
            let mut answer = [0; 512];
            let len = socket.recv(&mut answer).expect("an answer");
            let address: [u8; 4] = answer[len - 4..len].try_into().expect("four bytes");
            address
        });
        assert_eq!(address[..2], [198, 18]);
        let to = SocketAddr::from((address, tcp.port()));
        assert_eq!(world.reversed(to, b"name"), b"eman");
        assert_eq!((through.connections(), through.names()), (1, 1));
        // An address that no name has.
        assert_eq!(
            world.refusal(SocketAddr::from(([198, 19, 1, 1], 80))),
            REFUSED
        );
    });
}

#[test]
fn idle_flows_of_udp_end_and_begin_anew() {
    outside(|| {
        // A server that says from which port it was asked.
        let socket = UdpSocket::bind((SERVER[0], 0)).expect("a port");
        let to = socket.local_addr().expect("bound");
        thread::spawn(move || {
            while let Ok((_, from)) = socket.recv_from(&mut [0; 100]) {
                let _ = socket.send_to(&from.port().to_be_bytes(), from);
            }
        });
        let world = World::new(&["--udp-idle", "300ms"]);
        let ports = world.inside(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.connect(to).expect("connected");
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let ask = || {
                socket.send(b"?").expect("sent");
                let mut port = [0; 2];
                socket.recv(&mut port).expect("an answer");
                u16::from_be_bytes(port)
            };
            let first = [ask(), ask()];
            let deadline = netstackd::probe::now() + PATIENCE;
            let mut last = first[1];
            while last == first[1] && netstackd::probe::now() < deadline {
                thread::sleep(Duration::from_millis(900));
                last = ask();
            }
            [first[0], first[1], last]
        });
        assert_eq!(ports[0], ports[1]);
        assert_ne!(ports[1], ports[2], "the flow did not end");
    });
}
