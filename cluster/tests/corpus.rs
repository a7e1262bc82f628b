//! Hostile bytes, by name, at every door that bytes come in by: no panic, no hang, and no more memory
//! than the limit of a frame and the bytes that are there.
//!
//! `cluster/fuzz` looks for more of them; what it finds is kept in its corpus, which runs here, too.
#![allow(unsafe_code, reason = "an allocator that counts is the proof of the bound on memory")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use umbel_actors::codec::{self, DecodeError, Limits};
use umbel_cluster::fuzzing::{DOORS, Door};

/// Counts what this thread holds: a door does all its work on the thread that it is called on.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends frees what it held after its counters are gone.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: all is left to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes as isize - layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The limit of a frame, as nodes have it unless told otherwise.
const FRAME_BYTES: usize = 1 << 20;

/// The buffers of a lane, an empty node, a greeting: what an empty input takes.
const FIXED_BYTES: usize = 256 << 10;

/// What a byte may become: a `Note` of one byte takes 48 in a `Vec`, which doubles as it grows; and the
/// input itself is there twice.
const BYTES_A_BYTE: usize = 110;

/// How long a megabyte may take: on a busy machine, without optimisation.
const TIME_MAX: Duration = Duration::from_secs(20);

/// Feeds `bytes` to a door, and holds it to its bounds.
fn knock(name: &str, door: Door, bytes: &[u8]) {
    let before = HELD.get();
    PEAK.set(before);
    let began = Instant::now();
    door(bytes);
    let (took, peak) = (began.elapsed(), (PEAK.get() - before) as usize);
    let bound = FRAME_BYTES + FIXED_BYTES + BYTES_A_BYTE * bytes.len();
    assert!(peak <= bound, "{name}: {peak} bytes for {}", bytes.len());
    assert!(took <= TIME_MAX, "{name}: {took:?} for {} bytes", bytes.len());
}

fn knock_everywhere(name: &str, bytes: &[u8]) {
    for (door_name, door) in DOORS {
        knock(&format!("{name} at {door_name}"), door, bytes);
    }
}

/// A body under its length.
fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes()[..], body].concat()
}

/// A message for the one actor behind the lane's door, asking these.
fn message(asks: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = vec![1, u8::from(!asks.is_empty()), 1, 7, 0, 0, 0];
    if !asks.is_empty() {
        body.push(asks.len() as u8);
        body.extend_from_slice(asks);
    }
    body.extend_from_slice(payload);
    frame(&body)
}

fn greeting(body: &[u8]) -> Vec<u8> {
    [b"umbl", &frame(body)[..]].concat()
}

/// A payload in each wrapping that a payload comes in.
fn wrapped(payload: &[u8]) -> Vec<Vec<u8>> {
    let answer = frame(&[&[2, 0, 0][..], payload].concat());
    let publication = frame(&[&[6, 0, 1, b't', 7, 0, 0, 0][..], payload].concat());
    let refusal = frame(&[&[3, 0][..], payload].concat());
    vec![
        payload.to_vec(),
        frame(payload),
        message(&[], payload),
        answer,
        publication,
        refusal,
        greeting(payload),
    ]
}

/// Hostile payloads, by what is wrong with them. bincode writes a length of up to 250 as one byte; 251,
/// 252 and 253 say that two, four and eight bytes follow.
fn payloads() -> Vec<(&'static str, Vec<u8>)> {
    let nested = [vec![2; 900 << 10], vec![0, 0]].concat();
    let wide = [vec![3, 252, 0, 0, 8, 0], vec![0; 512 << 10]].concat();
    let empty = [&[4, 253][..], &(1_u64 << 30).to_le_bytes()].concat();
    let empties = [vec![3, 251, 0xff, 0xff], [4, 250].repeat(0xffff)].concat();
    vec![
        ("a string's length that lies", [&[1, 253][..], &[0xff; 8]].concat()),
        ("a sequence's length that lies", [&[0, 253][..], &[0xff; 8]].concat()),
        ("a map's length that lies", [&[5, 253][..], &[0xff; 8]].concat()),
        ("deep nesting", nested),
        ("half as many elements as it says", wide),
        ("a flood of elements without size", empty),
        ("many floods of elements without size", empties),
        ("bytes that are left over", vec![0, 0, 1, 2, 3]),
        ("text that is none", vec![1, 2, 0xff, 0xfe, 0]),
        ("a bool that is none", [&[6, 0][..], &[0; 8], &[9, 1, 2, 3, 4]].concat()),
        ("a variant that is none", vec![0xfa]),
        ("a char that is none", vec![1, 0, 1, 0xff, 0xff, 0xff]),
    ]
}

/// Hostile inputs, by what is wrong with them.
fn inputs() -> Vec<(&'static str, Vec<u8>)> {
    let mut inputs = vec![
        ("nothing", vec![]),
        ("a length that lies", vec![0xff; 4]),
        ("a length that lies by little", [&(1_u32 << 20).to_le_bytes()[..], &[1]].concat()),
        ("a length that lies within the control lane's limit", vec![0, 0, 0x3f, 0, 1]),
        ("a greeting whose length lies", b"umbl\xff\xff\xff\xff".to_vec()),
        ("a greeting that ends too early", b"umbl\x00\x08\x00\x00\x01".to_vec()),
        ("a frame before the handshake", message(&[], &[0, 1, 2])),
        ("a greeting after the handshake", greeting(&[0; 32])),
        ("an unknown kind", frame(&[99, 1, 2, 3])),
        ("an empty frame", frame(&[])),
        ("empty frames without end", frame(&[]).repeat(1 << 16)),
        ("unknown flags", frame(&[1, 0xfc, 1, 0, 0, 0, 0])),
        ("a field that must be understood", frame(&[1, 2, 1, 7, 0, 0, 0, 3, 0x81, 1, 9])),
        ("a field whose length lies", frame(&[1, 2, 1, 7, 0, 0, 0, 9, 1, 0xff, 9])),
        ("a number that does not end", frame(&[[5].as_slice(), &[0xff; 16]].concat())),
        ("a topic whose length lies", frame(&[6, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, b'x'])),
        ("a topic that is no text", frame(&[6, 0, 2, 0xff, 0xfe, 7, 0, 0, 0])),
        ("replies to nobody", frame(&[2, 0, 0x7f, 1, 2]).repeat(4096)),
        ("refusals to nobody", frame(&[3, 0x7f, 1, 2]).repeat(4096)),
        ("cancels of nothing", frame(&[5, 0x7f]).repeat(4096)),
        ("a duplicate correlation id", message(&[5, 5], &[7, 2, 5, 5])),
        ("a correlation id that is in use", message(&[5], &[7, 1, 5]).repeat(2)),
        ("a correlation id out of bounds", frame(&[1, 1, 1, 7, 0, 0, 0, 1, 0xff, 0xff, 0x7f])),
        ("a reply that asks nothing", message(&[], &[7, 1, 9])),
        ("more questions than are told", frame(&[1, 1, 1, 7, 0, 0, 0, 0xff, 1])),
        ("an answer twice", frame(&[2, 0, 0, 0, 0]).repeat(2)),
        ("an answer that asks in turn", frame(&[2, 1, 0, 1, 9, 0])),
        (
            "credit that goes back",
            [frame(&[4; 9]), frame(&[[4].as_slice(), &[0; 8]].concat())].concat(),
        ),
        ("credit without end", frame(&[[4].as_slice(), &[0xff; 8]].concat()).repeat(4096)),
        ("messages to nobody", frame(&[1, 0, 0x7e, 7, 0, 0, 0, 1]).repeat(4096)),
        ("messages of another type", frame(&[1, 0, 1, 8, 0, 0, 0, 1]).repeat(4096)),
    ];
    for (name, payload) in payloads() {
        inputs.extend(wrapped(&payload).into_iter().map(|bytes| (name, bytes)));
    }
    inputs
}

/// A message as the doors have it, without its questions.
#[derive(serde::Deserialize)]
#[allow(dead_code, reason = "that it cannot be decoded is all")]
enum Note {
    Bytes(Vec<u8>),
    Text(String, Option<char>),
    Nested(Box<Note>),
    Many(Vec<Note>),
    Empty(Vec<()>),
    Map(BTreeMap<String, Vec<u64>>),
    Numbers(i128, f64, bool, [u16; 4]),
}

#[test]
fn the_payloads_are_refused_for_what_their_names_say() {
    for (name, bytes) in payloads() {
        let refused = codec::decode::<Note>(&bytes, Limits::default());
        let why = refused.err().expect("each is refused");
        let as_named = match name {
            "deep nesting" => matches!(why, DecodeError::TooDeep { .. }),
            "a flood of elements without size" | "many floods of elements without size" => {
                matches!(why, DecodeError::TooManyEmpty { .. })
            }
            "bytes that are left over" => matches!(why, DecodeError::TrailingBytes { .. }),
            "a string's length that lies"
            | "a sequence's length that lies"
            | "a map's length that lies"
            | "half as many elements as it says" => matches!(why, DecodeError::Truncated),
            _ => matches!(why, DecodeError::Malformed(_)),
        };
        assert!(as_named, "{name}: {why:?}");
    }
}

#[test]
fn hostile_bytes_are_refused_within_time_and_memory() {
    for (name, bytes) in inputs() {
        knock_everywhere(name, &bytes);
    }
}

#[test]
fn hostile_bytes_are_refused_wherever_they_are_cut_off() {
    for (name, bytes) in inputs() {
        for end in 0..bytes.len().min(64) {
            knock_everywhere(name, &bytes[..end]);
        }
        if bytes.len() > 1 {
            knock_everywhere(name, &bytes[..bytes.len() - 1]);
        }
    }
}

/// A generator by G. Marsaglia (*Xorshift RNGs*, 2003): the same bytes everywhere.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// What the fuzz targets have found worth keeping, by door.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut found = Vec::new();
    for (door, _) in DOORS {
        let kept = std::fs::read_dir(corpus.join(door)).expect("each door has a corpus");
        let mut files: Vec<_> = kept.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 10, "{door} has {} inputs", files.len());
        for file in files {
            found.push((file.display().to_string(), std::fs::read(&file).unwrap()));
        }
    }
    found
}

#[test]
fn what_the_fuzz_targets_kept_is_withstood_also_when_it_is_changed() {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for (name, bytes) in corpus() {
        knock_everywhere(&name, &bytes);
        for _ in 0..8 {
            let mut changed = bytes.clone();
            for _ in 0..=next(&mut state) % 3 {
                if let Some(at) = (next(&mut state) as usize).checked_rem(changed.len()) {
                    changed[at] = next(&mut state) as u8;
                }
            }
            knock_everywhere(&name, &changed);
        }
    }
}

#[test]
fn what_takes_too_much_memory_is_found() {
    let greedy: Door = |bytes| drop(vec![0_u8; 4 * FRAME_BYTES + bytes.len()]);
    let found = std::panic::catch_unwind(|| knock("greedy", greedy, &[]));
    assert!(found.is_err());
}
