//! The calls of the application on the stack's sockets.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::super::input::Input;
use super::World;

impl World {
    pub(super) fn application(&mut self, input: &mut Input<'_>) {
        self.accept();
        self.connect();
        let which = input.below(self.streams.len().max(1));
        let action = input.below(7);
        if let Some(stream) = self.streams.get_mut(which) {
            match action {
                0 | 1 => {
                    let _ = stream.try_read(&mut [0; 4_096]);
                }
                2 | 3 => {
                    let _ = stream.try_write(&vec![5; input.below(20_000)]);
                }
                4 => {
                    let mut context = Context::from_waker(Waker::noop());
                    let stream = Pin::new(stream);
                    let _ = tokio::io::AsyncWrite::poll_shutdown(stream, &mut context);
                }
                5 => drop(self.streams.swap_remove(which)),
                _ => {
                    let _ = stream.set_linger(Some(Duration::ZERO));
                    drop(self.streams.swap_remove(which));
                }
            }
        }
        if let Some(udp) = &self.udp {
            let mut buffer = [0; 2_048];
            if let Ok((len, from)) = udp.try_recv_from(&mut buffer) {
                let _ = udp.try_send_to(&buffer[..len], from);
            }
        }
        self.settle();
    }

    pub(super) fn accept(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Some(listener) = &self.listener
            && let Poll::Ready(Ok((stream, _))) = listener.poll_accept(&mut context)
        {
            self.streams.push(stream);
        }
    }

    pub(super) fn connect(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        if let Some(connecting) = &mut self.connecting
            && let Poll::Ready(result) = connecting.as_mut().poll(&mut context)
        {
            self.connecting = None;
            self.syn = None;
            self.streams.extend(result);
        }
    }
}
