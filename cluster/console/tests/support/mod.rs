//! Real processes of the command line, which do not outlive their test.

#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// Nothing here takes so long, not even on a machine that does much else.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// The command line, with no configuration from outside.
pub(crate) fn umbel(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_umbel"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command) -> Output {
    let (told, ended) = mpsc::channel();
    std::thread::spawn(move || told.send(command.output().unwrap()));
    ended.recv_timeout(DEADLINE).expect("it ends in time")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A process whose lines on standard output are read as they come.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
    /// Sent when nobody has the process's standard error open any more.
    all_gone: Receiver<String>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let (told, all_gone) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            told.send(text)
        });
        Self { child, lines, heard: Vec::new(), all_gone }
    }

    /// Waits for a line that contains `part`.
    pub(crate) fn line(&mut self, part: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(DEADLINE) else {
                panic!("no line with {part:?} in {:#?}", self.heard);
            };
            self.heard.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The lines so far.
    pub(crate) fn heard(&self) -> &[String] {
        &self.heard
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        // Its standard output ends with it; only then is it waited for.
        while self.lines.recv_timeout(DEADLINE).is_ok() {}
        self.child.wait().unwrap()
    }

    /// Waits until neither it nor any process that it has started is there; what they said on
    /// standard error, which they share.
    pub(crate) fn all_gone(&mut self) -> String {
        self.all_gone.recv_timeout(DEADLINE).expect("no process is left behind")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (told, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if told.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A process that another one has started.
pub(crate) struct Other {
    pid: Pid,
    ended: OwnedFd,
}

impl Other {
    pub(crate) fn new(pid: &str) -> Self {
        let pid = pid.parse().ok().and_then(Pid::from_raw).expect("the number of a process");
        let ended = pidfd_open(pid, PidfdFlags::empty()).expect("a process that runs");
        Self { pid, ended }
    }

    pub(crate) fn kill(&self) {
        kill_process(self.pid, Signal::KILL).unwrap();
    }

    /// Whether it has ended by now.
    pub(crate) fn has_ended(&self) -> bool {
        self.ends_within(Duration::ZERO)
    }

    /// Waits for its end. What it has open is closed a moment before that, so whoever sees the end of
    /// a pipe has yet to wait for the process.
    pub(crate) fn ends(&self) -> bool {
        self.ends_within(DEADLINE)
    }

    fn ends_within(&self, time: Duration) -> bool {
        let time = time.try_into().expect("some minutes at most");
        poll(&mut [PollFd::new(&self.ended, PollFlags::IN)], Some(&time)).unwrap() == 1
    }
}

/// Writes a file and gives its path.
pub(crate) fn file(directory: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    path
}
