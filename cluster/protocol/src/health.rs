//! Whether an actor that is offered to others can be given work.

mod config;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::config::{HealthConfig, HealthConfigError};

/// How an instance does, as its own node tells all others.
///
/// New ones go to the end, as everything on the control lane.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Health {
    /// It has not passed a check yet.
    Starting,
    /// It can be given work.
    #[default]
    Healthy,
    /// It fails its checks.
    Unhealthy,
    /// It finishes what it has, and is to be given no more.
    Draining,
}

impl Health {
    /// Whether the instance is to be handed out to whoever looks for one.
    #[must_use]
    pub fn takes_work(self) -> bool {
        self == Self::Healthy
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
        })
    }
}

/// How late a timer may be on a machine that is merely busy, as supervision's probes have it.
const LATE: Duration = Duration::from_millis(100);

/// In how many parts an answer is waited for.
const PARTS: u32 = 4;

/// Decides from the answers to its questions how one instance does, and when it is asked again.
///
/// ```
/// use std::time::Duration;
/// use umbel_protocol::{Checkup, CheckupInput, CheckupOutput, Health, HealthConfig};
///
/// let mut checkup = Checkup::new(Duration::ZERO, HealthConfig::default())?;
/// let asked = checkup.step(Duration::ZERO, CheckupInput::Tick);
/// assert_eq!(asked, [CheckupOutput::Ask { question: 1 }]);
/// let answer = CheckupInput::Answered { question: 1, passed: true };
/// let told = checkup.step(Duration::ZERO, answer);
/// assert_eq!(told, [CheckupOutput::Became(Health::Healthy)]);
/// assert_eq!(checkup.next_wakeup(), Some(HealthConfig::default().interval));
/// # Ok::<(), umbel_protocol::HealthConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checkup {
    config: HealthConfig,
    health: Health,
    /// How many checks it has passed, or failed, in a row.
    passes: u32,
    failures: u32,
    questions: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Until the next question.
    Waiting { until: Duration },
    Asking {
        since: Duration,
        /// How many parts of the wait are over.
        parts: u32,
        /// When the present one is.
        due: Duration,
    },
    /// It is asked no more.
    Over,
}

/// Something that happened, for [`Checkup::step`] to take note of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckupInput {
    /// It is time, as [`Checkup::next_wakeup`] said. Too early does no harm.
    Tick,
    /// A question was answered.
    Answered {
        /// Which.
        question: u64,
        /// Whether all is well.
        passed: bool,
    },
    /// It is to be given no more work, whatever its checks say.
    Drain,
}

/// Something to be done, in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckupOutput {
    /// Check it, and say how that went.
    Ask {
        /// The question's number, from 1.
        question: u64,
    },
    /// The question counts no more: stop the check.
    GiveUp {
        /// The question's number.
        question: u64,
    },
    /// Tell all.
    Became(Health),
    /// Kill it, so that its supervisor starts it again.
    Restart,
}

impl Checkup {
    /// An instance that is starting, to be asked at once.
    ///
    /// # Errors
    /// [`HealthConfigError`] where the configuration cannot work.
    pub fn new(now: Duration, config: HealthConfig) -> Result<Self, HealthConfigError> {
        config.check()?;
        let (health, phase) = (Health::Starting, Phase::Waiting { until: now });
        Ok(Self { config, health, passes: 0, failures: 0, questions: 0, phase })
    }

    /// How it does.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health
    }

    /// When to step with [`CheckupInput::Tick`], if nothing happens before.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Duration> {
        match self.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Asking { due, .. } => Some(due),
            Phase::Over => None,
        }
    }

    /// Takes note of `input` and says what to do.
    pub fn step(&mut self, now: Duration, input: CheckupInput) -> Vec<CheckupOutput> {
        match (input, self.phase) {
            (_, Phase::Over) => Vec::new(),
            (CheckupInput::Drain, phase) => {
                self.phase = Phase::Over;
                self.health = Health::Draining;
                let asking = matches!(phase, Phase::Asking { .. });
                let given_up = asking.then_some(self.give_up());
                given_up.into_iter().chain([CheckupOutput::Became(Health::Draining)]).collect()
            }
            (CheckupInput::Answered { question, passed }, Phase::Asking { since, .. }) => {
                if question != self.questions {
                    return Vec::new();
                }
                if passed { self.passed(now) } else { self.failed(now, since) }
            }
            (CheckupInput::Answered { .. }, Phase::Waiting { .. }) => Vec::new(),
            (CheckupInput::Tick, Phase::Waiting { until }) if until <= now => vec![self.ask(now)],
            (CheckupInput::Tick, Phase::Asking { since, parts, due }) if due <= now => {
                self.part_is_over(now, since, (parts, due))
            }
            (CheckupInput::Tick, _) => Vec::new(),
        }
    }

    fn ask(&mut self, now: Duration) -> CheckupOutput {
        self.questions += 1;
        let due = now.saturating_add(self.part());
        self.phase = Phase::Asking { since: now, parts: 0, due };
        CheckupOutput::Ask { question: self.questions }
    }

    /// A part whose end comes much too late does not count: it was not the instance that stood
    /// still then, but the whole program (stopped, swapped out, starved).
    fn part_is_over(
        &mut self,
        now: Duration,
        since: Duration,
        (parts, due): (u32, Duration),
    ) -> Vec<CheckupOutput> {
        let part = self.part();
        let (parts, due) = match now - due > LATE.max(part) {
            true => (parts, now.saturating_add(part)),
            false => (parts + 1, due.saturating_add(part)),
        };
        if parts < PARTS {
            self.phase = Phase::Asking { since, parts, due };
            return Vec::new();
        }
        let mut outputs = vec![self.give_up()];
        outputs.extend(self.failed(now, since));
        outputs
    }

    fn passed(&mut self, now: Duration) -> Vec<CheckupOutput> {
        self.failures = 0;
        self.passes = self.passes.saturating_add(1);
        self.wait(now.saturating_add(self.config.interval));
        let recovered = self.health != Health::Healthy && self.passes >= self.config.passes;
        if recovered { self.became(Health::Healthy) } else { Vec::new() }
    }

    fn failed(&mut self, now: Duration, since: Duration) -> Vec<CheckupOutput> {
        self.passes = 0;
        self.failures = self.failures.saturating_add(1);
        let was_unhealthy = self.health == Health::Unhealthy;
        if self.failures < self.config.failures && !was_unhealthy {
            // Each failure takes as long as one that did not answer, however soon it was told.
            self.wait(since.saturating_add(self.config.timeout).max(now));
            // One that took its time is followed by the next question at once.
            return self.step(now, CheckupInput::Tick);
        }
        self.wait(now.saturating_add(self.config.interval));
        let mut outputs = Vec::new();
        if !was_unhealthy {
            outputs = self.became(Health::Unhealthy);
        }
        if self.failures >= self.config.failures {
            self.failures = 0;
            outputs.extend(self.config.restart_unhealthy.then_some(CheckupOutput::Restart));
        }
        outputs
    }

    fn became(&mut self, health: Health) -> Vec<CheckupOutput> {
        self.health = health;
        vec![CheckupOutput::Became(health)]
    }

    fn wait(&mut self, until: Duration) {
        self.phase = Phase::Waiting { until };
    }

    fn give_up(&self) -> CheckupOutput {
        CheckupOutput::GiveUp { question: self.questions }
    }

    fn part(&self) -> Duration {
        self.config.timeout / PARTS
    }
}

#[cfg(test)]
#[path = "health/tests.rs"]
mod tests;
