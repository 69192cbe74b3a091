//! A stream of TCP.

use std::sync::atomic::Ordering;

use netstack::net::TcpStream;
use netstack::net::time::Time;
use packet::Payload;

use super::stream::Role;
use super::udp::Pace;

/// Carries data until the test is over or the client closes the connection.
pub(super) async fn run(mut stream: TcpStream, mut role: Role, time: &Time) {
    let params = &role.test.params;
    // Each fails only if the connection is at its end already.
    let _ = stream.set_nodelay(params.nodelay);
    let _ = stream.set_tos(params.tos.into());
    if let Some(algorithm) = params.congestion {
        stream.set_congestion(algorithm);
    }
    if !role.begins().await {
        return;
    }
    match role.counts.sends {
        true => role.until_over(send(&mut stream, &role, time)).await,
        false => role.until_over(receive(&mut stream, &role)).await,
    }
    note_retransmits(&stream, &role);
}

fn note_retransmits(stream: &TcpStream, role: &Role) {
    let retransmits = stream.info().retransmits;
    role.counts
        .retransmits
        .store(retransmits, Ordering::Relaxed);
}

async fn receive(stream: &mut TcpStream, role: &Role) {
    while let Ok(Some(payload)) = stream.recv_payload().await {
        let len = payload.len() as u64;
        role.counts.bytes.fetch_add(len, Ordering::Relaxed);
    }
}

async fn send(stream: &mut TcpStream, role: &Role, time: &Time) {
    let block = Payload::from(role.test.block.clone());
    let mut pace = Pace::new(time, role.test.params.rate);
    while stream.send_payload(block.clone()).await.is_ok() {
        let len = block.len() as u64;
        role.counts.bytes.fetch_add(len, Ordering::Relaxed);
        note_retransmits(stream, role);
        if pace.after(len).await.is_err() {
            return;
        }
    }
}
