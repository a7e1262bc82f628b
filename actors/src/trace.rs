//! Traces that span actors and nodes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// The most bytes of a [`tracestate`](TraceContext::state): what W3C asks everybody to pass on at least.
pub const TRACE_STATE_BYTES_MAX: usize = 512;

/// The most members of a `tracestate`, by W3C.
const STATE_MEMBERS_MAX: usize = 32;

/// The flags that are known: sampled, and a trace id that is random.
const FLAGS: u8 = 0b11;
const SAMPLED: u8 = 0b01;

/// Which trace something belongs to, and which span in it caused it: the `traceparent` and `tracestate`
/// of [W3C Trace Context](https://www.w3.org/TR/trace-context-2/), checked.
///
/// ```
/// # use umbel_actors::TraceContext;
/// let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let context: TraceContext = parent.parse()?;
/// assert!(context.is_sampled());
/// assert_eq!(context.to_string(), parent);
/// # Ok::<(), umbel_actors::TraceContextError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    flags: u8,
    state: Option<Arc<str>>,
}

/// Why something is no trace context. By W3C, who receives it goes on without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TraceContextError {
    /// It does not have the form `00-{32 digits}-{16 digits}-{2 digits}`, lower-case hexadecimal.
    #[error("not of the form 00-<trace id>-<span id>-<flags>, in lower-case hexadecimal digits")]
    Form,
    /// Its version is one that never will be.
    #[error("the version ff is none")]
    Version,
    /// The id of the trace or of the span is zero.
    #[error("an id that is zero")]
    Zero,
    /// The state is longer than [`TRACE_STATE_BYTES_MAX`], or not a list of `key=value` by W3C.
    #[error("a tracestate that is too long, or no list of key=value")]
    State,
}

impl TraceContext {
    /// A context of these ids, with the flags that W3C knows (1: sampled, 2: a random trace id).
    ///
    /// # Errors
    /// [`TraceContextError::Zero`]
    pub fn new(trace: u128, span: u64, flags: u8) -> Result<Self, TraceContextError> {
        if trace == 0 || span == 0 {
            return Err(TraceContextError::Zero);
        }
        Ok(Self { trace, span, flags: flags & FLAGS, state: None })
    }

    /// The same with a `tracestate`, which may be empty.
    ///
    /// # Errors
    /// [`TraceContextError::State`]
    pub fn with_state(mut self, state: &str) -> Result<Self, TraceContextError> {
        if !is_state(state) {
            return Err(TraceContextError::State);
        }
        self.state = (!state.is_empty()).then(|| state.into());
        Ok(self)
    }

    /// The id of the trace.
    #[must_use]
    pub fn trace(&self) -> u128 {
        self.trace
    }

    /// The id of the span that caused what has this context: the parent of what it causes.
    #[must_use]
    pub fn span(&self) -> u64 {
        self.span
    }

    /// The flags that W3C knows.
    #[must_use]
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether the one who caused it may have recorded its span.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The `tracestate`; empty where there is none.
    #[must_use]
    pub fn state(&self) -> &str {
        self.state.as_deref().unwrap_or_default()
    }

    /// Appends its bytes, at most 25 and [`TRACE_STATE_BYTES_MAX`]. For cluster crates.
    pub fn write(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.trace.to_be_bytes());
        into.extend_from_slice(&self.span.to_be_bytes());
        into.push(self.flags);
        into.extend_from_slice(self.state().as_bytes());
    }

    /// Reads what [`TraceContext::write`] wrote. A state that is not right is left out, as W3C has it.
    ///
    /// # Errors
    /// [`TraceContextError`]
    pub fn read(bytes: &[u8]) -> Result<Self, TraceContextError> {
        let (trace, rest) = bytes.split_first_chunk().ok_or(TraceContextError::Form)?;
        let (span, rest) = rest.split_first_chunk().ok_or(TraceContextError::Form)?;
        let (flags, state) = rest.split_first().ok_or(TraceContextError::Form)?;
        let (trace, span) = (u128::from_be_bytes(*trace), u64::from_be_bytes(*span));
        let context = Self::new(trace, span, *flags)?;
        let state = std::str::from_utf8(state).unwrap_or_default();
        Ok(context.clone().with_state(state).unwrap_or(context))
    }
}

impl FromStr for TraceContext {
    type Err = TraceContextError;

    /// Reads a `traceparent`. One of a later version may go on after the part that is known.
    fn from_str(text: &str) -> Result<Self, TraceContextError> {
        let bytes = text.as_bytes();
        let later = match bytes.first_chunk() {
            Some(b"00") => false,
            Some(b"ff") => return Err(TraceContextError::Version),
            Some(_) => true,
            None => return Err(TraceContextError::Form),
        };
        let is_whole = bytes.len() == 55 || later && bytes.get(55) == Some(&b'-');
        let dashes = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
        if !is_whole || !dashes {
            return Err(TraceContextError::Form);
        }
        let number = |from, to| hexadecimal(&bytes[from..to]);
        number(0, 2)?;
        let (trace, span, flags) = (number(3, 35)?, number(36, 52)?, number(53, 55)?);
        Self::new(trace, span as u64, flags as u8)
    }
}

impl fmt::Display for TraceContext {
    /// The `traceparent`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

fn hexadecimal(digits: &[u8]) -> Result<u128, TraceContextError> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return Err(TraceContextError::Form),
        };
        Ok(number << 4 | u128::from(value))
    })
}

fn is_state(state: &str) -> bool {
    let mut keys = Vec::new();
    state.len() <= TRACE_STATE_BYTES_MAX
        && state.split(',').map(|member| member.trim_matches([' ', '\t'])).all(|member| {
            if member.is_empty() {
                return true;
            }
            let Some((key, value)) = member.split_once('=') else { return false };
            let is_new = !keys.contains(&key) && keys.len() < STATE_MEMBERS_MAX;
            keys.push(key);
            is_new && is_key(key) && is_value(value)
        })
}

fn is_key(key: &str) -> bool {
    let is_name = |name: &str, length_max| {
        let first = name.bytes().next();
        first.is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
            && name.len() <= length_max
            && name.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(&byte)
            })
    };
    match key.split_once('@') {
        None => is_name(key, 256),
        Some((tenant, system)) => is_name(tenant, 241) && is_name(system, 14),
    }
}

fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value.bytes().all(|byte| matches!(byte, 0x20..=0x7e) && byte != b'=')
}

/// What connects messages with traces: which context is current, and what becomes of one that comes
/// with a message.
///
/// Give one to [`SystemBuilder::traces`](crate::SystemBuilder::traces). Without one, which is the
/// default, nothing is asked, sent or kept. With one, every message carries the context that is current
/// where it is sent, on this machine and to other nodes, and the span of the message at its receiver
/// ([`tracing`] target `umbel::message`, level info; of one without a trace, level debug) is told it: so
/// one trace spans all that a message causes.
///
/// So it is with what is published and forwarded to an actor, from this node or another. Who reads a
/// [`Subscription`](crate::Subscription) goes on by itself, outside of the trace.
///
/// `umbel-telemetry` has one for OpenTelemetry.
pub trait Traces: Send + Sync + 'static {
    /// The context of what runs on this thread just now, usually of [`tracing::Span::current`]; `None`
    /// where it is not traced.
    fn current(&self) -> Option<TraceContext>;

    /// Makes `span`, which is new and in which a message is about to be handled, go on with the trace
    /// that the message came with.
    fn go_on(&self, span: &tracing::Span, with: &TraceContext);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_strictly() {
        let bad = [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c+b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319 -b7ad6b7169203331-01",
            "0g-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
            "00-0af7651916cd43dd8448eb211c8031é-b7ad6b7169203331-01",
        ];
        for text in bad {
            assert_eq!(text.parse::<TraceContext>(), Err(TraceContextError::Form), "{text}");
        }
        let version = PARENT.replacen("00", "ff", 1).parse::<TraceContext>();
        assert_eq!(version, Err(TraceContextError::Version));
        for zero in ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"] {
            let text = PARENT.replace(zero, &"0".repeat(zero.len()));
            assert_eq!(text.parse::<TraceContext>(), Err(TraceContextError::Zero));
        }
    }

    #[test]
    fn one_of_a_later_version_is_read_as_far_as_it_is_known() {
        let later = PARENT.replacen("00", "cc", 1) + "-what-will-be";
        assert_eq!(later.parse::<TraceContext>(), PARENT.parse());
        let flags = PARENT[..53].to_owned() + "fd";
        assert_eq!(flags.parse::<TraceContext>().unwrap().flags(), 1);
    }

    #[test]
    fn a_tracestate_is_a_short_list_of_distinct_keys_with_values() {
        let context: TraceContext = PARENT.parse().unwrap();
        let long = |length| format!("a={}", "x".repeat(length));
        let many = |count| (0..count).map(|key| format!("k{key}=v,")).collect::<String>();
        for good in ["", "a=1", "rojo=00f,congo=t61 x", " a=1 ,, b@c=2\t", &long(256), &many(32)] {
            assert!(context.clone().with_state(good).is_ok(), "{good}");
        }
        let bad =
            ["a", "=1", "a=", "A=1", "a=1,a=2", "a=1=2", "a=\n1", "a=é", "_a=1", "a@b@c=1", "a@=1"];
        for bad in bad.into_iter().chain([&*long(257), &*many(33)]) {
            let refused = context.clone().with_state(bad);
            assert_eq!(refused, Err(TraceContextError::State), "{bad}");
        }
        let two = |length| format!("{},b{}", long(length), long(256 - 3));
        assert_eq!(two(253).len(), TRACE_STATE_BYTES_MAX);
        assert!(context.clone().with_state(&two(253)).is_ok());
        assert_eq!(context.with_state(&two(254)), Err(TraceContextError::State));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(trace: u128, span: u64, flags: u8, state in "([a-z]=[!-+]{1,9})?") {
            let Ok(context) = TraceContext::new(trace, span, flags) else { return Ok(()) };
            let context = context.with_state(&state).unwrap();
            let mut bytes = Vec::new();
            context.write(&mut bytes);
            prop_assert_eq!(TraceContext::read(&bytes), Ok(context.clone()));
            let parsed: TraceContext = context.to_string().parse().unwrap();
            prop_assert_eq!(parsed.with_state(&state), Ok(context));
        }

        #[test]
        fn arbitrary_bytes_and_texts_are_a_context_or_an_error(bytes: Vec<u8>, text: String) {
            if let Ok(context) = TraceContext::read(&bytes) {
                prop_assert!(context.state().len() <= TRACE_STATE_BYTES_MAX);
            }
            let _ = text.parse::<TraceContext>();
        }
    }
}
