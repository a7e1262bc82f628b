//! From files and variables to a configuration.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::Path;

use figment::error::Kind;
use figment::providers::Serialized;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::de::DeserializeOwned;

use super::{CONFIG_BYTES_MAX, ConfigError, ENVIRONMENT_PREFIX, ServicesConfig};

/// What a configuration is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigFormat {
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
}

/// How deep YAML may be nested by brackets.
const DEPTH_MAX: usize = 64;

/// What a configuration is called that is in no file.
const NO_FILE: &str = "configuration";

impl ServicesConfig {
    /// Reads a file, which ends in `.toml`, `.yaml` or `.yml` and has at most [`CONFIG_BYTES_MAX`];
    /// what the environment says goes before it.
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

/// Reads configurations of any type, from a file and the environment, which goes before the file.
///
/// A type should refuse keys that it does not know (serde's `deny_unknown_fields`): then a mistyped
/// one is told with its line, and with those that there are.
#[derive(Clone, Copy, Debug)]
pub struct ConfigReader<'a> {
    prefix: &'a str,
}

impl<'a> ConfigReader<'a> {
    /// One that looks at variables that begin with `prefix`. After it stands the path to a key, with
    /// two underscores between its parts, all in upper case.
    #[must_use]
    pub fn new(prefix: &'a str) -> Self {
        Self { prefix }
    }

    /// Reads a file, which ends in `.toml`, `.yaml` or `.yml` and has at most [`CONFIG_BYTES_MAX`].
    ///
    /// # Errors
    /// [`ConfigError`], which says where what is wrong.
    pub fn read<T: DeserializeOwned + Default>(
        &self,
        file: impl AsRef<Path>,
    ) -> Result<T, ConfigError> {
        let file = file.as_ref();
        let shown = file.display().to_string();
        let format = match file.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => ConfigFormat::Toml,
            Some("yaml" | "yml") => ConfigFormat::Yaml,
            _ => return Err(ConfigError::Format { file: shown }),
        };
        let text = text(file).map_err(|why| ConfigError::Read { file: shown.clone(), why })?;
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        self.of(&shown, &text, format, variables)
    }

    /// Reads a text, and `variables` as if they were the environment.
    ///
    /// # Errors
    /// [`ConfigError`], which says where what is wrong.
    pub fn parse<T: DeserializeOwned + Default>(
        &self,
        text: &str,
        format: ConfigFormat,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<T, ConfigError> {
        self.of(NO_FILE, text, format, variables)
    }

    fn of<T: DeserializeOwned + Default>(
        &self,
        file: &str,
        text: &str,
        format: ConfigFormat,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<T, ConfigError> {
        // By itself first: only so is it known where in the file something is wrong.
        let config: T = match format {
            ConfigFormat::Toml => toml::from_str(text).map_err(|why| in_toml(file, text, &why))?,
            ConfigFormat::Yaml => {
                shallow(file, text)?;
                yaml(text).map_err(|why| in_yaml(file, &why))?
            }
        };
        let variables = Variables::of(self.prefix, variables);
        if variables.0.is_empty() {
            return Ok(config);
        }
        let tree: Dict = match format {
            ConfigFormat::Toml => toml::from_str(text).map_err(|why| in_toml(file, text, &why))?,
            ConfigFormat::Yaml => yaml(text).map_err(|why| in_yaml(file, &why))?,
        };
        let merged = Figment::from(Serialized::defaults(tree)).merge(variables);
        merged.extract().map_err(|why| in_environment(self.prefix, why))
    }
}

fn text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = std::fs::File::open(file)?.take(CONFIG_BYTES_MAX + 1);
    if file.read_to_string(&mut text)? as u64 > CONFIG_BYTES_MAX {
        let why = format!("it has more than {CONFIG_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(text)
}

/// Refuses what is nested beyond all reason: libyaml takes time by its square. (Brackets in texts
/// count as well; nobody has so many.)
fn shallow(file: &str, text: &str) -> Result<(), ConfigError> {
    let mut depth = 0_usize;
    for (index, line) in text.lines().enumerate() {
        for letter in line.bytes() {
            match letter {
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > DEPTH_MAX {
                let why = format!("nested deeper than {DEPTH_MAX}");
                return Err(ConfigError::Wrong { file: file.to_owned(), line: index + 1, why });
            }
        }
    }
    Ok(())
}

/// An empty YAML file is one without keys.
fn yaml<T: DeserializeOwned + Default>(text: &str) -> Result<T, serde_norway::Error> {
    serde_norway::from_str::<Option<T>>(text).map(Option::unwrap_or_default)
}

fn in_toml(file: &str, text: &str, why: &toml::de::Error) -> ConfigError {
    let before = why.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let why = why.message().trim().replace('\n', ", ");
    ConfigError::Wrong { file: file.to_owned(), line, why }
}

fn in_yaml(file: &str, why: &serde_norway::Error) -> ConfigError {
    let line = why.location().map_or(1, |location| location.line());
    let text = why.to_string();
    let why = text.split_once(" at line ").map_or(&*text, |(why, _)| why).to_owned();
    ConfigError::Wrong { file: file.to_owned(), line, why }
}

/// The file alone was right: it is a variable.
fn in_environment(prefix: &str, why: figment::Error) -> ConfigError {
    let mut path = why.path.clone();
    if let Kind::UnknownField(field, _) = &why.kind
        && path.last() != Some(field)
    {
        path.push(field.clone());
    }
    let variable = format!("{prefix}{}", path.join("__").to_uppercase());
    ConfigError::Variable { variable, why: why.kind.to_string() }
}

/// The variables that are for the configuration, by their paths.
struct Variables(BTreeMap<String, String>);

impl Variables {
    fn of(prefix: &str, all: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = |(name, value): (String, String)| {
            let path = name.strip_prefix(prefix)?.to_lowercase().replace("__", ".");
            (!path.is_empty()).then_some((path, value))
        };
        Self(all.into_iter().filter_map(ours).collect())
    }
}

impl Provider for Variables {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment variables")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let nested = self.0.iter().map(|(path, value)| {
            // Infallible: what is nothing else is a text.
            let value: Value = value.parse().unwrap_or_else(|never| match never {});
            figment::util::nest(path, value)
        });
        let all = nested
            .filter_map(Value::into_dict)
            .fold(Figment::new(), |all, dict| all.merge(Serialized::defaults(dict)));
        all.data()
    }
}
