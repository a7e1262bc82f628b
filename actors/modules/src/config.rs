//! The configuration of a runtime and its modules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use umbel_services::{ConfigError, ConfigFormat, ConfigReader, ServicesConfig};

/// The prefix of the variables that go before what a file says.
pub const ENVIRONMENT_PREFIX: &str = "UMBEL_RUNTIME_";

/// What a file and the environment say of a runtime: which modules run here, how services are called,
/// and each module's own section.
///
/// ```
/// use umbel_modules::{ConfigFormat, RuntimeConfig};
///
/// let config = r#"
///     run = ["catalog", "ordering"]        # all that are registered, unless it is said
///
///     [modules.ordering]                   # what the module makes of it
///     most_items = 100
///
///     [services.services.catalog]          # as in `ServicesConfig`
///     retries = 5
/// "#;
/// let variables = [("UMBEL_RUNTIME_MODULES__ORDERING__MOST_ITEMS".into(), "10".into())];
/// RuntimeConfig::parse(config, ConfigFormat::Toml, variables)?;
/// # Ok::<(), umbel_modules::ConfigError>(())
/// ```
///
/// Keys that there are not are refused, with their line. So that no secret is printed by mistake,
/// `Debug` shows the modules' sections by name only.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[non_exhaustive]
pub struct RuntimeConfig {
    /// The modules that run here; the others that are registered run elsewhere. All, unless it is said.
    pub run: Option<BTreeSet<String>>,
    /// Modules that are not registered here and run elsewhere, so that they may be required.
    #[serde(default)]
    pub elsewhere: BTreeSet<String>,
    /// Each module's own section.
    #[serde(default)]
    pub modules: BTreeMap<String, Value>,
    /// How services are called and run.
    #[serde(default)]
    pub services: ServicesConfig,
}

impl RuntimeConfig {
    /// Reads a file, which ends in `.toml`, `.yaml` or `.yml`; variables of the environment that begin
    /// with [`ENVIRONMENT_PREFIX`] go before it.
    ///
    /// # Errors
    /// [`ConfigError`], which says where what is wrong.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, ConfigError> {
        ConfigReader::new(ENVIRONMENT_PREFIX).read(file)
    }

    /// Reads a text; those of the variables that begin with [`ENVIRONMENT_PREFIX`] go before it.
    ///
    /// # Errors
    /// [`ConfigError`], which says where what is wrong.
    pub fn parse(
        text: &str,
        format: ConfigFormat,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        ConfigReader::new(ENVIRONMENT_PREFIX).parse(text, format, variables)
    }
}

impl std::fmt::Debug for RuntimeConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuntimeConfig")
            .field("run", &self.run)
            .field("elsewhere", &self.elsewhere)
            .field("modules", &self.modules.keys())
            .field("services", &self.services)
            .finish()
    }
}
