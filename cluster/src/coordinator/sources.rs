//! Which seeds are named, and by whom.

use std::collections::{BTreeMap, BTreeSet};

use umbel_protocol::Endpoint;

/// The seeds that were configured, and those that each source names.
#[derive(Default)]
pub(super) struct Sources {
    configured: BTreeSet<Endpoint>,
    named: BTreeMap<usize, Vec<Endpoint>>,
}

impl Sources {
    /// These are seeds whatever sources name.
    pub(super) fn configure(&mut self, seeds: &[Endpoint]) {
        self.configured.extend(seeds.iter().cloned());
    }

    /// A source names these now. Those that it named before and nobody names any more.
    pub(super) fn name(&mut self, source: usize, seeds: &[Endpoint]) -> Vec<Endpoint> {
        let mut before = self.named.insert(source, seeds.to_vec()).unwrap_or_default();
        before.retain(|seed| {
            !self.configured.contains(seed) && !self.named.values().flatten().any(|it| it == seed)
        });
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(names: &[&str]) -> Vec<Endpoint> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn a_seed_goes_when_its_last_source_names_it_no_more_and_a_configured_one_never() {
        let mut sources = Sources::default();
        sources.configure(&seeds(&["fixed"]));
        assert_eq!(sources.name(1, &seeds(&["fixed", "both", "one"])), []);
        assert_eq!(sources.name(2, &seeds(&["both"])), []);
        assert_eq!(sources.name(1, &[]), seeds(&["one"]));
        assert_eq!(sources.name(2, &[]), seeds(&["both"]));
    }
}
