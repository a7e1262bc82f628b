//! Tells what a node is told of members.

use umbel_cluster::{MemberChange, Node};
use umbel_protocol::MemberState;

use crate::cast::Recorder;
use crate::mutant::Mutant;
use crate::record::Record;

/// Records each change among the members that `node` is told of, for as long as it is polled.
pub(crate) async fn tap(node: Node, recorder: Recorder, mutant: Option<Mutant>) {
    // Which life was told: the node may have become another one since.
    let (mut watch, mut at) = (node.watch_members(), node.id());
    loop {
        let events = match watch.changed().await {
            MemberChange::Is(event) => vec![event],
            MemberChange::Renewed(node) => {
                at = node.clone();
                recorder.record(Record::Renewed { node });
                continue;
            }
            MemberChange::Refreshed(events) => events,
            _ => continue,
        };
        for event in events {
            let (of, state) = (event.member.node, event.state);
            let again = state.is_over() && mutant == Some(Mutant::OldNews);
            recorder.record(Record::Member { at: at.clone(), of: of.clone(), state });
            if again {
                let (at, state) = (at.clone(), MemberState::Alive);
                recorder.record(Record::Member { at, of, state });
            }
        }
    }
}
