//! The certificates of a node that runs, as their files change.

use std::io::{self, Write};
use std::path::Path;

use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior, interval};
use umbel_cluster::Node;

use crate::certs;
use crate::failure::Failure;
use crate::node::config::{Certs, Config};

/// The certificates of a node that runs, as their files change.
pub(super) struct Certificates<'a> {
    node: &'a Node,
    files: &'a Certs,
    /// What relative paths are relative to.
    beside: &'a Path,
    json: bool,
    looks: Option<Interval>,
    /// What is wrong with the files, as it was told: a minute later it need not be told again.
    wrong: Option<String>,
}

impl<'a> Certificates<'a> {
    /// `None` where the configuration in `file` names none.
    pub(super) fn of(
        node: &'a Node,
        config: &'a Config,
        file: &'a Path,
        json: bool,
    ) -> Option<Self> {
        let files = config.certs.as_ref()?;
        let beside = file.parent().unwrap_or(Path::new(""));
        let looks = files.reread().map(|span| {
            let mut looks = interval(span);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            looks.reset();
            looks
        });
        Some(Self { node, files, beside, json, looks, wrong: None })
    }

    /// Waits until it is time to look at the files.
    pub(super) async fn due(&mut self) {
        match &mut self.looks {
            Some(looks) => _ = looks.tick().await,
            None => std::future::pending().await,
        }
    }

    /// Reads the files, and uses what has changed. The outcome is told if somebody has `asked`, and
    /// where it is news.
    pub(super) async fn reread(&mut self, asked: bool) -> Result<(), Failure> {
        match self.try_reread().await {
            Ok(changed) => {
                if changed || asked || self.wrong.is_some() {
                    self.tell_used(changed)?;
                }
                self.wrong = None;
            }
            Err(why) => {
                let why = why.line();
                if asked || self.wrong.as_ref() != Some(&why) {
                    self.tell_wrong(&why)?;
                }
                self.wrong = Some(why);
            }
        }
        Ok(())
    }

    /// Whether anything had changed.
    async fn try_reread(&self) -> Result<bool, Failure> {
        let credentials = self.files.load(self.beside)?;
        if self.node.credentials().is_some_and(|used| used == credentials) {
            return Ok(false);
        }
        self.node.rotate(credentials).await?;
        Ok(true)
    }

    fn tell_used(&self, changed: bool) -> io::Result<()> {
        let until = self.node.credentials().map(|used| used.validity().not_after.as_secs());
        let until = certs::date(until.unwrap_or_default());
        if self.json {
            let event = json!({"event": "certificates", "changed": changed, "until": until});
            return writeln!(io::stdout(), "{event}");
        }
        let news = if changed { "certificates replaced" } else { "certificates as before" };
        writeln!(io::stdout(), "{news}, valid until {until}")
    }

    fn tell_wrong(&self, why: &str) -> io::Result<()> {
        tracing::warn!(target: "umbel", %why, "certificates not replaced");
        if self.json {
            let event = json!({"event": "certificates", "changed": false, "error": why});
            return writeln!(io::stdout(), "{event}");
        }
        writeln!(io::stdout(), "certificates not replaced, the former ones stay in use: {why}")
    }
}
