//! A request or an answer on its way, whatever its type.

use std::any::Any;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use thiserror::Error;

/// A request or an answer on its way, whatever its type.
///
/// On one machine it is the value itself, which nothing encodes. What crosses a link is JSON: it
/// tells what it is, so two versions of a program that differ in a field understand each other or
/// refuse, and never misread. Whatever JSON cannot say (a float that is no number, a map whose keys
/// are no text or numbers) is an error of the sender's.
#[derive(Clone)]
pub struct Payload(Form);

enum Form {
    Typed(Box<dyn Typed>),
    Tree(Value),
    /// JSON, as it came over a link.
    Text(Vec<u8>),
}

/// Why a payload is not what it was taken for.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct PayloadError(#[from] serde_json::Error);

trait Typed: Any + Send + Sync {
    fn again(&self) -> Box<dyn Typed>;
    fn tree(&self) -> Result<Value, serde_json::Error>;
    fn text(&self) -> Result<Vec<u8>, serde_json::Error>;
}

impl<T: Serialize + Clone + Send + Sync + 'static> Typed for T {
    fn again(&self) -> Box<dyn Typed> {
        Box::new(self.clone())
    }

    fn tree(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn text(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

impl Payload {
    /// A value as it is.
    #[must_use]
    pub fn new<T: Serialize + Clone + Send + Sync + 'static>(value: T) -> Self {
        Self(Form::Typed(Box::new(value)))
    }

    /// A value that is known as JSON only.
    #[must_use]
    pub fn json(value: Value) -> Self {
        Self(Form::Tree(value))
    }

    /// The value, as a `T`: itself where it is one, else what its JSON says.
    ///
    /// # Errors
    /// [`PayloadError`] where it is no `T`; the payload is lost.
    pub fn take<T: DeserializeOwned + 'static>(self) -> Result<T, PayloadError> {
        match self.0 {
            Form::Typed(value) => {
                if (&*value as &dyn Any).is::<T>() {
                    let value: Box<dyn Any> = value;
                    return Ok(*value.downcast().expect("it was just seen to be one"));
                }
                Ok(serde_json::from_value(value.tree()?)?)
            }
            Form::Tree(value) => Ok(serde_json::from_value(value)?),
            Form::Text(text) => Ok(serde_json::from_slice(&text)?),
        }
    }

    /// The value, where it is a `T` and did not come over a link: to look at without taking it.
    #[must_use]
    pub fn peek<T: 'static>(&self) -> Option<&T> {
        match &self.0 {
            Form::Typed(value) => (&**value as &dyn Any).downcast_ref(),
            Form::Tree(_) | Form::Text(_) => None,
        }
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// [`PayloadError`] where JSON cannot say it, or what came over a link is none.
    pub fn to_json(&self) -> Result<Value, PayloadError> {
        Ok(match &self.0 {
            Form::Typed(value) => value.tree()?,
            Form::Tree(value) => value.clone(),
            Form::Text(text) => serde_json::from_slice(text)?,
        })
    }

    /// How many bytes it has that came over a link.
    pub(crate) fn encoded_bytes(&self) -> usize {
        match &self.0 {
            Form::Text(text) => text.len(),
            Form::Typed(_) | Form::Tree(_) => 0,
        }
    }

    /// The value as the text of its JSON, with keys in the order in which its type has them.
    pub(crate) fn text(&self) -> Result<Vec<u8>, PayloadError> {
        Ok(match &self.0 {
            Form::Typed(value) => value.text()?,
            Form::Tree(value) => serde_json::to_vec(value)?,
            Form::Text(text) => text.clone(),
        })
    }
}

impl Clone for Form {
    fn clone(&self) -> Self {
        match self {
            // Of the value, not of its box.
            Self::Typed(value) => Self::Typed((**value).again()),
            Self::Tree(value) => Self::Tree(value.clone()),
            Self::Text(text) => Self::Text(text.clone()),
        }
    }
}

impl fmt::Debug for Payload {
    /// Without what it holds, which may be anybody's secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Form::Typed(_) => "Payload(typed)",
            Form::Tree(_) => "Payload(JSON)",
            Form::Text(_) => "Payload(encoded)",
        })
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Form::Text(text) => serializer.serialize_bytes(text),
            _ => serializer.serialize_bytes(&self.text().map_err(S::Error::custom)?),
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        let text = deserializer.deserialize_byte_buf(Text)?;
        if text.is_empty() {
            return Err(D::Error::custom("a payload without bytes"));
        }
        Ok(Self(Form::Text(text)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Item {
        name: String,
        #[serde(default)]
        count: u32,
    }

    /// The same as another program has it.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Named {
        name: String,
    }

    fn item() -> Item {
        Item { name: "tea".into(), count: 3 }
    }

    fn over_a_link(payload: &Payload) -> Payload {
        let mut bytes = Vec::new();
        umbel_actors::codec::encode(payload, &mut bytes, 1 << 20).unwrap();
        umbel_actors::codec::decode(&bytes, umbel_actors::codec::Limits::default()).unwrap()
    }

    #[test]
    fn a_value_is_itself_here_and_equal_there() {
        let here = Payload::new(item());
        assert_eq!(here.peek::<Item>(), Some(&item()));
        let there = over_a_link(&here.clone());
        assert_eq!(there.peek::<Item>(), None);
        assert_eq!(there.clone().take::<Item>().unwrap(), item());
        assert_eq!(there.to_json().unwrap(), json!({ "name": "tea", "count": 3 }));
        assert_eq!(here.take::<Item>().unwrap(), item());
    }

    #[test]
    fn an_older_definition_is_understood_and_a_wrong_one_refused() {
        for carried in [|payload: &Payload| payload.clone(), over_a_link] {
            let named = carried(&Payload::new(Named { name: "tea".into() }));
            assert_eq!(named.take::<Item>().unwrap().count, 0);
            let wrong = carried(&Payload::json(json!({ "title": "tea" }))).take::<Item>();
            assert_eq!(
                wrong.unwrap_err().to_string().split(" at").next(),
                Some("missing field `name`")
            );
        }
    }

    #[test]
    fn what_json_cannot_say_is_an_error_of_the_senders() {
        let map = std::collections::BTreeMap::from([(vec![1_u8], 1_u8)]);
        let mut bytes = Vec::new();
        let refused = umbel_actors::codec::encode(&Payload::new(map), &mut bytes, 1 << 20);
        assert!(refused.unwrap_err().to_string().contains("key must be a string"));
    }

    #[test]
    fn nested_beyond_all_measure_is_refused() {
        let deep = Payload(Form::Text("[".repeat(1 << 20).into_bytes()));
        assert!(deep.take::<Value>().unwrap_err().to_string().contains("recursion limit"));
    }

    #[test]
    fn debug_tells_no_secret() {
        assert_eq!(format!("{:?}", Payload::new(item())), "Payload(typed)");
    }
}
