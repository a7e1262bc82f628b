use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::sleep;

use crate::account::Answer;
use crate::asked::Asked;
use crate::dispatch::Dispatch;
use crate::options::HttpOptions;
use crate::phase::Phases;
use crate::stream::Stream;

/// How far a server is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It takes connections.
    Serving,
    /// It takes no more, and answers what is under way.
    Ending,
    /// Who is still there is cut off.
    Cut,
}

/// How long a client that has not yet asked anything is waited for when the server ends.
const GRACE: Duration = Duration::from_millis(500);

/// What all connections of a server share.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) dispatch: Dispatch,
    pub(crate) options: HttpOptions,
    /// How many connections were cut off with a request under way.
    pub(crate) cut: AtomicUsize,
}

impl Serving {
    /// Serves one client until either end has enough.
    pub(crate) async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        mut stage: watch::Receiver<Stage>,
        place: OwnedSemaphorePermit,
    ) {
        let phases = Arc::new(Phases::default());
        let io = Stream::new(stream, phases.clone(), &self.options, place);
        let service = service_fn(|request| {
            let (serving, phases) = (self.clone(), phases.clone());
            async move { Ok::<_, std::convert::Infallible>(serving.answer(request, peer, phases).await) }
        });
        let connection = http1::Builder::new()
            .max_header_size(self.options.head_bytes_max)
            .max_buf_size(self.options.head_bytes_max)
            // The stream knows better: it tells a head that takes too long from a client that waits.
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        let mut connection = pin!(connection);

        let is_ending = |stage: &Stage| *stage != Stage::Serving;
        tokio::select! {
            biased;
            outcome = connection.as_mut() => return told(peer, outcome),
            // An error says that the server was dropped.
            changed = stage.wait_for(is_ending) => if changed.is_err() { return },
        }
        connection.as_mut().graceful_shutdown();
        let cut = stage.wait_for(|stage| *stage == Stage::Cut);
        let mut cut = pin!(cut);
        let mut grace = pin!(sleep(GRACE));
        let mut is_waited_for = false;
        loop {
            tokio::select! {
                biased;
                outcome = connection.as_mut() => return told(peer, outcome),
                _ = &mut cut => {
                    if phases.now().is_under_way() {
                        // Before the drop of `stage`, which tells that this one has ended.
                        self.cut.fetch_add(1, Ordering::SeqCst);
                    }
                    return;
                }
                () = &mut grace, if !is_waited_for => {
                    is_waited_for = true;
                    if !phases.now().is_under_way() {
                        return;
                    }
                }
            }
        }
    }

    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        peer: SocketAddr,
        phases: Arc<Phases>,
    ) -> hyper::Response<Answer> {
        let mut request = request.map(|body| Asked::body(body, &phases));
        request.extensions_mut().insert(ConnectInfo(peer));
        self.dispatch.answer(request, phases).await
    }
}

fn told(peer: SocketAddr, outcome: hyper::Result<()>) {
    if let Err(why) = outcome {
        let cause = std::error::Error::source(&why);
        tracing::debug!(%peer, %why, cause, "connection broke");
    }
}
