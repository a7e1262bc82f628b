use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How often an instance is asked, and what its answers come to.
///
/// One that is stuck is unhealthy, and so not handed out any more, within two intervals: it is asked
/// within one, and `failures` questions without an answer fit into another, or
/// [`HealthConfig::check`] refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthConfig {
    /// How long after an answer it is asked again. Default 5 s, as supervision's probes; at most a
    /// day.
    pub interval: Duration,
    /// How long an answer may take. Default 1 s, as Kubernetes' probes; at least 1 ms. By mailbox:
    /// more than any one message may rightly take.
    pub timeout: Duration,
    /// How many checks in a row it must pass to be healthy. Default 1, as Kubernetes' probes; at
    /// least 1.
    pub passes: u32,
    /// How many checks in a row it must fail to be unhealthy. Default 3, as Kubernetes' probes; at
    /// least 1. After a failure the next question comes as soon as the first one's `timeout` is
    /// over.
    pub failures: u32,
    /// Whether it is killed when it becomes unhealthy, and after each further `failures` checks that
    /// it fails, so that its supervisor starts it again, within the supervisor's limits. One without
    /// a supervisor is gone then. Default: no.
    pub restart_unhealthy: bool,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            passes: 1,
            failures: 3,
            restart_unhealthy: false,
        }
    }
}

/// Why health cannot be checked so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HealthConfigError {
    /// The timeout is too short to mean anything.
    #[error("a health check's timeout is {0:?}: it must be at least 1 ms")]
    Timeout(Duration),
    /// The interval is too long.
    #[error("a health check's interval is {0:?}: it must be at most a day")]
    Interval(Duration),
    /// It takes no pass, or no failure.
    #[error("`passes` and `failures` must be at least 1")]
    Threshold,
    /// Who is stuck would be found out too late.
    #[error(
        "{failures} failures of {timeout:?} each take longer than the interval of {interval:?}: \
         raise the interval, or lower one of them"
    )]
    TooSlow {
        /// How many failures.
        failures: u32,
        /// How long each takes.
        timeout: Duration,
        /// The interval.
        interval: Duration,
    },
}

impl HealthConfig {
    /// Whether this can work.
    ///
    /// # Errors
    /// [`HealthConfigError`] says what is to be changed.
    pub fn check(&self) -> Result<(), HealthConfigError> {
        let Self { interval, timeout, passes, failures, .. } = *self;
        if timeout < Duration::from_millis(1) {
            return Err(HealthConfigError::Timeout(timeout));
        }
        if interval > Duration::from_secs(24 * 60 * 60) {
            return Err(HealthConfigError::Interval(interval));
        }
        if passes == 0 || failures == 0 {
            return Err(HealthConfigError::Threshold);
        }
        if timeout.checked_mul(failures).is_none_or(|all| all > interval) {
            return Err(HealthConfigError::TooSlow { failures, timeout, interval });
        }
        Ok(())
    }
}
