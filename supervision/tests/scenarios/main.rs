//! Supervisors with real actors, on tokio's paused clock: whatever waits, waits no time.

mod deadline;
mod dynamic;
mod frozen;
mod group;
mod nested;
mod observe;
mod owned;
mod probe;
mod request;
mod restart;
mod start;
mod stop;
