//! What can be sent to an actor.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, DecodeError, EncodeError, Limits};

/// A message of an actor. Derive it: `#[derive(Message)]`.
///
/// A message that may cross nodes is also serde's, and says so:
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use umbel_actors::{Message, Reply};
///
/// #[derive(Message, Serialize, Deserialize)]
/// #[message(remote)]
/// enum Counter {
///     Add(u64),
///     Total(Reply<u64>),
/// }
/// ```
///
/// It is encoded compactly: fields by their order, variants by their number. So it cannot have those of
/// serde's attributes that need names or tags among the bytes, such as `untagged`, `tag`, `flatten` and
/// `skip_serializing_if`. In the message itself they do not compile; in the types of its fields, where
/// the derive cannot see them, they fail when the message is sent or received.
///
/// ```compile_fail
/// # use serde::{Deserialize, Serialize};
/// # use umbel_actors::Message;
/// #[derive(Message, Serialize, Deserialize)]
/// #[message(remote)]
/// #[serde(untagged)] // `untagged` cannot cross nodes: its bytes do not tell which variant they are
/// enum Counter {
///     Add(u64),
///     Note(String),
/// }
/// ```
///
/// The derive implements ractor's `Message` too, so `myself.cast(..)` and every tool of ractor's
/// work on it. It takes `remote` and `name = "..."` (by default the type's name).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message",
    note = "derive it with `#[derive(Message)]`, of `umbel_actors`"
)]
pub trait Message: ractor::Message {
    /// The name that both ends of a link know the message by.
    const NAME: &'static str;

    /// A hash of the type's definition. Two nodes whose definitions differ refuse each other's
    /// messages instead of misreading them.
    const FINGERPRINT: u32;

    /// How it crosses nodes; `None` where it does not. Without a default, as only the derive can
    /// implement this rightly: ractor's half has to keep the mailbox's account.
    #[doc(hidden)]
    const CODEC: Option<Codec<Self>>;
}

/// A message that may cross nodes: `#[derive(Message, Serialize, Deserialize)] #[message(remote)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not cross nodes",
    note = "derive it with `#[derive(Message, Serialize, Deserialize)]` and `#[message(remote)]`"
)]
pub trait RemoteMessage: Message + Serialize + DeserializeOwned {}

/// How a message becomes bytes and comes back.
#[doc(hidden)]
#[derive(Debug)]
pub struct Codec<M> {
    pub(crate) encode: fn(&M, &mut Vec<u8>, usize) -> Result<(), EncodeError>,
    pub(crate) decode: fn(&[u8], Limits) -> Result<M, DecodeError>,
}

impl<M: Serialize + DeserializeOwned> Codec<M> {
    /// The codec that serde and [`crate::codec`] make.
    #[must_use]
    pub const fn new() -> Self {
        Self { encode: codec::encode::<M>, decode: codec::decode::<M> }
    }
}

impl<M: Serialize + DeserializeOwned> Default for Codec<M> {
    fn default() -> Self {
        Self::new()
    }
}
