//! From files and variables to a configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::Path;

use figment::error::Kind;
use figment::providers::Serialized;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::de::DeserializeOwned;
use umbel_secret::without_value;

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

    /// Reads the environment alone, where there is no file: variables that begin with
    /// [`ENVIRONMENT_PREFIX`].
    ///
    /// # Errors
    /// [`ConfigError`], which says which variable is wrong.
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

/// Reads configurations of any type, from a file and the environment, which goes before the file, and
/// completes it: what a type needs, a secret say, may be in either.
///
/// The values of variables are written as in TOML; a text needs no quotes, unless it is in brackets or braces.
/// No error repeats a value of the file or the environment, for it may be a secret in a wrong place; an
/// unknown key is repeated, and an unknown word where one of several is expected.
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
        self.of(&shown, &text, format, environment())
    }

    /// Reads the environment alone, where there is no file.
    ///
    /// # Errors
    /// [`ConfigError::Variable`], which says which variable is wrong, or is needed.
    pub fn environment<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        self.variables(environment())
    }

    /// Reads `variables` alone, as if they were the environment.
    ///
    /// # Errors
    /// [`ConfigError::Variable`], which says which variable is wrong, or is needed.
    pub fn variables<T: DeserializeOwned>(
        &self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<T, ConfigError> {
        let variables = Variables::of(self.prefix, variables);
        variables.complete(&Dict::new()).map_err(|why| in_environment(self.prefix, &why))
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
        let alone = parsed::<T>(file, text, format);
        let variables = Variables::of(self.prefix, variables);
        if variables.0.is_empty() {
            return alone;
        }
        let tree: Dict = parsed(file, text, format)?;
        let why = match variables.complete(&tree) {
            Ok(config) => return Ok(config),
            Err(why) => why,
        };
        let Err(in_file) = alone else { return Err(in_environment(self.prefix, &why)) };
        let before = Figment::from(Serialized::defaults(tree)).extract::<T>();
        if before.is_err_and(|before| before.path == why.path && before.kind == why.kind) {
            return Err(in_file);
        }
        // They have mended what was wrong first in the file.
        Err(match variables.say(&why.path) {
            true => in_environment(self.prefix, &why),
            false => {
                let key = key(&why).join(".");
                ConfigError::Together { file: file.to_owned(), key, why: told(&why.kind) }
            }
        })
    }
}

fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn parsed<T: DeserializeOwned + Default>(
    file: &str,
    text: &str,
    format: ConfigFormat,
) -> Result<T, ConfigError> {
    match format {
        ConfigFormat::Toml => toml::from_str(text).map_err(|why| in_toml(file, text, &why)),
        ConfigFormat::Yaml => {
            shallow(file, text)?;
            yaml(text).map_err(|why| in_yaml(file, &why))
        }
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
    let why = without_value(why.message()).trim().replace('\n', ", ");
    ConfigError::Wrong { file: file.to_owned(), line, why }
}

fn in_yaml(file: &str, why: &serde_norway::Error) -> ConfigError {
    let line = why.location().map_or(1, |location| location.line());
    let text = without_value(&why.to_string());
    let why = text.split_once(" at line ").map_or(&*text, |(why, _)| why).to_owned();
    ConfigError::Wrong { file: file.to_owned(), line, why }
}

fn in_environment(prefix: &str, why: &figment::Error) -> ConfigError {
    let variable = format!("{prefix}{}", key(why).join("__").to_uppercase());
    ConfigError::Variable { variable, why: told(&why.kind) }
}

/// The path to what is wrong, or is not there.
fn key(why: &figment::Error) -> Vec<String> {
    let mut path = why.path.clone();
    let field = match &why.kind {
        Kind::UnknownField(field, _) => Some(field.clone()),
        Kind::MissingField(field) => Some(field.to_string()),
        _ => None,
    };
    if let Some(field) = field.filter(|field| path.last() != Some(field)) {
        path.push(field);
    }
    path
}

fn told(why: &Kind) -> String {
    let why = match why {
        // As a file's error has it.
        Kind::InvalidType(..) | Kind::InvalidValue(..) => why.to_string().replacen("found ", "", 1),
        why => why.to_string(),
    };
    without_value(&why)
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

    /// What these and the tree are together. A value that is no number, or boolean, or list where it stands,
    /// though it looks like one, is taken as the text that it is.
    fn complete<T: DeserializeOwned>(&self, tree: &Dict) -> Result<T, Box<figment::Error>> {
        let (mut texts, mut first) = (BTreeSet::new(), None::<Box<figment::Error>>);
        // Each variable becomes a text once at most.
        loop {
            let values = Values { variables: self, texts: &texts };
            let merged = Figment::from(Serialized::defaults(tree)).merge(values);
            let why = match merged.extract() {
                Ok(config) => return Ok(config),
                Err(why) => Box::new(why),
            };
            if let Some(first) = first.take_if(|first| first.path == why.path) {
                return Err(first);
            }
            let path = why.path.join(".");
            let is_of_type = matches!(why.kind, Kind::InvalidType(..));
            if !(is_of_type && self.0.contains_key(&path) && texts.insert(path)) {
                return Err(why);
            }
            first = Some(why);
        }
    }

    /// Whether one of them says what stands at this path, or all around it.
    fn say(&self, path: &[String]) -> bool {
        (1..=path.len()).any(|length| self.0.contains_key(&path[..length].join(".")))
    }
}

/// What the variables say: those at some paths a text, the others what they look like.
struct Values<'a> {
    variables: &'a Variables,
    texts: &'a BTreeSet<String>,
}

impl Values<'_> {
    fn of(&self, path: &str, text: &str) -> Value {
        let text = text.trim();
        // `007` is another text than 7.
        let is_rewritten = text.parse::<i128>().is_ok_and(|number| number.to_string() != text);
        if is_rewritten || self.texts.contains(path) {
            return text.into();
        }
        // Infallible: what is nothing else is a text.
        text.parse().unwrap_or_else(|never| match never {})
    }
}

impl Provider for Values<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment variables")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let nested = self.variables.0.iter();
        let nested = nested.map(|(path, text)| figment::util::nest(path, self.of(path, text)));
        let all = nested
            .filter_map(Value::into_dict)
            .fold(Figment::new(), |all, dict| all.merge(Serialized::defaults(dict)));
        all.data()
    }
}
