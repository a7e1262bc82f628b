//! What this crate does beside OTP's supervisors, and beside others. A page to read; there is no
//! code in it.
//!
//! # Against OTP
//!
//! OTP is as its manual describes it: module [`supervisor`] of STDLIB and the design principles'
//! [Supervisor Behaviour], both of OTP 27. `supervision/tests/rules/model.rs` has the same rules as
//! a program, and the tests hold the [engine](crate::engine) to it.
//!
//! [`supervisor`]: https://www.erlang.org/docs/27/apps/stdlib/supervisor.html
//! [Supervisor Behaviour]: https://www.erlang.org/docs/27/system/sup_princ.html
//!
//! ## Supervisor flags
//!
//! | OTP | here | why |
//! |---|---|---|
//! | `strategy`: `one_for_one`, `one_for_all`, `rest_for_one` | same: [`Strategy`](crate::Strategy) | |
//! | ... and messages wait while a group restarts | different: what happens meanwhile is merged into the restart, and leads to where OTP arrives | a supervisor that always answers |
//! | `simple_one_for_one` | more: [`Supervisor::dynamic`](crate::Supervisor::dynamic), whose children have names, need not be alike, and can be terminated and counted by name | a declaration is a value here, not a function with arguments to append |
//! | `intensity`, `period`: 1 in 5 s | same default; the period is a `Duration`, not whole seconds | |
//! | ... exceeded: children are terminated, the supervisor exits with `shutdown` | different: it *fails*, with [`GaveUp`](crate::GaveUp) | with `shutdown` a transient supervisor would count as done |
//! | a failed restart is attempted again at once, and counts | same, after the [`Backoff`](crate::Backoff); the rest of a group is stopped meanwhile | |
//! | no back-off | more: [`Backoff`](crate::Backoff) for each child, with full jitter | |
//! | no bound on children | more: [`children_max`](crate::Supervisor::children_max) | |
//! | `auto_shutdown`: `never`, `any_significant`, `all_significant` | same: [`AutoShutdown`](crate::AutoShutdown) | |
//!
//! ## Child specification
//!
//! | OTP | here | why |
//! |---|---|---|
//! | `id`, any term | a name, unique among siblings | it is printed, and part of a path |
//! | `start`: a function's name and arguments | a closure, called for each incarnation | |
//! | ... must link | linked if it has not | |
//! | ... returns `{ok, Child, Info}` | no counterpart | |
//! | ... returns `ignore` | no counterpart | leave the child out of the declaration |
//! | `restart`: `permanent`, `transient`, `temporary` | same: [`Restart`](crate::Restart) | |
//! | normal ends: `normal`, `shutdown`, `{shutdown, _}` | a stop, with or without a reason; kills, failures and lost tasks are abnormal | ractor has no exit terms |
//! | `significant` | same, and refused in the same cases | |
//! | `shutdown`: 5000 for workers, `infinity` for supervisors, `brutal_kill` | same: [`Shutdown`](crate::Shutdown) | |
//! | ... a kill is immediate | different: it takes effect where the actor next waits | tasks cannot be preempted; nothing is started in the place of one that still runs |
//! | ... a supervisor that is killed while it stops may leave children behind (the manual warns) | different: they are killed with it, and its successor waits until they are gone | |
//! | `type`: `worker`, `supervisor` | by constructor: [`ChildKind`](crate::ChildKind) | so it cannot be wrong |
//! | `modules` | no counterpart | there is no code change |
//! | a process that hangs is nobody's failure | more: [`ChildSpec::probe`](crate::ChildSpec::probe); off by default | |
//!
//! ## Functions
//!
//! | OTP | here | why |
//! |---|---|---|
//! | `start_link/2,3` | [`start_linked`](crate::Supervisor::start_linked), and [`start`](crate::Supervisor::start) without a parent | |
//! | ... a name to register | no counterpart | ractor's table of names is one for the process; a reference is held instead |
//! | `Module:init/1` returns flags and specifications, or `ignore` | the declaration is built by calls: [`Supervisor`](crate::Supervisor) | |
//! | `start_child/2` | same: [`start_child`](crate::SupervisorRef::start_child); does not block the supervisor | |
//! | `terminate_child/2` | same; on a child that starts or hangs in its start, too | |
//! | `restart_child/2`, `delete_child/2` | same | |
//! | `which_children/1` | more: state and since when, restarts, last failure, mailbox: [`ChildSnapshot`](crate::ChildSnapshot) | |
//! | `count_children/1` | same: [`ChildCount`](crate::ChildCount) | |
//! | `which_child/2`, `stop/1,3` (after OTP 27) | out of `which_children`; [`stop`](crate::SupervisorRef::stop) | |
//! | `get_childspec/2` | no counterpart; rules and kind are in the snapshot | a closure cannot be shown |
//! | `check_childspecs/1,2` | on declaration: [`Senseless`](crate::Senseless) | the rest is the compiler's |
//! | looking through a tree, process by process | more: [`snapshot`](crate::SupervisorRef::snapshot) of a whole tree, as a value, as JSON, as text | |
//! | `process_info/2` of a child | what ractor has, by the actor's cell; mailbox length where a layer above [knows it](crate::ChildSpec::mailbox) | ractor does not count messages |
//! | supervisor and progress reports in the log | more: `tracing`, and an [`EventStream`](crate::EventStream) | |
//! | `supervisor_bridge` | [`ChildSpec::new`](crate::ChildSpec::new): an actor of one's own that starts and stops the other thing in `pre_start` and `post_stop` | |
//! | hibernation | no counterpart | a Rust actor has no heap of its own to shrink |
//! | code change of specifications | no counterpart | there is no code change |
//!
//! # Against others
//!
//! As read in November 2026, each from the place that is linked:
//!
//! * [ractor-supervisor], the modules `core`, `supervisor` and `dynamic` and the README
//!   of 0.1.
//! * [Akka typed], chapter "Fault Tolerance" of the documentation, and the API of [`SupervisorStrategy`].
//! * [kameo], the modules `supervision` (new in 0.20) and `links`, and the changelog up to 0.22.
//!
//! [ractor-supervisor]: https://github.com/deepvisai/ractor-supervisor
//! [Akka typed]: https://doc.akka.io/libraries/akka/current/typed/fault-tolerance.html
//! [`SupervisorStrategy`]: https://doc.akka.io/api/akka/current/akka/actor/typed/RestartSupervisorStrategy.html
//! [kameo]: https://github.com/tqwewe/kameo
//!
//! | | here | ractor-supervisor | Akka typed | kameo |
//! |---|---|---|---|---|
//! | who supervises | a supervisor | a supervisor | a wrapper around the actor's own behavior, chosen by type of exception | any actor |
//! | without a word | restarted | restarted as its specification says | stopped | restarted (`Permanent`) |
//! | group strategies | one-for-all, rest-for-one | the same | none | the same |
//! | restart types | permanent, transient, temporary | the same | restart, resume, stop | permanent, transient, never |
//! | a killed transient child | restarted | not restarted: every `ActorTerminated` counts as normal | | |
//! | how siblings go down for a group restart | stopped one after the other, in reverse order, each in its time | killed; then a wait of 10 ms | | asked to restart through their mailboxes |
//! | limit | one for the supervisor, in a sliding window | one for the supervisor, in a sliding window | for each actor, in a window that starts over | for each child (5 in 5 s), forgotten when its last restart is longer ago than the window |
//! | limit exceeded | the supervisor stops its children in order, and fails | the supervisor fails | the actor is stopped | the child is not restarted |
//! | back-off | exponential with full jitter, or constant | a closure | exponential with jitter | none |
//! | children that come and go | [`Supervisor::dynamic`](crate::Supervisor::dynamic), bounded | `DynamicSupervisor`, bounded; termination is a kill | `spawn` | `supervise` |
//! | while a child starts | the supervisor answers | it waits, in its handler | | |
//! | names in a table of the process | none | required, for each child | | |
//! | after a restart | a new actor; the layer above keeps addresses valid | a new actor | the same reference | the same reference and mailbox |
//! | a child that hangs | found, if [probed](crate::ChildSpec::probe) | | | |
//!
//! An empty field says that nothing was found out about it, not that there is nothing.
