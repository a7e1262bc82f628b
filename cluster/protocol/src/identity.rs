//! Who a node is: the names in its certificate, and which life of it this is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most bytes that a cluster's or a node's name may have: a DNS label's limit (RFC 1035, 2.3.4),
/// so that every name can be a host name as well.
pub const NAME_BYTES_MAX: usize = 63;

/// A node as its certificate names it: `umbel://<cluster>/<node>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster that the certificate admits to.
    pub cluster: ClusterName,
    /// The node's name, unique within its cluster.
    pub node: NodeName,
}

impl Identity {
    /// The identity of `node` in `cluster`.
    #[must_use]
    pub fn new(cluster: ClusterName, node: NodeName) -> Self {
        Self { cluster, node }
    }

    /// The URI that stands in a certificate's subject alternative name.
    #[must_use]
    pub fn to_uri(&self) -> String {
        format!("umbel://{}/{}", self.cluster, self.node)
    }

    /// Reads `umbel://<cluster>/<node>`.
    ///
    /// # Errors
    /// [`IdentityError`] where the text is no such URI or one of its names is not allowed.
    pub fn from_uri(uri: &str) -> Result<Self, IdentityError> {
        let names = uri.strip_prefix("umbel://").and_then(|rest| rest.split_once('/'));
        let Some((cluster, node)) = names else {
            return Err(IdentityError::NotAnUmbelUri(uri.chars().take(256).collect()));
        };
        Ok(Self { cluster: cluster.parse()?, node: node.parse()? })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cluster, self.node)
    }
}

/// Why a text is not a name or an identity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// Names are 1 to 63 bytes long.
    #[error("a name has 1 to {NAME_BYTES_MAX} characters, this one has {0}")]
    Length(usize),
    /// Names consist of lower-case letters, digits and inner hyphens.
    #[error("the name {0:?} may hold only a-z, 0-9 and, between those, '-'")]
    Character(String),
    /// The URI has another scheme or lacks a part.
    #[error("{0:?} is not of the form umbel://<cluster>/<node>")]
    NotAnUmbelUri(String),
}

fn checked(name: &str) -> Result<String, IdentityError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(IdentityError::Length(name.len()));
    }
    let allowed = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !allowed || name.starts_with('-') || name.ends_with('-') {
        return Err(IdentityError::Character(name.to_owned()));
    }
    Ok(name.to_owned())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks and takes a name.
            ///
            /// # Errors
            /// [`IdentityError`] where it is empty, too long, or holds anything but `a-z`, `0-9` and inner `-`.
            pub fn new(name: impl AsRef<str>) -> Result<Self, IdentityError> {
                checked(name.as_ref()).map(|name| Self(name.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdentityError;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdentityError;

            fn try_from(name: String) -> Result<Self, Self::Error> {
                Self::new(name)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = IdentityError;

            fn try_from(name: &str) -> Result<Self, Self::Error> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name_type! {
    /// The name of a cluster: 1 to 63 of `a-z`, `0-9` and inner `-`.
    ClusterName
}

name_type! {
    /// The name of a node, unique within its cluster: 1 to 63 of `a-z`, `0-9` and inner `-`.
    NodeName
}

/// Which life of a node this is. Each start of a process has a higher one than the start before;
/// the higher one fences the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One life of one node: what an address names, and what is fenced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId {
    /// The node's name.
    pub name: NodeName,
    /// Which life of it.
    pub incarnation: Incarnation,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.name, self.incarnation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_uri() {
        let identity = Identity::new("shop".parse().unwrap(), "node-1".parse().unwrap());
        assert_eq!(identity.to_uri(), "umbel://shop/node-1");
        assert_eq!(Identity::from_uri(&identity.to_uri()), Ok(identity));
    }

    #[test]
    fn a_name_that_could_escape_its_uri_is_refused() {
        for name in ["", "-a", "a-", "A", "a/b", "a b", "ä", "a\0", &"a".repeat(64)] {
            assert!(NodeName::new(name).is_err(), "{name:?} was accepted");
        }
        assert!(NodeName::new("a".repeat(63)).is_ok());
    }

    #[test]
    fn a_uri_of_another_scheme_or_with_more_parts_is_refused() {
        for uri in ["", "spiffe://a/b", "umbel://a", "umbel:///b", "umbel://a/", "umbel://a/b/c"] {
            assert!(Identity::from_uri(uri).is_err(), "{uri:?} was accepted");
        }
    }
}
