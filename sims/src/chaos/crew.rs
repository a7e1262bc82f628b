//! The processes of a run, each a node.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use umbel_cluster::{Authority, CertsError, IssueOptions, Overwrite};

use super::bounds::{LINE_BYTES_MAX, LINES_WAITING_MAX};
use super::node::{NODE_COMMAND, NodePlan, name};
use super::proxies::Proxies;
use super::told::{Order, Told, line};
use crate::chance::Chance;

/// All join through the nodes below this number.
const SEEDS: usize = 2;

/// Starts nodes, each a child of this process, and hears what they tell.
///
/// None outlives this process: the kernel kills them when it ends, however it does. Dropping a
/// [`Process`] kills it.
pub(super) struct Crew {
    program: PathBuf,
    authority: Authority,
    /// Only its owner may enter it. Removed when this is dropped.
    directory: TempDir,
    chance: Chance,
    started: u32,
    heard: mpsc::Sender<Heard>,
}

/// Something that came from a process.
pub(super) struct Heard {
    pub(super) machine: usize,
    /// Which process: they are numbered in the order in which they were started, on all machines.
    pub(super) process: u32,
    pub(super) what: What,
}

/// What came.
pub(super) enum What {
    Told(Told),
    /// Something that nobody can read.
    Nonsense(String),
    /// A line of its standard error.
    Complained(String),
    /// Nothing will come any more: it has ended.
    Ended,
}

/// Why there is no crew, or no further process.
#[derive(Debug, Error)]
pub(super) enum CrewError {
    #[error(
        "could not make a directory in {place}: {why}; set TMPDIR to one that may be written to"
    )]
    Directory { place: String, why: io::Error },
    #[error(transparent)]
    Certs(#[from] CertsError),
    #[error("could not start a process of our own: {0}")]
    Spawn(#[from] io::Error),
}

impl Crew {
    pub(super) fn new(chance: Chance) -> Result<(Self, mpsc::Receiver<Heard>), CrewError> {
        let directory =
            tempfile::Builder::new().prefix("umbel-chaos-").tempdir().map_err(|why| {
                CrewError::Directory { place: std::env::temp_dir().display().to_string(), why }
            })?;
        let cluster = "chaos".parse().expect("letters are a name");
        let authority = Authority::create(cluster)?;
        let (heard, hearing) = mpsc::channel(LINES_WAITING_MAX);
        let program = std::env::current_exe()?;
        Ok((Self { program, authority, directory, chance, started: 0, heard }, hearing))
    }

    /// Starts the node of a machine, whose talker is to be calm at first, or not. Must be called on a
    /// thread that ends no sooner than the process: the kernel takes the end of the thread for that of
    /// the parent.
    pub(super) fn start(
        &mut self,
        machine: usize,
        proxies: &Proxies,
        calm: bool,
    ) -> Result<Process, CrewError> {
        self.started += 1;
        let number = self.started;
        let me = name(machine);
        let credentials = self.directory.path().join(format!("{me}-{number}"));
        let issued = self.authority.issue(&me, &IssueOptions::new())?;
        issued.save(&credentials, Overwrite::Refuse)?;
        let plan = NodePlan {
            machine,
            parent: std::process::id(),
            seed: self.chance.next(),
            credentials,
            advertise: proxies.advertised(machine).to_owned(),
            doors: proxies.doors(machine),
            join: (0..SEEDS)
                .filter(|seed| *seed != machine)
                .map(|seed| proxies.advertised(seed).to_owned())
                .collect(),
            calm,
        };
        let plan = serde_json::to_string(&plan).expect("a plan is plain data");
        let mut child = Command::new(&self.program)
            .arg(NODE_COMMAND)
            .arg(plan)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in a terminal is for this process alone, which then ends the others.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take();
        let ear = Ear { machine, process: number, heard: self.heard.clone() };
        if let Some(output) = child.stdout.take() {
            tokio::spawn(ear.clone().hear_told(output));
        }
        if let Some(errors) = child.stderr.take() {
            tokio::spawn(ear.hear_complaints(errors));
        }
        Ok(Process { number, child, input })
    }
}

/// A process that was started here and not waited for yet: so its number is nobody else's.
pub(super) struct Process {
    pub(super) number: u32,
    child: Child,
    /// Held open, for the process ends when it is closed.
    input: Option<ChildStdin>,
}

impl Process {
    /// Its number in the system; `None` where it was waited for.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends it a signal, if it is there.
    pub(super) fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(id) = id {
            // It may have ended by itself just now, and then nothing happens.
            let _ = kill_process(id, signal);
        }
    }

    /// Gives it an order, which lies in the pipe while it is stopped.
    pub(super) async fn order(&mut self, order: &Order) {
        if let Some(input) = &mut self.input {
            // An error: it has ended, which is about to be heard.
            let _ = input.write_all(&line(order)).await;
        }
    }

    /// Kills it where it still lives, and waits for its end.
    pub(super) async fn end(mut self) {
        // An error: it has ended.
        let _ = self.child.start_kill();
        let _ = self.ended().await;
    }

    /// Waits for its end; how it ended.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }
}

/// Hears one process.
#[derive(Clone)]
struct Ear {
    machine: usize,
    process: u32,
    heard: mpsc::Sender<Heard>,
}

impl Ear {
    async fn tell(&self, what: What) {
        let Self { machine, process, .. } = *self;
        // Who hears no more has ended the run.
        let _ = self.heard.send(Heard { machine, process, what }).await;
    }

    async fn hear_told(self, output: impl AsyncRead + Unpin) {
        let mut lines = Lines::new(output);
        while let Some(line) = lines.next().await {
            let what = match serde_json::from_slice(&line) {
                Ok(told) => What::Told(told),
                // The last line of one that was killed in the middle of it.
                Err(_) if !line.ends_with(b"\n") && (line.len() as u64) < LINE_BYTES_MAX => break,
                Err(why) => What::Nonsense(why.to_string()),
            };
            self.tell(what).await;
        }
        self.tell(What::Ended).await;
    }

    async fn hear_complaints(self, errors: impl AsyncRead + Unpin) {
        let mut lines = Lines::new(errors);
        while let Some(line) = lines.next().await {
            let line = String::from_utf8_lossy(&line);
            self.tell(What::Complained(line.trim_end().to_owned())).await;
        }
    }
}

/// Lines of a bounded length; one that is longer comes in several.
struct Lines<R>(BufReader<R>);

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(input: R) -> Self {
        Self(BufReader::new(input))
    }

    /// The next, with its end; `None` when there are no more.
    async fn next(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        let read = (&mut self.0).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
        read.is_ok_and(|count| count > 0).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_without_end_comes_in_pieces_of_bounded_length() {
        let endless = vec![b'x'; LINE_BYTES_MAX as usize + 5];
        let mut lines = Lines::new(endless.as_slice());
        assert_eq!(lines.next().await.map(|line| line.len()), Some(LINE_BYTES_MAX as usize));
        assert_eq!(lines.next().await, Some(b"xxxxx".to_vec()));
        assert_eq!(lines.next().await, None);
    }
}
