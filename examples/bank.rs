//! A bank on three nodes, tested by simulation: transfers by ask, crashes in the middle, and the sum of
//! all accounts as the invariant.
//!
//! ```sh
//! cargo run -p umbel-examples --example bank              # finds the bug of one, and passes the other
//! cargo run -p umbel-examples --example bank -- story 10  # the same, with ten seeds of the other
//! cargo run -p umbel-examples --example bank -- naive 7   # one seed of one of them
//! ```
//!
//! `bank/naive.rs` has the bug that everybody writes first: what got no answer is sent again, and was done
//! already. `bank/careful.rs` is the same bank with the fix. The branches and their disks are in
//! `bank/branch.rs`, the world that they are tested in is here. The story is in the guide: `sims/GUIDE.md`.

#[path = "bank/branch.rs"]
mod branch;
#[path = "bank/careful.rs"]
mod careful;
#[path = "bank/naive.rs"]
mod naive;

use std::process::ExitCode;

use umbel_cluster::Node;
use umbel_sims::{Faults, Host, NotFaults, Outcome, World};

use branch::{ACCOUNTS, Account, Branch, Deeds, OPENING_BALANCE, TransferError};

/// So many seeds may it take to find the bug, and so many must pass without it.
const SEEDS: u64 = 60;

/// How many tellers there are, each with one transfer at a time.
const TELLERS: u64 = 8;

/// How a bank makes a transfer.
trait Bank: Copy + Send + Sync + 'static {
    const NAME: &'static str;

    /// Moves money from one account to another, and returns when that is done, however long it takes.
    fn transfer(
        self,
        node: Node,
        transfer: Transfer,
    ) -> impl Future<Output = Result<(), TransferError>> + Send;
}

/// What is to be moved.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    number: u64,
    from: Account,
    to: Account,
    cents: i64,
}

/// What only the test knows: how much there was in the end.
#[derive(Default)]
struct Audit(Option<i64>);

/// Three branches, eight tellers, four faults; the sum of all accounts is what it was.
fn world<B: Bank>(bank: B, seed: u64) -> World {
    World::new(seed)
        .named(B::NAME)
        .nodes(3, |host| async move { Branch::open(host.node(), host.storage()).await })
        .workload(move |host, node| business(bank, host, node))
        .faults(Faults::Random(4))
        .finally("the-sum-of-all-accounts", |snapshot| {
            let opened = i64::from(ACCOUNTS) * OPENING_BALANCE;
            match snapshot.oracle::<Audit>().lock().0 {
                Some(sum) if sum == opened => Ok(()),
                Some(sum) => Err(format!("there were {opened} cents, and now there are {sum}")),
                None => Err("nobody has counted the money".to_owned()),
            }
        })
        .replayed_by(format!("cargo run -p umbel-examples --example bank -- {}", B::NAME))
}

/// Has tellers make transfers all the while, then counts the money.
async fn business<B: Bank>(bank: B, host: Host, node: Node) -> Result<(), TransferError> {
    let tellers = (0..TELLERS).map(|number| teller(bank, &host, &node, number));
    futures_util::future::try_join_all(tellers).await?;
    let mut sum = 0;
    for account in 0..ACCOUNTS {
        let balance = |reply| Deeds::Balance(account, reply);
        sum += branch::until_answered(&node, account, balance).await?;
    }
    host.oracle::<Audit>().lock().0 = Some(sum);
    Ok(())
}

async fn teller<B: Bank>(
    bank: B,
    host: &Host,
    node: &Node,
    number: u64,
) -> Result<(), TransferError> {
    let mut transfers = 0;
    while !host.faults_are_over() {
        let below = |bound: u64| node.system().random() % bound;
        let from = below(u64::from(ACCOUNTS)) as Account;
        let to = (from + 1 + below(u64::from(ACCOUNTS) - 1) as Account) % ACCOUNTS;
        let number = number + TELLERS * transfers;
        let transfer = Transfer { number, from, to, cents: 1 + below(100) as i64 };
        host.note(format_args!("{transfer:?}"));
        bank.transfer(node.clone(), transfer).await?;
        transfers += 1;
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => return story(SEEDS),
        ["story", seeds] => match seeds.parse() {
            Ok(seeds) => return story(seeds),
            Err(_) => Err(format!("{seeds:?} is no number of seeds")),
        },
        ["naive", seed, ref faults @ ..] => replay(seed, faults, |seed| world(naive::Naive, seed)),
        ["careful", seed, ref faults @ ..] => {
            replay(seed, faults, |seed| world(careful::Careful, seed))
        }
        _ => {
            Err("usage: bank [naive SEED [FAULTS] | careful SEED [FAULTS] | story SEEDS]"
                .to_owned())
        }
    };
    match outcome {
        Ok(outcome) => {
            println!("{outcome}");
            if outcome.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// Runs one seed, with its own faults or with those of a list.
fn replay(seed: &str, faults: &[&str], world: impl Fn(u64) -> World) -> Result<Outcome, String> {
    let seed = seed.parse().map_err(|_| format!("{seed:?} is no seed, which is a number"))?;
    match faults {
        [] => Ok(world(seed).run()),
        [faults] => {
            let faults = faults.parse().map_err(|why: NotFaults| why.to_string())?;
            Ok(world(seed).faults(faults).keep_lines().run_once())
        }
        _ => Err("one list of faults, in quotes".to_owned()),
    }
}

/// Finds the bug of the one, and does not find it in so many seeds of the other.
fn story(seeds: u64) -> ExitCode {
    let failing =
        |seeds: u64, run: fn(u64) -> Outcome| (0..seeds).map(run).find(|outcome| !outcome.ok);
    let Some(found) = failing(SEEDS, |seed| world(naive::Naive, seed).run()) else {
        eprintln!("the bug of the naive bank was not found in {SEEDS} seeds");
        return ExitCode::FAILURE;
    };
    println!("the naive bank, after {} seeds:\n{found}\n", found.seed + 1);
    if let Some(found) = failing(seeds, |seed| world(careful::Careful, seed).run()) {
        eprintln!("the careful bank:\n{found}");
        return ExitCode::FAILURE;
    }
    println!("the careful bank: {seeds} seeds, and the sum of all accounts is what it was");
    ExitCode::SUCCESS
}
