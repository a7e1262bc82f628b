use std::sync::Weak;

use proptest::prelude::*;

use super::super::super::frame::{self, LENGTH_BYTES};
use super::*;

fn incoming(bytes_max: usize) -> Incoming {
    let grants = |account| Arc::new(Grants::new(Weak::new(), account));
    Incoming::new(bytes_max, grants(Account::Messages), grants(Account::Answers))
}

fn head() -> Vec<u8> {
    let mut head = Vec::new();
    frame::message(&mut head, 1, 2, &[], &[]);
    head.split_off(LENGTH_BYTES)
}

#[test]
fn a_length_reserves_nothing_and_memory_follows_what_arrives() {
    let mut incoming = incoming(64 << 20);
    let (head, now) = (head(), Instant::now());
    let begin = Begin { id: 1, length: 64 << 20, after: 0, head: &head };
    assert_eq!(incoming.begin(&begin, now), Ok(Begun::Welcome));
    assert_eq!(incoming.under_way[&1].payload.capacity(), 0);
    let bytes = vec![1; CHUNK_BYTES];
    for turn in 0..100 {
        let offset = (turn * CHUNK_BYTES) as u64;
        assert!(incoming.chunk(1, offset, &bytes, now).unwrap().is_none());
        let payload = &incoming.under_way[&1].payload;
        assert!(payload.capacity() <= 2 * payload.len(), "{}", payload.capacity());
    }
}

#[test]
fn what_is_whole_takes_no_more_than_its_bytes() {
    let mut incoming = incoming(64 << 20);
    let (head, now) = (head(), Instant::now());
    let length = 5 * CHUNK_BYTES + 7;
    let begin = Begin { id: 1, length: length as u64, after: 3, head: &head };
    incoming.begin(&begin, now).unwrap();
    let bytes: Vec<u8> = (0..length).map(|place| place as u8).collect();
    let mut whole = None;
    for (place, part) in bytes.chunks(CHUNK_BYTES).enumerate() {
        assert!(whole.is_none());
        whole = incoming.chunk(1, (place * CHUNK_BYTES) as u64, part, now).unwrap();
    }
    let whole = whole.unwrap();
    assert!(whole.payload == bytes && whole.payload.capacity() == length && whole.after == 3);
    assert!(incoming.is_empty());
}

proptest! {
    /// Whatever a peer says in whatever order: no panic, and what is held stays within its bounds.
    #[test]
    fn nonsense_is_refused_within_the_bounds(
        steps in prop::collection::vec((0..3_u8, 0..12_u64, 0..400_000_u64, 0..70_000_usize), 0..60),
    ) {
        const MAX: usize = 300_000;
        let mut incoming = incoming(MAX);
        let (head, now) = (head(), Instant::now());
        for (kind, id, number, bytes) in steps {
            let refused = match kind {
                0 => {
                    let begin = Begin { id, length: number, after: 0, head: &head };
                    incoming.begin(&begin, now).map(drop)
                }
                1 => incoming.chunk(id, number, &vec![0; bytes], now).map(drop),
                _ => incoming.drop_one(id).map(drop),
            };
            let held: usize = incoming.under_way.values().map(|one| one.payload.capacity()).sum();
            prop_assert!(held <= WINDOW as usize);
            prop_assert!(incoming.under_way.len() <= 64);
            if refused.is_err() {
                break;
            }
        }
    }
}

const WINDOW: u64 = super::super::WINDOW_BYTES;
