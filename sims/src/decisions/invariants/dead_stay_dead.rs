use std::collections::BTreeMap;
use std::time::Duration;

use umbel_protocol::{NodeId, PeersConfig};

use super::{Findings, Happening, Invariant, Snapshot, View};

const NAME: &str = "dead-stay-dead";

/// How long a handshake with somebody who is dead by now may still come to its end: the dial's
/// deadline, and a second for what is under way.
const HANDSHAKE_TAIL: Duration = Duration::from_secs(6);

/// Past `silence_max`: a ping's interval, and a second for what is under way.
const SLACK: Duration = Duration::from_secs(2);

/// Whoever is dead is noticed in time, and does not come back.
#[derive(Default)]
pub(super) struct DeadStayDead {
    deaths: BTreeMap<NodeId, Duration>,
}

impl Invariant for DeadStayDead {
    fn happened(&mut self, node: &View<'_>, what: &Happening<'_>, findings: &mut Findings<'_>) {
        let Happening::Up { peer, .. } = what else { return };
        let Some(died) = self.deaths.get(*peer) else { return };
        // A node that was paused finds old news in its inbox.
        let since = (*died).max(node.awake_since);
        let ago = findings.now.saturating_sub(since);
        if ago > HANDSHAKE_TAIL {
            findings.report(NAME, format!("{}: {peer} came up {ago:?} after its end", node.id));
        }
    }

    fn stands(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        self.deaths.clone_from(snapshot.deaths);
        let silence_max = PeersConfig::default().silence_max;
        for node in snapshot.running.iter().filter(|node| !node.is_paused) {
            for (peer, _) in node.up.values() {
                let Some(died) = snapshot.deaths.get(peer) else { continue };
                let ago = snapshot.now.saturating_sub((*died).max(node.awake_since));
                if ago > silence_max + SLACK {
                    let what = format!("{} still takes {peer} for alive after {ago:?}", node.id);
                    findings.report(NAME, what);
                }
            }
        }
    }
}
