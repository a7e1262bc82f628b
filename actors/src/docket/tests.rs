use std::convert::Infallible;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::time::{advance, sleep};

use super::open::PLACES_MIN;
use super::*;

const WAITS: u8 = 0;
const ANSWERED: u8 = 1;
const LATE: u8 = 2;
const CLOSED: u8 = 3;

struct Question {
    until: Instant,
    fate: AtomicU8,
}

impl Question {
    fn within(millis: u64) -> Arc<Self> {
        let until = Instant::now() + Duration::from_millis(millis);
        Arc::new(Self { until, fate: AtomicU8::new(WAITS) })
    }

    fn meet(&self, fate: u8) {
        let _ = self.fate.compare_exchange(WAITS, fate, Ordering::SeqCst, Ordering::SeqCst);
    }

    fn fate(&self) -> u8 {
        self.fate.load(Ordering::SeqCst)
    }
}

impl Asker for Question {
    fn is_settled(&self) -> bool {
        self.fate() != WAITS
    }

    fn until(&self) -> Instant {
        self.until
    }

    fn expire(&self) {
        self.meet(LATE);
    }

    fn closed(&self) {
        self.meet(CLOSED);
    }
}

fn enter(docket: &Arc<Docket>, question: &Arc<Question>) {
    docket.enter(question, || Ok::<(), Infallible>(())).unwrap();
}

fn open(docket: &Docket) -> usize {
    docket.state.lock().open.len()
}

/// Lets the clerk do all that it can do now.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn each_question_is_late_at_its_own_deadline_whatever_the_order_of_entry() {
    let docket = Docket::new();
    let questions = [500, 100, 300].map(Question::within);
    for question in &questions {
        enter(&docket, question);
    }
    settle().await;
    let fates = || questions.each_ref().map(|question| question.fate());
    advance(Duration::from_millis(100)).await;
    settle().await;
    assert_eq!(fates(), [WAITS, LATE, WAITS]);
    advance(Duration::from_millis(200)).await;
    settle().await;
    assert_eq!(fates(), [WAITS, LATE, LATE]);
    advance(Duration::from_millis(200)).await;
    settle().await;
    assert_eq!(fates(), [LATE, LATE, LATE]);
    assert_eq!(open(&docket), 0);
}

#[tokio::test(start_paused = true)]
async fn closing_tells_those_whose_question_was_not_taken_and_no_others() {
    let docket = Docket::new();
    let questions = [100, 100, 100].map(Question::within);
    for question in &questions {
        enter(&docket, question);
    }
    docket.take();
    docket.close();
    let fates = questions.each_ref().map(|question| question.fate());
    assert_eq!(fates, [WAITS, CLOSED, CLOSED], "the first may have been handed on");
    advance(Duration::from_millis(100)).await;
    settle().await;
    assert_eq!(questions[0].fate(), LATE, "and is looked after to its deadline");
}

#[tokio::test]
async fn a_question_that_comes_in_behind_the_close_is_told_at_once() {
    let docket = Docket::new();
    docket.close();
    let question = Question::within(100);
    enter(&docket, &question);
    assert_eq!(question.fate(), CLOSED);
}

#[tokio::test]
async fn a_question_that_did_not_get_into_the_mailbox_is_not_counted() {
    let docket = Docket::new();
    let (refused, accepted) = (Question::within(100), Question::within(100));
    assert_eq!(docket.enter(&refused, || Err("the actor stops")), Err("the actor stops"));
    enter(&docket, &accepted);
    docket.take();
    docket.close();
    assert_eq!((refused.fate(), accepted.fate()), (WAITS, WAITS));
}

#[tokio::test]
async fn the_clerk_goes_when_the_actor_has_ended_and_nobody_waits() {
    let docket = Docket::new();
    let question = Question::within(60_000);
    enter(&docket, &question);
    docket.take();
    question.meet(ANSWERED);
    docket.close();
    while Arc::strong_count(&docket) > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_clerk_goes_soon_after_what_the_actor_had_taken_is_answered() {
    let (docket, begun) = (Docket::new(), Instant::now());
    let question = Question::within(3_600_000);
    enter(&docket, &question);
    docket.take();
    docket.close();
    settle().await;
    assert_eq!(question.fate(), WAITS, "its reply may have been handed on");
    question.meet(ANSWERED);
    while Arc::strong_count(&docket) > 1 {
        settle().await;
    }
    assert!(begun.elapsed() < Duration::from_millis(50), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn answered_questions_do_not_pile_up() {
    let docket = Docket::new();
    for _ in 0..10_000 {
        let question = Question::within(60_000);
        enter(&docket, &question);
        docket.take();
        question.meet(ANSWERED);
    }
    assert!(open(&docket) <= PLACES_MIN, "{} are kept", open(&docket));
}

#[tokio::test]
async fn answered_questions_do_not_pile_up_behind_a_few_that_wait_long() {
    const LONG: usize = 10;
    let docket = Docket::new();
    let long = [(); LONG].map(|()| Question::within(60_000));
    for question in &long {
        enter(&docket, question);
        docket.take();
    }
    for _ in 0..10_000 {
        let question = Question::within(60_000);
        enter(&docket, &question);
        docket.take();
        question.meet(ANSWERED);
    }
    // It grows, to twice its size, only while more than half of it is open.
    let most = 4 * (LONG + 1) + PLACES_MIN;
    assert!(open(&docket) <= most, "{} are kept", open(&docket));
    docket.close();
    assert_eq!(open(&docket), LONG, "they were taken, and are looked after");
}

proptest! {
    #[test]
    fn no_open_question_is_lost_wherever_others_were_settled(
        acts in vec(prop_oneof![Just(None), any::<Index>().prop_map(Some)], 0..200),
        first_unread in 0..100u64,
    ) {
        let (mut list, mut questions) = (Open::default(), Vec::<Arc<Question>>::new());
        for act in acts {
            match act {
                None => {
                    let question = Question::within(60_000);
                    let struck_off = list.enter(questions.len() as u64, question.clone());
                    prop_assert!(struck_off.is_none_or(|question| question.is_settled()));
                    questions.push(question);
                }
                Some(_) if questions.is_empty() => {}
                Some(which) => which.get(&questions).meet(ANSWERED),
            }
        }
        for (number, question) in (0..).zip(&questions) {
            prop_assert_eq!(list.has(number), !question.is_settled());
        }
        list.split_off(first_unread).iter().for_each(|question| question.closed());
        for (number, question) in (0..).zip(&questions) {
            prop_assert!(question.fate() != CLOSED || number >= first_unread);
            prop_assert_eq!(list.has(number), question.fate() == WAITS);
            prop_assert!(question.fate() != WAITS || number < first_unread);
        }
    }
}
