//! Runs the examples of this module's documentation.

use std::error::Error;
use std::time::Duration;

use super::block_on::block_on;
use super::stack::Stack;
use super::tcp_listener::TcpListener;
use super::tcp_stream::TcpStream;
use crate::device::channel::{ChannelConfig, channel};

/// The result of an example.
type Outcome = Result<(), Box<dyn Error>>;

/// Longest time that an example takes.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs `example` with a stack that talks to itself, whose address is 10.77.0.2.
///
/// # Errors
/// The example fails, or does not end.
#[doc(hidden)]
pub fn example(example: impl AsyncFnOnce(Stack) -> Outcome) -> Outcome {
    let (device, _pipe) = channel(ChannelConfig::default());
    let stack = Stack::builder()
        .address([10, 77, 0, 2].into(), 24)
        .start(vec![Box::new(device)])?;
    block_on(example(stack), Some(LIMIT))?
}

/// Runs `run` with both ends of a connection of a stack to itself: the client's and the server's.
///
/// # Errors
/// As [`example`].
#[doc(hidden)]
pub fn example_pair(run: impl AsyncFnOnce(TcpStream, TcpStream) -> Outcome) -> Outcome {
    example(async |stack| {
        let listener = TcpListener::bind(&stack, "10.77.0.2:80").await?;
        let client = TcpStream::connect(&stack, "10.77.0.2:80").await?;
        let (server, _) = listener.accept().await?;
        run(client, server).await
    })
}
