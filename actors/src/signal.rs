//! Being told by the operating system to end.

use std::fmt;
use std::io;

/// A signal that asks a process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// SIGINT: Ctrl-C at the terminal.
    Interrupt,
    /// SIGTERM: what service managers send. Only on Unix.
    Terminate,
    /// SIGHUP: the terminal is gone. Only on Unix.
    Hangup,
}

impl Signal {
    /// Waits for the next one. From the first call on, and for as long as the process lives, these
    /// signals do not end it by themselves. Between two calls a signal may go unheard: see
    /// [`Signals`].
    ///
    /// # Errors
    /// Where the operating system refuses to have a signal handled.
    pub async fn next() -> io::Result<Self> {
        Ok(Signals::new()?.next().await)
    }

    /// The status that shells give a process which was ended by it: 128 and the signal's number.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
            Self::Hangup => 129,
        }
    }
}

/// All signals from a moment on, for whoever goes on after one: a service that reads its configuration
/// again at a hangup, say.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    /// Listens from now on. As long as the process lives, these signals do not end it by themselves.
    ///
    /// # Errors
    /// Where the operating system refuses to have a signal handled.
    #[cfg(unix)]
    pub fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Listens from the first [`next`](Self::next) on, where the operating system has no signals.
    ///
    /// # Errors
    /// None.
    #[cfg(not(unix))]
    pub fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next one. Of the same signal, several that come while nobody waits are one.
    #[cfg(unix)]
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.hangup.recv() => Signal::Hangup,
        }
    }

    /// Waits for the next Ctrl-C.
    #[cfg(not(unix))]
    pub async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Interrupt,
            Err(_) => std::future::pending().await,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Hangup => "SIGHUP",
        })
    }
}
