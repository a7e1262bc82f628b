use std::io;

use thiserror::Error;

/// Why a configuration is not used. Nothing of it is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{file} could not be read: {why}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        why: io::Error,
    },
    /// The file's name does not say what it is.
    #[error("{file}: a configuration ends in .toml, .yaml or .yml")]
    Format {
        /// The file.
        file: String,
    },
    /// Something in the file is wrong.
    #[error("{file}, line {line}: {why}")]
    Wrong {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what was expected.
        why: String,
    },
    /// What the file and the environment say together is wrong: neither of them alone has a place for it.
    #[error("{file} with the environment: {key}: {why}")]
    Together {
        /// The file.
        file: String,
        /// The path to the key.
        key: String,
        /// What is wrong, and what was expected.
        why: String,
    },
    /// A variable of the environment is wrong, or is needed.
    #[error("variable {variable}: {why}")]
    Variable {
        /// The variable, set or not.
        variable: String,
        /// What is wrong, and what was expected.
        why: String,
    },
}
