use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> HealthConfig {
    HealthConfig { passes: 2, ..HealthConfig::default() }
}

/// An instance whose health is checked, and the time.
struct Bench {
    checkup: Checkup,
    now: Duration,
    told: Vec<CheckupOutput>,
}

/// How a question goes.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Passed(Duration),
    Failed(Duration),
    Never,
}

impl Bench {
    fn new(config: HealthConfig) -> Self {
        let checkup = Checkup::new(Duration::ZERO, config).unwrap();
        Self { checkup, now: Duration::ZERO, told: Vec::new() }
    }

    fn step(&mut self, input: CheckupInput) -> Vec<CheckupOutput> {
        let outputs = self.checkup.step(self.now, input);
        self.told.extend(&outputs);
        outputs
    }

    /// Lets time pass to the next wake-up.
    fn tick(&mut self) -> Vec<CheckupOutput> {
        self.now = self.checkup.next_wakeup().unwrap();
        self.step(CheckupInput::Tick)
    }

    /// Waits for the next question if none is open; its number.
    fn asked(&mut self) -> u64 {
        loop {
            if let Phase::Asking { .. } = self.checkup.phase {
                return self.checkup.questions;
            }
            self.tick();
        }
    }

    /// Lets the next question go so.
    fn answer(&mut self, answer: Answer) {
        let question = self.asked();
        let (after, passed) = match answer {
            Answer::Passed(after) => (after, true),
            Answer::Failed(after) => (after, false),
            Answer::Never => {
                let is_given_up =
                    |told: &CheckupOutput| *told == CheckupOutput::GiveUp { question };
                while !self.tick().iter().any(is_given_up) {}
                return;
            }
        };
        self.now += after;
        self.step(CheckupInput::Answered { question, passed });
    }

    fn health(&self) -> Health {
        self.checkup.health()
    }
}

const PASSED: Answer = Answer::Passed(Duration::ZERO);
const FAILED: Answer = Answer::Failed(Duration::ZERO);

#[test]
fn an_instance_is_starting_until_it_has_passed_often_enough() {
    let mut bench = Bench::new(config());
    bench.answer(PASSED);
    assert_eq!(bench.health(), Health::Starting);
    bench.answer(PASSED);
    assert_eq!(bench.health(), Health::Healthy);
    assert_eq!(bench.now, 5 * SECOND, "and is asked once an interval");
}

#[test]
fn it_is_unhealthy_when_it_has_failed_often_enough_in_a_row_and_not_before() {
    let mut bench = Bench::new(HealthConfig::default());
    for answer in [PASSED, FAILED, Answer::Never, PASSED, FAILED, FAILED] {
        bench.answer(answer);
    }
    assert_eq!(bench.health(), Health::Healthy);
    bench.answer(Answer::Never);
    assert_eq!(bench.health(), Health::Unhealthy);
    bench.answer(PASSED);
    assert_eq!(bench.health(), Health::Healthy);
}

#[test]
fn a_failure_that_is_told_at_once_counts_no_faster_than_one_that_is_not_told() {
    let mut told = Bench::new(HealthConfig::default());
    let mut not_told = Bench::new(HealthConfig::default());
    for _ in 0..3 {
        told.answer(FAILED);
        not_told.answer(Answer::Never);
    }
    assert_eq!((told.now, not_told.now), (2 * SECOND, 3 * SECOND));
    assert_eq!((told.health(), not_told.health()), (Health::Unhealthy, Health::Unhealthy));
}

#[test]
fn an_unhealthy_one_is_restarted_again_and_again_where_that_is_wanted() {
    let mut bench = Bench::new(HealthConfig { restart_unhealthy: true, ..config() });
    let restarts =
        |bench: &Bench| bench.told.iter().filter(|told| **told == CheckupOutput::Restart).count();
    for (failures, expected) in [(2, 0), (1, 1), (2, 1), (1, 2)] {
        for _ in 0..failures {
            bench.answer(Answer::Never);
        }
        assert_eq!(restarts(&bench), expected);
    }
    let mut left_alone = Bench::new(config());
    for _ in 0..9 {
        left_alone.answer(Answer::Never);
    }
    assert_eq!(restarts(&left_alone), 0);
}

#[test]
fn a_draining_one_is_asked_no_more_and_stays_so() {
    let mut bench = Bench::new(config());
    let question = bench.asked();
    let told = bench.step(CheckupInput::Drain);
    let given_up = CheckupOutput::GiveUp { question };
    assert_eq!(told, [given_up, CheckupOutput::Became(Health::Draining)]);
    assert_eq!(bench.checkup.next_wakeup(), None);
    for input in
        [CheckupInput::Answered { question, passed: true }, CheckupInput::Tick, CheckupInput::Drain]
    {
        assert_eq!(bench.step(input), []);
    }
    assert_eq!(bench.health(), Health::Draining);
}

#[test]
fn an_answer_to_a_question_that_was_given_up_counts_no_more() {
    let mut bench = Bench::new(HealthConfig::default());
    bench.answer(Answer::Never);
    bench.asked();
    assert_eq!(bench.step(CheckupInput::Answered { question: 1, passed: true }), []);
    assert_eq!(bench.health(), Health::Starting);
}

#[test]
fn nobody_pays_for_a_program_that_stood_still() {
    let mut bench = Bench::new(HealthConfig::default());
    bench.answer(PASSED);
    for _ in 0..100 {
        bench.asked();
        bench.now += 60 * SECOND;
        assert_eq!(bench.step(CheckupInput::Tick), []);
    }
    // It goes on; who does not answer now is stuck itself.
    for _ in 0..3 {
        bench.answer(Answer::Never);
    }
    assert_eq!(bench.health(), Health::Unhealthy);
}

#[test]
fn a_configuration_that_could_not_keep_its_promise_is_refused() {
    let default = HealthConfig::default;
    assert_eq!(default().check(), Ok(()));
    let day = Duration::from_secs(86_400);
    for (wrong, why) in [
        (HealthConfig { timeout: Duration::ZERO, ..default() }, "1 ms"),
        (HealthConfig { interval: day + SECOND, ..default() }, "a day"),
        (HealthConfig { passes: 0, ..default() }, "at least 1"),
        (HealthConfig { failures: 0, ..default() }, "at least 1"),
        (HealthConfig { failures: 6, ..default() }, "raise the interval"),
        (HealthConfig { failures: u32::MAX, timeout: Duration::MAX, ..default() }, "raise"),
    ] {
        let told = Checkup::new(Duration::ZERO, wrong).unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
}

fn any_config() -> impl Strategy<Value = HealthConfig> {
    (1..5_u32, 1..5_u32, 1..3_000_u64, 0..3_000_u64, any::<bool>()).prop_map(
        |(passes, failures, timeout, more, restart_unhealthy)| {
            let timeout = Duration::from_millis(timeout);
            let interval = timeout * failures + Duration::from_millis(more);
            HealthConfig { interval, timeout, passes, failures, restart_unhealthy }
        },
    )
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let after = || (0..1_000_u64).prop_map(Duration::from_micros);
    let answer = prop_oneof![
        after().prop_map(Answer::Passed),
        after().prop_map(Answer::Failed),
        Just(Answer::Never),
    ];
    prop::collection::vec(answer, 0..60)
}

/// What a history of checks comes to: the last run that is long enough decides.
fn by_history(history: &[bool], config: &HealthConfig) -> Health {
    let decides = |end: usize| {
        let run = |passed: bool, length: u32| {
            let start = end.checked_sub(length as usize)?;
            history[start..end].iter().all(|one| *one == passed).then_some(())
        };
        let healthy = run(true, config.passes).map(|()| Health::Healthy);
        healthy.or_else(|| run(false, config.failures).map(|()| Health::Unhealthy))
    };
    (1..=history.len()).rev().find_map(decides).unwrap_or(Health::Starting)
}

proptest! {
    #[test]
    fn health_is_what_the_history_of_its_checks_comes_to(
        config in any_config(), answers in answers()
    ) {
        let mut bench = Bench::new(config.clone());
        let mut history = Vec::new();
        for answer in answers {
            let before = bench.health();
            let told = bench.told.len();
            bench.answer(answer);
            history.push(matches!(answer, Answer::Passed(_)));
            prop_assert_eq!(bench.health(), by_history(&history, &config));
            let became = CheckupOutput::Became(bench.health());
            let said = bench.told[told..].contains(&became);
            prop_assert_eq!(said, bench.health() != before, "told once, when it changes");
        }
    }

    #[test]
    fn whoever_is_stuck_from_any_moment_is_unhealthy_within_two_intervals(
        config in any_config(), answers in answers(), stuck_after in 0.0..1.0_f64
    ) {
        let mut bench = Bench::new(config.clone());
        for answer in answers {
            bench.answer(answer);
        }
        for _ in 0..config.passes {
            bench.answer(PASSED);
        }
        prop_assert_eq!(bench.health(), Health::Healthy);
        let stuck = bench.now + config.interval.mul_f64(stuck_after);
        while bench.health() == Health::Healthy {
            bench.tick();
        }
        prop_assert!(bench.now <= stuck + 2 * config.interval);
    }

    #[test]
    fn no_input_makes_it_panic_or_be_forgotten(
        config in any_config(),
        inputs in prop::collection::vec((any::<u64>(), 0..9_u8, 0..6_u64), 0..60)
    ) {
        let mut checkup = Checkup::new(Duration::MAX, config).unwrap();
        let mut drained = false;
        for (millis, kind, question) in inputs {
            // Time may even go back.
            let now = Duration::from_millis(millis);
            let input = match kind {
                0 => CheckupInput::Drain,
                1..4 => CheckupInput::Answered { question, passed: kind == 1 },
                _ => CheckupInput::Tick,
            };
            drained |= kind == 0;
            checkup.step(now, input);
            prop_assert_eq!(checkup.health() == Health::Draining, drained);
            prop_assert_eq!(checkup.next_wakeup().is_none(), drained);
        }
    }

    #[test]
    fn a_passing_instance_is_asked_once_an_interval(config in any_config(), count in 1..20_u32) {
        let mut bench = Bench::new(config.clone());
        for _ in 0..count {
            bench.answer(PASSED);
        }
        prop_assert_eq!(bench.now, config.interval * (count - 1));
    }
}
