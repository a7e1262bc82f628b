//! A memory network can be cut.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use umbel_cluster::{Connection, Listener, MemoryNetwork, MemoryTransport, Transport};
use umbel_protocol::Identity;

fn node(network: &MemoryNetwork, name: &str) -> MemoryTransport {
    network.transport(Identity::new("shop".parse().unwrap(), name.parse().unwrap()))
}

async fn connect(from: &MemoryTransport, to: &mut dyn Listener) -> (Connection, Connection) {
    let address = to.address();
    let accept = async { to.accept().await.unwrap().handshake().await.unwrap() };
    let (dialled, accepted) = tokio::join!(from.dial(&address), accept);
    (dialled.unwrap(), accepted)
}

#[tokio::test]
async fn severing_an_address_resets_its_connections_and_no_others() {
    let network = MemoryNetwork::new();
    let (a, b, c) = (node(&network, "a"), node(&network, "b"), node(&network, "c"));
    let (mut at_b, mut at_c) = (b.listen("b").await.unwrap(), c.listen("c").await.unwrap());
    let (mut ab, mut ba) = connect(&a, &mut *at_b).await;
    let (mut ac, mut ca) = connect(&a, &mut *at_c).await;
    ab.stream.write_all(b"lost").await.unwrap();

    assert_eq!(network.sever("b"), 1);
    let reset = io::ErrorKind::ConnectionReset;
    for end in [&mut ab, &mut ba] {
        assert_eq!(end.stream.read(&mut [0; 4]).await.unwrap_err().kind(), reset);
        assert_eq!(end.stream.write(b"more").await.unwrap_err().kind(), reset);
    }
    ac.stream.write_all(b"kept").await.unwrap();
    let mut kept = [0; 4];
    ca.stream.read_exact(&mut kept).await.unwrap();
    assert_eq!(&kept, b"kept");

    assert_eq!(network.sever("b"), 0, "there is nothing left to cut");
    let (_ab, _ba) = connect(&a, &mut *at_b).await;
    assert_eq!(network.sever("b"), 1, "the listener is still there");
}

#[tokio::test]
async fn severing_wakes_who_waits_to_read_or_to_write() {
    let network = MemoryNetwork::new();
    let (a, b) = (node(&network, "a"), node(&network, "b"));
    let mut listener = b.listen("b").await.unwrap();
    let (mut ab, mut ba) = connect(&a, &mut *listener).await;
    let waiting = async {
        let full = async {
            loop {
                if let Err(error) = ab.stream.write_all(&[0; 4096]).await {
                    break error;
                }
            }
        };
        tokio::join!(full, async { ba.stream.write_all(&[0; 1_000_000]).await.unwrap_err() })
    };
    let severing = async { network.sever("b") };
    let ((full, other), severed) = tokio::join!(waiting, severing);
    assert_eq!(severed, 1);
    assert_eq!([full.kind(), other.kind()], [io::ErrorKind::ConnectionReset; 2]);
}

#[tokio::test]
async fn a_connection_that_is_gone_is_not_counted_as_cut() {
    let network = MemoryNetwork::new();
    let (a, b) = (node(&network, "a"), node(&network, "b"));
    let mut listener = b.listen("b").await.unwrap();
    drop(connect(&a, &mut *listener).await);
    assert_eq!(network.sever("b"), 0);
}

#[tokio::test]
async fn a_number_is_given_only_where_it_is_asked_for() {
    let network = MemoryNetwork::new();
    let a = node(&network, "a");
    let named = a.listen("memory:1").await.unwrap();
    let numbered = a.listen("memory:0").await.unwrap();
    assert_eq!(named.address(), "memory:1");
    assert_eq!(numbered.address(), "memory:2", "the taken number is passed over");
}
