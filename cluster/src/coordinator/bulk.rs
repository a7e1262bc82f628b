//! The bulk lane of a link: opened when it is wanted, by the side that dialled the others.

use std::sync::Arc;
use std::time::Duration;

use umbel_protocol::{Endpoint, Held, Lane, LinkId, NodeId, PeersInput};

use super::line::Side;
use super::{Coordinate, Turn};
use crate::greeting::{self, Admitted};
use crate::home::NodeHome;
use crate::lane::Bulk;
use crate::transport::Transport;

/// How long a dial for the bulk lane that failed is rested from.
const REST: Duration = Duration::from_secs(1);

/// How long a peer may take to say how much it takes: the thread that says so may rest for seconds.
const FIRST_WORD: Duration = Duration::from_secs(30);

/// What the bulk lane of a link is dialled with.
pub(super) struct BulkDial {
    pub(super) link: LinkId,
    pub(super) peer: NodeId,
    pub(super) endpoint: Endpoint,
    pub(super) home: Arc<NodeHome>,
    pub(super) transport: Arc<dyn Transport>,
}

impl BulkDial {
    /// Dials until the lane is open. What it is for waits meanwhile; the link is as good as before.
    pub(super) async fn run(self) -> Coordinate {
        let Self { link, peer, endpoint, home, transport } = self;
        loop {
            let opening = async {
                let held = Held::default();
                let dial = greeting::dial_lane(
                    &*transport,
                    &home,
                    Lane::Bulk,
                    link,
                    &endpoint,
                    &peer,
                    &held,
                );
                let mut admitted = dial.await.map_err(|why| why.to_string())?;
                // The peer drives the lane by now: to give up would end the link.
                let limit =
                    tokio::time::timeout(FIRST_WORD, Bulk::first_word(&mut admitted.stream));
                let limit = limit.await.map_err(|_| "it said nothing".to_owned())?;
                Ok((admitted, limit.map_err(|why| why.to_string())?))
            };
            let opened: Result<_, String> = opening.await;
            let why = match opened {
                Ok((admitted, limit)) => return Coordinate::BulkDialled(link, admitted, limit),
                Err(why) => why,
            };
            home.refusals.note("bulk-lane", &format!("{endpoint}: {why}"));
            tokio::time::sleep(REST).await;
        }
    }
}

impl Turn<'_> {
    /// The bulk lane of a link is open. `limit` is what the peer takes at most, where it was this end
    /// that dialled.
    pub(super) fn bulk_opened(&mut self, id: LinkId, admitted: Admitted, limit: Option<u64>) {
        if let Some(why) = self.distrust(&admitted) {
            return self.step(PeersInput::LinkDown { link: id, why });
        }
        let side = if limit.is_some() { Side::Dialler } else { Side::Acceptor };
        let (stream, line) = self.line(admitted, side);
        if let Some(link) = self.links.up.get_mut(&id) {
            link.open_bulk(Box::new(stream), limit, &self.own);
            link.lines.insert(Lane::Bulk, line);
        }
        self.look_again();
    }
}
