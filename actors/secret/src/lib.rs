//! Secrets in configurations: read, and neither shown nor told in an error.
//!
//! ```
//! use serde::Deserialize;
//! use umbel_secret::Secret;
//!
//! #[derive(Debug, Deserialize)]
//! struct Account { user: String, password: Secret }
//!
//! let account: Account = serde_json::from_str(r#"{ "user": "ada", "password": "open sesame" }"#)?;
//! assert_eq!(format!("{account:?}"), r#"Account { user: "ada", password: *** }"#);
//! assert_eq!(account.password.expose(), "open sesame");
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! A crate of its own, of which nothing is asked: who serves HTTP and who opens a database have both of
//! them, and nothing else in common.

mod secret;
mod value;

pub use secret::Secret;
pub use value::without_value;
