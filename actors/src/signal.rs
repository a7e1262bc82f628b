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
    /// signals do not end it by themselves.
    ///
    /// # Errors
    /// Where the operating system refuses to have a signal handled.
    #[cfg(unix)]
    pub async fn next() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        Ok(tokio::select! {
            _ = interrupt.recv() => Self::Interrupt,
            _ = terminate.recv() => Self::Terminate,
            _ = hangup.recv() => Self::Hangup,
        })
    }

    /// Waits for the next one. From the first call on, and for as long as the process lives, Ctrl-C
    /// does not end it by itself.
    ///
    /// # Errors
    /// Where the operating system refuses to have a signal handled.
    #[cfg(not(unix))]
    pub async fn next() -> io::Result<Self> {
        tokio::signal::ctrl_c().await?;
        Ok(Self::Interrupt)
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

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Hangup => "SIGHUP",
        })
    }
}
