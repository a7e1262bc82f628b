//! What is looked for in a registry.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Entry, EntryName};

/// What is looked for in a registry: actors of a name, with all of some tags, or both. Only those
/// that can be given work are found, unless [all](Query::whatever_health) are asked for.
///
/// ```
/// use umbel_protocol::Query;
///
/// let by_name: Query = "orders".into();
/// let fast = Query::name("orders").tag("fast");
/// let all_that_are_fast = Query::tagged("fast").whatever_health();
/// # let _ = (by_name, fast, all_that_are_fast);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    pub(super) name: Option<String>,
    pub(super) tags: BTreeSet<String>,
    whatever_health: bool,
}

impl Query {
    /// Actors of this name.
    #[must_use]
    pub fn name(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), tags: BTreeSet::new(), whatever_health: false }
    }

    /// Actors with this tag, under whatever name.
    #[must_use]
    pub fn tagged(tag: impl Into<String>) -> Self {
        Self { name: None, tags: BTreeSet::from([tag.into()]), whatever_health: false }
    }

    /// Only those with this tag as well.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.insert(tag.into());
        self
    }

    /// Those too that are starting, unhealthy or draining.
    #[must_use]
    pub fn whatever_health(mut self) -> Self {
        self.whatever_health = true;
        self
    }

    /// Whether an entry is what is looked for.
    #[must_use]
    pub fn matches(&self, name: &EntryName, entry: &Entry) -> bool {
        self.name.as_ref().is_none_or(|wanted| wanted == name.as_str())
            && self.tags.iter().all(|tag| entry.tags().contains(tag.as_str()))
            && (self.whatever_health || entry.health().takes_work())
    }
}

impl From<&str> for Query {
    fn from(name: &str) -> Self {
        Self::name(name)
    }
}

impl From<&String> for Query {
    fn from(name: &String) -> Self {
        name.as_str().into()
    }
}

impl From<String> for Query {
    fn from(name: String) -> Self {
        Self::name(name)
    }
}

impl From<&Query> for Query {
    fn from(query: &Query) -> Self {
        query.clone()
    }
}

impl std::fmt::Display for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name:?}")?,
            None => f.write_str("anything")?,
        }
        for tag in &self.tags {
            write!(f, " tagged {tag:?}")?;
        }
        Ok(())
    }
}
