//! A service whose every step the tests can see and hold up.

#![allow(dead_code, reason = "each test uses its own part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use umbel_actors::System;
use umbel_services::{
    CallOptions, Context, Failure, Handle, HandleBatch, HostOptions, Method, Methods, Service,
    ServiceHost, ServiceManager,
};

/// Answers what it was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Echo(pub(crate) String);

impl Method for Echo {
    const NAME: &'static str = "echo";
    const IDEMPOTENT: bool = true;
    type Answer = String;
}

/// Waits until it is let on; answers which attempt it was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Wait;

impl Method for Wait {
    const NAME: &'static str = "wait";
    type Answer = u32;
}

/// As `Wait`, and may be executed more than once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WaitAgain;

impl Method for WaitAgain {
    const NAME: &'static str = "wait_again";
    const IDEMPOTENT: bool = true;
    type Answer = u32;
}

/// Works for so many milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Work(pub(crate) u64);

impl Method for Work {
    const NAME: &'static str = "work";
    type Answer = ();
}

/// Goes wrong in one way or another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Fail {
    Panic,
    Sold,
    /// Fails so often, and then does not.
    Locked(u64),
    /// Waits for ever, and panics when it is dropped.
    Cling,
}

impl Method for Fail {
    const NAME: &'static str = "fail";
    type Answer = u64;
}

/// Squares numbers, several at a time; answers how many were.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Square(pub(crate) i64);

impl Method for Square {
    const NAME: &'static str = "square";
    type Answer = (i64, usize);
}

/// What the tests see of a service.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) lives: AtomicUsize,
    pub(crate) stops: AtomicUsize,
    pub(crate) executed: AtomicUsize,
    pub(crate) running: AtomicUsize,
    pub(crate) running_max: AtomicUsize,
    /// Dropped before they had ended.
    pub(crate) dropped: AtomicUsize,
    pub(crate) is_well: Mutex<Result<(), &'static str>>,
    /// `Wait` goes on by this.
    pub(crate) gate: Semaphore,
    pub(crate) headers: Mutex<BTreeMap<String, String>>,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            lives: AtomicUsize::default(),
            stops: AtomicUsize::default(),
            executed: AtomicUsize::default(),
            running: AtomicUsize::default(),
            running_max: AtomicUsize::default(),
            dropped: AtomicUsize::default(),
            is_well: Mutex::new(Ok(())),
            gate: Semaphore::new(0),
            headers: Mutex::default(),
        }
    }
}

impl Book {
    pub(crate) fn executed(&self) -> usize {
        self.executed.load(Ordering::SeqCst)
    }

    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }

    pub(crate) fn lives(&self) -> usize {
        self.lives.load(Ordering::SeqCst)
    }
}

/// One execution; told when it ends early.
struct Execution<'a>(&'a Book, bool);

impl<'a> Execution<'a> {
    fn begin(book: &'a Book) -> Self {
        book.executed.fetch_add(1, Ordering::SeqCst);
        let running = book.running.fetch_add(1, Ordering::SeqCst) + 1;
        book.running_max.fetch_max(running, Ordering::SeqCst);
        Self(book, false)
    }

    fn end(mut self) {
        self.1 = true;
    }
}

impl Drop for Execution<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        if !self.1 {
            self.0.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

pub(crate) struct Desk {
    book: Arc<Book>,
    /// How often `Locked` has failed in this life.
    locked: AtomicUsize,
}

impl Service for Desk {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods
            .on::<Echo>()
            .on::<Wait>()
            .on::<WaitAgain>()
            .on::<Work>()
            .on::<Fail>()
            .on_batch::<Square>(4)
    }

    async fn on_stop(&self) {
        self.book.stops.fetch_add(1, Ordering::SeqCst);
    }

    async fn health(&self) -> Result<(), Failure> {
        (*self.book.is_well.lock()).map_err(Failure::new)
    }
}

impl Handle<Echo> for Desk {
    async fn handle(&self, Echo(text): Echo, context: &Context) -> Result<String, Failure> {
        Execution::begin(&self.book).end();
        self.book.headers.lock().clone_from(&context.headers);
        Ok(text)
    }
}

impl Desk {
    async fn wait(&self, context: &Context) -> Result<u32, Failure> {
        let execution = Execution::begin(&self.book);
        self.book.gate.acquire().await?.forget();
        execution.end();
        Ok(context.attempt)
    }
}

impl Handle<Wait> for Desk {
    async fn handle(&self, _: Wait, context: &Context) -> Result<u32, Failure> {
        self.wait(context).await
    }
}

impl Handle<WaitAgain> for Desk {
    async fn handle(&self, _: WaitAgain, context: &Context) -> Result<u32, Failure> {
        self.wait(context).await
    }
}

impl Handle<Work> for Desk {
    async fn handle(&self, Work(millis): Work, _: &Context) -> Result<(), Failure> {
        let execution = Execution::begin(&self.book);
        sleep(Duration::from_millis(millis)).await;
        execution.end();
        Ok(())
    }
}

struct Clinging;

impl Drop for Clinging {
    fn drop(&mut self) {
        panic!("torn off");
    }
}

impl Handle<Fail> for Desk {
    async fn handle(&self, fail: Fail, _: &Context) -> Result<u64, Failure> {
        Execution::begin(&self.book).end();
        match fail {
            Fail::Panic => panic!("the desk has collapsed"),
            Fail::Cling => {
                let _clinging = Clinging;
                std::future::pending().await
            }
            Fail::Sold => Err(Failure::new("all are sold").code("sold_out")),
            Fail::Locked(times) => {
                let before = self.locked.fetch_add(1, Ordering::SeqCst) as u64;
                if before < times {
                    return Err(Failure::new("it is locked").transient());
                }
                Ok(before)
            }
        }
    }
}

impl HandleBatch<Square> for Desk {
    async fn handle_batch(&self, squares: Vec<Square>) -> Vec<Result<(i64, usize), Failure>> {
        let (execution, count) = (Execution::begin(&self.book), squares.len());
        sleep(Duration::from_millis(10)).await;
        execution.end();
        if squares.iter().any(|square| square.0 == -13) {
            panic!("thirteen");
        }
        squares.into_iter().map(|Square(number)| Ok((number * number, count))).collect()
    }
}

/// A host of the service `desk`, and what can be seen of it.
pub(crate) fn desk(options: HostOptions) -> (ServiceHost<Desk>, Arc<Book>) {
    let book = Arc::new(Book::default());
    let seen = book.clone();
    let make = move || {
        seen.lives.fetch_add(1, Ordering::SeqCst);
        Desk { book: seen.clone(), locked: AtomicUsize::new(0) }
    };
    (ServiceHost::new("desk", make).options(options), book)
}

pub(crate) fn system() -> System {
    System::builder("test").seed(7).start()
}

pub(crate) fn manager() -> ServiceManager {
    ServiceManager::new(&system())
}

/// A single attempt.
pub(crate) fn once() -> CallOptions {
    CallOptions::new().retries(0)
}

/// Lets all others run until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let patience = Duration::from_secs(120);
    tokio::time::timeout(patience, met).await.unwrap_or_else(|_| panic!("never: {what}"));
}
