//! Replaces the connections of links that are up, and ends links whose peer is trusted no more.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use umbel_protocol::{Control, Held, Hello, Lane, LinkEnd, LinkId, PeersInput, Reason, Refusal};

use super::line::{Line, Side, Term};
use super::{Coordinate, Turn, Verdict};
use crate::greeting::{self, Admitted, DialError};
use crate::task::OwnedTask;
use crate::transport::{CertificateFault, Proof, Renewable};

/// Within which time all connections are replaced after the node's certificate was: spread out, so that
/// a node with many links does not shake hands with all of them at once.
const ROTATED_WITHIN: Duration = Duration::from_secs(2);

impl Turn<'_> {
    /// For how long the peer's proof holds, or what is wrong with it by now.
    fn judge(&self, proof: Option<&Proof>) -> Result<Duration, CertificateFault> {
        proof.map_or(Ok(Duration::MAX), |proof| self.shell.transport.judge(proof))
    }

    /// Why a connection that was let in is not good any more. Between its handshake and now the node may
    /// have been told other authorities, or lists.
    pub(super) fn distrust(&self, admitted: &Admitted) -> Option<LinkEnd> {
        self.judge(admitted.proof.as_ref()).err().map(untrusted)
    }

    fn term(&self, proof: Option<&Proof>, side: Side) -> Term {
        let home = &self.shell.home;
        let lasts = self.judge(proof).unwrap_or(Duration::ZERO);
        let chance = home.system.random();
        let mut term = Term::new(Instant::now(), home.config.link_age_max, lasts, side, chance);
        if side == Side::Acceptor {
            // What its dialler has begun in time may still be on its way.
            term.ends_at += home.config.handshake_deadline;
        }
        term
    }

    /// A lane's first connection: the stream for the lane, and what replaces its connections.
    pub(super) fn line(&self, admitted: Admitted, side: Side) -> (Renewable, Line) {
        let term = self.term(admitted.proof.as_ref(), side);
        let (stream, renewal) = Renewable::new(admitted.stream);
        (stream, Line::new(renewal, admitted.proof, term))
    }

    /// Looks after all links, and says when it will do so again. With `afresh`, all peers are judged.
    pub(super) fn look_after_links(&mut self, afresh: bool) {
        let now = Instant::now();
        let (mut ends, mut due) = (Vec::new(), Vec::new());
        let mut links = std::mem::take(&mut self.links.up);
        for (id, link) in &mut links {
            for (lane, line) in &mut link.lines {
                if afresh || now >= line.term.judge_at {
                    match self.judge(line.proof.as_ref()) {
                        Ok(lasts) => line.term.judged(now, lasts),
                        Err(fault) => ends.push((*id, untrusted(fault))),
                    }
                }
                // A replacement that has begun may complete: it has a bound of its own.
                if now >= line.term.ends_at && line.done_by.is_none() {
                    ends.push((*id, LinkEnd::Aged));
                } else if is_stuck(line, now) {
                    let why = Reason::cut("its connection was not replaced in time");
                    ends.push((*id, LinkEnd::Broken(why)));
                } else if now >= line.term.renew_at {
                    due.push((*id, *lane));
                }
            }
        }
        self.links.up = links;
        for (link, why) in ends {
            if let Some(up) = self.links.up.get(&link) {
                let cause = match why {
                    LinkEnd::Untrusted(_) => "untrusted",
                    LinkEnd::Aged => "aged",
                    _ => "renewal",
                };
                self.shell.home.refusals.note(cause, &format!("{}: {why}", up.peer.id));
            }
            self.step(PeersInput::LinkDown { link, why });
        }
        for (link, lane) in due {
            self.renew(link, lane);
        }
        self.look_again();
    }

    /// Sets the timer for the next look.
    pub(super) fn look_again(&mut self) {
        if let Some(timer) = self.links.look.take() {
            timer.cancel();
        }
        let lines = self.links.up.values().flat_map(|link| link.lines.values());
        let Some(due) = lines.map(Line::due).min() else { return };
        let delay = due.saturating_duration_since(Instant::now());
        let timer = self.shell.home.system.send_after(delay, &self.own, Coordinate::Look);
        self.links.look = Some(timer);
    }

    /// The node proves itself otherwise from now on, or trusts others.
    pub(super) fn rotated(&mut self, is_other: bool) {
        if is_other {
            let now = Instant::now();
            for line in self.links.up.values_mut().flat_map(|link| link.lines.values_mut()) {
                let chance = self.shell.home.system.random() % 1000;
                line.term.hasten(now + ROTATED_WITHIN / 1000 * chance as u32);
            }
        }
        self.look_after_links(true);
    }

    /// Has a lane's connection replaced. Only its dialler can: it is known to reach the other.
    fn renew(&mut self, id: LinkId, lane: Lane) {
        let (home, transport) = (self.shell.home.clone(), self.shell.transport.clone());
        let Some(link) = self.links.up.get_mut(&id) else { return };
        let Some(line) = link.lines.get_mut(&lane) else { return };
        let now = Instant::now();
        line.term.put_off(now);
        let Some(endpoint) = link.dialled.clone() else {
            return link.control.send(&Control::Renew(lane));
        };
        if line.dial.is_some() || !line.renewal.expect() {
            return;
        }
        line.done_by = Some(now + 2 * home.config.handshake_deadline);
        let (own, peer) = (self.own.clone(), link.peer.id.clone());
        line.dial = Some(OwnedTask::spawn(async move {
            let (transport, held) = (&*transport, Held { lost: Some(id), over: None });
            let renewed = greeting::dial_lane(transport, &home, lane, id, &endpoint, &peer, &held);
            let _ = own.tell(Coordinate::Renewed(id, lane, renewed.await)).await;
        }));
    }

    /// The dial for a lane's next connection has ended.
    pub(super) fn renewed(&mut self, id: LinkId, lane: Lane, result: Result<Admitted, DialError>) {
        let result = result.map(|admitted| {
            let term = self.term(admitted.proof.as_ref(), Side::Dialler);
            (admitted, term)
        });
        let Some(link) = self.links.up.get_mut(&id) else { return };
        let Some(line) = link.lines.get_mut(&lane) else { return };
        line.dial = None;
        match result {
            Ok((admitted, term)) => {
                tracing::debug!(target: "umbel", peer = %link.peer.id, %lane, "connection replaced");
                metrics::counter!("umbel_renewals_total").increment(1);
                self.shell.home.renewals.fetch_add(1, Ordering::Relaxed);
                line.arrive(admitted.stream, admitted.proof, term);
            }
            Err(why) => {
                line.renewal.withdraw();
                line.done_by = None;
                let why = format!("{}, {lane} lane: {why}", link.peer.id);
                self.shell.home.refusals.note("renewal", &why);
            }
        }
        self.look_again();
    }

    /// A peer wants to replace the connection of a lane.
    pub(super) fn renewal_asked(&mut self, hello: &Hello) -> Verdict {
        let link = self.links.up.get_mut(&hello.link);
        let link = link.filter(|link| link.peer.id == hello.node && link.dialled.is_none());
        let Some(line) = link.and_then(|link| link.lines.get_mut(&hello.lane)) else {
            return Verdict::Refused(Refusal::UnknownLink);
        };
        if !line.renewal.expect() {
            return Verdict::Refused(Refusal::AlreadyLinked { link: hello.link });
        }
        line.done_by = Some(Instant::now() + 2 * self.shell.home.config.handshake_deadline);
        self.look_again();
        Verdict::Accepted
    }

    /// The connection that a peer was allowed to replace one with is there.
    pub(super) fn renewal_opened(&mut self, hello: &Hello, admitted: Admitted) {
        let (distrust, term) =
            (self.distrust(&admitted), self.term(admitted.proof.as_ref(), Side::Acceptor));
        if let Some(why) = distrust {
            return self.step(PeersInput::LinkDown { link: hello.link, why });
        }
        let Some(link) = self.links.up.get_mut(&hello.link) else { return };
        if let Some(line) = link.lines.get_mut(&hello.lane) {
            line.arrive(admitted.stream, admitted.proof, term);
        }
        self.look_again();
    }

    /// The peer wants this node to replace a connection.
    pub(super) fn renewal_due(&mut self, id: LinkId, lane: Lane) {
        let link = self.links.up.get(&id).filter(|link| link.dialled.is_some());
        let line = link.and_then(|link| link.lines.get(&lane));
        if line.is_some_and(|line| line.term.may_be_replaced(Instant::now())) {
            self.renew(id, lane);
            self.look_again();
        }
    }
}

/// Whether a replacement that has begun has come to nothing; one that was only expected is not any more.
fn is_stuck(line: &mut Line, now: Instant) -> bool {
    if line.done_by.is_none_or(|done_by| now < done_by) {
        return false;
    }
    line.done_by = None;
    line.renewal.withdraw();
    !line.renewal.is_settled()
}

fn untrusted(fault: CertificateFault) -> LinkEnd {
    LinkEnd::Untrusted(Reason::cut(fault.to_string()))
}
