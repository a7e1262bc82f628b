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
/// In the environment all is in upper case and has no hyphens: a module whose name has lower case letters, digits
/// and `_` only can be set there. Keys that there are not are refused, with their line. So that no secret is printed by mistake,
/// `Debug` shows the modules' sections by name only.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[non_exhaustive]
pub struct RuntimeConfig {
    /// The modules that run here; the others that are registered run elsewhere. All, unless it is said.
    pub run: Option<BTreeSet<String>>,
    /// Modules that are not registered here and run elsewhere, so that they may be required.
    #[serde(default)]
    pub elsewhere: BTreeSet<String>,
    /// Each module's own section. One of a module that is neither registered nor elsewhere is refused when
    /// the runtime is built, for its name may be mistyped: what is to be loaded later is registered, and left
    /// out of `run`.
    #[serde(default)]
    pub modules: BTreeMap<String, Value>,
    /// How services are called and run.
    #[serde(default)]
    pub services: ServicesConfig,
    /// The modules' database. Without it, modules that need one get the SQLite file `<runtime>.db` in the
    /// working directory.
    #[cfg(feature = "database")]
    pub database: Option<DatabaseConfig>,
    /// The HTTP server with the modules' routes. None, unless it is said.
    #[cfg(feature = "http")]
    pub http: Option<HttpConfig>,
}

/// A runtime's database.
#[cfg(feature = "database")]
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[non_exhaustive]
pub struct DatabaseConfig {
    /// Where it is. Its password is not shown.
    pub url: umbel_database::DatabaseUrl,
}

/// A runtime's HTTP server.
#[cfg(feature = "http")]
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[non_exhaustive]
pub struct HttpConfig {
    /// Where it listens, as `127.0.0.1:8080`. Port 0 is any that is free.
    pub listen: String,
    /// Another server, by which modules are loaded, unloaded and reloaded. None, unless it is said.
    pub admin: Option<AdminConfig>,
}

/// Where the admin API of a runtime is: `GET /modules` and `/modules/{name}` show modules, as
/// [`ModuleView`](crate::ModuleView)s; `POST /modules/{name}/load`, `/reload` and `/unload` change them, and
/// `/unload?cascade=true` unloads those that require the module as well. What is refused is answered as a problem
/// (RFC 9457), with 404, 409 or 422.
#[cfg(feature = "http")]
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[non_exhaustive]
pub struct AdminConfig {
    /// Where it listens. Default: [`ADMIN_ADDRESS`], which no other machine reaches.
    #[serde(default = "admin_address")]
    pub listen: String,
    /// Who shows it is let in, in the header `Authorization: Bearer <token>`. It is not shown.
    pub token: umbel_secret::Secret,
}

/// Where the admin API listens unless it is said otherwise.
#[cfg(feature = "http")]
pub const ADMIN_ADDRESS: &str = "127.0.0.1:7480";

#[cfg(feature = "http")]
fn admin_address() -> String {
    ADMIN_ADDRESS.to_owned()
}

#[cfg(feature = "database")]
impl DatabaseConfig {
    /// A database at this place.
    #[must_use]
    pub fn new(url: umbel_database::DatabaseUrl) -> Self {
        Self { url }
    }
}

#[cfg(feature = "http")]
impl HttpConfig {
    /// A server that listens there, without an admin API.
    pub fn new(listen: impl Into<String>) -> Self {
        Self { listen: listen.into(), admin: None }
    }

    /// The same with an admin API at [`ADMIN_ADDRESS`], for whoever shows the token.
    #[must_use]
    pub fn admin(self, token: impl Into<umbel_secret::Secret>) -> Self {
        self.admin_at(ADMIN_ADDRESS, token)
    }

    /// The same with an admin API that listens there, for whoever shows the token.
    #[must_use]
    pub fn admin_at(
        mut self,
        listen: impl Into<String>,
        token: impl Into<umbel_secret::Secret>,
    ) -> Self {
        self.admin = Some(AdminConfig { listen: listen.into(), token: token.into() });
        self
    }
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

    /// Reads the environment alone, where there is no file: variables that begin with
    /// [`ENVIRONMENT_PREFIX`].
    ///
    /// # Errors
    /// [`ConfigError`], which says which variable is wrong, or is needed.
    pub fn from_environment() -> Result<Self, ConfigError> {
        ConfigReader::new(ENVIRONMENT_PREFIX).environment()
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
        let mut shown = f.debug_struct("RuntimeConfig");
        shown
            .field("run", &self.run)
            .field("elsewhere", &self.elsewhere)
            .field("modules", &self.modules.keys())
            .field("services", &self.services);
        #[cfg(feature = "database")]
        shown.field("database", &self.database);
        #[cfg(feature = "http")]
        shown.field("http", &self.http);
        shown.finish()
    }
}
