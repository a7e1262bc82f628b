//! The decisions of an Umbel cluster as pure state machines.

mod identity;

pub use identity::{
    ClusterName, Identity, IdentityError, Incarnation, NAME_BYTES_MAX, NodeId, NodeName,
};
