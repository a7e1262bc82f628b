//! What a node's configuration says.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use umbel_actors::{Clock, WallClock};
use umbel_cluster::{Credentials, ListDates, Node, NodeBuilder, NodeConfig};

use crate::certs;
use crate::failure::Failure;
use crate::node::span::Span;

/// The prefix of the variables that override the file.
const PREFIX: &str = "UMBEL_";

/// Variables with the prefix that are not for the configuration.
const OTHER_VARIABLES: [&str; 1] = ["state_dir"];

/// Those that begin so are for the configurations of services and of modules' runtimes.
const OF_OTHERS: [&str; 2] = ["services_", "runtime_"];

/// How often the certificates' files are looked at again, unless it is said.
const REREAD: Duration = Duration::from_secs(60);

const SEE: &str = "see `umbel node --example-config`";

/// A node's configuration, as the file and the environment tell it.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    dev: Option<bool>,
    name: Option<String>,
    pub(crate) certs: Option<Certs>,
    listen: Option<String>,
    advertise: Option<String>,
    #[serde(default)]
    join: Vec<String>,
    pub(crate) log: Option<String>,
    #[serde(default)]
    pub(crate) bounds: Bounds,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Certs {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    authorities: Option<PathBuf>,
    revoked: Option<PathBuf>,
    enforce_dates: Option<bool>,
    reread: Option<Span>,
}

/// Those of the node's bounds that can be set.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bounds {
    silence_max: Option<Span>,
    ping_interval: Option<Span>,
    handshake_deadline: Option<Span>,
    handshakes_max: Option<usize>,
    link_age_max: Option<Span>,
    busy_poll: Option<bool>,
    frame_bytes_max: Option<usize>,
    bulk_bytes_min: Option<usize>,
    message_bytes_max: Option<usize>,
    peers_max: Option<usize>,
    pub(crate) leave_deadline: Option<Span>,
}

impl Config {
    /// Reads the file, and lets the environment override it.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let shown = file.display().to_string();
        let text = fs::read_to_string(file).map_err(|why| {
            Failure::new(
                format!("could not read the configuration {shown}: {why}"),
                format!("check the path; for a file to begin with, {SEE}"),
            )
        })?;
        // By itself first: only so is it known where in the file something is wrong.
        if let Err(why) = toml::from_str::<Self>(&text) {
            let message = in_toml(why.message()).trim().replace('\n', ", ");
            let Some(span) = why.span() else {
                return Err(Failure::new(format!("{shown}: {message}"), SEE));
            };
            let place = place(&text, span.start);
            let failure = Failure::new(format!("{shown}, {place}: {message}"), SEE);
            return Err(failure.at(&shown, &text, span));
        }
        let environment = Env::prefixed(PREFIX).ignore(&OTHER_VARIABLES);
        let environment = environment
            .filter(|key| !OF_OTHERS.iter().any(|prefix| key.starts_with(prefix)))
            .split("__");
        Figment::from(Toml::string(&text)).merge(environment).extract().map_err(in_environment)
    }

    /// The node that it describes. Paths are relative to the directory of `file`.
    pub(crate) fn builder(&self, file: &Path) -> Result<NodeBuilder, Failure> {
        let beside = file.parent().unwrap_or(Path::new(""));
        let mut builder = match (self.dev.unwrap_or_default(), &self.certs, &self.name) {
            (true, Some(_), _) => {
                let message = "`dev` and `certs` are both set";
                return Err(Failure::new(message, "take out one: a node has one identity"));
            }
            (true, None, None) => {
                let message = "`dev` is set, but `name` is not";
                return Err(Failure::new(message, "give the node a name, as in name = \"a\""));
            }
            (true, None, Some(name)) => Node::dev(name),
            (false, _, Some(_)) => {
                let message = "`name` is set, but `dev` is not";
                let advice = "take it out: a node's name stands in its certificate";
                return Err(Failure::new(message, advice));
            }
            (false, None, None) => {
                let message = "neither `certs` nor `dev` is set";
                let advice = "name the node's certificates, which `umbel certs` makes, or set dev = true \
                              and a name";
                return Err(Failure::new(message, advice));
            }
            (false, Some(certs), None) => Node::builder().credentials(certs.load(beside)?),
        };
        if let Some(listen) = &self.listen {
            builder = builder.listen(listen);
        } else if self.join.is_empty() && !self.dev.unwrap_or_default() {
            let message = "neither `listen` nor `join` is set: the node could meet nobody";
            return Err(Failure::new(message, "set listen = \"0.0.0.0:7401\", say"));
        }
        if let Some(advertise) = &self.advertise {
            builder = builder.advertise(advertise);
        }
        Ok(builder.join(self.join.clone()).config(self.bounds.node_config()))
    }

    /// What is logged.
    pub(crate) fn log(&self) -> Result<&str, Failure> {
        let log = self.log.as_deref().unwrap_or("warn");
        EnvFilter::try_new(log).map_err(|why| {
            let advice = "write error, warn, info, debug or trace";
            Failure::new(format!("`log` is {log:?}: {why}"), advice)
        })?;
        Ok(log)
    }
}

impl Certs {
    /// How often the files are looked at again; `None` where that is only done at a signal.
    pub(crate) fn reread(&self) -> Option<Duration> {
        let span = self.reread.map_or(REREAD, |span| span.0);
        (!span.is_zero()).then_some(span)
    }

    /// Reads the files. Paths are relative to `beside`.
    pub(crate) fn load(&self, beside: &Path) -> Result<Credentials, Failure> {
        let path = |path: &Option<PathBuf>, key: &str| match path {
            Some(path) => Ok(beside.join(path)),
            None => Err(Failure::new(format!("`certs.{key}` is not set"), SEE)),
        };
        let certificate = path(&self.certificate, "certificate")?;
        let (key, authorities) = (path(&self.key, "key")?, path(&self.authorities, "authorities")?);
        let mut credentials = Credentials::load(&certificate, key, authorities)?;
        if self.enforce_dates.unwrap_or_default() {
            credentials = credentials.with_list_dates(ListDates::Enforced);
        }
        if let Some(revoked) = &self.revoked {
            credentials = credentials.with_revocation_lists(beside.join(revoked))?;
        }
        let (validity, now) = (credentials.validity(), WallClock.now().as_secs());
        if !(validity.not_before.as_secs()..=validity.not_after.as_secs()).contains(&now) {
            let (from, until) = (validity.not_before.as_secs(), validity.not_after.as_secs());
            let (from, until) = (certs::date(from), certs::date(until));
            return Err(Failure::new(
                format!(
                    "the certificate {} is valid from {from} until {until}, which is not now",
                    certificate.display()
                ),
                "issue a new one with `umbel certs issue`, or set the clock",
            ));
        }
        Ok(credentials)
    }
}

impl Bounds {
    fn node_config(&self) -> NodeConfig {
        let mut config = NodeConfig::default();
        let set = |bound: &mut Duration, span: Option<Span>| {
            if let Some(Span(span)) = span {
                *bound = span;
            }
        };
        set(&mut config.peers.silence_max, self.silence_max);
        set(&mut config.peers.ping_interval, self.ping_interval);
        set(&mut config.handshake_deadline, self.handshake_deadline);
        set(&mut config.link_age_max, self.link_age_max);
        config.busy_poll = self.busy_poll.unwrap_or(config.busy_poll);
        config.handshakes_max = self.handshakes_max.unwrap_or(config.handshakes_max);
        config.frame_bytes_max = self.frame_bytes_max.unwrap_or(config.frame_bytes_max);
        config.bulk_bytes_min = self.bulk_bytes_min.unwrap_or(config.bulk_bytes_min);
        config.message_bytes_max = self.message_bytes_max.unwrap_or(config.message_bytes_max);
        config.peers.peers_max = self.peers_max.unwrap_or(config.peers.peers_max);
        config
    }
}

/// The line at `offset`, and the key that is set there.
fn place(text: &str, offset: usize) -> String {
    let before = &text[..text.floor_char_boundary(offset)];
    let number = before.matches('\n').count() + 1;
    let line = text.lines().nth(number - 1).unwrap_or_default();
    match line.split_once('=') {
        Some((key, _)) => format!("line {number}, `{}`", key.trim()),
        None => format!("line {number}"),
    }
}

/// serde's words are not those of TOML.
fn in_toml(message: &str) -> String {
    message
        .replace("a sequence", "a list, as in [\"10.0.0.1:7401\"]")
        .replace("usize", "a whole number from 0 on")
}

/// The file alone was right: it is a variable.
fn in_environment(why: figment::Error) -> Failure {
    let variable = |path: &[String]| format!("{PREFIX}{}", path.join("__").to_uppercase());
    let message = match &why.kind {
        Kind::UnknownField(field, known) => {
            let mut path = why.path.clone();
            if path.last() != Some(field) {
                path.push(field.clone());
            }
            format!("{}: there is no such key; there are {}", variable(&path), known.join(", "))
        }
        kind => format!("{}: {}", variable(&why.path), in_toml(&kind.to_string())),
    };
    Failure::new(message, "set or unset that variable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_can_be_read_and_shows_the_defaults() {
        let example: Config = toml::from_str(crate::node::EXAMPLE).unwrap();
        assert_eq!(example.join.len(), 2);
        let (shown, default) = (example.bounds.node_config(), NodeConfig::default());
        assert_eq!(shown.peers, default.peers);
        assert_eq!(shown.frame_bytes_max, default.frame_bytes_max);
        assert_eq!(shown.bulk_bytes_min, default.bulk_bytes_min);
        assert_eq!(shown.message_bytes_max, default.message_bytes_max);
        assert_eq!(shown.handshake_deadline, default.handshake_deadline);
        assert_eq!(shown.handshakes_max, default.handshakes_max);
        assert_eq!(shown.link_age_max, default.link_age_max);
        assert_eq!(shown.busy_poll, default.busy_poll);
        assert_eq!(example.log.as_deref(), Config::default().log().ok());
    }

    #[test]
    fn what_is_set_is_used() {
        let set: Bounds = toml::from_str("busy_poll = false\nhandshakes_max = 7").unwrap();
        let config = set.node_config();
        assert!(!config.busy_poll && config.handshakes_max == 7);
    }
}
