//! Whether simulated threads really get their answers from the simulation.

use std::io;

use thiserror::Error;

use super::{Runtimes, probes};

/// Why nothing can be simulated in this process.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotInForce {
    /// The operating system's functions are taken over on one kind of platform only.
    #[error(
        "simulated code would get its time and chance from this platform, not from the simulation: \
         simulate on Linux, in 64 bits, with glibc linked dynamically (a *-linux-gnu target without \
         crt-static)"
    )]
    Platform,
    /// A function still answers as the operating system has it.
    #[error(
        "`{function}` is answered by the operating system, not by the simulation: link umbel-sims into \
         the program itself, not into a library that it loads, and have the linker export what libc has \
         too, as it does unless told otherwise (--exclude-libs, version scripts)"
    )]
    Passed {
        /// libc's function, and how it was called, where that makes a difference.
        function: &'static str,
    },
    /// tokio's own chance cannot be seeded.
    #[error(
        "tokio decides by chance of its own which branch of a `select!` is tried first, and this version \
         does not draw it as tokio 1.54 does, so that it cannot be seeded: use that one"
    )]
    Tokio,
    /// What it is tried out with could not be made.
    #[error("the simulation cannot be tried out, for a thread or a pipe cannot be made: {0}")]
    Untried(#[from] io::Error),
}

/// Tries out, on threads of its own, whether simulated code gets its time, chance and threads from the
/// simulation, and not from the operating system.
///
/// That takes about a millisecond, so it is asked when a program starts rather than at every run.
///
/// # Errors
///
/// [`NotInForce`] names the first function that is not answered by the simulation, and what to do.
///
/// # Example
///
/// ```
/// umbel_sims::in_force()?;
/// # Ok::<(), umbel_sims::NotInForce>(())
/// ```
pub fn in_force() -> Result<(), NotInForce> {
    probes::try_all()?;
    Runtimes::new().map(drop)
}
