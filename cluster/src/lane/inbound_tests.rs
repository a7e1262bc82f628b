use proptest::prelude::*;

use super::*;

fn accounts() -> Accounts {
    Accounts::new(Arc::new(Inbound::new(Weak::new())))
}

/// A message of so many bytes comes for an actor.
fn come(accounts: &mut Accounts, actor: u64, bytes: u32) -> Charge {
    accounts.receive(bytes.into());
    accounts.charge(actor, bytes)
}

/// What the peer may still send: what it was granted, less what came and is not given back.
fn granted_ahead(inbound: &Inbound, received: u64) -> u64 {
    (inbound.released() + WINDOW_BYTES).saturating_sub(received)
}

proptest! {
    /// Whatever comes and goes in whatever order: nothing is granted twice and nothing is lost.
    #[test]
    fn credit_is_conserved(
        steps in prop::collection::vec((any::<bool>(), 0..6_u64, 1..800_000_u32, any::<prop::sample::Index>()), 0..300),
    ) {
        let mut accounts = accounts();
        let inbound = accounts.inbound.clone();
        let (mut charges, mut received, mut held) = (Vec::new(), 0_u64, 0_u64);
        for (comes, actor, bytes, which) in steps {
            let room = granted_ahead(&inbound, received);
            if comes && room > 0 {
                // As a peer may: it overdraws by one message at most.
                received += u64::from(bytes);
                held += u64::from(bytes);
                charges.push((come(&mut accounts, actor, bytes), bytes));
            } else if !charges.is_empty() {
                let (charge, bytes) = charges.swap_remove(which.index(charges.len()));
                held -= u64::from(bytes);
                drop(charge);
            }
            let lent = inbound.lent.load(Ordering::Relaxed);
            prop_assert!(lent <= LENT_BYTES_MAX);
            prop_assert_eq!(inbound.released(), received - held + lent);
            prop_assert!(held <= WINDOW_BYTES + LENT_BYTES_MAX + 800_000);
        }
        charges.clear();
        prop_assert_eq!(inbound.released(), received);
        prop_assert_eq!(inbound.lent.load(Ordering::Relaxed), 0);
        for account in accounts.by_actor.values() {
            let held = account.held.lock();
            prop_assert!(held.paused_until.is_none() && held.bytes == 0 && held.lent == 0);
        }
    }
}

proptest! {
    /// Whenever an actor takes no more, after it has taken whatever: its peer may send to others.
    #[test]
    fn who_takes_something_now_and_then_does_not_use_up_the_window(
        steps in prop::collection::vec((1..1_000_000_u32, 0..4_usize), 0..300),
    ) {
        let mut accounts = accounts();
        let inbound = accounts.inbound.clone();
        let mut held = std::collections::VecDeque::new();
        for (bytes, takes) in steps {
            held.push_back(come(&mut accounts, 1, bytes));
            held.drain(..takes.min(held.len()));
            let is_lent_out = inbound.lent.load(Ordering::Relaxed) == LENT_BYTES_MAX;
            prop_assert!(accounts.received() < inbound.granted() || is_lent_out);
            if is_lent_out {
                break;
            }
        }
    }
}

#[test]
fn a_mailbox_that_is_not_emptied_leaves_the_window_to_others() {
    const BYTES: u32 = WINDOW_BYTES as u32 / 64;
    let mut accounts = accounts();
    let inbound = accounts.inbound.clone();
    let stalled: Vec<_> = (0..64).map(|_| come(&mut accounts, 1, BYTES)).collect();
    assert_eq!(inbound.released(), WINDOW_BYTES, "all that lies there is lent");
    assert!(inbound.granted() > 2 * WINDOW_BYTES - WINDOW_BYTES / 4);
    let busy: Vec<_> = (0..16).map(|_| come(&mut accounts, 2, BYTES)).collect();
    drop(busy);
    let released = WINDOW_BYTES + 16 * u64::from(BYTES);
    assert_eq!(inbound.released(), released);
    drop(stalled);
    assert_eq!(inbound.released(), released, "what is repaid is not granted anew");
}

#[test]
fn several_that_are_not_emptied_leave_it_to_others_too() {
    const BYTES: u32 = WINDOW_BYTES as u32 / 64;
    let mut accounts = accounts();
    let inbound = accounts.inbound.clone();
    let mut stalled = Vec::new();
    for turn in 0..3 * 64 {
        assert!(inbound.granted() > accounts.received(), "after {turn}");
        stalled.push(come(&mut accounts, turn % 3, BYTES));
    }
    drop(stalled);
    assert_eq!(inbound.released(), 3 * WINDOW_BYTES);
}

#[test]
fn one_that_holds_much_gives_way_though_others_bring_the_window_to_its_end() {
    let mut accounts = accounts();
    let inbound = accounts.inbound.clone();
    let mut stalled = vec![come(&mut accounts, 1, (SHORT_BYTES - 1) as u32)];
    for turn in 0..64 {
        assert!(inbound.granted() > accounts.received(), "after {turn}");
        stalled.push(come(&mut accounts, 2 + turn % 2, (SHARE_BYTES / 32) as u32 - 1));
    }
    // What goes into no mailbox takes of the window, too.
    let mut accounts = self::accounts();
    let inbound = accounts.inbound.clone();
    let _stalled = come(&mut accounts, 1, (SHORT_BYTES - 1) as u32);
    accounts.receive(WINDOW_BYTES - SHORT_BYTES);
    accounts.make_room();
    assert!(inbound.granted() > accounts.received());
}

#[test]
fn an_actor_that_is_slow_holds_no_more_than_the_window_and_what_was_under_way() {
    const BYTES: u32 = WINDOW_BYTES as u32 / 256;
    let mut accounts = accounts();
    let inbound = accounts.inbound.clone();
    let mut held = std::collections::VecDeque::new();
    let is_paused =
        |accounts: &Accounts| accounts.by_actor.get(&1).is_some_and(|it| it.held_unpaused() == 0);
    for _ in 0..100 {
        // What is under way when it is paused is an eighth of the window.
        let mut under_way = 32;
        while under_way > 0 && inbound.granted() > accounts.received() {
            held.push_back(come(&mut accounts, 1, BYTES));
            under_way -= i32::from(is_paused(&accounts));
        }
        assert!(held.len() <= 256, "{} of 256", held.len());
        while is_paused(&accounts) && held.pop_front().is_some() {}
    }
}

#[test]
fn what_comes_still_for_one_that_is_paused_has_no_other_paused() {
    let mut accounts = accounts();
    let _much = come(&mut accounts, 1, SHORT_BYTES as u32 + 1);
    assert_eq!(accounts.by_actor[&1].held_unpaused(), 0);
    let _some = come(&mut accounts, 2, SHARE_BYTES as u32 + 1);
    let _more = come(&mut accounts, 1, 1);
    assert_eq!(accounts.by_actor[&2].held_unpaused(), SHARE_BYTES + 1);
}

#[test]
fn those_that_held_much_once_are_forgotten() {
    let mut accounts = accounts();
    for actor in 0..1000 {
        drop(come(&mut accounts, actor, SHARE_BYTES as u32 + 1));
    }
    assert_eq!(accounts.large.len(), 1);
}

#[test]
fn who_may_still_send_much_is_not_paused() {
    let mut accounts = accounts();
    let inbound = accounts.inbound.clone();
    let held: Vec<_> = (0..SHORT_BYTES / 4096).map(|_| come(&mut accounts, 1, 4096)).collect();
    assert_eq!(inbound.released(), 0, "something is lent");
    drop(held);
}

#[test]
fn from_several_threads_credit_is_conserved_too() {
    let mut accounts = accounts();
    let inbound = accounts.inbound.clone();
    let (sender, receiver) = std::sync::mpsc::channel::<Charge>();
    let receiver = Arc::new(Mutex::new(receiver));
    let droppers: Vec<_> = (0..3)
        .map(|_| {
            let receiver = receiver.clone();
            std::thread::spawn(move || {
                loop {
                    let Ok(charge) = receiver.lock().recv() else { break };
                    drop(charge);
                }
            })
        })
        .collect();
    let mut received = 0;
    for turn in 0..30_000_u64 {
        let bytes = 1 + (turn * 7919 % 60_000) as u32;
        received += u64::from(bytes);
        sender.send(come(&mut accounts, turn % 5 / 2, bytes)).unwrap();
    }
    drop(sender);
    for dropper in droppers {
        dropper.join().unwrap();
    }
    assert_eq!(inbound.released(), received);
    assert_eq!(inbound.lent.load(Ordering::Relaxed), 0);
}

#[test]
fn accounts_that_hold_nothing_are_forgotten() {
    let mut accounts = accounts();
    for actor in 0..10_000 {
        drop(come(&mut accounts, actor, 1));
    }
    assert!(accounts.by_actor.len() <= 128, "{}", accounts.by_actor.len());
}

#[test]
fn who_awaits_what_has_come_does_not_wait() {
    let inbound = Inbound::new(Weak::new());
    assert!(inbound.awaits(10, Waker::noop()));
    inbound.has_received(10);
    assert!(!inbound.awaits(10, Waker::noop()));
    assert!(inbound.awaits(11, Waker::noop()));
}
