//! Which of several instances is given a call.

use serde::Deserialize;
use umbel_actors::rendezvous;

/// Which of several instances of a service is given a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Policy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// Any, by the system's seeded generator.
    Random,
    /// The one that has the fewest calls of this caller under way; of several, one after the other.
    LeastLoaded,
    /// Instances of this node where there are any; of several, one after the other.
    LocalFirst,
    /// The one that the call's [key](crate::CallOptions::key) belongs to, by rendezvous hashing: when
    /// one goes, only its own keys move. One after the other for calls without a key.
    ByKey,
}

/// Where the instances may be that a service is called at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Wherever there are some.
    #[default]
    Anywhere,
    /// On this node only.
    Local,
    /// On other nodes only; a host of this service is not started here.
    Remote,
}

/// What is known of an instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) place: u64,
    pub(crate) is_here: bool,
    pub(crate) under_way: u64,
    /// It has just failed: another one is better.
    pub(crate) is_avoided: bool,
}

impl Policy {
    /// The index of one of `among`. `turn` counts calls.
    pub(crate) fn pick(
        self,
        placement: Placement,
        among: &[Candidate],
        key: Option<&[u8]>,
        turn: u64,
        chance: impl FnOnce() -> u64,
    ) -> Option<usize> {
        let fits = |candidate: &Candidate| match placement {
            Placement::Anywhere => true,
            Placement::Local => candidate.is_here,
            Placement::Remote => !candidate.is_here,
        };
        let some = |fits: &dyn Fn(&Candidate) -> bool| among.iter().any(fits);
        let spares = some(&|candidate| fits(candidate) && !candidate.is_avoided);
        let fits = |candidate: &Candidate| fits(candidate) && !(spares && candidate.is_avoided);
        let is_near = self == Self::LocalFirst && some(&|one| fits(one) && one.is_here);
        let fits = |candidate: &Candidate| fits(candidate) && (!is_near || candidate.is_here);
        let least = match self {
            Self::LeastLoaded => {
                among.iter().filter(|one| fits(one)).map(|one| one.under_way).min()
            }
            _ => None,
        };
        let fits = |one: &Candidate| fits(one) && least.is_none_or(|least| one.under_way == least);

        let indices = || (0..among.len()).filter(|index| fits(&among[*index]));
        if let (Self::ByKey, Some(key)) = (self, key) {
            return rendezvous::owner(key, indices().map(|index| (index, among[index].place)));
        }
        let number = if self == Self::Random { chance() } else { turn };
        let picked = number.checked_rem(indices().count() as u64)?;
        indices().nth(usize::try_from(picked).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(count: u64) -> Vec<Candidate> {
        let candidate = |place| Candidate {
            place,
            is_here: place == 1,
            under_way: 10 - place,
            is_avoided: false,
        };
        (0..count).map(candidate).collect()
    }

    fn pick(policy: Policy, among: &[Candidate], key: Option<&[u8]>, turn: u64) -> Option<usize> {
        policy.pick(Placement::Anywhere, among, key, turn, || 2)
    }

    #[test]
    fn each_policy_picks_as_it_says() {
        let among = candidates(3);
        let turns: Vec<_> =
            (0..4).map(|turn| pick(Policy::RoundRobin, &among, None, turn)).collect();
        assert_eq!(turns, [Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!(pick(Policy::Random, &among, None, 0), Some(2));
        assert_eq!(pick(Policy::LeastLoaded, &among, None, 0), Some(2));
        assert_eq!(pick(Policy::LocalFirst, &among, None, 7), Some(1));
        assert_eq!(pick(Policy::LocalFirst, &among[..1], None, 7), Some(0));
        assert_eq!(pick(Policy::RoundRobin, &[], None, 0), None);
    }

    #[test]
    fn placement_leaves_out_those_elsewhere_or_here() {
        let among = candidates(3);
        let pick = |placement, turn| Policy::RoundRobin.pick(placement, &among, None, turn, || 0);
        assert!((0..9).all(|turn| pick(Placement::Local, turn) == Some(1)));
        assert!((0..9).all(|turn| pick(Placement::Remote, turn) != Some(1)));
        let none = Policy::RoundRobin.pick(Placement::Remote, &among[1..2], None, 0, || 0);
        assert_eq!(none, None);
    }

    #[test]
    fn one_that_has_just_failed_is_taken_where_there_is_no_other() {
        let mut among = candidates(2);
        among[0].is_avoided = true;
        for policy in [Policy::RoundRobin, Policy::Random, Policy::LeastLoaded, Policy::ByKey] {
            assert_eq!(pick(policy, &among, Some(b"key"), 0), Some(1));
            assert_eq!(pick(policy, &among[..1], Some(b"key"), 0), Some(0));
        }
    }

    #[test]
    fn when_one_goes_only_its_own_keys_move() {
        let (before, mut after) = (candidates(5), candidates(5));
        let gone = after.remove(2).place;
        let mut held = [0; 5];
        for number in 0..1000_u32 {
            let key = number.to_le_bytes();
            let owner = |among: &[Candidate]| {
                among[pick(Policy::ByKey, among, Some(&key), 0).unwrap()].place
            };
            held[owner(&before) as usize] += 1;
            assert!(owner(&before) == gone || owner(&before) == owner(&after));
        }
        assert!(held.iter().all(|held| (100..300).contains(held)), "{held:?}");
    }
}
