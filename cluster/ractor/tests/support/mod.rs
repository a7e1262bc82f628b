//! Nodes with the lane: one in the test's own process, others as processes of their own.

#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use umbel_cluster::{Authority, Credentials, IssueOptions, Node, NodeConfig, Overwrite};
use umbel_ractor_cluster::RactorCluster;

/// Nothing here takes so long, not even on a machine that does much else.
pub(crate) const LONG: Duration = Duration::from_secs(60);

const CHILD: &str = "UMBEL_TEST_CHILD";

/// One test at a time: the lane is one for the process.
static ALONE: std::sync::OnceLock<Arc<Mutex<()>>> = std::sync::OnceLock::new();

/// Paces that make silence show within a second and a half.
pub(crate) fn quick() -> NodeConfig {
    let mut config = NodeConfig::default();
    config.peers.ping_interval = Duration::from_millis(200);
    config.peers.silence_max = Duration::from_millis(1500);
    config
}

/// The node of this process, and what its peers need.
pub(crate) struct Shop {
    directory: tempfile::TempDir,
    pub(crate) authority: Authority,
    pub(crate) node: Node,
    pub(crate) lane: RactorCluster,
    _alone: OwnedMutexGuard<()>,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::open_with(quick()).await
    }

    pub(crate) async fn open_with(config: NodeConfig) -> Self {
        let alone = ALONE.get_or_init(Arc::default).clone().lock_owned().await;
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create("shop".parse().unwrap()).unwrap();
        for name in ["a", "b"] {
            issue(&authority, name).save(directory.path(), Overwrite::Replace).unwrap();
        }
        let lane = RactorCluster::new();
        let node = start(load(directory.path(), "a"), None, config, &lane).await;
        Self { directory, authority, node, lane, _alone: alone }
    }

    /// Starts a process that is node `b`.
    pub(crate) fn process(&self) -> Process {
        let (directory, seed) = (self.directory.path().display(), self.node.address().unwrap());
        Process::start(&format!("umbel|{directory}|{seed}"))
    }

    /// Waits until so many peers are ready.
    pub(crate) async fn until_ready(&self, count: usize) {
        self.until("ready", || self.lane.ready().len() == count).await;
    }

    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let waited = tokio::time::timeout(LONG, async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let vain = waited.await.is_err();
        assert!(
            !vain,
            "waited in vain: {what}; ready {:?}, refusals {:?}, {:?}",
            self.lane.ready(),
            self.node.refusals(),
            self.node.peers().await
        );
    }
}

pub(crate) fn issue(authority: &Authority, name: &str) -> Credentials {
    authority.issue(&name.parse().unwrap(), &IssueOptions::new()).unwrap()
}

async fn start(
    credentials: Credentials,
    seed: Option<&str>,
    config: NodeConfig,
    lane: &RactorCluster,
) -> Node {
    Node::builder()
        .credentials(credentials)
        .listen("127.0.0.1:0")
        .join(seed)
        .config(config)
        .rider(lane.clone())
        .start()
        .await
        .unwrap()
}

fn load(directory: &Path, name: &str) -> Credentials {
    Credentials::load(
        directory.join(format!("{name}.pem")),
        directory.join(format!("{name}-key.pem")),
        directory.join("ca.pem"),
    )
    .unwrap()
}

/// A child that does not outlive its test.
pub(crate) struct Process(Child);

impl Process {
    /// This test's program again, told by its environment what to be.
    pub(crate) fn start(what: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, what)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Asks it to leave, and waits until it has.
    pub(crate) fn leave(&mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the environment says this process is to be, if it is a child.
pub(crate) fn child() -> Option<Vec<String>> {
    let what = std::env::var(CHILD).ok()?;
    Some(what.split('|').map(str::to_owned).collect())
}

/// Is node `b`, with a program on it, until the parent lets go.
pub(crate) async fn be_node<P>(directory: PathBuf, seed: &str, program: impl Future<Output = P>) {
    let lane = RactorCluster::new();
    let node = start(load(&directory, "b"), Some(seed), quick(), &lane).await;
    let _program = program.await;
    parent_lets_go().await;
    node.leave(Duration::from_secs(5)).await;
}

/// Ends with the parent: the pipe's other end is gone then.
pub(crate) async fn parent_lets_go() {
    let closed = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)
    });
    let _ = closed.await;
}

/// What a process has, that it should not have for longer than it needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Possessions {
    pub(crate) tasks: usize,
    pub(crate) actors: usize,
    pub(crate) files: usize,
    pub(crate) sockets: usize,
    /// The process groups, with the number of their members.
    pub(crate) groups: BTreeMap<String, usize>,
}

impl Possessions {
    /// Waits until the process has no more than it had. Less is well: other tests may have had
    /// something, too, when this was counted.
    pub(crate) async fn again(&self) {
        let waited = tokio::time::timeout(LONG, async {
            while !Self::now().is_within(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "had {self:?}, has {:?}", Self::now());
    }

    fn is_within(&self, other: &Self) -> bool {
        let members = |group| other.groups.get(group).copied().unwrap_or(0);
        self.tasks <= other.tasks
            && self.actors <= other.actors
            && self.files <= other.files
            && self.sockets <= other.sockets
            && self.groups.iter().all(|(group, count)| *count <= members(group))
    }

    pub(crate) fn now() -> Self {
        let groups = ractor::pg::which_groups();
        let members = |group: String| {
            let members = ractor::pg::get_members(&group).len();
            (group, members)
        };
        let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let files: Vec<_> = files.filter_map(|file| std::fs::read_link(file.path()).ok()).collect();
        let sockets = files.iter().filter(|file| file.to_string_lossy().starts_with("socket"));
        Self {
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            actors: ractor::registry::pid_registry::get_all_pids().len(),
            sockets: sockets.count(),
            files: files.len(),
            groups: groups.into_iter().map(members).collect(),
        }
    }
}
