//! All bounds of a run with real processes, in real time on a machine that does other things as well.

use std::time::Duration;

/// How often the run looks whether something is due.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// How often each node tells how things stand, which the invariants then look at.
pub(super) const TELLS_EVERY: Duration = Duration::from_millis(200);

/// Who is not heard of for so long had no time, and is judged as if it had been paused.
pub(super) const DROWSY_AFTER: Duration = Duration::from_secs(1);

/// How much longer things may take than the bounds that invariants state: the simulation holds those
/// exactly, and two busy cores do not.
pub(super) const SLACK: Duration = Duration::from_secs(5);

/// The shortest and the longest time from one peace to the next.
pub(super) const PEACE_AFTER: (Duration, Duration) =
    (Duration::from_secs(20), Duration::from_secs(30));

/// The shortest and the longest time from one fault to the next.
pub(super) const FAULT_AFTER: (Duration, Duration) =
    (Duration::from_millis(200), Duration::from_millis(2_500));

/// Within which time after the faults all must be well, unless the command says otherwise: half as much
/// again as in a simulated world.
pub(super) const SETTLES_WITHIN_SECONDS: u64 = 60;

/// How often it is told what is not well yet.
pub(super) const TROUBLE_TOLD_EVERY: Duration = Duration::from_secs(2);

/// For how long all must stay well.
pub(super) const STAYS: Duration = Duration::from_secs(1);

/// How long a node may take to leave: its own deadline, and what is left of its work.
pub(super) const LEAVES_WITHIN: Duration = Duration::from_secs(30);

/// How long its node has for goodbyes.
pub(super) const GOODBYE: Duration = Duration::from_secs(5);

/// How long tasks that a node had aborted may still be there.
pub(super) const TASKS_GONE_WITHIN: Duration = Duration::from_secs(5);

/// The longest line that a process may tell.
pub(super) const LINE_BYTES_MAX: u64 = 4 << 20;

/// How many lines of all processes together wait to be judged; beyond that they wait in their pipes, and
/// then the processes with them.
pub(super) const LINES_WAITING_MAX: usize = 1024;

/// How many lines of each machine are kept for the report of a violation.
pub(super) const LAST_LINES: usize = 16;

/// How many connections of one node to another are carried at once. A node has three of a link, and as
/// many more as it gives up on while dialling.
pub(super) const CONNECTIONS_MAX: usize = 256;

/// How many bytes of one direction of a connection are carried at a time.
pub(super) const CARRIED_BYTES_MAX: usize = 16 << 10;
