//! What nodes tell one another of themselves and of others.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Endpoint, NodeId, NodeName, Text, TextError};

/// What a node does in its cluster, in the user's words: at most 63 bytes.
pub type Role = Text<63>;

/// A member of the cluster: one life of a node, and what it tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// Which life of which node.
    pub node: NodeId,
    /// What it tells of itself; the same over that whole life.
    pub profile: Profile,
}

/// What a node tells of itself.
///
/// ```
/// use umbel_protocol::Profile;
///
/// let profile = Profile::default().role("intake")?.version("1.4.2")?;
/// assert!(profile.has_role("intake"));
/// # Ok::<(), umbel_protocol::ProfileError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Told", into = "Told")]
pub struct Profile {
    endpoint: Option<Endpoint>,
    roles: BTreeSet<Role>,
    version: Text<63>,
}

/// As it travels: it is checked when it is decoded.
#[derive(Serialize, Deserialize)]
struct Told(Option<Endpoint>, BTreeSet<Role>, Text<63>);

/// Why something cannot be told of a node.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProfileError {
    /// A role or the version is no text as it should be.
    #[error(transparent)]
    Text(#[from] TextError),
    /// There are too many roles.
    #[error("a node has at most {roles_max} roles", roles_max = Profile::ROLES_MAX)]
    TooManyRoles,
}

impl Profile {
    /// The most roles that a node may have. A profile goes with each message of the membership.
    pub const ROLES_MAX: usize = 8;

    /// Where others can dial it, if they can at all.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: Option<Endpoint>) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// One more role.
    ///
    /// # Errors
    /// [`ProfileError`]
    pub fn role(mut self, role: impl AsRef<str>) -> Result<Self, ProfileError> {
        self.roles.insert(Role::new(role)?);
        self.check()
    }

    /// The version of the program, in any form, of at most 63 bytes.
    ///
    /// # Errors
    /// [`ProfileError`]
    pub fn version(mut self, version: impl AsRef<str>) -> Result<Self, ProfileError> {
        self.version = Text::new(version)?;
        Ok(self)
    }

    /// Where it can be dialled; `None` for a node that only dials.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref()
    }

    /// Its roles, in order.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(Text::as_str)
    }

    /// Whether it has this role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.contains(role)
    }

    /// The version of its program; empty where it tells none.
    #[must_use]
    pub fn program(&self) -> &str {
        self.version.as_str()
    }

    fn check(self) -> Result<Self, ProfileError> {
        if self.roles.len() > Self::ROLES_MAX { Err(ProfileError::TooManyRoles) } else { Ok(self) }
    }
}

impl TryFrom<Told> for Profile {
    type Error = ProfileError;

    fn try_from(Told(endpoint, roles, version): Told) -> Result<Self, ProfileError> {
        Self { endpoint, roles, version }.check()
    }
}

impl From<Profile> for Told {
    fn from(Profile { endpoint, roles, version }: Profile) -> Self {
        Self(endpoint, roles, version)
    }
}

/// How a member is, as one node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MemberState {
    /// Others say that it lives; this node is not linked with it yet.
    Joining,
    /// It lives.
    Alive,
    /// Somebody cannot reach it. Unless it shows that it lives, it is declared down.
    Suspect,
    /// The members have declared it down, or a later life of it has begun. That is final: it can come
    /// back as a new incarnation only.
    Down,
    /// It has said goodbye. As final.
    Left,
}

impl MemberState {
    /// Whether that life is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Down | Self::Left)
    }
}

/// A member has come, or is otherwise than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberEvent {
    /// Who.
    pub member: Member,
    /// How it is now.
    pub state: MemberState,
}

/// One member, as one node sees it at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// Who.
    pub member: Member,
    /// How it is.
    pub state: MemberState,
    /// Since when, counted from the node's start.
    pub since: Duration,
}

/// How many members a node can reach itself: what decides who yields where two take each other's
/// life for over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The nodes that it is linked with.
    pub linked: u32,
    /// The first of them by name, itself included.
    pub first: NodeName,
}
