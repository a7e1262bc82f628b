//! A million questions that time out leave nothing behind: on one machine, and over a link.
//!
//! Without optimisation that takes minutes, so a debug build asks a fiftieth of them;
//! `UMBEL_TIMEOUTS=1000000` sets another number in any build.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, AskError, Message, Reply, System,
};
use umbel_cluster::{Authority, IssueOptions, Node};

const QUESTIONS: usize = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
const ASKERS: usize = 500;
const WITHIN: Duration = Duration::from_millis(5);
/// What may be kept: buffers and tables that once held what was under way at one time.
const GROWTH_MAX: u64 = 32 << 20;

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Riddle {
    Ask(Reply<()>),
    /// How many replies are still held, of askers that wait.
    Held(Reply<usize>),
}

/// Thinks about every riddle for as long as somebody waits.
struct Sphinx;

impl Actor for Sphinx {
    type Msg = Riddle;
    type State = VecDeque<Reply<()>>;
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ActorRef<Riddle>,
        (): (),
    ) -> Result<VecDeque<Reply<()>>, ActorProcessingErr> {
        Ok(VecDeque::new())
    }

    async fn handle(
        &self,
        _: ActorRef<Riddle>,
        riddle: Riddle,
        held: &mut VecDeque<Reply<()>>,
    ) -> Result<(), ActorProcessingErr> {
        while held.front().is_some_and(Reply::is_cancelled) {
            held.pop_front();
        }
        match riddle {
            Riddle::Ask(reply) => held.push_back(reply),
            Riddle::Held(reply) => {
                held.retain(|riddle| !riddle.is_cancelled());
                reply.send(held.len());
            }
        }
        Ok(())
    }
}

/// The memory of this process that is in RAM; `None` where the system does not say.
fn resident_bytes() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
        let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
        Some(pages * rustix::param::page_size() as u64)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Asks so many riddles, none of which is answered.
async fn ask(sphinx: &Address<Riddle>, questions: usize) {
    let askers: Vec<_> = (0..ASKERS)
        .map(|_| {
            let sphinx = sphinx.clone();
            tokio::spawn(async move {
                for _ in 0..questions / ASKERS {
                    let asked = sphinx.ask_within(WITHIN, Riddle::Ask).await;
                    // On a busy machine some do not even find room in time.
                    let late = matches!(asked, Err(AskError::TimedOut(_) | AskError::NoRoom(_)));
                    assert!(late, "{asked:?}");
                }
            })
        })
        .collect();
    for asker in askers {
        asker.await.unwrap();
    }
}

fn questions() -> usize {
    match std::env::var("UMBEL_TIMEOUTS") {
        Ok(number) => number.parse().expect("UMBEL_TIMEOUTS is a number of questions"),
        Err(_) => QUESTIONS,
    }
}

/// Asks them, and sees to it that nothing is left: of those who ask, and of memory.
async fn nothing_is_left(sphinx: &Address<Riddle>, what: &str) {
    let questions = questions();
    // What there is room for once, there is room for again.
    ask(sphinx, questions / 10).await;
    let before = resident_bytes();
    ask(sphinx, questions).await;
    let long = Duration::from_secs(60);
    while sphinx.ask_within(long, Riddle::Held).await != Ok(0) {
        sleep(Duration::from_millis(1)).await;
    }
    if let Some((before, after)) = before.zip(resident_bytes()) {
        let growth = after.saturating_sub(before);
        println!("{questions} questions {what}: {} KiB more than before", growth >> 10);
        assert!(growth <= GROWTH_MAX, "resident memory grew by {growth} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_that_time_out_leave_nothing_behind() {
    let system = System::new("test");
    let sphinx = system.spawn(Sphinx, ()).await.unwrap();
    nothing_is_left(&sphinx, "on one machine").await;
    assert_eq!(sphinx.depth(), Some(0));

    let authority = Authority::create("house".parse().unwrap()).unwrap();
    let node = |name: &str| {
        let credentials = authority.issue(&name.parse().unwrap(), &IssueOptions::new()).unwrap();
        Node::builder().credentials(credentials).listen("127.0.0.1:0")
    };
    let a = node("a").start().await.unwrap();
    let b = node("b").join(a.address()).start().await.unwrap();
    let sphinx = a.spawn(Sphinx, ()).await.unwrap();
    a.register("sphinx", &sphinx).await.unwrap();
    let remote = b.resolve::<Riddle>("sphinx").await.unwrap();
    nothing_is_left(&remote, "over a link").await;
    assert_eq!(sphinx.depth(), Some(0));
    for node in [&a, &b] {
        for open in node.open_asks().values() {
            assert_eq!((open.ours, open.theirs), (0, 0), "{node:?}");
        }
    }
}
