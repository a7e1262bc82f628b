//! How often each word occurs.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::demo::words;

/// How often each word occurs, and how many lines and words there are.
///
/// It grows with the number of distinct words, which is what was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) lines: u64,
    pub(crate) words: u64,
    counts: HashMap<Box<str>, u64>,
}

/// A tally on its way between nodes: that of one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    /// Each word once, with its count, in no order.
    pub(crate) counts: Vec<(Box<str>, u64)>,
}

impl Counted {
    /// The sum of the counts.
    pub(crate) fn words(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }
}

impl Tally {
    /// So many lines, and no words yet.
    #[cfg(test)]
    pub(crate) fn of_lines(lines: u64) -> Self {
        Self { lines, ..Self::default() }
    }

    /// Counts a word, as it is spelled in the text.
    pub(crate) fn add(&mut self, word: &str) {
        self.add_key(&words::key(word));
    }

    /// Counts what a word is [counted as](words::key).
    pub(crate) fn add_key(&mut self, key: &str) {
        self.words += 1;
        match self.counts.get_mut(key) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(key.into(), 1);
            }
        }
    }

    /// Adds the counts of a batch.
    pub(crate) fn merge(&mut self, counted: Counted) {
        for (word, count) in counted.counts {
            self.words += count;
            *self.counts.entry(word).or_default() += count;
        }
    }

    /// How many distinct words there are.
    pub(crate) fn distinct(&self) -> u64 {
        self.counts.len() as u64
    }

    /// The most frequent words, the first in the alphabet before others of the same count.
    pub(crate) fn top(&self, at_most: usize) -> Vec<(&str, u64)> {
        let mut top: Vec<_> = self.counts.iter().map(|(word, count)| (&**word, *count)).collect();
        let by_rank = |a: &(&str, u64), b: &(&str, u64)| b.1.cmp(&a.1).then(a.0.cmp(b.0));
        if top.len() > at_most && at_most > 0 {
            top.select_nth_unstable_by(at_most - 1, by_rank);
        }
        top.truncate(at_most);
        top.sort_unstable_by(by_rank);
        top
    }

    /// The first words, by alphabet, whose counts are not those of `other`: the word, the count
    /// here, the count there.
    pub(crate) fn differences<'a>(
        &'a self,
        other: &'a Self,
        at_most: usize,
    ) -> Vec<(&'a str, u64, u64)> {
        let here = self.counts.keys();
        let only_there = other.counts.keys().filter(|word| !self.counts.contains_key(*word));
        let mut different: Vec<_> = here
            .chain(only_there)
            .map(|word| (&**word, self.count(word), other.count(word)))
            .filter(|(_, here, there)| here != there)
            .collect();
        different.sort_unstable();
        different.truncate(at_most);
        different
    }

    fn count(&self, word: &str) -> u64 {
        self.counts.get(word).copied().unwrap_or_default()
    }
}

impl From<Tally> for Counted {
    fn from(tally: Tally) -> Self {
        Self { counts: tally.counts.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(words: &str) -> Tally {
        let mut tally = Tally::default();
        words.split(' ').for_each(|word| tally.add(word));
        tally
    }

    #[test]
    fn merging_parts_counts_what_the_whole_counts() {
        let mut merged = Tally::default();
        merged.merge(tally("a B a").into());
        merged.merge(tally("A c").into());
        assert_eq!(merged, tally("a b a a c"));
        assert_eq!((merged.words, merged.distinct()), (5, 3));
    }

    #[test]
    fn the_top_is_ordered_by_count_and_then_by_alphabet() {
        let tally = tally("d c b b a a e");
        assert_eq!(tally.top(3), [("a", 2), ("b", 2), ("c", 1)]);
        assert_eq!(tally.top(0), []);
        assert_eq!(tally.top(99).len(), 5);
    }

    #[test]
    fn every_word_that_is_counted_otherwise_is_a_difference() {
        let (one, other) = (tally("a b b c"), tally("a b d"));
        assert_eq!(one.differences(&other, 9), [("b", 2, 1), ("c", 1, 0), ("d", 0, 1)]);
        assert_eq!(one.differences(&other, 1), [("b", 2, 1)]);
        assert_eq!(one.differences(&one, 9), []);
    }
}
