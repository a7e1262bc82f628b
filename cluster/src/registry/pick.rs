//! Which of several actors is given the next piece of work.

use umbel_actors::rendezvous;
use umbel_protocol::{Load, NodeId};

/// A policy by which [`Discovery::pick`](super::Discovery::pick) picks one of several actors.
///
/// ```
/// use umbel_cluster::{Candidate, LocalFirst, Pick, Random};
///
/// /// Spares one node, unless there is nobody else.
/// struct Sparing<P>(String, P);
///
/// impl<P: Pick> Pick for Sparing<P> {
///     fn pick(&mut self, among: &[Candidate], chance: &mut dyn FnMut() -> u64) -> Option<usize> {
///         let others: Vec<usize> =
///             (0..among.len()).filter(|index| among[*index].node.name.as_str() != self.0).collect();
///         match others.len() {
///             0 => self.1.pick(among, chance),
///             count => others.get(chance() as usize % count).copied(),
///         }
///     }
/// }
/// # let _ = Sparing("a".into(), LocalFirst(Random));
/// ```
pub trait Pick {
    /// The index of one of `among`, which are ordered by node and age; `None` only where there are
    /// none. `chance` gives numbers of the system's seeded generator.
    fn pick(&mut self, among: &[Candidate], chance: &mut dyn FnMut() -> u64) -> Option<usize>;
}

/// What a policy knows of an actor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// The node that it runs on.
    pub node: NodeId,
    /// Its number there.
    pub actor: u64,
    /// How much waits for it, as its node told last.
    pub load: Load,
    /// Whether its node is the one that picks.
    pub is_here: bool,
    /// Its place in rendezvous hashing: the same on every node.
    place: u64,
}

impl Candidate {
    /// An actor of a node, under so much load.
    #[must_use]
    pub fn new(node: NodeId, actor: u64, load: Load, is_here: bool) -> Self {
        let place = rendezvous::place(format!("{node}/{actor}").as_bytes());
        Self { node, actor, load, is_here, place }
    }
}

/// One after the other. When some come or go, it goes on with whoever stands at the same place in
/// the order of nodes and age.
#[derive(Clone, Debug, Default)]
pub struct RoundRobin {
    next: usize,
}

/// Any, by the system's seeded generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

/// One of those under the least load, by the system's seeded generator.
///
/// The load is [told](umbel_protocol::LOADS_BYTES_MAX) once a second at most and in powers of two,
/// so all who pick within one second pick among the same few: it evens out what takes seconds, not
/// bursts.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastLoaded;

/// Only actors of this node, if there are any; one of them by another policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalFirst<P>(pub P);

/// The one to which this key belongs, by rendezvous hashing: the same on every node that knows the
/// same actors, and when one goes, only its own keys move.
#[derive(Clone, Copy, Debug)]
pub struct ByKey<'a>(pub &'a [u8]);

impl Pick for RoundRobin {
    fn pick(&mut self, among: &[Candidate], _: &mut dyn FnMut() -> u64) -> Option<usize> {
        let picked = self.next.checked_rem(among.len())?;
        self.next = picked + 1;
        Some(picked)
    }
}

impl Pick for Random {
    fn pick(&mut self, among: &[Candidate], chance: &mut dyn FnMut() -> u64) -> Option<usize> {
        drawn(among.len(), chance)
    }
}

impl Pick for LeastLoaded {
    fn pick(&mut self, among: &[Candidate], chance: &mut dyn FnMut() -> u64) -> Option<usize> {
        let least = among.iter().map(|candidate| candidate.load).min()?;
        let free = || (0..among.len()).filter(|index| among[*index].load == least);
        free().nth(drawn(free().count(), chance)?)
    }
}

impl<P: Pick> Pick for LocalFirst<P> {
    fn pick(&mut self, among: &[Candidate], chance: &mut dyn FnMut() -> u64) -> Option<usize> {
        // All of one node stand together.
        let first = among.iter().position(|candidate| candidate.is_here);
        let Some(first) = first else { return self.0.pick(among, chance) };
        let here = among[first..].iter().take_while(|candidate| candidate.is_here).count();
        self.0.pick(&among[first..first + here], chance).map(|picked| first + picked)
    }
}

impl Pick for ByKey<'_> {
    fn pick(&mut self, among: &[Candidate], _: &mut dyn FnMut() -> u64) -> Option<usize> {
        let places = among.iter().map(|candidate| candidate.place);
        rendezvous::owner(self.0, places.enumerate())
    }
}

fn drawn(count: usize, chance: &mut dyn FnMut() -> u64) -> Option<usize> {
    let number = chance().checked_rem(count as u64)?;
    usize::try_from(number).ok()
}

#[cfg(test)]
#[path = "pick/tests.rs"]
mod tests;
