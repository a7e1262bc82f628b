//! The shop's modules.

pub(crate) mod catalog;
pub(crate) mod notification;
pub(crate) mod ordering;
pub(crate) mod payment;

use std::fmt;

use axum::http::StatusCode;
use umbel_http::Problem;

/// What a database has answered is not what a handler can go on with: told to the client as the server's
/// own fault, and to the log.
pub(crate) fn internal(why: impl fmt::Display) -> Problem {
    tracing::error!(target: "shop", %why, "a request failed");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR)
        .detail("the shop's database does not answer as it should")
}
