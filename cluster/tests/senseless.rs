//! What makes no sense is refused before anything is started, and says what to do.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message};
use umbel_cluster::{
    AddressError, Authority, IssueOptions, MemoryNetwork, Node, NodeBuilder, NodeConfig,
    RegisterError, StartError,
};
use umbel_protocol::{Identity, PeersConfigError};

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
struct Nothing;

struct Idle;

impl Actor for Idle {
    type Msg = Nothing;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Nothing>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

fn builder() -> NodeBuilder {
    let authority = Authority::create("test".parse().unwrap()).unwrap();
    let credentials = authority.issue(&"a".parse().unwrap(), &IssueOptions::new()).unwrap();
    Node::builder().credentials(credentials).listen("127.0.0.1:0")
}

#[tokio::test]
async fn an_endpoint_that_nobody_can_dial_is_refused_with_the_setting_that_it_is_in() {
    for (endpoint, expected) in [
        (":7401", AddressError::NoHost),
        ("node-2.example.org", AddressError::NoPort),
        ("127.0.0.1:0", AddressError::PortZero),
    ] {
        for (builder, named) in [
            (builder().join(["127.0.0.1:1", endpoint]), "join"),
            (builder().advertise(endpoint), "advertise"),
        ] {
            match builder.start().await {
                Err(StartError::Endpoint { setting, endpoint: told, why }) => {
                    assert_eq!((setting, &*told, why), (named, endpoint, expected.clone()));
                }
                other => panic!("{endpoint}: {other:?}"),
            }
        }
    }
    let error = builder().join(["a b"]).start().await.unwrap_err();
    assert!(matches!(error, StartError::Endpoint { why: AddressError::Endpoint(_), .. }));
}

#[tokio::test]
async fn another_transport_may_dial_what_tcp_does_not() {
    let transport = MemoryNetwork::new().transport(Identity::from_uri("umbel://test/a").unwrap());
    let node = Node::builder().transport(transport).join(["somewhere"]).start().await.unwrap();
    node.leave(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn bounds_of_zero_are_refused_by_name() {
    let zero = Duration::ZERO;
    for (config, named) in [
        (NodeConfig { handshake_deadline: zero, ..NodeConfig::default() }, "handshake_deadline"),
        (NodeConfig { handshakes_max: 0, ..NodeConfig::default() }, "handshakes_max"),
    ] {
        match builder().config(config).start().await {
            Err(StartError::Config(PeersConfigError::Zero(field))) => assert_eq!(field, named),
            other => panic!("{named}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_empty_name_is_not_registered() {
    let node = builder().start().await.unwrap();
    let idle = node.spawn(Idle, ()).await.unwrap();
    let refused = node.register("", &idle).await;
    assert!(matches!(refused, Err(RegisterError::NoName)), "{refused:?}");
    assert!(node.discover::<Nothing>("").is_empty());
    node.register("idle", &idle).await.unwrap();
    node.leave(Duration::from_secs(10)).await;
}
