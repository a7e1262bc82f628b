//! The nodes of the demo: a process each.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::task::Poll;

use thiserror::Error;
use tokio::process::{Child, ChildStdin, Command};
use umbel_cluster::{Authority, CertsError, IssueOptions, Overwrite};
use umbel_protocol::NodeName;

use crate::demo::worker;

/// The processes that run nodes, each a child of this one.
///
/// None of them outlives this process: a worker ends when its standard input does, which the system
/// sees to even where this process is killed. Dropping the crew kills them all.
pub(crate) struct Crew {
    plan: CrewPlan,
    started: u32,
    members: BTreeMap<NodeName, Member>,
}

/// What the processes of a crew are started with.
pub(crate) struct CrewPlan {
    /// Issues each its certificate. It is nowhere but in the memory of this process.
    pub(crate) authority: Authority,
    /// For each worker's certificate and key. A worker removes its own when it has read them.
    pub(crate) directory: PathBuf,
    /// The node to join.
    pub(crate) join: String,
    pub(crate) counters: u16,
}

struct Member {
    process: Child,
    /// Held open, for the worker ends when it is closed.
    _input: Option<ChildStdin>,
}

/// Why a worker was not started.
#[derive(Debug, Error)]
pub(crate) enum CrewError {
    #[error(transparent)]
    Certs(#[from] CertsError),
    #[error("could not start a process of our own: {0}")]
    Spawn(#[from] io::Error),
}

impl Crew {
    pub(crate) fn new(plan: CrewPlan) -> Self {
        Self { plan, started: 0, members: BTreeMap::new() }
    }

    /// Starts one more node; its name and its process.
    pub(crate) fn start(&mut self) -> Result<(NodeName, u32), CrewError> {
        self.started += 1;
        let name = node_name(self.started);
        let credentials = self.plan.authority.issue(&name, &IssueOptions::new())?;
        let directory = self.plan.directory.join(name.as_str());
        credentials.save(&directory, Overwrite::Refuse)?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg(worker::COMMAND)
            .arg("--node")
            .arg(name.as_str())
            .arg("--credentials")
            .arg(&directory)
            .arg("--join")
            .arg(&self.plan.join)
            .arg("--counters")
            .arg(self.plan.counters.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        // Ctrl-C in a terminal is for this process alone, which then ends the others.
        #[cfg(unix)]
        command.process_group(0);
        let mut process = command.spawn()?;
        let pid = process.id().unwrap_or_default();
        // `Child::wait` closes the input of a child that still has it.
        let input = process.stdin.take();
        self.members.insert(name.clone(), Member { process, _input: input });
        Ok((name, pid))
    }

    /// Kills a node's process, without a word to it: SIGKILL. False where there is none.
    pub(crate) fn kill(&mut self, node: &NodeName) -> bool {
        self.members.get_mut(node).is_some_and(|member| member.process.start_kill().is_ok())
    }

    /// Waits until a node's process has ended, and forgets it. Can be cancelled.
    pub(crate) async fn ended(&mut self) -> (NodeName, io::Result<ExitStatus>) {
        let ended = poll_fn(|cx| {
            for (name, member) in &mut self.members {
                if let Poll::Ready(status) = pin!(member.process.wait()).poll(cx) {
                    return Poll::Ready((name.clone(), status));
                }
            }
            Poll::Pending
        });
        let (name, status) = ended.await;
        self.members.remove(&name);
        (name, status)
    }

    /// Kills whoever is left, and returns when none is.
    pub(crate) async fn dismiss(&mut self) {
        for member in self.members.values_mut() {
            // It may have ended by itself.
            let _ = member.process.start_kill();
        }
        while !self.members.is_empty() {
            // How they ended is known.
            let _ = self.ended().await;
        }
    }
}

/// The name of the node that is started as the `number`th.
pub(crate) fn node_name(number: u32) -> NodeName {
    NodeName::new(format!("node-{number}")).expect("letters, a hyphen and digits are a name")
}
