//! What keeps links from coming up, or going on.

use std::time::Duration;

use tokio::time::Instant;
use umbel_protocol::{LinkEnd, LinkId, NodeId, NodeName};

use crate::greeting::DialError;
use crate::repeats::Repeats;
use crate::transport::TransportError;

/// How long the same trouble with the same node stays unsaid once it was said: a node that is down for
/// a day takes some 1,400 lines.
const PERIOD: Duration = Duration::from_secs(60);

/// Logs each trouble once for each cause and period, however often it is tried again.
pub(super) struct Troubles {
    dials: Repeats<(String, String)>,
    ends: Repeats<(NodeName, &'static str)>,
}

impl Default for Troubles {
    fn default() -> Self {
        Self { dials: Repeats::new(PERIOD), ends: Repeats::new(PERIOD) }
    }
}

impl Troubles {
    /// A dial has failed, and not for want of a good certificate, which counts as a refusal.
    pub(super) fn dialled_in_vain(&mut self, why: &DialError) {
        tracing::debug!(target: "umbel", %why, "dialled in vain");
        let (at, cause) = cause(why);
        if let Some(unsaid) = self.dials.note((at.to_owned(), cause), Instant::now()) {
            tracing::warn!(
                target: "umbel", unsaid,
                "no link with {at}: {why}; it is dialled again, with back-off"
            );
        }
    }

    /// A link has ended.
    pub(super) fn link_is_down(&mut self, peer: &NodeId, link: LinkId, why: &LinkEnd) {
        let cause = match why {
            LinkEnd::Broken(_) => "broken",
            LinkEnd::Violation(_) => "violation",
            LinkEnd::Silent => "silent",
            LinkEnd::Fenced { .. } => "fenced",
            LinkEnd::Down => "down",
            // Somebody wanted it so, or the two are linked all the same.
            _ => {
                tracing::info!(target: "umbel", %peer, %link, "link down: {why}");
                return;
            }
        };
        match self.ends.note((peer.name.clone(), cause), Instant::now()) {
            Some(unsaid) => {
                tracing::warn!(target: "umbel", unsaid, %link, "lost the link with {peer}: {why}");
            }
            None => tracing::info!(target: "umbel", %peer, %link, "link down: {why}"),
        }
    }
}

/// Where a dial failed, and one word for why: not the whole text, for that may be the peer's, and
/// another one each time.
fn cause(why: &DialError) -> (&str, String) {
    match why {
        DialError::Transport(
            TransportError::Unreachable { address, source }
            | TransportError::Lost { address, source }
            | TransportError::Listen { address, source }
            | TransportError::Accept { address, source },
        ) => (address, source.kind().to_string()),
        DialError::Transport(TransportError::Tls { address, .. }) => (address, "tls".to_owned()),
        DialError::Transport(
            TransportError::CertificateRefused { address, .. }
            | TransportError::RefusedByPeer { address, .. },
        ) => (address, "certificate".to_owned()),
        DialError::Refused { by, .. } => (by.as_str(), "refused".to_owned()),
        DialError::Strange { address, .. } => (address, "strange".to_owned()),
        DialError::TimedOut { endpoint, .. } => (endpoint.as_str(), "silent".to_owned()),
    }
}
