//! Carries one connection from one node to another.

use std::net::SocketAddr;

use futures_util::TryFutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::Instant;

use super::bounds::CARRIED_BYTES_MAX;
use super::way::{Fate, Way};

/// A connection that a node has dialled.
pub(super) struct Carrier {
    pub(super) number: u64,
    /// The way from the node that dialled to the other.
    pub(super) there: watch::Receiver<Way>,
    /// And the way back.
    pub(super) back: watch::Receiver<Way>,
    /// Where the other node listens, if it does.
    pub(super) target: watch::Receiver<Option<SocketAddr>>,
}

/// Whose end of a connection has broken.
enum Broken {
    Dialler,
    Acceptor,
}

impl Carrier {
    /// Carries bytes, ends and resets both ways, as the ways have it, until both nodes are done.
    pub(super) async fn carry(self, mut dialler: TcpStream) {
        let mut acceptor = None;
        // One that cannot be told so only takes longer.
        let _ = dialler.set_nodelay(true);
        let is_over = tokio::select! {
            biased;
            () = reset(self.number, self.there.clone()) => false,
            () = reset(self.number, self.back.clone()) => false,
            is_over = self.until_over(&mut dialler, &mut acceptor) => is_over,
        };
        if !is_over {
            for end in [Some(dialler), acceptor].into_iter().flatten() {
                // Dropped so, its node is told of a reset. What cannot be set belongs to a node that is gone.
                let _ = end.set_zero_linger();
            }
        }
    }

    /// Returns false where what is left is to be reset.
    async fn until_over(&self, dialler: &mut TcpStream, acceptor: &mut Option<TcpStream>) -> bool {
        let half_open = self.there.borrow().is_half_open(Instant::now());
        if half_open || !self.passes(&self.there).await {
            return until_closed(dialler).await;
        }
        let target = *self.target.borrow();
        let connected = match target {
            Some(target) => TcpStream::connect(target).await.ok(),
            None => None,
        };
        let Some(connected) = connected else {
            // Nobody listens; the kernel of that machine would say so.
            return !self.passes(&self.back).await && until_closed(dialler).await;
        };
        let acceptor = acceptor.insert(connected);
        let _ = acceptor.set_nodelay(true);
        let (survivor, way) = match self.both_ways(dialler, acceptor).await {
            Ok(()) => return true,
            Err(Broken::Dialler) => (acceptor, &self.there),
            Err(Broken::Acceptor) => (dialler, &self.back),
        };
        // The news of it go the same way as everything else.
        !self.passes(way).await && until_closed(survivor).await
    }

    async fn both_ways(
        &self,
        dialler: &mut TcpStream,
        acceptor: &mut TcpStream,
    ) -> Result<(), Broken> {
        use Broken::{Acceptor, Dialler};
        let (dialler_reads, dialler_writes) = dialler.split();
        let (acceptor_reads, acceptor_writes) = acceptor.split();
        let there = self.one_way(dialler_reads, acceptor_writes, &self.there);
        let back = self.one_way(acceptor_reads, dialler_writes, &self.back);
        let there = there.map_err(|end| if end == End::Source { Dialler } else { Acceptor });
        let back = back.map_err(|end| if end == End::Source { Acceptor } else { Dialler });
        tokio::try_join!(there, back).map(|_| ())
    }

    /// Carries bytes until the source has no more. While nothing may pass, nothing is read either, so that
    /// the source finds its socket full, as with a peer that is not there.
    async fn one_way(
        &self,
        mut source: ReadHalf<'_>,
        mut target: WriteHalf<'_>,
        way: &watch::Receiver<Way>,
    ) -> Result<(), End> {
        let mut buffer = vec![0; CARRIED_BYTES_MAX];
        loop {
            self.passes(way).await;
            let read = source.read(&mut buffer).await;
            // Something may have come up while there was nothing to carry.
            let passes = self.passes(way).await;
            match read {
                Ok(0) if passes => return target.shutdown().await.map_err(|_| End::Target),
                Err(_) if passes => return Err(End::Source),
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) if !passes => {}
                Ok(count) => {
                    let extra = way.borrow().extra(count, Instant::now());
                    if !extra.is_zero() {
                        tokio::time::sleep(extra).await;
                    }
                    target.write_all(&buffer[..count]).await.map_err(|_| End::Target)?;
                }
            }
        }
    }

    /// Waits until something may pass; false where nothing ever will.
    async fn passes(&self, way: &watch::Receiver<Way>) -> bool {
        let mut way = way.clone();
        loop {
            let fate = way.borrow_and_update().fate(self.number, Instant::now());
            match fate {
                Fate::Passes => return true,
                Fate::Vanishes => return false,
                Fate::Waits(until) => tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(until) => {}
                    changed = way.changed() => if changed.is_err() { return true },
                },
            }
        }
    }
}

/// Which end of one way has broken.
#[derive(PartialEq, Eq)]
enum End {
    Source,
    Target,
}

/// Waits until the connection of this number is reset.
async fn reset(number: u64, mut way: watch::Receiver<Way>) {
    // An error: the run is over, and with it all that it carries.
    if way.wait_for(|way| way.is_reset(number)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Swallows what a node sends until it has closed its end: nobody tells it anything. True, for then all is
/// over.
async fn until_closed(end: &mut TcpStream) -> bool {
    let mut buffer = vec![0; CARRIED_BYTES_MAX];
    while end.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    true
}
