//! How a command fails: what is said, and with which status the process ends.

use std::fmt;
use std::io;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
    SourceSpan,
};
use umbel_cluster::{CertsError, StartError, TransportError};

use crate::demo::crew::CrewError;
use crate::demo::sources::SourceError;

/// The status of a process whose output nobody reads any more: what a shell reports of one that
/// SIGPIPE has ended (128 + 13).
const OUTPUT_GONE: u8 = 141;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is something to say, and status 2.
    Problem(Box<Problem>),
    /// There is nothing to say: only a status.
    Ended(u8),
}

/// What is wrong, and what to do about it.
#[derive(Debug)]
pub(crate) struct Problem {
    message: String,
    advice: Option<String>,
    place: Option<(NamedSource<String>, SourceSpan)>,
}

impl Failure {
    /// A problem that one can do something about.
    pub(crate) fn new(message: impl Into<String>, advice: impl Into<String>) -> Self {
        let (message, advice) = (message.into(), Some(advice.into()));
        Self::Problem(Box::new(Problem { message, advice, place: None }))
    }

    /// A problem that tells by itself what to do, or that nobody expects.
    pub(crate) fn unexpected(why: impl fmt::Display) -> Self {
        let message = why.to_string();
        Self::Problem(Box::new(Problem { message, advice: None, place: None }))
    }

    /// Shows where in a file the problem is.
    pub(crate) fn at(self, file: &str, text: &str, span: std::ops::Range<usize>) -> Self {
        match self {
            Self::Problem(mut problem) => {
                let source = NamedSource::new(file, text.to_owned()).with_language("toml");
                problem.place = Some((source, span.into()));
                Self::Problem(problem)
            }
            ended => ended,
        }
    }

    /// What there is to say, in one line.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Ended(status) => format!("it ended with status {status}"),
            Self::Problem(problem) => problem.to_string(),
        }
    }

    /// Says on standard error what there is to say; the status to end with.
    pub(crate) fn report(&self) -> u8 {
        match self {
            Self::Ended(status) => *status,
            Self::Problem(problem) => {
                eprintln!("umbel: {problem}");
                if problem.place.is_some() {
                    // Without its first line, which is what was just said.
                    let drawn = problem.drawn();
                    eprint!("{}", drawn.split_once('\n').map_or("", |(_, drawn)| drawn));
                }
                2
            }
        }
    }
}

impl Problem {
    /// The place in the file, with the lines around it.
    fn drawn(&self) -> String {
        let mut theme = GraphicalTheme::unicode_nocolor();
        if console::colors_enabled_stderr() {
            theme = GraphicalTheme::unicode();
        }
        let handler = GraphicalReportHandler::new_themed(theme).with_wrap_lines(false);
        let mut drawn = String::new();
        // A `String` takes whatever is written to it.
        let _ = handler.render_report(&mut drawn, self);
        drawn
    }
}

/// One line: what is wrong; what to do.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.place.as_ref().map(|(source, _)| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (_, span) = self.place.as_ref()?;
        Some(Box::new(std::iter::once(LabeledSpan::underline(*span))))
    }
}

/// Of writing to standard output.
impl From<io::Error> for Failure {
    fn from(why: io::Error) -> Self {
        if why.kind() == io::ErrorKind::BrokenPipe {
            return Self::Ended(OUTPUT_GONE);
        }
        Self::new(format!("could not write to standard output: {why}"), "is its disk full?")
    }
}

impl From<SourceError> for Failure {
    fn from(why: SourceError) -> Self {
        let advice = match &why {
            SourceError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "check the path, or leave out the files to count umbel's own pages"
            }
            SourceError::Read { .. } => "check its permissions, or leave it out",
            SourceError::Directory { .. } => "name the files in it, as in DIR/*",
            SourceError::Endless { .. } => "give a part of it, as with head -c",
        };
        Self::new(why.to_string(), advice)
    }
}

impl From<CertsError> for Failure {
    fn from(why: CertsError) -> Self {
        match why {
            CertsError::Read { .. } => {
                Self::new(why.to_string(), "check the path, or make it with `umbel certs`")
            }
            CertsError::Write { .. } => {
                Self::new(why.to_string(), "choose a directory that you may write to")
            }
            CertsError::Unusable { .. } | CertsError::KeyMismatch { .. } => {
                Self::new(why.to_string(), "check that it is the right file, or issue a new one")
            }
            CertsError::Misplaced { .. } => Self::new(
                why.to_string(),
                "are two files swapped? `umbel certs show FILE` tells what is in a certificate",
            ),
            CertsError::NotAccepted { .. } => Self::new(
                why.to_string(),
                "issue it again with `umbel certs issue`, by the authority that the cluster trusts",
            ),
            why => Self::unexpected(why),
        }
    }
}

impl From<StartError> for Failure {
    fn from(why: StartError) -> Self {
        match why {
            StartError::Certs(why) => why.into(),
            StartError::DevNotLoopback(address) => Self::new(
                format!("a development node listens on loopback only, not on {address}"),
                "set listen = \"127.0.0.1:7401\", say, or, for a network, take out `dev` and `name` and \
                 set `certs`, which `umbel certs` makes",
            ),
            StartError::Transport(TransportError::Listen { address, source })
            | StartError::Address { address, source } => {
                let advice = match source.kind() {
                    io::ErrorKind::AddrInUse => {
                        "another process has that port: stop it, or set `listen` to another one"
                    }
                    io::ErrorKind::AddrNotAvailable => {
                        "set `listen` to an address of this machine, or to 0.0.0.0"
                    }
                    io::ErrorKind::PermissionDenied => {
                        "set `listen` to a port from 1024 on, or run as a user who may"
                    }
                    _ => "set `listen` to host:port, with port 0 for any free one",
                };
                Self::new(format!("could not listen on {address}: {source}"), advice)
            }
            why => Self::unexpected(why),
        }
    }
}

impl From<CrewError> for Failure {
    fn from(why: CrewError) -> Self {
        match why {
            CrewError::Certs(why) => why.into(),
            why => Self::unexpected(why),
        }
    }
}
