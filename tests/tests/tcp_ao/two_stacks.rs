//! Two stacks that authenticate their connections.

use netstack::device::channel::{ChannelConfig, channel};
use netstack::device::memory::{Impairment, LinkConfig};
use netstack::net::{AoAlgorithm, AoKey, AoKeys, Stack, TcpListener, TcpSocket, TcpStream};
use netstack::{Counter, DropReason};
use tests::pair::{CLIENT, bounded, server, stacks_over};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{PORT, key, keys_of};

#[test]
fn no_authenticated_connection_or_handshake_is_part_of_a_checkpoint() {
    let (client, server_stack) = stacks_over(&LinkConfig::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let keys = [keys_of([key(1, 2)]), keys_of([key(2, 1)])];
    let (signed, plain) = runtime.block_on(bounded(async {
        let signed = connected((&client, &server_stack), [&keys[0], &keys[1]]).await;
        let listener = TcpListener::bind(&server_stack, server(80))
            .await
            .expect("bind");
        let plain = TcpStream::connect(&client, server(80))
            .await
            .expect("connected");
        let (accepted, _) = listener.accept().await.expect("accepted");
        (signed, (plain, accepted))
    }));
    let frozen = client.freeze().expect("at rest");
    let checkpoint = frozen.checkpoint([&signed.0, &plain.0].map(|stream| (stream, vec![7])));
    let (device, _pipe) = channel(ChannelConfig::default());
    let next = Stack::builder()
        .address(CLIENT.parse().expect("an address"), 24)
        .restore(checkpoint)
        .start(vec![Box::new(device)])
        .expect("a stack");
    let (streams, _begin) = next.take_restored().expect("another one's place");
    let peers: Vec<_> = streams
        .iter()
        .map(|kept| kept.stream.peer_addr().expect("open"))
        .collect();
    assert_eq!(peers, [server(80)]);
}

/// Opens a connection between two stacks whose keys are these.
async fn connected(
    (client, server_stack): (&Stack, &Stack),
    keys: [&AoKeys; 2],
) -> (TcpStream, TcpStream) {
    let socket = TcpSocket::new_v4(server_stack);
    socket.set_ao_keys(Some(keys[1]));
    socket.bind(server(PORT)).expect("bind");
    let listener = socket.listen(16).expect("listen");
    let socket = TcpSocket::new_v4(client);
    socket.set_ao_keys(Some(keys[0]));
    let stream = socket.connect(server(PORT)).await.expect("connected");
    let (accepted, _) = listener.accept().await.expect("accepted");
    (stream, accepted)
}

/// Moves `bytes` to the other end and back.
async fn echoed(client: &mut TcpStream, server: &mut TcpStream, bytes: &[u8]) {
    let there = async {
        let mut got = vec![0; bytes.len()];
        server.read_exact(&mut got).await.expect("read");
        assert!(got == bytes, "what arrived");
        server.write_all(&got).await.expect("written");
    };
    let (mut read, mut write) = client.split();
    let sending = async { write.write_all(bytes).await.expect("written") };
    let back = async {
        let mut got = vec![0; bytes.len()];
        read.read_exact(&mut got).await.expect("read");
        assert!(got == bytes, "what came back");
    };
    futures::join!(there, sending, back);
}

#[test]
fn two_stacks_move_data_under_loss_and_change_their_keys_meanwhile() {
    for algorithm in [AoAlgorithm::HmacSha1, AoAlgorithm::AesCmac] {
        let loss = Impairment {
            loss_ppm: 10_000,
            ..Impairment::default()
        };
        let link = LinkConfig {
            tso: true,
            tx_checksum: algorithm == AoAlgorithm::HmacSha1,
            a_to_b: loss.clone(),
            b_to_a: loss,
            seed: 5_925,
            ..LinkConfig::default()
        };
        let (client, server) = stacks_over(&link);
        let key = |send, recv, secret| AoKey::new(algorithm, send, recv, secret).expect("a key");
        let ours = keys_of([key(1, 2, b"old")]);
        let theirs = keys_of([key(2, 1, b"old")]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(bounded(async {
            let (mut a, mut b) = connected((&client, &server), [&ours, &theirs]).await;
            let bytes: Vec<u8> = (0..600_000_u32).map(|at| (at % 251) as u8).collect();
            echoed(&mut a, &mut b, &bytes).await;
            ours.add(key(11, 12, b"new")).expect("apart");
            theirs.add(key(12, 11, b"new")).expect("apart");
            a.set_ao_rnext_key(12).expect("there");
            b.set_ao_rnext_key(11).expect("there");
            echoed(&mut a, &mut b, &bytes).await;
            let infos = [&a, &b].map(|stream| stream.ao_info().expect("authenticated"));
            assert_eq!(infos.map(|info| info.current_key), [11, 12]);
            let last = infos.map(|info| info.last_received);
            assert_eq!(last, [Some((12, 11)), Some((11, 12))]);
            assert_eq!(
                infos.map(|info| info.bad + info.missing + info.unknown_key),
                [0, 0]
            );
            ours.remove(|key| key.send_id() == 1);
            theirs.remove(|key| key.send_id() == 2);
            echoed(&mut a, &mut b, &bytes).await;
        }));
        for stack in [client, server] {
            let counters = stack.counters();
            assert_eq!(counters.dropped(DropReason::TcpAoBad), 0);
            assert_eq!(counters.dropped(DropReason::TransmitFailed), 0);
            assert!(counters.count(Counter::TcpAoAccepted) > 1_000);
        }
    }
}
