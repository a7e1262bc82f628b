//! Subscribers' queues against a model of their policies.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use proptest::prelude::*;
use umbel_actors::wire::{Charge, Credit};
use umbel_actors::{Overflow, Topic};

/// What is published: by whom, and its number there.
type News = (usize, u32);

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish(usize),
    PublishWait(usize),
    /// As it comes over a link.
    FromLink(usize),
    Read,
    /// The publisher waits no more.
    Cancel(usize),
}

const PUBLISHERS: usize = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let publisher = 0..PUBLISHERS;
    let step = prop_oneof![
        2 => publisher.clone().prop_map(Step::Publish),
        3 => publisher.clone().prop_map(Step::PublishWait),
        2 => publisher.clone().prop_map(Step::FromLink),
        5 => Just(Step::Read),
        1 => publisher.prop_map(Step::Cancel),
    ];
    prop::collection::vec(step, 0..60)
}

/// What one subscriber has, by the words of [`Overflow`].
struct Model {
    policy: Overflow,
    capacity: usize,
    /// With whether it has a place, or lies beyond them.
    queue: VecDeque<(News, bool)>,
    /// Publishers that wait, and what with.
    waiting: VecDeque<News>,
    lost: u64,
    disconnected: bool,
}

impl Model {
    fn places(&self) -> usize {
        self.queue.iter().filter(|(_, placed)| *placed).count()
    }

    fn beyond(&self) -> usize {
        self.queue.len() - self.places()
    }

    fn publish(&mut self, news: News, how: Step) {
        if self.disconnected {
            return;
        }
        if self.places() < self.capacity && self.waiting.is_empty() {
            return self.queue.push_back((news, true));
        }
        match (self.policy, how) {
            (Overflow::Wait, Step::PublishWait(_)) => self.waiting.push_back(news),
            (Overflow::Wait, Step::FromLink(_)) => self.queue.push_back((news, false)),
            (Overflow::DropOldest, _) => {
                self.lost += 1;
                self.queue.pop_front();
                self.queue.push_back((news, true));
            }
            (Overflow::Disconnect, _) => {
                self.lost += 1;
                self.disconnected = true;
            }
            _ => self.lost += 1,
        }
    }

    fn read(&mut self) -> Option<News> {
        let (news, placed) = self.queue.pop_front()?;
        if placed && let Some(next) = self.waiting.pop_front() {
            self.queue.push_back((next, true));
        }
        Some(news)
    }

    fn cancel(&mut self, publisher: usize) {
        let before = self.waiting.len();
        self.waiting.retain(|(by, _)| *by != publisher);
        self.lost += (before - self.waiting.len()) as u64;
    }
}

/// The credit that messages hold.
#[derive(Default)]
struct Held(AtomicU32);

impl Credit for Held {
    fn release(&self, bytes: u32) {
        self.0.fetch_sub(bytes, Ordering::SeqCst);
    }
}

type Publishing = Option<Pin<Box<dyn Future<Output = usize>>>>;

/// Polls those who wait, in the order in which they began to.
fn poll(publishing: &mut [Publishing; PUBLISHERS], order: &mut Vec<usize>) {
    order.retain(|publisher| {
        let Some(waits) = &mut publishing[*publisher] else { return false };
        let ready = waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if ready {
            publishing[*publisher] = None;
        }
        !ready
    });
}

fn check(policy: Overflow, capacity: usize, steps: &[Step]) -> Result<(), TestCaseError> {
    let topic = Topic::<News>::new("news");
    let mut subscription = topic.subscribe_with(capacity, policy);
    let mut model = Model {
        policy,
        capacity,
        queue: VecDeque::new(),
        waiting: VecDeque::new(),
        lost: 0,
        disconnected: false,
    };
    let held = Arc::new(Held::default());
    let mut publishing: [Publishing; PUBLISHERS] = [const { None }; PUBLISHERS];
    let mut order = Vec::new();
    let (mut numbers, mut heard) = ([0; PUBLISHERS], [0; PUBLISHERS]);
    for step in steps {
        match *step {
            Step::Publish(by) | Step::PublishWait(by) | Step::FromLink(by) => {
                // Who waits publishes nothing meanwhile.
                if publishing[by].is_some() {
                    continue;
                }
                numbers[by] += 1;
                let news = (by, numbers[by]);
                model.publish(news, *step);
                match step {
                    Step::PublishWait(_) => {
                        let topic = topic.clone();
                        publishing[by] =
                            Some(Box::pin(async move { topic.publish_wait(news).await }));
                        order.push(by);
                    }
                    Step::FromLink(_) => {
                        held.0.fetch_add(1, Ordering::SeqCst);
                        topic.publish_charged(news, Charge::new(held.clone(), 1));
                    }
                    _ => {
                        topic.publish(news);
                    }
                }
            }
            Step::Read => {
                let news = subscription.try_recv();
                prop_assert_eq!(news, model.read());
                if let Some((by, number)) = news {
                    prop_assert!(heard[by] < number, "{} heard {} after {}", by, number, heard[by]);
                    heard[by] = number;
                }
            }
            Step::Cancel(by) => {
                publishing[by] = None;
                order.retain(|waits| *waits != by);
                model.cancel(by);
            }
        }
        poll(&mut publishing, &mut order);
        prop_assert_eq!(subscription.lost(), model.lost);
        prop_assert_eq!(order.len(), model.waiting.len());
        prop_assert_eq!(held.0.load(Ordering::SeqCst) as usize, model.beyond());
        prop_assert_eq!(topic.subscribers(), usize::from(!model.disconnected));
    }
    drop(subscription);
    poll(&mut publishing, &mut order);
    prop_assert!(order.is_empty(), "somebody waits for room where nobody reads");
    prop_assert_eq!(held.0.load(Ordering::SeqCst), 0);
    Ok(())
}

proptest! {
    #[test]
    fn each_policy_does_what_it_says(
        policy in prop::sample::select(vec![
            Overflow::DropOldest, Overflow::DropNewest, Overflow::Disconnect, Overflow::Wait,
        ]),
        capacity in 1_usize..5,
        steps in steps(),
    ) {
        check(policy, capacity, &steps)?;
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_stalls_on_a_links_credit_is_disconnected_and_one_that_reads_is_not() {
    let topic = Topic::<u32>::new("news");
    let held = Arc::new(Held::default());
    let from_link = |number| {
        held.0.fetch_add(1, Ordering::SeqCst);
        topic.publish_charged(number, Charge::new(held.clone(), 1));
    };
    let mut slow = topic.subscribe_with(1, Overflow::Wait);
    let mut stalled = topic.subscribe_with(1, Overflow::Wait);
    (0..10).for_each(from_link);
    // Both share what a message holds: nine lie beyond the one place.
    assert_eq!(held.0.load(Ordering::SeqCst), 9);
    for number in 0..8 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(slow.recv().await, Some(number));
    }
    assert_eq!(topic.publish(10), 1, "the stalled one is disconnected");
    assert_eq!((topic.subscribers(), slow.lost()), (1, 0));
    assert_eq!(held.0.load(Ordering::SeqCst), 2);
    for number in 0..10 {
        assert_eq!(stalled.recv().await, Some(number));
    }
    assert_eq!(stalled.recv().await, None);
    for number in 8..=10 {
        assert_eq!(slow.recv().await, Some(number));
    }
    assert_eq!(held.0.load(Ordering::SeqCst), 0);
}
