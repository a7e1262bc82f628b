//! A branch: accounts on a disk, and an actor who looks after them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use umbel_actors::storage::{Journal, JournalOptions, Storage};
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, AskError, Backoff, Message, Reply, Strategy, Supervisor,
};
use umbel_cluster::{Node, NodeBuilder};

/// An account's number. An account is at the branch of the node whose number is its remainder by three.
pub(crate) type Account = u32;

/// How many there are.
pub(crate) const ACCOUNTS: Account = 6;

/// What each account begins with, in cents.
pub(crate) const OPENING_BALANCE: i64 = 10_000;

/// How long a teller waits for an answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a branch is told.
#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
pub(crate) enum Deeds {
    /// How much is there?
    Balance(Account, Reply<i64>),
    /// Adds cents, or takes them where they are negative; the balance then.
    Add(Account, i64, Reply<i64>),
    /// As `Add`, but an order of a number that was carried out is not carried out again.
    AddOnce { order: u64, account: Account, cents: i64, reply: Reply<i64> },
}

/// Why a transfer, or a branch, came to nothing.
#[derive(Debug)]
pub(crate) struct TransferError(String);

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for TransferError {
    fn from(why: E) -> Self {
        Self(why.to_string())
    }
}

/// The name under which the branch of an account is found.
fn branch_of(account: Account) -> String {
    format!("branch-n{}", account % 3)
}

/// Asks the branch of an account until it answers.
pub(crate) async fn until_answered(
    node: &Node,
    account: Account,
    deed: impl Fn(Reply<i64>) -> Deeds,
) -> Result<i64, TransferError> {
    loop {
        if let Ok(answer) = ask_once(node, account, &deed).await {
            return Ok(answer);
        }
        tokio::time::sleep(PATIENCE / 5).await;
    }
}

async fn ask_once(
    node: &Node,
    account: Account,
    deed: &impl Fn(Reply<i64>) -> Deeds,
) -> Result<i64, AskError> {
    let Ok(branch) = node.resolve_within::<Deeds>(PATIENCE, &branch_of(account)).await else {
        return Err(AskError::TimedOut(PATIENCE));
    };
    branch.ask_within(PATIENCE, deed).await
}

/// The actor who looks after a branch's accounts. It is one node's application, and knows nothing of
/// simulation.
pub(crate) struct Branch {
    storage: Arc<dyn Storage>,
}

/// What the branch's journal holds: a line for each deed.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    order: Option<u64>,
    account: Account,
    cents: i64,
}

/// The branch's books.
pub(crate) struct Books {
    journal: Journal,
    balances: BTreeMap<Account, i64>,
    /// What orders came to. (A real bank would forget them some day.)
    orders: BTreeMap<u64, i64>,
}

impl Branch {
    /// Starts a node with a branch on it.
    pub(crate) async fn open(
        node: NodeBuilder,
        storage: Arc<dyn Storage>,
    ) -> Result<Node, TransferError> {
        let node = node.start().await?;
        let branch = node.system().child("branch", move || (Self { storage: storage.clone() }, ()));
        // While a disk is full or fails, its branch cannot open.
        let backoff = Backoff::exponential(PATIENCE / 50, PATIENCE);
        let branch = branch.backoff(backoff);
        let address = branch.handle().clone();
        let branches = Supervisor::new("branches", Strategy::OneForOne).intensity(100, PATIENCE);
        node.system().supervise(branches.child(branch)).await?;
        node.register(&format!("branch-{}", node.id().name), &address).await?;
        Ok(node)
    }
}

impl Books {
    async fn open(storage: &dyn Storage) -> Result<Self, ActorProcessingErr> {
        let (mut balances, mut orders) = (BTreeMap::new(), BTreeMap::new());
        let path = "deeds.log".parse()?;
        let mut broken = None;
        let journal = Journal::open(storage, &path, JournalOptions::default(), |record| {
            match serde_json::from_slice::<Line>(record) {
                Ok(line) => {
                    let balance = balances.entry(line.account).or_insert(OPENING_BALANCE);
                    *balance += line.cents;
                    orders.extend(line.order.map(|order| (order, *balance)));
                }
                Err(why) => broken = Some(why),
            }
        });
        let journal = journal.await?;
        match broken {
            Some(why) => Err(why.into()),
            None => Ok(Self { journal, balances, orders }),
        }
    }

    fn balance(&mut self, account: Account) -> &mut i64 {
        self.balances.entry(account).or_insert(OPENING_BALANCE)
    }

    /// On the disk first, then in the books: what was answered has been done for good.
    async fn add(&mut self, line: Line) -> Result<i64, ActorProcessingErr> {
        self.journal.append(&serde_json::to_vec(&line)?).await?;
        self.journal.sync().await?;
        let balance = self.balance(line.account);
        *balance += line.cents;
        let balance = *balance;
        self.orders.extend(line.order.map(|order| (order, balance)));
        Ok(balance)
    }
}

impl Actor for Branch {
    type Msg = Deeds;
    type State = Books;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Deeds>, (): ()) -> Result<Books, ActorProcessingErr> {
        Books::open(&*self.storage).await
    }

    async fn handle(
        &self,
        _: ActorRef<Deeds>,
        deed: Deeds,
        books: &mut Books,
    ) -> Result<(), ActorProcessingErr> {
        match deed {
            Deeds::Balance(account, reply) => reply.send(*books.balance(account)),
            Deeds::Add(account, cents, reply) => {
                reply.send(books.add(Line { order: None, account, cents }).await?);
            }
            Deeds::AddOnce { order, account, cents, reply } => {
                let balance = match books.orders.get(&order) {
                    Some(balance) => *balance,
                    None => books.add(Line { order: Some(order), account, cents }).await?,
                };
                reply.send(balance);
            }
        }
        Ok(())
    }
}
