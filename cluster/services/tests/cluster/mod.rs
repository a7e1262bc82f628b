//! Nodes in one process, over mutual TLS, with an authority of their own.

use umbel_cluster::{Authority, IssueOptions, Node};

pub(crate) struct Cluster(Authority);

impl Cluster {
    pub(crate) fn new() -> Self {
        Self(Authority::create("shop".parse().unwrap()).unwrap())
    }

    pub(crate) async fn node(&self, name: &str, join: Option<&Node>) -> Node {
        let credentials = self.0.issue(&name.parse().unwrap(), &IssueOptions::new()).unwrap();
        let join = join.and_then(Node::address);
        let node = Node::builder().credentials(credentials).listen("127.0.0.1:0").join(join);
        node.start().await.unwrap()
    }
}
