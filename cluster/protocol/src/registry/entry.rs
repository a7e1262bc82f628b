//! What is told of a registered actor.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::replica::Bounded;
use crate::{Health, Load, Text};

/// A name that actors are found by: at most 255 bytes, a file name's limit on common systems.
pub type EntryName = Text<255>;

/// The schema name of a message type: at most 255 bytes.
pub type SchemaName = Text<255>;

/// A tag, or the key of a piece of metadata: at most 63 bytes, a Kubernetes label's limit.
pub type Tag = Text<63>;

/// A piece of metadata: at most 255 bytes.
pub type Detail = Text<255>;

/// What identifies one entry of one node. An actor may have several names, and a name several actors.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryKey {
    /// The name.
    pub name: EntryName,
    /// The actor's id on its node.
    pub actor: u64,
}

impl Bounded for EntryKey {
    fn is_within_bounds(&self) -> bool {
        self.name.is_within_bounds()
    }
}

/// What a node tells of an actor that it has registered: at most about 7 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    message_type: SchemaName,
    tags: BTreeSet<Tag>,
    metadata: BTreeMap<Tag, Detail>,
    health: Health,
    load: Load,
}

impl Entry {
    /// How many tags an entry may have.
    pub const TAGS_MAX: usize = 16;
    /// How many pieces of metadata an entry may have.
    pub const METADATA_MAX: usize = 16;

    /// An entry of an actor that takes messages of the schema `message_type`, is healthy, and has
    /// nothing to do.
    #[must_use]
    pub fn new(message_type: SchemaName) -> Self {
        let (tags, metadata) = (BTreeSet::new(), BTreeMap::new());
        Self { message_type, tags, metadata, health: Health::default(), load: Load::default() }
    }

    /// Adds a tag.
    ///
    /// # Errors
    /// [`EntryError`] where there are 16 others.
    pub fn tag(mut self, tag: Tag) -> Result<Self, EntryError> {
        self.tags.insert(tag);
        self.checked()
    }

    /// Adds a piece of metadata, in place of the one with the same key.
    ///
    /// # Errors
    /// [`EntryError`] where there are 16 others.
    pub fn detail(mut self, key: Tag, detail: Detail) -> Result<Self, EntryError> {
        self.metadata.insert(key, detail);
        self.checked()
    }

    /// The same of an actor that does so.
    #[must_use]
    pub fn in_health(self, health: Health) -> Self {
        Self { health, ..self }
    }

    /// The same of an actor with so much to do.
    #[must_use]
    pub fn under_load(self, load: Load) -> Self {
        Self { load, ..self }
    }

    /// How the actor does.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health
    }

    /// How much waits for the actor, as of when its node last told.
    #[must_use]
    pub fn load(&self) -> Load {
        self.load
    }

    /// The schema name of the messages that the actor takes.
    #[must_use]
    pub fn message_type(&self) -> &SchemaName {
        &self.message_type
    }

    /// The tags, in order.
    #[must_use]
    pub fn tags(&self) -> &BTreeSet<Tag> {
        &self.tags
    }

    /// The metadata, by key.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<Tag, Detail> {
        &self.metadata
    }

    /// About as many bytes as it takes on the wire.
    pub(super) fn bytes(&self) -> usize {
        let tags = self.tags.iter().map(|tag| tag.as_str().len() + 1);
        let metadata = self.metadata.iter();
        let metadata = metadata.map(|(key, value)| key.as_str().len() + value.as_str().len() + 2);
        self.message_type.as_str().len() + tags.sum::<usize>() + metadata.sum::<usize>() + 8
    }

    fn checked(self) -> Result<Self, EntryError> {
        if self.tags.len() > Self::TAGS_MAX {
            return Err(EntryError::TooManyTags);
        }
        if self.metadata.len() > Self::METADATA_MAX {
            return Err(EntryError::TooMuchMetadata);
        }
        Ok(self)
    }
}

impl Bounded for Entry {
    /// Decoding does not count, so an entry from a peer may still have too many.
    fn is_within_bounds(&self) -> bool {
        self.tags.len() <= Self::TAGS_MAX && self.metadata.len() <= Self::METADATA_MAX
    }
}

/// Why something cannot be told of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EntryError {
    /// An entry has at most 16 tags.
    #[error("an entry has at most {} tags", Entry::TAGS_MAX)]
    TooManyTags,
    /// An entry has at most 16 pieces of metadata.
    #[error("an entry has at most {} pieces of metadata", Entry::METADATA_MAX)]
    TooMuchMetadata,
}

#[cfg(test)]
impl Entry {
    /// What a peer that does not keep to the bounds may send.
    pub(super) fn with_tags_unchecked(tags: BTreeSet<Tag>) -> Self {
        Self { tags, ..Self::new(SchemaName::cut("T")) }
    }
}
