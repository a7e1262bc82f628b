//! Connections, as two machines see them.

use std::collections::BTreeMap;
use std::time::Duration;

use umbel_protocol::{Control, Endpoint, Hello, Lane, LinkId, NodeName, Refusal, Welcome};

/// One life of one node, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) life: u64,
}

/// An end of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Dialler,
    Acceptor,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Acceptor,
            Self::Acceptor => Self::Dialler,
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Dialler => 0,
            Self::Acceptor => 1,
        }
    }
}

/// What goes over a wire.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Hello(Hello),
    Answer(Lane, Result<Welcome, Refusal>),
    Control(Control),
    /// The connection is over.
    Closed,
}

/// The connections of one link.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) dialler: End,
    /// Known when the first hello has arrived.
    pub(crate) acceptor: Option<End>,
    pub(crate) endpoint: Endpoint,
    pub(crate) expect: Option<NodeName>,
    /// The answer to the control lane's hello.
    pub(crate) welcome: Option<Welcome>,
    /// Whether the dial has come to an end, one way or another.
    pub(crate) dialled: bool,
    open: [bool; 2],
    /// When the last packet to each side arrives: none overtakes another.
    last_at: [Duration; 2],
    /// What waits for a cut to end, by the side that it goes to.
    held: [Vec<Packet>; 2],
}

impl Wire {
    pub(crate) fn new(dialler: End, endpoint: Endpoint, expect: Option<NodeName>) -> Self {
        Self {
            dialler,
            acceptor: None,
            endpoint,
            expect,
            welcome: None,
            dialled: false,
            open: [true; 2],
            last_at: [Duration::ZERO; 2],
            held: [Vec::new(), Vec::new()],
        }
    }

    pub(crate) fn end(&self, side: Side) -> Option<End> {
        match side {
            Side::Dialler => Some(self.dialler),
            Side::Acceptor => self.acceptor,
        }
    }

    pub(crate) fn side_of(&self, end: End) -> Option<Side> {
        [Side::Dialler, Side::Acceptor].into_iter().find(|side| self.end(*side) == Some(end))
    }

    pub(crate) fn is_open(&self, side: Side) -> bool {
        self.open[side.index()]
    }

    /// One side has let go of it.
    pub(crate) fn close(&mut self, side: Side) {
        self.open[side.index()] = false;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.open == [false; 2]
    }

    /// When a packet arrives that is sent now and takes `latency`.
    pub(crate) fn arrives(&mut self, to: Side, now: Duration, latency: Duration) -> Duration {
        let last = &mut self.last_at[to.index()];
        *last = (*last).max(now + latency);
        *last
    }

    pub(crate) fn hold(&mut self, to: Side, packet: Packet) {
        self.held[to.index()].push(packet);
    }

    pub(crate) fn release(&mut self, to: Side) -> Vec<Packet> {
        std::mem::take(&mut self.held[to.index()])
    }

    pub(crate) fn holds(&self, to: Side) -> bool {
        !self.held[to.index()].is_empty()
    }
}

/// All wires, and which ways are cut.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) wires: BTreeMap<LinkId, Wire>,
    cuts: BTreeMap<(usize, usize), Duration>,
}

impl Network {
    pub(crate) fn cut(&mut self, from: usize, to: usize, until: Duration) {
        let cut = self.cuts.entry((from, to)).or_default();
        *cut = (*cut).max(until);
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize, now: Duration) -> bool {
        self.cuts.get(&(from, to)).is_some_and(|until| *until > now)
    }

    pub(crate) fn mend_all(&mut self) {
        self.cuts.clear();
    }

    /// The links that have an end at this life of a node, and which.
    pub(crate) fn of(&self, end: End) -> Vec<(LinkId, Side)> {
        let wires = self.wires.iter();
        wires.filter_map(|(link, wire)| Some((*link, wire.side_of(end)?))).collect()
    }

    /// Forgets the wires that both ends have let go of.
    pub(crate) fn sweep(&mut self) {
        self.wires.retain(|_, wire| !wire.is_over());
    }
}
