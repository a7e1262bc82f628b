use std::collections::BTreeMap;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::json;

use crate::problem::Problem;

/// Whether a process can be given work, part by part: it is ready when all its parts are.
///
/// ```
/// use umbel_http::Readiness;
///
/// let readiness = Readiness::new()
///     .ready("catalog")
///     .unready("ordering", "the database does not answer");
/// assert!(!readiness.is_ready());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    parts: BTreeMap<String, Result<(), String>>,
}

impl Readiness {
    /// Ready, without parts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a part that is ready.
    #[must_use]
    pub fn ready(self, part: impl Into<String>) -> Self {
        self.part(part, Ok(()))
    }

    /// With a part that is not, and why.
    #[must_use]
    pub fn unready(self, part: impl Into<String>, why: impl Into<String>) -> Self {
        self.part(part, Err(why.into()))
    }

    /// With a part that is as told. What was told of it before is replaced.
    #[must_use]
    pub fn part(mut self, part: impl Into<String>, is: Result<(), String>) -> Self {
        self.parts.insert(part.into(), is);
        self
    }

    /// Whether all parts are ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.parts.values().all(Result::is_ok)
    }

    /// The parts that are not ready, with why, by name.
    pub fn why(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts.iter().filter_map(|(part, is)| Some((&**part, &**is.as_ref().err()?)))
    }
}

impl FromIterator<(String, Result<(), String>)> for Readiness {
    fn from_iter<I: IntoIterator<Item = (String, Result<(), String>)>>(parts: I) -> Self {
        Self { parts: parts.into_iter().collect() }
    }
}

impl Serialize for Readiness {
    /// Each part with `"ready"`, or with why it is not.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.parts.len()))?;
        for (part, is) in &self.parts {
            map.serialize_entry(part, is.as_ref().map_or_else(|why| &**why, |()| "ready"))?;
        }
        map.end()
    }
}

impl IntoResponse for Readiness {
    /// 200, or 503 as a problem; with the parts either way.
    fn into_response(self) -> Response {
        if self.is_ready() {
            return Json(json!({ "status": "ready", "parts": self })).into_response();
        }
        let names: Vec<_> = self.why().map(|(part, _)| part).collect();
        let detail = format!("not ready: {}", names.join(", "));
        Problem::new(StatusCode::SERVICE_UNAVAILABLE)
            .detail(detail)
            .with("parts", json!(self))
            .into_response()
    }
}
