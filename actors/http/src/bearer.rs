use std::task::{Context, Poll};

use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::future::{Either, Ready, ready};
use thiserror::Error;
use tower::{Layer, Service};
use umbel_secret::Secret;

use crate::problem::Problem;

/// A [layer](tower::Layer) that lets in who shows a token: `Authorization: Bearer TOKEN` (RFC 6750).
///
/// Everybody else is answered 401 with `WWW-Authenticate`. Tokens are compared in a time that tells
/// nothing of them but their length.
///
/// ```
/// use axum::{Router, routing::get};
/// use umbel_http::{Bearer, Secret};
///
/// let admin = Router::new()
///     .route("/modules", get(|| async { "catalog" }))
///     .layer(Bearer::new(Secret::from("open-sesame"))?);
/// # let _: Router = admin;
/// # Ok::<(), umbel_http::BearerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bearer {
    token: Secret,
}

/// Why a token guards nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BearerError {
    /// There is none.
    #[error("the token is empty, which would let in nobody: set one")]
    Empty,
    /// No client could send it.
    #[error(
        "the token has a character that a header cannot carry: use visible ASCII, without spaces"
    )]
    Unsendable,
}

impl Bearer {
    /// A guard that lets in who shows `token`.
    ///
    /// # Errors
    /// The token is empty, or cannot be sent.
    pub fn new(token: Secret) -> Result<Self, BearerError> {
        if token.is_empty() {
            return Err(BearerError::Empty);
        }
        if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BearerError::Unsendable);
        }
        Ok(Self { token })
    }

    /// The answer for who is not let in.
    fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let (challenge, detail) = match (shown.next(), shown.next()) {
            (Some(shown), None) if token(shown).is_some_and(|shown| self.token.is(shown)) => {
                return None;
            }
            (None, _) => ("Bearer", "send the token: Authorization: Bearer TOKEN"),
            _ => ("Bearer error=\"invalid_token\"", "this is not the token"),
        };
        let mut response = Problem::new(StatusCode::UNAUTHORIZED).detail(detail).into_response();
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        Some(response)
    }
}

/// What stands behind the scheme, whose case does not matter.
fn token(shown: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = shown.as_bytes().split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

impl<S> Layer<S> for Bearer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, bearer: self.clone() }
    }
}

/// What stands behind a [`Bearer`].
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    bearer: Bearer,
}

impl<S, B> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.bearer.refusal(request.headers()) {
            None => Either::Left(self.inner.call(request)),
            Some(refusal) => Either::Right(ready(Ok(refusal))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_let_in(shown: &[&str]) -> bool {
        let bearer = Bearer::new(Secret::from("t0ken")).unwrap();
        let mut headers = HeaderMap::new();
        for value in shown {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        bearer.refusal(&headers).is_none()
    }

    #[test]
    fn who_shows_the_token_is_let_in_and_nobody_else() {
        assert!(is_let_in(&["Bearer t0ken"]));
        assert!(is_let_in(&["bearer t0ken"]));
        for other in
            ["", "t0ken", "Bearer", "Bearer ", "Bearer t0ke", "Bearer t0kenn", "Basic t0ken"]
        {
            assert!(!is_let_in(&[other]), "{other:?}");
        }
        assert!(!is_let_in(&[]));
        assert!(!is_let_in(&["Bearer t0ken", "Bearer other"]), "two are one too many");
    }

    #[test]
    fn a_token_that_nobody_could_show_is_refused() {
        let refused = |token: &str| Bearer::new(Secret::from(token)).unwrap_err();
        assert_eq!(refused(""), BearerError::Empty);
        for token in ["a b", "line\n", "grün"] {
            assert_eq!(refused(token), BearerError::Unsendable, "{token:?}");
        }
    }
}
