use proptest::prelude::*;

use super::*;

fn accounts() -> Accounts {
    Accounts::new(Arc::new(Inbound::new(Weak::new())))
}

/// What the peer may still send: what it was granted, less what came and is not given back.
fn granted_ahead(inbound: &Inbound, received: u64) -> u64 {
    (inbound.released() + WINDOW_BYTES).saturating_sub(received)
}

proptest! {
    /// Whatever comes and goes in whatever order: nothing is granted twice and nothing is lost.
    #[test]
    fn credit_is_conserved(
        steps in prop::collection::vec((any::<bool>(), 0..6_u64, 1..200_000_u32, any::<prop::sample::Index>()), 0..300),
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
                charges.push((accounts.charge(actor, bytes), bytes));
            } else if !charges.is_empty() {
                let (charge, bytes) = charges.swap_remove(which.index(charges.len()));
                held -= u64::from(bytes);
                drop(charge);
            }
            let lent = inbound.lent.load(Ordering::Relaxed);
            prop_assert!(lent <= LENT_BYTES_MAX);
            prop_assert_eq!(inbound.released(), received - held + lent);
            prop_assert!(held <= WINDOW_BYTES + LENT_BYTES_MAX + 200_000);
        }
        charges.clear();
        prop_assert_eq!(inbound.released(), received);
        prop_assert_eq!(inbound.lent.load(Ordering::Relaxed), 0);
        for account in accounts.by_actor.values() {
            let held = account.held.lock();
            prop_assert!(!held.paused && held.bytes == 0 && held.lent == 0);
        }
    }
}

#[test]
fn a_mailbox_that_is_not_emptied_leaves_the_window_to_others() {
    let mut accounts = accounts();
    let inbound = accounts.inbound.clone();
    let stalled: Vec<_> = (0..64).map(|_| accounts.charge(1, 16 << 10)).collect();
    assert_eq!(inbound.released(), WINDOW_BYTES, "all that lies there is lent");
    assert!(inbound.granted() > 2 * WINDOW_BYTES - WINDOW_BYTES / 4);
    let busy: Vec<_> = (0..16).map(|_| accounts.charge(2, 16 << 10)).collect();
    drop(busy);
    assert_eq!(inbound.released(), WINDOW_BYTES + (256 << 10));
    drop(stalled);
    assert_eq!(
        inbound.released(),
        WINDOW_BYTES + (256 << 10),
        "what is repaid is not granted anew"
    );
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
        sender.send(accounts.charge(turn % 5 / 2, bytes)).unwrap();
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
        drop(accounts.charge(actor, 1));
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
