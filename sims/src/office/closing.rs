//! Who sees to it that the day ends well.

use std::time::Duration;

use umbel_cluster::Node;

use super::{Office, Phase, caller};
use crate::host::Host;

/// How long after the faults all must find all.
const WELL_WITHIN: Duration = Duration::from_secs(30);

/// For how long all must find all before it is peace. By then whatever was begun before is over, and links are
/// given up of which a fault has left a connection dead: after a node's `silence_max` of 5 s.
const FOUND_FOR: Duration = Duration::from_millis(5_500);

/// How long it is peace.
const PEACE: Duration = Duration::from_secs(2);

/// Within which time afterwards all that was begun must have ended.
const RESTS_WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(50);

/// Calls from a node without services, and ends the day: when nothing goes wrong any more and all find
/// all, there is peace for a while, and then rest.
pub(crate) async fn close(
    host: Host,
    node: Node,
    nodes: usize,
    services: &'static [&'static str],
) -> Result<(), String> {
    let office = Office::new(&host, &node, true);
    let work = async {
        tokio::join!(caller::call(&office, services), office.look(services));
        office.0.day.lock().rests(host.number());
    };
    let (ended, ()) = tokio::join!(end(&office, nodes), work);
    ended
}

async fn end(office: &Office, nodes: usize) -> Result<(), String> {
    let day = || office.0.day.lock();
    office.0.host.wait_for_end_of_faults().await;
    let found = until_found(office, nodes).await;
    if found.is_ok() {
        day().becomes(Phase::Peace);
        tokio::time::sleep(PEACE).await;
    }
    day().becomes(Phase::Rest);
    found?;
    let resting = async {
        // This one, too.
        while day().how_many_rest() <= nodes {
            tokio::time::sleep(LOOK).await;
        }
    };
    let rested = tokio::time::timeout(RESTS_WITHIN, resting).await;
    rested.map_err(|_| {
        format!("{} of {nodes} nodes rest after {RESTS_WITHIN:?}", day().how_many_rest())
    })
}

/// Waits until all have found all for a while.
async fn until_found(office: &Office, nodes: usize) -> Result<(), String> {
    let mut amiss = String::new();
    let looking = async {
        let mut looks = 0;
        while LOOK * looks < FOUND_FOR {
            tokio::time::sleep(LOOK).await;
            looks += 1;
            if let Some(why) = office.0.day.lock().amiss(nodes + 1, nodes) {
                (looks, amiss) = (0, why);
            }
        }
    };
    tokio::time::timeout(WELL_WITHIN, looking)
        .await
        .map_err(|_| format!("not all find all {WELL_WITHIN:?} after the faults: {amiss}"))
}
