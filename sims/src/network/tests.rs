//! What each fault of the network does, as `Fault` says it.

use std::time::Duration;

use super::connection::{Read, Written};
use super::listener::Door;
use super::*;

/// What is not held up takes a tenth of a second at most.
const SOON: Duration = Duration::from_millis(110);

const SECOND: Duration = Duration::from_secs(1);

const NODES: usize = 3;

/// Machines on a network, each of which listens, and time that passes.
struct Stage(Network);

impl Stage {
    fn new() -> Self {
        let mut stage = Self(Network::new(NODES, 7, false));
        (0..NODES).for_each(|machine| stage.starts(Place { machine, life: 1 }));
        // Reads that find only some of the bytes, and other rare things, would tell nothing here.
        stage.0.faulty = false;
        stage
    }

    fn starts(&mut self, place: Place) {
        self.0.process_started(place);
        self.0.addresses.insert(address(place.machine), place.machine);
        self.0.doors.insert(address(place.machine), Door::new(place));
    }

    fn passes(&mut self, time: Duration) {
        let end = self.0.now() + time;
        while self.0.now() < end {
            let now = self.0.now() + Duration::from_millis(1);
            self.0.set_now(now);
            for machine in 0..NODES {
                drop(self.0.deliver(machine));
            }
        }
    }

    fn dials(&mut self, from: usize, to: usize) -> u64 {
        let identity = Identity::new("sim".parse().unwrap(), format!("n{from}").parse().unwrap());
        let life = self.0.machines[from].life.expect("it is up");
        self.0.knock(Place { machine: from, life }, identity, &address(to))
    }

    /// Whether the knock at a door has been heard there.
    fn is_heard(&mut self, number: u64) -> bool {
        let connection = self.0.connections.get_mut(&number).expect("somebody holds it");
        connection.end(Side::Acceptor).place.is_some()
    }

    /// A connection from the one to the other.
    fn connected(&mut self, from: usize, to: usize) -> u64 {
        let number = self.dials(from, to);
        self.passes(SOON);
        assert!(self.is_heard(number), "nothing is wrong yet");
        number
    }

    fn says(&mut self, number: u64, side: Side, bytes: &[u8]) {
        let written = self.0.write(number, side, bytes, Waker::noop());
        assert!(matches!(written, Written::Bytes(count) if count == bytes.len()));
    }

    fn reads(&mut self, number: u64, side: Side) -> Read {
        self.0.read(number, side, usize::MAX, Waker::noop())
    }

    /// All that has arrived; nothing where nothing has.
    fn hears(&mut self, number: u64, side: Side) -> Vec<u8> {
        let mut heard = Vec::new();
        loop {
            match self.reads(number, side) {
                Read::Bytes(bytes) => heard.extend(bytes),
                Read::Pending => return heard,
                Read::Done | Read::Gone | Read::Reset => panic!("after {heard:?} it is over"),
            }
        }
    }

    /// How long it takes until so many bytes have arrived.
    fn takes(&mut self, number: u64, side: Side, bytes: usize) -> Duration {
        let (since, mut heard) = (self.0.now(), 0);
        while heard < bytes {
            heard += self.hears(number, side).len();
            self.passes(Duration::from_millis(1));
            assert!(self.0.now() < since + 100 * SECOND, "only {heard} of {bytes} bytes came");
        }
        self.0.now() - since
    }
}

fn address(machine: usize) -> String {
    format!("10.0.0.{machine}:7400")
}

#[test]
fn a_cut_keeps_what_is_sent_one_way_and_delivers_it_in_order_when_it_mends() {
    let mut stage = Stage::new();
    let number = stage.connected(0, 1);
    let until = stage.0.now() + SECOND;
    stage.0.spoil(0, 1, Condition::Cut { until });
    stage.says(number, Side::Dialler, b"one ");
    stage.says(number, Side::Acceptor, b"back");
    let waits = stage.dials(0, 1);
    stage.passes(SECOND / 2);
    stage.says(number, Side::Dialler, b"two");
    stage.passes(SECOND / 2 - Duration::from_millis(1));
    assert_eq!(stage.hears(number, Side::Acceptor), b"", "cut this way");
    assert_eq!(stage.hears(number, Side::Dialler), b"back", "and not the other");
    assert!(!stage.is_heard(waits), "who dials waits");
    stage.passes(2 * SOON);
    assert_eq!(stage.hears(number, Side::Acceptor), b"one two");
    assert!(stage.is_heard(waits));
}

#[test]
fn a_stall_holds_the_connections_that_there_are_one_way_and_no_new_ones() {
    let mut stage = Stage::new();
    let number = stage.connected(0, 1);
    let until = stage.0.now() + SECOND;
    stage.0.stall(0, 1, until);
    let new = stage.connected(0, 1);
    for it in [number, new] {
        stage.says(it, Side::Dialler, b"there");
        stage.says(it, Side::Acceptor, b"back");
    }
    stage.passes(SOON);
    assert_eq!(stage.hears(number, Side::Acceptor), b"");
    assert_eq!(stage.hears(number, Side::Dialler), b"back");
    assert_eq!(stage.hears(new, Side::Acceptor), b"there");
    stage.passes(SECOND);
    assert_eq!(stage.hears(number, Side::Acceptor), b"there", "nothing was lost");
}

#[test]
fn a_reset_ends_all_connections_between_two_machines_at_both_ends_and_no_others() {
    let mut stage = Stage::new();
    let (ours, theirs) = (stage.connected(0, 1), stage.connected(1, 0));
    let other = stage.connected(0, 2);
    stage.0.reset(0, 1);
    stage.passes(SOON);
    for number in [ours, theirs] {
        for side in Side::BOTH {
            assert!(matches!(stage.reads(number, side), Read::Reset));
            let written = stage.0.write(number, side, b"more", Waker::noop());
            assert!(matches!(written, Written::Reset));
        }
    }
    stage.says(other, Side::Dialler, b"there");
    let new = stage.connected(0, 1);
    stage.says(new, Side::Dialler, b"again");
    stage.passes(SOON);
    assert_eq!(stage.hears(other, Side::Acceptor), b"there");
    assert_eq!(stage.hears(new, Side::Acceptor), b"again");
}

#[test]
fn a_black_hole_swallows_for_ever_what_its_connections_send_and_tells_nobody() {
    let mut stage = Stage::new();
    let number = stage.connected(0, 1);
    stage.0.swallow(0, 1);
    for side in Side::BOTH {
        stage.says(number, side, b"lost");
    }
    stage.passes(60 * SECOND);
    stage.0.mend();
    for side in Side::BOTH {
        stage.says(number, side, b"lost");
    }
    stage.passes(SECOND);
    for side in Side::BOTH {
        assert_eq!(stage.hears(number, side), b"");
    }
    let new = stage.connected(0, 1);
    stage.says(new, Side::Dialler, b"there");
    stage.passes(SOON);
    assert_eq!(stage.hears(new, Side::Acceptor), b"there");
}

#[test]
fn who_dials_a_half_open_way_is_never_heard_also_when_it_is_over() {
    let mut stage = Stage::new();
    let before = stage.connected(0, 1);
    let until = stage.0.now() + SECOND;
    stage.0.spoil(0, 1, Condition::HalfOpen { until });
    let never = stage.dials(0, 1);
    let other_way = stage.connected(1, 0);
    stage.says(before, Side::Dialler, b"there");
    stage.passes(10 * SECOND);
    assert!(!stage.is_heard(never));
    assert!(stage.is_heard(other_way));
    assert_eq!(stage.hears(before, Side::Acceptor), b"there", "those that there are go on");
    stage.connected(0, 1);
}

#[test]
fn a_delay_adds_the_same_to_each_packet_however_many_there_are() {
    let mut stage = Stage::new();
    let number = stage.connected(0, 1);
    let (extra, until) = (SECOND / 2, stage.0.now() + 10 * SECOND);
    stage.0.spoil(0, 1, Condition::Delay { extra, until });
    for _ in 0..20 {
        stage.says(number, Side::Dialler, b"there");
    }
    stage.says(number, Side::Acceptor, b"back");
    stage.passes(extra);
    assert_eq!(stage.hears(number, Side::Acceptor), b"", "no packet is faster");
    assert_eq!(stage.hears(number, Side::Dialler), b"back", "the other way is as fast as ever");
    stage.passes(SOON);
    assert_eq!(stage.hears(number, Side::Acceptor).len(), 20 * 5, "nor slower");
}

#[test]
fn a_delay_ends_with_its_fault() {
    let mut stage = Stage::new();
    let number = stage.connected(0, 1);
    let until = stage.0.now() + SECOND;
    stage.0.spoil(0, 1, Condition::Delay { extra: SECOND / 2, until });
    for _ in 0..100 {
        stage.says(number, Side::Dialler, b"there");
        stage.passes(Duration::from_millis(10));
    }
    stage.passes(SECOND);
    assert_eq!(stage.hears(number, Side::Acceptor).len(), 100 * 5);
    stage.says(number, Side::Dialler, b"there");
    assert!(stage.takes(number, Side::Acceptor, 5) <= SOON);
}

#[test]
fn a_slow_link_carries_so_many_bytes_a_second_for_all_connections_together() {
    let mut stage = Stage::new();
    let (one, other) = (stage.connected(0, 1), stage.connected(0, 1));
    let until = stage.0.now() + 100 * SECOND;
    stage.0.spoil(0, 1, Condition::Slow { bytes_per_second: 10_000, until });
    stage.says(one, Side::Dialler, &[1; 20_000]);
    stage.says(other, Side::Dialler, &[2; 20_000]);
    stage.says(one, Side::Acceptor, &[3; 20_000]);
    stage.passes(SOON);
    assert_eq!(stage.hears(one, Side::Dialler).len(), 20_000, "the other way is as fast as ever");
    let took = SOON + stage.takes(one, Side::Acceptor, 20_000);
    let took = took + stage.takes(other, Side::Acceptor, 20_000);
    assert!((4 * SECOND..=4 * SECOND + SOON).contains(&took), "40,000 bytes took {took:?}");
}

#[test]
fn a_slow_link_ends_with_its_fault() {
    let mut stage = Stage::new();
    let number = stage.connected(0, 1);
    let until = stage.0.now() + SECOND;
    stage.0.spoil(0, 1, Condition::Slow { bytes_per_second: 1_000, until });
    for _ in 0..10 {
        stage.says(number, Side::Dialler, &[1; 5_000]);
        stage.passes(SECOND / 10);
    }
    stage.passes(SOON);
    assert_eq!(stage.hears(number, Side::Acceptor).len(), 50_000, "the rest came at once");
    stage.says(number, Side::Dialler, b"there");
    assert!(stage.takes(number, Side::Acceptor, 5) <= SOON);
}

#[test]
fn of_a_process_that_is_killed_its_kernel_tells_the_others() {
    let mut stage = Stage::new();
    let number = stage.connected(0, 1);
    stage.says(number, Side::Acceptor, b"last words");
    stage.0.process_ended(Place { machine: 1, life: 1 }, false);
    stage.passes(2 * SOON);
    let read = stage.reads(number, Side::Dialler);
    assert!(matches!(read, Read::Bytes(bytes) if bytes == b"last words"), "sent is sent");
    assert!(matches!(stage.reads(number, Side::Dialler), Read::Gone));
    assert!(is_refused(&mut stage, 0, 1), "and it says that nobody listens");
}

#[test]
fn of_a_power_loss_nobody_is_told_until_the_machine_is_back_and_knows_nothing() {
    let mut stage = Stage::new();
    let number = stage.connected(0, 1);
    stage.0.process_ended(Place { machine: 1, life: 1 }, true);
    stage.says(number, Side::Dialler, b"are you there?");
    stage.passes(10 * SECOND);
    assert!(matches!(stage.reads(number, Side::Dialler), Read::Pending));
    assert!(!is_refused(&mut stage, 0, 1), "nobody is there to refuse");
    stage.starts(Place { machine: 1, life: 2 });
    stage.says(number, Side::Dialler, b"and now?");
    stage.passes(2 * SOON);
    assert!(matches!(stage.reads(number, Side::Dialler), Read::Reset), "it never heard of that");
}

#[test]
fn what_a_cut_holds_of_a_machine_is_lost_with_its_power_and_not_with_its_process() {
    for with_power in [false, true] {
        let mut stage = Stage::new();
        let number = stage.connected(0, 1);
        let until = stage.0.now() + SECOND;
        stage.0.spoil(0, 1, Condition::Cut { until });
        stage.says(number, Side::Dialler, b"last words");
        stage.0.process_ended(Place { machine: 0, life: 1 }, with_power);
        stage.passes(2 * SECOND);
        let read = stage.reads(number, Side::Acceptor);
        match with_power {
            true => assert!(matches!(read, Read::Pending), "its kernel would have sent it again"),
            false => assert!(matches!(read, Read::Bytes(bytes) if bytes == b"last words")),
        }
    }
}

/// Whether who dials is told that nobody listens.
fn is_refused(stage: &mut Stage, from: usize, to: usize) -> bool {
    let number = stage.dials(from, to);
    stage.passes(2 * SOON);
    let connection = stage.0.connections.get_mut(&number).expect("its dialler holds it");
    connection.end(Side::Dialler).answer(Waker::noop()).is_some_and(|answer| answer.is_err())
}

#[test]
fn what_is_under_way_when_all_mends_comes_before_what_a_cut_has_held() {
    let mut stage = Stage::new();
    let number = stage.connected(0, 1);
    let until = stage.0.now() + 10 * SECOND;
    stage.0.spoil(0, 1, Condition::Delay { extra: SECOND, until });
    stage.says(number, Side::Dialler, b"one ");
    stage.0.spoil(0, 1, Condition::Cut { until });
    stage.says(number, Side::Dialler, b"two");
    stage.0.mend();
    stage.passes(SOON);
    assert_eq!(stage.hears(number, Side::Acceptor), b"one two");
}
