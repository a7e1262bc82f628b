//! The tree that the players live under.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use umbel_actors::supervision::{EventStream, Happening, Observed};
use umbel_actors::{Address, Backoff, ChildSpec, Restart, Strategy, Supervisor, SupervisorRef};
use umbel_cluster::{Node, Offer};

use super::player::{Billing, PLAYER, PLAYERS, Part, Player};
use super::{CastError, Recorder};
use crate::record::Record;

/// How many restarts the players' supervisor allows, in which time. OTP's defaults are 1 in 5 s.
const RESTARTS_MAX: u32 = 2;
const PERIOD: Duration = Duration::from_secs(5);

/// After the whole house has given up, it opens again.
const REOPENS_AFTER: Duration = Duration::from_millis(100);

/// Starts the tree, lets the players be found, and does so again when the tree has given up.
pub(super) async fn open(node: &Node, recorder: &Recorder) -> Result<(), CastError> {
    let billing = Arc::new(Billing {
        node: node.id().to_string(),
        seasons: AtomicU64::new(0),
        nights: AtomicU64::new(0),
    });
    let house = season(node, recorder, &billing).await?;
    let (node, recorder) = (node.clone(), recorder.clone());
    tokio::spawn(async move {
        let seasons = async {
            let mut house = Some(house);
            loop {
                if let Some(house) = house {
                    house.ended().await;
                }
                tokio::time::sleep(REOPENS_AFTER).await;
                // An error: names of the last season are not free yet, or the system is going down.
                house = season(&node, &recorder, &billing).await.ok();
            }
        };
        tokio::select! {
            biased;
            () = node.system().stopped() => {}
            () = seasons => {}
        }
    });
    Ok(())
}

async fn season(
    node: &Node,
    recorder: &Recorder,
    billing: &Arc<Billing>,
) -> Result<SupervisorRef, CastError> {
    let children: Vec<_> =
        (0..PLAYERS).map(|number| child(node, recorder, billing, number)).collect();
    let players: Vec<_> = children.iter().map(|child| child.handle().clone()).collect();
    let cast = declare(children);
    let cast = ChildSpec::supervisor("cast", move || cast.clone());
    let house = Supervisor::new("house", Strategy::OneForOne)
        .intensity(3, Duration::from_secs(10))
        .child(cast.restart(Restart::Permanent));
    let events = house.events();
    tokio::spawn(follow(events, recorder.clone(), billing.clone()));
    let house = node.system().supervise(house).await?;
    for (number, player) in players.iter().enumerate() {
        let metadata = [("name".to_owned(), format!("player-{number}"))].into();
        let offer = Offer { metadata, ..Offer::default() };
        node.register_with(PLAYER, player, offer).await?;
    }
    Ok(house)
}

fn child(
    node: &Node,
    recorder: &Recorder,
    billing: &Arc<Billing>,
    number: usize,
) -> ChildSpec<Address<Part>> {
    let (name, recorder, billing) = (format!("player-{number}"), recorder.clone(), billing.clone());
    let told = name.clone();
    let make = move || {
        let (name, supervisor, recorder) = (told.clone(), billing.clone(), recorder.clone());
        (Player { name, supervisor, recorder }, ())
    };
    let backoff = Backoff::exponential(Duration::from_millis(20), Duration::from_millis(500));
    node.system().child(name, make).restart(Restart::Permanent).backoff(backoff)
}

fn declare(children: Vec<ChildSpec<Address<Part>>>) -> Supervisor {
    let cast = Supervisor::new("cast", Strategy::OneForOne).intensity(RESTARTS_MAX, PERIOD);
    children.into_iter().fold(cast, Supervisor::child)
}

/// Tells what happens in the tree.
async fn follow(mut events: EventStream, recorder: Recorder, billing: Arc<Billing>) {
    while let Some(observed) = events.next().await {
        let Observed::Event(event) = observed else { continue };
        let of_cast = event.supervisor.ends_with("/cast");
        let is_cast = event.child.as_deref() == Some("cast") || (of_cast && event.child.is_none());
        match (&event.what, &event.child) {
            (Happening::Restarted { .. }, Some(child)) if of_cast => {
                let (supervisor, child) = (billing.season(), child.to_string());
                recorder.record(Record::Restarted { supervisor, child });
            }
            (Happening::Escalated { .. } | Happening::Stopped { .. }, _) if is_cast => {
                recorder.record(Record::Ended { supervisor: billing.season() });
                billing.seasons.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}
