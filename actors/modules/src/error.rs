//! Why modules are not started, stopped or replaced.

use thiserror::Error;
use umbel_actors::supervision::{ChildError, StartError};
use umbel_services::Failure;

use crate::order::OrderError;

/// Why a runtime was not built. Nothing was started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The modules do not fit together.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// A module could not be made.
    #[error("a module could not be made: {0}")]
    Make(Failure),
    /// A module needs a database, and this program was built without.
    #[error("module '{module}' needs a database: build with umbel-modules' feature `database`")]
    NoDatabase {
        /// The module.
        module: String,
    },
    /// The configuration has a section for a module that is neither registered nor named as one that runs
    /// elsewhere: its name may be mistyped.
    #[error(
        "the configuration has a section of module '{module}', which is not registered; there are {}",
        listed(known)
    )]
    Section {
        /// The module.
        module: String,
        /// Those that may have one: registered, or running elsewhere.
        known: Vec<String>,
    },
    /// The configuration would run a module that is not registered.
    #[error("the configuration runs module '{module}', but it is not registered")]
    Unknown {
        /// The module.
        module: String,
    },
}

/// Why a module is not loaded. Nothing of it is left.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It could not be made.
    #[error("module '{module}' could not be made: {why}")]
    Make {
        /// The module.
        module: String,
        /// Why.
        why: Failure,
    },
    /// No module of this name was ever registered.
    #[error("there is no module '{module}'; there are {}", listed(known))]
    Unknown {
        /// The name.
        module: String,
        /// Those that there are, loaded or not.
        known: Vec<String>,
    },
    /// There is a module of this name already: reload or upgrade it.
    #[error("module '{module}' is loaded already: reload or upgrade it")]
    Loaded {
        /// The module.
        module: String,
    },
    /// It requires a module that is not loaded.
    #[error("module '{module}' requires '{requires}' but it is not loaded")]
    Missing {
        /// The module.
        module: String,
        /// What it requires.
        requires: String,
    },
    /// It needs a database, and the runtime was started without one.
    #[error("module '{module}' needs a database, but the runtime was started without one")]
    NoDatabase {
        /// The module.
        module: String,
    },
    /// It would not register.
    #[error("module '{module}' did not register: {why}")]
    Register {
        /// The module.
        module: String,
        /// Why.
        why: Failure,
    },
    /// It did not start, or one of its children did not.
    #[error("module '{module}' did not start: {why}")]
    Start {
        /// The module.
        module: String,
        /// Why, for people.
        why: String,
        /// Who did not start, where it was not the time.
        source: Option<ChildError>,
    },
    /// The module failed, and was to be started again, while this was under way.
    #[error("module '{module}' failed meanwhile: try again")]
    Overtaken {
        /// The module.
        module: String,
    },
    /// One of its services was not made known.
    #[error("module '{module}': service '{service}' was not made known: {why}")]
    Unlisted {
        /// The module.
        module: String,
        /// The service.
        service: String,
        /// Why.
        why: String,
    },
    /// Its routes were not mounted.
    #[cfg(feature = "http")]
    #[error("module '{module}': {why}")]
    Mount {
        /// The module.
        module: String,
        /// Why.
        #[source]
        why: umbel_http::MountError,
    },
    /// Its part of the database is not as it needs it.
    #[cfg(feature = "database")]
    #[error(transparent)]
    Migrate(#[from] umbel_database::MigrateError),
    /// The runtime is shutting down, or has failed.
    #[error("the runtime has stopped")]
    Stopped,
}

/// Why a module is not replaced. The old instance serves on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// It is not loaded.
    #[error("module '{module}' is not loaded")]
    NotLoaded {
        /// The module.
        module: String,
    },
    /// The new instance is another module.
    #[error("module '{module}' cannot become '{becomes}': a module keeps its name")]
    Name {
        /// The module.
        module: String,
        /// What the new instance is called.
        becomes: String,
    },
    /// The new instance requires what was started after the old one, so that it would be stopped first.
    #[error(
        "module '{module}' now requires '{requires}', which was started after it: unload '{module}' \
         and load it again"
    )]
    Order {
        /// The module.
        module: String,
        /// What it requires.
        requires: String,
    },
    /// The new instance was not started.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The new instance did not become healthy in time; it was stopped.
    #[error("the new instance of module '{module}' is not healthy: {why}")]
    Unhealthy {
        /// The module.
        module: String,
        /// What it said last.
        why: Failure,
    },
    /// The module is being restarted after a failure; try again.
    #[error("module '{module}' is being restarted: try again")]
    Restarting {
        /// The module.
        module: String,
    },
}

/// Why a module is not unloaded. It runs on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UnloadError {
    /// It is not loaded.
    #[error("module '{module}' is not loaded; there are {}", listed(known))]
    NotLoaded {
        /// The module.
        module: String,
        /// Those that there are, loaded or not.
        known: Vec<String>,
    },
    /// Others require it.
    #[error(
        "module '{module}' is required by {}: unload them first, or cascade",
        listed(dependents)
    )]
    Required {
        /// The module.
        module: String,
        /// Who requires it, the last first: in this order they can be unloaded.
        dependents: Vec<String>,
    },
    /// The runtime is shutting down, or has failed.
    #[error("the runtime has stopped")]
    Stopped,
}

/// Why a runtime was not started. What had been started was stopped again, the last first.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartRuntimeError {
    /// It was not built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A module did not start.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its supervisor did not start.
    #[error(transparent)]
    Supervisor(#[from] StartError),
    /// The database cannot be used.
    #[cfg(feature = "database")]
    #[error("the runtime's database cannot be used: {0}")]
    Database(#[from] umbel_database::OpenError),
    /// It does not listen for HTTP.
    #[cfg(feature = "http")]
    #[error(transparent)]
    Http(#[from] umbel_http::StartError),
    /// The admin API cannot be guarded by its token.
    #[cfg(feature = "http")]
    #[error("the admin API cannot have this token: {0}")]
    Token(#[from] umbel_http::BearerError),
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => format!("'{}'", names.join("', '")),
    }
}
