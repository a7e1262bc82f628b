//! How a server deals with its clients.

use std::time::Duration;

/// The bounds of a server. Bounds that are zero count as one, spans that are zero as a millisecond.
///
/// Bodies have axum's own bound: extractors read at most 2 MiB, unless a router has another
/// [`DefaultBodyLimit`](axum::extract::DefaultBodyLimit). Who reads a body by hand bounds it by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpOptions {
    /// How many connections are served at once. Further ones wait in the system's backlog (and one
    /// for each address unread in the server) until others end. Default: 4,096; the process needs a
    /// file for each, see `ulimit -n`.
    pub connections: usize,
    /// How long the head of a request may take from its first byte, and for the first request of a
    /// connection from its opening. Who is slower is closed. Default: 10 s.
    pub head_wait: Duration,
    /// How many bytes a head may have: request line and headers; 8 KiB at least. More is answered 431,
    /// as are more than 100 headers. Default: 64 KiB.
    pub head_bytes_max: usize,
    /// How long a connection stays open without a request. Default: 60 s.
    pub idle: Duration,
    /// How long a handler may take until its answer begins, with reading the request's body; after
    /// that it is dropped, and 504 is answered. Answers that are streamed may take longer. Default: 30 s.
    pub deadline: Duration,
    /// How long a client may read nothing of what is sent to it before it is closed. Default: 30 s.
    pub stall: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connections: 4096,
            head_wait: Duration::from_secs(10),
            head_bytes_max: 64 << 10,
            idle: Duration::from_secs(60),
            deadline: Duration::from_secs(30),
            stall: Duration::from_secs(30),
        }
    }
}

/// The least that hyper takes for a buffer.
const HEAD_BYTES_LEAST: usize = 8192;

impl HttpOptions {
    /// The same, without zeros where there must be one at least.
    pub(crate) fn sane(mut self) -> Self {
        for span in [&mut self.head_wait, &mut self.idle, &mut self.deadline, &mut self.stall] {
            *span = (*span).max(Duration::from_millis(1));
        }
        // More permits a semaphore does not have.
        self.connections = self.connections.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self.head_bytes_max = self.head_bytes_max.max(HEAD_BYTES_LEAST);
        self
    }
}
