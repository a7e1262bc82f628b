//! What a connection rests on.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};

/// What a connection rests on: the certificates that its peer has shown, and how long they, and ours,
/// are in force. Kept so that the peer can be judged again: see
/// [`Transport::judge`](super::Transport::judge).
#[derive(Clone)]
pub struct Proof {
    chain: Arc<[CertificateDer<'static>]>,
    until: UnixTime,
}

impl Proof {
    /// What a handshake has found. `chain` begins with the peer's own certificate; `until` is the last
    /// second of whichever end's certificate ends first.
    #[must_use]
    pub fn new(chain: Vec<CertificateDer<'static>>, until: UnixTime) -> Self {
        Self { chain: chain.into(), until }
    }

    /// The certificates that the peer has shown, its own first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The last second at which the certificates of both ends are in force.
    #[must_use]
    pub fn until(&self) -> UnixTime {
        self.until
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").field("until", &self.until).finish_non_exhaustive()
    }
}
