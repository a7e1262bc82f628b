//! Three nodes, ten seconds, four faults.

use std::collections::BTreeSet;
use std::time::Duration;

use umbel_cluster::Node;

use crate::cast::{self, PLAYER, PLAYERS, Part, Recorder, Staging};
use crate::fault::Faults;
use crate::host::Host;
use crate::world::World;

pub(super) const NAME: &str = "standard";

const NODES: usize = 3;

/// How long after the faults all questions must be answered again.
const WELL_WITHIN: Duration = Duration::from_secs(30);

/// How often in a row each player must answer.
const ROUNDS: usize = 3;

/// Three nodes, ten seconds, four faults.
pub(super) fn world(seed: u64) -> World {
    stage(seed, NODES).named(NAME).faults(Faults::Random(4))
}

/// So many nodes with the cast on them, and a client who sees that in the end all players answer.
pub(super) fn stage(seed: u64, nodes: usize) -> World {
    World::new(seed)
        .nodes(nodes, |host| async move {
            let staging = Staging { mutant: host.mutant(), ..Staging::default() };
            cast::start(host.node(), recorder(&host), staging).await
        })
        .workload(move |host, node| async move {
            host.wait_for_end_of_faults().await;
            all_answer(&node, nodes * PLAYERS).await
        })
        .limits(cast::LIMITS)
}

/// Where the cast of a simulated machine tells what it sees.
fn recorder(host: &Host) -> Recorder {
    let host = host.clone();
    Recorder::new(move |record| host.record(record))
}

/// Waits until so many players are there and all answer, several times in a row.
pub(crate) async fn all_answer(node: &Node, count: usize) -> Result<(), String> {
    let mut trouble = String::new();
    let answering = async {
        let mut rounds = 0;
        while rounds < ROUNDS {
            match round(node, count).await {
                Ok(()) => rounds += 1,
                Err(why) => {
                    (rounds, trouble) = (0, why);
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    };
    tokio::time::timeout(WELL_WITHIN, answering)
        .await
        .map_err(|_| format!("not all players answer {WELL_WITHIN:?} after the faults: {trouble}"))
}

async fn round(node: &Node, count: usize) -> Result<(), String> {
    let players = node.discover::<Part>(PLAYER);
    if players.len() != count {
        let nodes: BTreeSet<_> = players.iter().map(|player| player.node.to_string()).collect();
        return Err(format!("{} of {count} players are there, on {nodes:?}", players.len()));
    }
    for player in players {
        let text = format!("are you there, {}?", player.node);
        match player.address.ask(|reply| Part::Echo(text.clone(), reply)).await {
            Ok(answer) if answer == text => {}
            Ok(answer) => return Err(format!("{} answered {answer:?} to {text:?}", player.node)),
            Err(why) => return Err(format!("{}: {why}", player.node)),
        }
    }
    Ok(())
}
