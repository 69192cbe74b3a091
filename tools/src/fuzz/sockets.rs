//! Two stacks with a perfect link between them, and programs that call their sockets in any order with any arguments.
//!
//! * No call panics, whatever its arguments are.
//! * What a stream reads is what its other end wrote, in order.
//! * Futures that are dropped after one poll leave the sockets as they were.
//! * When every socket is dropped, nothing is left: no connection, no timer, no memory.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use netstack::base::Config;
use netstack::base::congestion::Algorithm;
use netstack::net::{
    EchoSocket, Interest, MtuDiscovery, Prefix, Route, Stack, TcpListener, TcpSocket, TcpStream,
    UdpSocket,
};

use super::input::Input;
use crate::virtual_stack::VirtualStack;

const MTU: u16 = 1_500;
const PREFIX: u8 = 24;
/// Most calls of one input.
const CALLS_MAX: usize = 300;
/// Sockets of each kind on each side.
const SOCKETS_MAX: usize = 24;
/// Time in which everything must have gone when the sockets have.
const AFTERWARDS: Duration = Duration::from_secs(3_600);

/// Runs `data` as calls of two programs. Returns the number of bytes that were read from streams and compared.
///
/// # Panics
/// Panics if one of the invariants of this module does not hold: that is its purpose.
pub fn fuzz_sockets(data: &[u8]) -> u64 {
    let mut input = Input::new(data);
    let mut world = World::new(&mut input);
    for _ in 0..CALLS_MAX {
        if input.is_empty() {
            break;
        }
        let side = input.below(2);
        world.call(side, &mut input);
        if !input.rarely(4) {
            world.settle();
        }
    }
    world.end();
    world.compared
}

struct Stream {
    socket: TcpStream,
    /// Bytes written and read.
    written: u64,
    read: u64,
}

struct Side {
    stack: VirtualStack,
    sent: Vec<Vec<u8>>,
    next_timer: Option<Duration>,
    listeners: Vec<TcpListener>,
    streams: Vec<Stream>,
    connecting: Vec<std::pin::Pin<Box<dyn Future<Output = std::io::Result<TcpStream>> + Send>>>,
    datagrams: Vec<UdpSocket>,
    pings: Vec<EchoSocket>,
}

struct World {
    sides: [Side; 2],
    addresses: [IpAddr; 2],
    now: Duration,
    compared: u64,
}

fn byte(from: SocketAddr, offset: u64) -> u8 {
    (offset.wrapping_mul(167) >> 4) as u8 ^ offset as u8 ^ from.port() as u8
}

/// Polls a future once and drops it.
fn once<F: Future>(future: F) -> Option<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn config() -> Config {
    let mut config = Config {
        memory_bytes: Some(2 << 20),
        max_connections: 64,
        ..Config::default()
    };
    config.tcp.time_wait = Duration::from_secs(2);
    config.tcp.fin_wait_2 = Duration::from_secs(5);
    config
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let addresses = [1, 2].map(|host| IpAddr::from([10, 0, 0, host]));
        let mut side = |own: IpAddr| Side {
            stack: VirtualStack::new(config(), &[(own, PREFIX)], MTU, u64::from(input.u16()))
                .expect("a stack"),
            sent: Vec::new(),
            next_timer: None,
            listeners: Vec::new(),
            streams: Vec::new(),
            connecting: Vec::new(),
            datagrams: Vec::new(),
            pings: Vec::new(),
        };
        Self {
            sides: [side(addresses[0]), side(addresses[1])],
            addresses,
            now: Duration::ZERO,
            compared: 0,
        }
    }

    /// Carries packets until both stacks have nothing to do.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            for side in &mut self.sides {
                let settled = side.stack.settle(self.now, &mut side.sent);
                side.next_timer = settled.expect("a stack becomes idle");
            }
            let [a, b] = &mut self.sides;
            if a.sent.is_empty() && b.sent.is_empty() {
                return;
            }
            for packet in a.sent.drain(..) {
                b.stack.deliver(packet, 0);
            }
            for packet in b.sent.drain(..) {
                a.stack.deliver(packet, 0);
            }
        }
        panic!("two stacks send to each other for ever");
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }

    /// Returns an address and port to bind to or to send to.
    fn target(&self, side: usize, input: &mut Input<'_>) -> SocketAddr {
        let ports = [7, 8, 9, 0, 32_768];
        let port = match input.below(6) {
            5 => input.u16(),
            known => ports[known],
        };
        let address = match input.below(8) {
            0 => IpAddr::from([0, 0, 0, 0]),
            1 => IpAddr::from([127, 0, 0, 1]),
            2 => self.addresses[side],
            3 => IpAddr::from([224, 0, 0, 9]),
            4 => IpAddr::from([input.u8(), 0, 0, input.u8()]),
            5 if input.rarely(4) => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1]),
            _ => self.addresses[1 - side],
        };
        SocketAddr::new(address, port)
    }

    fn call(&mut self, side: usize, input: &mut Input<'_>) {
        let target = self.target(side, input);
        self.accept_and_connect(side);
        let own = self.addresses[side];
        let here = &mut self.sides[side];
        let stack = here.stack.stack().clone();
        match input.below(16) {
            0 => {
                let bound = TcpListener::bind_now(&stack, target);
                here.listeners
                    .extend(bound.ok().filter(|_| here.listeners.len() < SOCKETS_MAX));
            }
            1 | 2 if here.connecting.len() < SOCKETS_MAX => {
                here.connecting.push(Box::pin(
                    async move { TcpStream::connect(&stack, target).await },
                ));
            }
            3 if here.connecting.len() < SOCKETS_MAX => {
                let socket = tcp_socket(&stack, input);
                let _ = socket.bind(SocketAddr::new(own, input.u16()));
                here.connecting.push(Box::pin(socket.connect(target)));
            }
            4 => drop(tcp_socket(&stack, input).listen(u32::from(input.u16()))),
            5..=9 => self.on_stream(side, input),
            10 => {
                let bound = UdpSocket::bind_now(&stack, target);
                here.datagrams
                    .extend(bound.ok().filter(|_| here.datagrams.len() < SOCKETS_MAX));
            }
            11 | 12 => on_datagrams(here, target, input),
            13 => on_pings(here, &stack, target, input),
            14 => on_stack(&stack, own, input),
            _ => {
                let millis = [1, 40, 250, 3_000, 130_000][input.below(5)];
                self.pass(Duration::from_millis(millis));
            }
        }
    }

    fn accept_and_connect(&mut self, side: usize) {
        let here = &mut self.sides[side];
        let mut context = Context::from_waker(Waker::noop());
        let mut opened = Vec::new();
        for listener in &here.listeners {
            while let Poll::Ready(Ok((stream, _))) = listener.poll_accept(&mut context) {
                opened.push(stream);
            }
        }
        here.connecting
            .retain_mut(|connecting| match connecting.as_mut().poll(&mut context) {
                Poll::Ready(connected) => {
                    opened.extend(connected);
                    false
                }
                Poll::Pending => true,
            });
        here.streams.extend(opened.into_iter().map(|socket| Stream {
            socket,
            written: 0,
            read: 0,
        }));
    }

    fn on_stream(&mut self, side: usize, input: &mut Input<'_>) {
        let streams = &mut self.sides[side].streams;
        let which = input.below(streams.len().max(1));
        let Some(stream) = streams.get_mut(which) else {
            return;
        };
        match input.below(14) {
            0..=2 => stream.write(input),
            3..=5 => self.compared += stream.read(input),
            6 => stream.peek(),
            7 => {
                let mut context = Context::from_waker(Waker::noop());
                let socket = std::pin::Pin::new(&mut stream.socket);
                let _ = tokio::io::AsyncWrite::poll_shutdown(socket, &mut context);
            }
            8 => drop(streams.swap_remove(which)),
            9 => stream_options(&stream.socket, input),
            10 => {
                let _ = once(stream.socket.readable());
                let _ = once(stream.socket.writable());
                let _ = once(stream.socket.ready(Interest::READABLE | Interest::WRITABLE));
            }
            11 => {
                let info = stream.socket.info();
                assert!(info.srtt <= Duration::from_secs(86_400), "{info:?}");
                let _ = stream.socket.take_error();
            }
            12 => {
                let Stream {
                    socket,
                    written,
                    read,
                } = streams.swap_remove(which);
                let (reader, writer) = socket.into_split();
                let socket = reader.reunite(writer).expect("halves of one stream");
                streams.push(Stream {
                    socket,
                    written,
                    read,
                });
            }
            _ => {
                let (reader, mut writer) = stream.socket.split();
                let _ = reader.try_read(&mut []);
                let _ = once(tokio::io::AsyncWriteExt::flush(&mut writer));
            }
        }
    }

    /// Drops every socket, and lets the stacks come to their end.
    fn end(&mut self) {
        for side in &mut self.sides {
            side.listeners.clear();
            side.streams.clear();
            side.connecting.clear();
            side.datagrams.clear();
            side.pings.clear();
        }
        self.settle();
        let limit = self.now + AFTERWARDS;
        while let Some(next) = self.sides.iter().filter_map(|side| side.next_timer).min() {
            if self.now > limit {
                break;
            }
            self.now = self.now.max(next);
            self.settle();
        }
        for (side, here) in self.sides.iter().enumerate() {
            let stack = here.stack.stack();
            let left = (
                stack.connections(),
                stack.half_open(),
                stack.time_waits(),
                stack.slabs_in_use(),
            );
            assert_eq!(
                left,
                (0, 0, 0, (0, 0)),
                "side {side}: {:?}",
                stack.sockets()
            );
        }
    }
}

impl Stream {
    fn write(&mut self, input: &mut Input<'_>) {
        let (Ok(from), at) = (self.socket.local_addr(), self.written) else {
            return;
        };
        let len = [0, 1, 100, 1_460, 9_000, 70_000][input.below(6)];
        let data: Vec<u8> = (at..at + len).map(|n| byte(from, n)).collect();
        if let Ok(count) = self.socket.try_write(&data) {
            self.written += count as u64;
        }
    }

    fn read(&mut self, input: &mut Input<'_>) -> u64 {
        let mut buffer = vec![0; input.below(20_000)];
        let Ok(count) = self.socket.try_read(&mut buffer) else {
            return 0;
        };
        self.compare(&buffer[..count]);
        self.read += count as u64;
        count as u64
    }

    fn peek(&mut self) {
        let mut buffer = [0; 500];
        if let Some(Ok(count)) = once(self.socket.peek(&mut buffer)) {
            self.compare(&buffer[..count]);
        }
    }

    fn compare(&self, data: &[u8]) {
        let Ok(from) = self.socket.peer_addr() else {
            return;
        };
        let is_right = (self.read..)
            .zip(data)
            .all(|(n, got)| *got == byte(from, n));
        assert!(
            is_right,
            "{:?} reads other bytes than were written",
            self.socket
        );
    }
}

fn tcp_socket(stack: &Stack, input: &mut Input<'_>) -> TcpSocket {
    let socket = if input.rarely(8) {
        TcpSocket::new_v6(stack)
    } else {
        TcpSocket::new_v4(stack)
    };
    let number = u32::from(input.u16());
    let time = Duration::from_millis(u64::from(number));
    let _ = socket.set_send_buffer_size(number);
    let _ = socket.set_recv_buffer_size(number);
    let _ = socket.set_max_segment(input.u16());
    let _ = socket.set_ttl(u32::from(input.u16()) % 300);
    let _ = socket.set_tos(number);
    let _ = socket.set_keepalive(input.rarely(2).then_some(time));
    let _ = socket.set_user_timeout(input.rarely(2).then_some(time));
    let _ = socket.set_linger(input.rarely(4).then_some(time));
    socket.set_congestion(Algorithm::ALL[input.below(3)]);
    socket
}

fn stream_options(socket: &TcpStream, input: &mut Input<'_>) {
    let number = u32::from(input.u16());
    let time = Duration::from_millis(u64::from(number));
    let _ = match input.below(9) {
        0 => socket.set_nodelay(input.rarely(2)),
        1 => socket.set_ttl(number % 300),
        2 => socket.set_tos(number % 300),
        3 => socket.set_keepalive(input.rarely(2).then_some(time)),
        4 => socket.set_keepalive_interval(time),
        5 => socket.set_keepalive_count(number % 300),
        6 => socket.set_max_segment(input.u16()),
        7 => socket.set_user_timeout(input.rarely(2).then_some(time)),
        _ => socket.set_linger(input.rarely(2).then_some(Duration::ZERO)),
    };
}

/// Changes the sources of a membership, as the group's number says: the inputs that are kept mean what they meant.
fn on_sources(socket: &UdpSocket, number: u8) {
    let group = IpAddr::from([224, 0, 0, number]);
    let source = IpAddr::from([10, 77, 0, number / 4]);
    let _ = match number % 4 {
        0 => socket.join_source_group(group, source),
        1 => socket.leave_source_group(group, source),
        2 => socket.block_source(group, source),
        _ => socket.unblock_source(group, source),
    };
}

fn on_datagrams(here: &mut Side, target: SocketAddr, input: &mut Input<'_>) {
    let which = input.below(here.datagrams.len().max(1));
    let Some(socket) = here.datagrams.get(which) else {
        return;
    };
    let data = vec![7; [0, 1, 1_472, 9_000, 65_507, 65_508, 70_000][input.below(7)]];
    match input.below(10) {
        0 => drop(once(socket.connect(target))),
        1 => drop(socket.try_send_to(&data, target)),
        2 => drop(socket.try_send(&data)),
        3 => drop(socket.try_send_segments(&data, input.u16(), None, target)),
        4 => drop(socket.try_recv_from(&mut [0; 100])),
        5 => drop(socket.try_peek_from(&mut [0; 100])),
        6 => {
            let number = input.u8();
            let _ = socket.join_multicast_v4([224, 0, 0, number].into(), [0; 4].into());
            on_sources(socket, number);
            let _ = socket.leave_multicast_v4([224, 0, 0, input.u8()].into(), [0; 4].into());
        }
        7 => {
            let _ = socket.set_broadcast(input.rarely(2));
            let _ = socket.set_ttl(u32::from(input.u16()));
            let _ = socket.set_mtu_discovery(
                [
                    MtuDiscovery::Fragment,
                    MtuDiscovery::Reject,
                    MtuDiscovery::Probe,
                ][input.below(3)],
            );
            let _ = socket.set_path_mtu(target, input.u16());
        }
        8 => drop(once(socket.recv_from(&mut [0; 9]))),
        _ => drop(here.datagrams.swap_remove(which)),
    }
}

fn on_pings(here: &mut Side, stack: &Stack, target: SocketAddr, input: &mut Input<'_>) {
    if here.pings.is_empty() || (input.rarely(4) && here.pings.len() < SOCKETS_MAX) {
        here.pings.extend(EchoSocket::bind(stack, target.ip()));
        return;
    }
    let which = input.below(here.pings.len());
    let len = input.below(3_000);
    match input.below(4) {
        0 => drop(here.pings.swap_remove(which)),
        1 => drop(once(here.pings[which].recv())),
        _ => drop(once(here.pings[which].send_to(
            &vec![8; len],
            input.u16(),
            target.ip(),
        ))),
    }
}

/// Changes and reads what a stack has beside its sockets.
fn on_stack(stack: &Stack, own: IpAddr, input: &mut Input<'_>) {
    let Ok(prefix) = Prefix::new([10, input.u8() % 2, 0, input.u8()].into(), input.u8() % 33)
    else {
        return;
    };
    match input.below(7) {
        0 => drop(stack.add_address(prefix)),
        // Its first address stays: the other side sends there.
        1 if prefix.address() != own => drop(stack.remove_address(prefix)),
        2 => drop(stack.add_route(Route::new(prefix))),
        3 => drop(stack.remove_route(prefix)),
        4 => drop(stack.add_any_address(prefix)),
        5 => drop(stack.remove_any_address(prefix)),
        _ => {
            let (sockets, info) = (stack.sockets(), stack.tcp_info());
            assert!(sockets.len() >= info.len(), "{sockets:?}");
        }
    }
}
