//! Who tells on and on lets others run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use umbel_actors::wire::{ActorPath, Encode, Route, RouteError};
use umbel_actors::{Address, Exit, Message, Watch};

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
struct Note;

/// Takes all there is, and counts it.
#[derive(Default)]
struct Taker(AtomicUsize);

impl Route for Taker {
    fn try_send(&self, _: &ActorPath, _: u32, _: Encode<'_>) -> Result<(), RouteError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn room(&self, _: &ActorPath) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn watch(&self, _: &ActorPath) -> Watch {
        Watch::new(oneshot::channel().1, Exit::Killed)
    }
}

#[tokio::test]
async fn a_task_whose_tells_a_link_takes_at_once_ends_its_turn_after_some_400() {
    let taker = Arc::<Taker>::default();
    let path = ActorPath { node: "far".into(), incarnation: 1, actor: 1 };
    let address = Address::<Note>::remote(path, taker.clone());
    for _ in 0..3 {
        let address = address.clone();
        let before = taker.0.load(Ordering::Relaxed);
        let turn = tokio::spawn(async move {
            let mut telling = Box::pin(async {
                loop {
                    address.tell(Note).await.unwrap();
                }
            });
            assert!(futures_util::poll!(&mut telling).is_pending());
        });
        turn.await.unwrap();
        // It may begin and end with two that take nothing of it.
        let told = taker.0.load(Ordering::Relaxed) - before;
        assert!((384..=386).contains(&told), "{told}");
    }
}
