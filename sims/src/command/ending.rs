//! How a command ends.

use std::io;
use std::process::ExitCode;

/// How a command ends that has done its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All held.
    Well,
    /// Something did not hold.
    Violated,
    /// By Ctrl-C.
    Interrupted,
}

impl Ending {
    pub(crate) fn of(all_held: bool) -> Self {
        if all_held { Self::Well } else { Self::Violated }
    }

    /// The status of the process. That of Ctrl-C is what a shell reports (128 and the signal's number).
    pub(crate) fn status(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Well => 0,
            Self::Violated => 1,
            Self::Interrupted => 130,
        })
    }
}

/// Why a command cannot do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// It was not told well what to do.
    #[error("{0}")]
    Usage(String),
    /// Nobody takes what it has to say.
    #[error("could not write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl Trouble {
    /// Says on standard error what is wrong; the status of the process.
    pub(crate) fn tell(&self) -> ExitCode {
        match self {
            // As a shell reports of one that SIGPIPE has ended (128 + 13).
            Self::Output(why) if why.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(141),
            trouble => {
                eprintln!("umbel-sim: {trouble}");
                ExitCode::from(2)
            }
        }
    }
}
