//! Modules as they are at one moment, to be shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A module as it is at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModuleView {
    /// Its name.
    pub name: String,
    /// What it does.
    pub state: ModuleState,
    /// Which instance runs, from 1; 0 where none does.
    pub generation: u64,
    /// The modules that it requires.
    pub requires: Vec<String>,
    /// The loaded modules that require it.
    pub dependents: Vec<String>,
    /// Its services that run here.
    pub services: Vec<String>,
}

/// What a module does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModuleState {
    /// It is up.
    Running,
    /// It has failed, and is being started again.
    Restarting,
    /// It is known, and not loaded.
    Unloaded,
    /// It runs in another process.
    Elsewhere,
}

/// Whether a module can do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModuleHealth {
    /// The module.
    pub module: String,
    /// Why it cannot; `None` where it can.
    pub why: Option<String>,
}

/// What has become of a module. Published to the topic [`MODULE_CHANGES`] of the runtime's system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModuleChange {
    /// The runtime.
    pub runtime: String,
    /// The module.
    pub module: String,
    /// Which instance of it, from 1.
    pub generation: u64,
    /// What has become of it.
    pub what: Change,
}

/// What has become of an instance of a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// It was loaded, and is given work.
    Loaded,
    /// It has taken the place of the instance before.
    Replaced,
    /// It was to take the place of another, which serves on.
    RolledBack {
        /// Why.
        why: String,
    },
    /// It was unloaded.
    Unloaded,
}

/// The topic of a system on which its runtime tells what becomes of modules, as [`ModuleChange`]s.
pub const MODULE_CHANGES: &str = "umbel.modules";

impl fmt::Display for ModuleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Unloaded => "unloaded",
            Self::Elsewhere => "elsewhere",
        })
    }
}

impl fmt::Display for ModuleView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.state)?;
        if self.generation > 0 {
            write!(f, " (instance {})", self.generation)?;
        }
        if !self.requires.is_empty() {
            write!(f, ", requires {}", self.requires.join(", "))?;
        }
        Ok(())
    }
}
