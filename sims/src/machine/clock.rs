//! A machine's clocks: the one of its timers, and the one on its wall.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use umbel_actors::Clock;

/// Some time in 2033, so that nothing that is simulated looks like the present.
const EPOCH: Duration = Duration::from_secs(2_000_000_000);

/// A machine's clocks. Both may run too fast or too slow; the wall clock can be set. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct MachineClock(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug)]
struct State {
    /// The world's time at which the rate last changed, and the machine's then.
    anchor: (Duration, Duration),
    /// By how many millionths it runs too fast.
    millionths: i64,
    /// The world's time now.
    world: Duration,
    /// How far the wall clock is from the machine's time since its start.
    wall: Duration,
}

impl MachineClock {
    /// The clock of a machine that is put up now; machines differ by up to two seconds.
    pub(crate) fn new(seed: u64) -> Self {
        let wall = EPOCH + Duration::from_micros(seed % 2_000_000);
        let (anchor, world) = ((Duration::ZERO, Duration::ZERO), Duration::ZERO);
        Self(Arc::new(Mutex::new(State { anchor, millionths: 0, world, wall })))
    }

    pub(crate) fn set_world(&self, now: Duration) {
        self.0.lock().world = now;
    }

    /// The machine's time since it was put up.
    pub(crate) fn monotonic(&self) -> Duration {
        let state = self.0.lock();
        state.at(state.world)
    }

    /// What that will be.
    pub(crate) fn monotonic_at(&self, world: Duration) -> Duration {
        self.0.lock().at(world)
    }

    /// Has it run too fast from now on, or too slow.
    pub(crate) fn drift(&self, millionths: i64) {
        let mut state = self.0.lock();
        state.anchor = (state.world, state.at(state.world));
        state.millionths = millionths;
    }

    /// Sets the wall clock to where it was when the machine was put up.
    pub(crate) fn turn_back(&self) {
        let mut state = self.0.lock();
        state.wall = EPOCH - state.at(state.world).min(EPOCH);
    }

    /// Sets the wall clock.
    pub(crate) fn jump(&self, by_ms: i64) {
        let mut state = self.0.lock();
        let by = Duration::from_millis(by_ms.unsigned_abs());
        state.wall = if by_ms < 0 { state.wall.saturating_sub(by) } else { state.wall + by };
    }
}

impl State {
    fn at(&self, world: Duration) -> Duration {
        let since = world.saturating_sub(self.anchor.0).as_nanos() as i128;
        let passed = since + since * i128::from(self.millionths) / 1_000_000;
        self.anchor.1 + Duration::from_nanos(passed.max(0) as u64)
    }
}

impl Clock for MachineClock {
    fn now(&self) -> Duration {
        let state = self.0.lock();
        state.wall + state.at(state.world)
    }
}
