//! Starts the shop's processes, and starts again those that die.

mod report;
mod tour;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use umbel_cluster::{Authority, IssueOptions, Overwrite};

use self::report::Report;
use crate::layout::{Layout, Part};
use crate::process::{LAST_WORK, Ready};

/// How long a process may take until it is up.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

type Failure = Box<dyn std::error::Error>;

/// What was said on the command line.
#[derive(Debug)]
pub(crate) struct LauncherOptions {
    pub(crate) data: Option<PathBuf>,
    pub(crate) database: Option<String>,
    pub(crate) admin_token: Option<String>,
    pub(crate) restart_after: Duration,
    pub(crate) tour: bool,
    pub(crate) json: bool,
}

/// Starts the shop's processes, and starts again those that die, at the addresses that they had.
pub(crate) struct Launcher {
    layout: Layout,
    options: LauncherOptions,
    report: Report,
    /// For certificates, and for the databases unless it is said where.
    directory: TempDir,
    /// Issues each node its certificate. It is nowhere but in the memory of this process.
    authority: Authority,
    /// The processes that are up, and those that were.
    known: BTreeMap<&'static str, Ready>,
}

/// The processes that run, and how they end.
type Running = JoinSet<(Part, io::Result<ExitStatus>)>;

/// What the processes read, by their names. Each ends when its input does.
type Inputs = BTreeMap<&'static str, ChildStdin>;

impl Launcher {
    pub(crate) fn new(layout: Layout, options: LauncherOptions) -> Result<Self, Failure> {
        if let Some(data) = &options.data {
            std::fs::create_dir_all(data)
                .map_err(|why| format!("{} cannot be used: {why}", data.display()))?;
        }
        Ok(Self {
            layout,
            report: Report { json: options.json },
            options,
            directory: tempfile::tempdir()?,
            authority: Authority::create("shop".parse()?)?,
            known: BTreeMap::new(),
        })
    }

    /// Runs until told to stop, or until the tour is over.
    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        let (mut running, mut inputs) = (Running::new(), Inputs::new());
        let outcome = self.work(&mut running, &mut inputs).await;
        self.report.closing();
        // Their input ends, and so do they, all at once.
        drop(inputs);
        let ending = async { while running.join_next().await.is_some() {} };
        // Whoever is left is killed when it is dropped.
        let _ = timeout(4 * LAST_WORK, ending).await;
        outcome
    }

    async fn work(&mut self, running: &mut Running, inputs: &mut Inputs) -> Result<(), Failure> {
        let mut stop = std::pin::pin!(stopped());
        let parts = self.layout.parts();
        for part in parts {
            tokio::select! {
                started = self.start(part, running) => inputs.extend(started?),
                stopped = stop.as_mut() => return stopped,
            }
        }
        if self.options.tour {
            return tour::take(&self.report, parts, &self.known).await;
        }
        self.report.ready(self.layout, parts, &self.known);
        loop {
            let (part, status) = tokio::select! {
                Some(ended) = running.join_next() => ended?,
                stopped = stop.as_mut() => return stopped,
            };
            self.report.ended(&part, &status?);
            tokio::select! {
                () = sleep(self.options.restart_after) => {}
                stopped = stop.as_mut() => return stopped,
            }
            tokio::select! {
                started = self.start(&part, running) => inputs.extend(started?),
                stopped = stop.as_mut() => return stopped,
            }
        }
    }

    /// Starts a process and waits until it is up. It ends when what is returned is dropped.
    async fn start(
        &mut self,
        part: &Part,
        running: &mut Running,
    ) -> Result<Option<(&'static str, ChildStdin)>, Failure> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let before = self.known.get(part.name);
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("internal-process")
            .arg("--name")
            .arg(part.name)
            .arg("--run")
            .arg(part.modules.join(","))
            .arg("--http")
            .arg(before.map_or(any, |ready| ready.http).to_string())
            .env("SHOP_DATABASE", self.database_of(part))
            .env_remove("SHOP_ADMIN_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        // Ctrl-C in a terminal is for this process alone, which then ends the others.
        #[cfg(unix)]
        command.process_group(0);
        if let Some(token) = &self.options.admin_token {
            command.env("SHOP_ADMIN_TOKEN", token);
        }
        if self.layout.parts().len() > 1 {
            let credentials = self.authority.issue(&part.name.parse()?, &IssueOptions::new())?;
            let directory = self.directory.path().join(part.name);
            credentials.save(&directory, Overwrite::Replace)?;
            let node = before.and_then(|ready| ready.node).unwrap_or(any);
            command.arg("--node").arg(node.to_string()).arg("--credentials").arg(directory);
            let others = self.known.iter().filter(|(name, _)| **name != part.name);
            for address in others.filter_map(|(_, ready)| ready.node) {
                command.arg("--join").arg(address.to_string());
            }
        }
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or("a process without standard output")?;
        let mut said = String::new();
        let mut stdout = BufReader::new(stdout);
        match timeout(STARTS_WITHIN, stdout.read_line(&mut said)).await {
            Ok(Ok(1..)) => {}
            Ok(_) => {
                let status = child.wait().await?;
                return Err(format!("process {} did not start: {status}", part.name).into());
            }
            Err(_) => {
                return Err(
                    format!("process {} was not up within {STARTS_WITHIN:?}", part.name).into()
                );
            }
        }
        let ready: Ready = serde_json::from_str(&said)?;
        self.report.up(part, child.id().unwrap_or_default(), &ready);
        self.known.insert(part.name, ready);
        let (part, stdin) = (*part, child.stdin.take());
        running.spawn(async move { (part, child.wait().await) });
        Ok(stdin.map(|stdin| (part.name, stdin)))
    }

    fn database_of(&self, part: &Part) -> String {
        if let Some(url) = &self.options.database {
            return url.clone();
        }
        let directory = self.options.data.as_deref().unwrap_or(self.directory.path());
        format!("sqlite:{}", directory.join(format!("{}.db", part.name)).display())
    }
}

/// Ends when the program is told to stop.
async fn stopped() -> Result<(), Failure> {
    umbel_actors::Signal::next().await?;
    Ok(())
}
