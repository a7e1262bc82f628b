//! Trace contexts in HTTP headers, by [W3C Trace Context](https://www.w3.org/TR/trace-context-2/).

use http::{HeaderMap, HeaderName, HeaderValue};
use umbel_actors::TraceContext;

use crate::bridge;

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");

/// The trace that a request came with. `None` where it has none, or none that is right, or several: by
/// W3C, who receives it goes on without. A `tracestate` that is not right is left out.
///
/// ```
/// # use http::HeaderMap;
/// let mut headers = HeaderMap::new();
/// assert_eq!(umbel_telemetry::extract(&headers), None);
/// let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// headers.insert("traceparent", parent.parse()?);
/// assert_eq!(umbel_telemetry::extract(&headers).unwrap().to_string(), parent);
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
#[must_use]
pub fn extract(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all(PARENT).iter();
    let (parent, None) = (parents.next()?, parents.next()) else { return None };
    let context: TraceContext = parent.to_str().ok()?.trim().parse().ok()?;
    let states: Result<Vec<_>, _> =
        headers.get_all(STATE).iter().map(HeaderValue::to_str).collect();
    let state = states.unwrap_or_default().join(",");
    Some(context.clone().with_state(&state).unwrap_or(context))
}

/// Puts a trace into a request's headers, in the place of one that is there.
pub fn inject(context: &TraceContext, headers: &mut HeaderMap) {
    let state = HeaderValue::from_str(context.state());
    let parent = HeaderValue::from_str(&context.to_string());
    headers.insert(PARENT, parent.expect("digits and dashes are no bad header"));
    match state {
        Ok(state) if !state.is_empty() => headers.insert(STATE, state),
        _ => headers.remove(STATE),
    };
}

/// Puts the trace of what runs just now into a request's headers, so that who gets the request goes on
/// with it. Does nothing where nothing is traced.
pub fn inject_current(headers: &mut HeaderMap) {
    if let Some(context) = bridge::current() {
        inject(&context, headers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).fold(
            HeaderMap::new(),
            |mut headers: HeaderMap, (name, value): (HeaderName, HeaderValue)| {
                headers.append(name, value);
                headers
            },
        )
    }

    #[test]
    fn what_is_put_in_comes_out() {
        let context: TraceContext = GOOD.parse().unwrap();
        for context in [context.clone(), context.with_state("a=1,b=2").unwrap()] {
            let mut headers = headers(&[("traceparent", "old"), ("tracestate", "old=1")]);
            inject(&context, &mut headers);
            assert_eq!(extract(&headers), Some(context));
        }
    }

    #[test]
    fn headers_that_are_not_right_are_passed_over() {
        let long = "x".repeat(60_000);
        for bad in ["", "00", &GOOD.to_uppercase(), &GOOD.replacen("00", "ff", 1), &long] {
            assert_eq!(extract(&headers(&[("traceparent", bad)])), None, "{bad}");
        }
        let twice = [("traceparent", GOOD), ("traceparent", GOOD)];
        assert_eq!(extract(&headers(&twice)), None);
        let mut binary = HeaderMap::new();
        binary.insert(PARENT, HeaderValue::from_bytes(b"00-\xff\xfe").unwrap());
        assert_eq!(extract(&binary), None);
    }

    #[test]
    fn a_bad_tracestate_leaves_its_traceparent() {
        for bad in ["=", "a=1,a=2", &format!("a={}", "x".repeat(600))] {
            let context = extract(&headers(&[("traceparent", GOOD), ("tracestate", bad)]));
            assert_eq!(context, GOOD.parse().ok(), "{bad}");
        }
        let two = [("traceparent", GOOD), ("tracestate", "a=1"), ("tracestate", "b=2")];
        assert_eq!(extract(&headers(&two)).unwrap().state(), "a=1,b=2");
    }
}
