//! In the end all nodes agree on members, links, registry and topics.

use umbel_protocol::MemberState;

use crate::standing::Standing;

/// Something that the nodes do not agree on, if there is anything.
pub(crate) fn disagreement(nodes: &[Standing]) -> Option<String> {
    nodes.iter().find_map(|one| {
        let others = || nodes.iter().filter(|other| other.node != one.node);
        let name = &one.node;
        others().find_map(|other| {
            let peer = &other.node;
            if !one.linked.contains(peer) {
                return Some(format!("{name} is not linked with {peer}"));
            }
            let known = one.members.iter().find(|event| event.member.node == *peer);
            match known.map(|event| event.state) {
                Some(MemberState::Alive) => {}
                Some(state) => return Some(format!("{name} takes {peer} for {state:?}")),
                None => return Some(format!("{name} does not know {peer} for a member")),
            }
            if one.registry != other.registry {
                return Some(format!("{name} and {peer} know different registries"));
            }
            one.topics.topics.iter().find_map(|topic| {
                let mut there = other.topics.topics.iter().filter(|it| it.topic == topic.topic);
                let subscribers = there.next().map_or(0, |it| it.subscribers_here);
                let knows = topic.interested.contains(peer);
                (knows != (subscribers > 0)).then(|| {
                    let topic = &topic.topic;
                    format!("{peer} has {subscribers} subscribers of {topic}, and {name} thinks otherwise")
                })
            })
        }).or_else(|| {
            let strange = one.members.iter().find(|event| nodes.iter().all(|it| it.node != event.member.node));
            strange.map(|event| format!("{name} knows {}, who is not there", event.member.node))
        })
    })
}
