//! How users see the members of a cluster, and where a node finds whom to join through.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message};
use umbel_cluster::{
    Authority, Dns, IssueOptions, MemberChange, MemoryNetwork, Node, NodeBuilder, SeedSource,
    StartError,
};
use umbel_protocol::{Endpoint, Identity, MemberState};

const SOON: Duration = Duration::from_secs(30);

fn builder(network: &MemoryNetwork, name: &str) -> NodeBuilder {
    let identity = Identity::new("house".parse().unwrap(), name.parse().unwrap());
    Node::builder().transport(network.transport(identity)).listen(name)
}

fn names(node: &Node) -> Vec<String> {
    node.members().iter().map(|event| event.member.node.name.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_member_is_seen_with_what_it_tells_of_itself() {
    let network = MemoryNetwork::new();
    let a = builder(&network, "a").start().await.unwrap();
    let b = builder(&network, "b").join(["a"]).role("intake").version("1.4.2");
    let b = b.start().await.unwrap();
    assert!(a.wait_for_members(1, SOON).await);
    let seen = &a.members()[0];
    assert_eq!((&seen.member.node, seen.state), (&b.id(), MemberState::Alive));
    let profile = &seen.member.profile;
    assert!(profile.has_role("intake") && !profile.has_role("other"));
    assert_eq!((profile.program(), profile.roles().collect::<Vec<_>>()), ("1.4.2", vec!["intake"]));
    assert_eq!(profile.endpoint().map(Endpoint::as_str), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn roles_beyond_their_bounds_are_refused() {
    let network = MemoryNetwork::new();
    let many = (0..9).fold(builder(&network, "a"), |node, role| node.role(role.to_string()));
    let refused = many.start().await.unwrap_err();
    assert!(matches!(refused, StartError::Profile(_)), "{refused}");
    assert!(refused.to_string().contains("at most 8 roles"), "{refused}");
    let long = builder(&network, "a").version("v".repeat(64)).start().await.unwrap_err();
    assert!(matches!(long, StartError::Profile(_)), "{long}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_begins_with_those_that_are_there_and_misses_nothing() {
    let network = MemoryNetwork::new();
    let a = builder(&network, "a").start().await.unwrap();
    let b = builder(&network, "b").join(["a"]).start().await.unwrap();
    assert!(a.wait_for_members(1, SOON).await);
    let mut changes = Box::pin(a.watch_members().into_stream());
    let mut next = async || match changes.next().await {
        Some(MemberChange::Is(event)) => (event.member.node, event.state),
        other => panic!("{other:?}"),
    };
    assert_eq!(next().await, (b.id(), MemberState::Alive));
    let left = b.id();
    b.leave(Duration::from_secs(1)).await;
    assert_eq!(next().await, (left, MemberState::Left));
    assert!(a.members().is_empty());
    let again = builder(&network, "b").join(["a"]).start().await.unwrap();
    assert_eq!(next().await, (again.id(), MemberState::Alive));
}

#[derive(Message)]
struct Note(MemberChange);

struct Clerk(tokio::sync::mpsc::UnboundedSender<MemberChange>);

impl Actor for Clerk {
    type Msg = Note;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Note>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Note>,
        Note(change): Note,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(self.0.send(change)?)
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_hears_of_members_by_the_topic() {
    let network = MemoryNetwork::new();
    let a = builder(&network, "a").start().await.unwrap();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let clerk = a.spawn(Clerk(told), ()).await.unwrap();
    let _forwarding = a.members_topic().forward(&clerk, Note);
    let b = builder(&network, "b").join(["a"]).start().await.unwrap();
    let Some(MemberChange::Is(event)) = heard.recv().await else { panic!() };
    assert_eq!(event.member.node, b.id());
}

#[tokio::test]
async fn a_node_joins_through_a_name_in_the_dns() {
    let authority = Authority::create("shop".parse().unwrap()).unwrap();
    let issue = |name: &str| authority.issue(&name.parse().unwrap(), &IssueOptions::new()).unwrap();
    let a = Node::builder().credentials(issue("a")).listen("127.0.0.1:0").start().await.unwrap();
    let (_, port) =
        a.address().unwrap().rsplit_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let b = Node::builder().credentials(issue("b")).listen("127.0.0.1:0");
    let b = b.discover(Dns::new(format!("localhost:{port}"))).start().await.unwrap();
    assert!(b.wait_for_members(1, SOON).await);
    assert_eq!(names(&b), ["a"]);
}

/// Says one thing after the other, and then the last for ever.
#[derive(Debug)]
struct Script(Arc<Mutex<VecDeque<io::Result<Vec<&'static str>>>>>);

impl SeedSource for Script {
    async fn seeds(&self) -> io::Result<Vec<Endpoint>> {
        let mut script = self.0.lock().unwrap();
        let said = match script.pop_front() {
            Some(Ok(said)) if script.is_empty() => {
                script.push_back(Ok(said.clone()));
                Ok(said)
            }
            said => said.unwrap(),
        };
        Ok(said?.into_iter().map(|seed| seed.parse().unwrap()).collect())
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_is_asked_again_and_what_it_names_no_more_is_no_seed() {
    let network = MemoryNetwork::new();
    let _b = builder(&network, "b").start().await.unwrap();
    let _c = builder(&network, "c").start().await.unwrap();
    let script = [Err(io::Error::other("not yet")), Ok(vec!["b", "gone"]), Ok(vec!["b", "c"])];
    let script = Script(Arc::new(Mutex::new(script.into_iter().collect())));
    let a = builder(&network, "a").join(["fixed"]).discover(script).start().await.unwrap();
    let seeds = async || {
        let seeds = a.peers().await.unwrap().seeds;
        seeds.iter().map(|seed| seed.endpoint.to_string()).collect::<Vec<_>>()
    };
    assert!(a.wait_for_members(1, SOON).await);
    assert_eq!(seeds().await, ["b", "fixed", "gone"]);
    assert!(a.wait_for_members(2, Duration::from_secs(60)).await);
    assert_eq!(
        (names(&a), seeds().await),
        (vec!["b".into(), "c".into()], vec!["b".into(), "c".into(), "fixed".into()])
    );
}
