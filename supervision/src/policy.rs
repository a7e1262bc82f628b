use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Who is restarted when one child has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    /// Only the child itself. OTP's default.
    #[default]
    OneForOne,
    /// All children: they are stopped in reverse start order, then started again in start order.
    OneForAll,
    /// The child and those started after it: stopped in reverse start order, then started again
    /// in start order. Older siblings are left alone.
    RestForOne,
}

/// When a child is started again after it has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// Only after an abnormal end, see [`Exit::is_abnormal`](crate::Exit::is_abnormal). After a
    /// normal one its declaration stays, and `restart_child` starts it again.
    Transient,
    /// Never, not even when a sibling's end makes the supervisor stop it. Once it has ended, its
    /// declaration is gone.
    Temporary,
}

/// How a child is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shutdown {
    /// It is asked to stop (it finishes the message in hand and runs `post_stop`), and killed if
    /// it has not ended within this time. The default for actors, with OTP's 5 s.
    Timeout(Duration),
    /// It is killed at once; `post_stop` does not run.
    BrutalKill,
    /// It is asked to stop, and waited for as long as it takes. The default for supervisors, so
    /// that their own children get their time.
    Infinity,
}

impl Shutdown {
    /// OTP's default for workers: 5 s.
    pub const DEFAULT: Self = Self::Timeout(Duration::from_secs(5));
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Whether a supervisor stops by itself once significant children have ended by themselves
/// (OTP 24's `auto_shutdown`).
///
/// Only an end that leads to no restart counts: any end of a temporary child, a normal one of a
/// transient child. A child that the supervisor itself has stopped does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AutoShutdown {
    /// It does not. OTP's default.
    #[default]
    Never,
    /// When any significant child has ended.
    AnySignificant,
    /// When the last significant child has ended.
    AllSignificant,
}

/// How many restarts a supervisor takes before it gives up: `restarts` within `period` are
/// borne, one more is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intensity {
    /// Restarts that are borne within one period. With 0 the first one is too many.
    pub restarts: u32,
    /// The length of the sliding window.
    pub period: Duration,
}

impl Default for Intensity {
    /// OTP's default: 1 restart in 5 s.
    fn default() -> Self {
        Self { restarts: 1, period: Duration::from_secs(5) }
    }
}
