//! Text cut into batches, never through a word.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::demo::words::{self, Giant, WHOLE_BYTES_MAX};

/// How much a batch holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchBounds {
    /// Lines; the last one may be only begun.
    pub(crate) lines_max: u64,
    /// Bytes of text. A single word that is longer makes a longer batch, up to four bytes more than
    /// [`BatchBounds::BYTES_MOST`].
    pub(crate) bytes_max: usize,
}

impl BatchBounds {
    /// The most that `bytes_max` may be. The answer to a batch holds each word with its count and
    /// its length: at most 2.25 times the batch's bytes (words of one letter, whose lower case takes
    /// half as many bytes again), which is well below the frame limit of 1 MiB.
    pub(crate) const BYTES_MOST: usize = 256 << 10;

    /// No batch has more text than this, whatever it is cut from.
    #[cfg(test)]
    pub(crate) const TEXT_BYTES_MAX: usize = Self::BYTES_MOST + 4;
}

/// What one counter takes at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Begins and ends at the edge of a word.
    pub(crate) text: Arc<str>,
    /// What the giants among the words are counted as; they are not in the text.
    pub(crate) giants: Vec<String>,
    /// The lines that end in this batch.
    pub(crate) lines: u64,
}

/// Cuts text that comes in pieces into batches: after a line where that fits, else after a word.
#[derive(Debug)]
pub(crate) struct Cutter {
    bounds: BatchBounds,
    text: String,
    giants: Vec<String>,
    lines: u64,
    /// The word that the text is in the middle of, where it is too long to be held.
    giant: Option<Giant>,
    /// Whether a line was begun that has not ended.
    in_line: bool,
    ready: VecDeque<Batch>,
}

impl Cutter {
    pub(crate) fn new(bounds: BatchBounds) -> Self {
        Self {
            bounds,
            text: String::new(),
            giants: Vec::new(),
            lines: 0,
            giant: None,
            in_line: false,
            ready: VecDeque::new(),
        }
    }

    /// The next batch that is complete.
    pub(crate) fn pop(&mut self) -> Option<Batch> {
        self.ready.pop_front()
    }

    /// The file goes on.
    pub(crate) fn push(&mut self, mut text: &str) {
        while !text.is_empty() {
            let taken = match &mut self.giant {
                Some(_) => self.giant_goes_on(text),
                None => self.take(text),
            };
            text = &text[taken..];
        }
    }

    /// The file ends, and with it the line and the word.
    pub(crate) fn end_file(&mut self) {
        if let Some(giant) = self.giant.take() {
            self.giants.push(giant.key());
        }
        if std::mem::take(&mut self.in_line) {
            self.lines += 1;
        }
        self.flush(self.text.len());
    }

    fn giant_goes_on(&mut self, text: &str) -> usize {
        let end = text.find(|character| !words::is_of_word(character));
        let Some(giant) = &mut self.giant else { return 0 };
        giant.push(&text[..end.unwrap_or(text.len())]);
        if end.is_some() {
            self.giants.push(giant.key());
            self.giant = None;
        }
        end.unwrap_or(text.len())
    }

    /// Takes text up to the end of its line, or as much as there is room for.
    fn take(&mut self, text: &str) -> usize {
        let line = text.find('\n').map_or(text.len(), |at| at + 1);
        // A word that alone fills a batch may grow to twice its length before it is looked at
        // again, so that a long one is not looked through for each of its bytes.
        let room = match self.bounds.bytes_max.saturating_sub(self.text.len()) {
            0 => self.text.len(),
            room => room,
        };
        let taken = text.floor_char_boundary(line.min(room.max(char::MAX_LEN_UTF8)));
        self.text.push_str(&text[..taken]);
        self.in_line = !text[..taken].ends_with('\n');
        self.lines += u64::from(!self.in_line);
        if self.lines >= self.bounds.lines_max || self.text.len() >= self.bounds.bytes_max {
            self.cut();
        }
        taken
    }

    /// Cuts after the last complete word.
    fn cut(&mut self) {
        let mut from_end = self.text.char_indices().rev();
        let edge = from_end.find(|(_, character)| !words::is_of_word(*character));
        self.flush(edge.map_or(0, |(at, character)| at + character.len_utf8()));
        if self.text.len() > WHOLE_BYTES_MAX {
            let mut giant = Giant::new();
            giant.push(&self.text);
            self.text.clear();
            self.giant = Some(giant);
        }
    }

    fn flush(&mut self, end: usize) {
        if end == 0 && self.lines == 0 && self.giants.is_empty() {
            return;
        }
        let rest = self.text.split_off(end);
        let text = std::mem::replace(&mut self.text, rest);
        self.ready.push_back(Batch {
            text: text.into(),
            giants: std::mem::take(&mut self.giants),
            lines: std::mem::take(&mut self.lines),
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::demo::tally::Tally;

    fn cut(bounds: BatchBounds, files: &[Vec<&str>]) -> Vec<Batch> {
        let mut cutter = Cutter::new(bounds);
        let mut batches = Vec::new();
        for file in files {
            for piece in file {
                cutter.push(piece);
                batches.extend(std::iter::from_fn(|| cutter.pop()));
            }
            cutter.end_file();
        }
        batches.extend(std::iter::from_fn(|| cutter.pop()));
        batches
    }

    fn count(batches: &[Batch]) -> Tally {
        let mut tally = Tally::default();
        for batch in batches {
            tally.lines += batch.lines;
            words::words(&batch.text).for_each(|word| tally.add(word));
            batch.giants.iter().for_each(|giant| tally.add_key(giant));
        }
        tally
    }

    fn texts(batches: &[Batch]) -> Vec<&str> {
        batches.iter().map(|batch| &*batch.text).collect()
    }

    const SMALL: BatchBounds = BatchBounds { lines_max: 2, bytes_max: 8 };

    #[test]
    fn batches_end_after_lines_where_lines_are_short() {
        let batches = cut(SMALL, &[vec!["a\nb\nc", "\nd\ne"]]);
        assert_eq!(texts(&batches), ["a\nb\n", "c\nd\n", "e"]);
        assert_eq!(batches.iter().map(|batch| batch.lines).collect::<Vec<_>>(), [2, 2, 1]);
    }

    #[test]
    fn a_long_line_is_cut_between_words_and_counted_once() {
        let batches = cut(SMALL, &[vec!["one two three four"]]);
        assert!(batches.len() > 1);
        assert_eq!(texts(&batches).concat(), "one two three four");
        assert!(texts(&batches).iter().rev().skip(1).all(|text| text.ends_with(' ')));
        assert_eq!(count(&batches).lines, 1);
        // Nothing but the end of a line is left over.
        assert_eq!(count(&cut(SMALL, &[vec!["one two "]])).lines, 1);
    }

    #[test]
    fn words_of_two_files_do_not_grow_together() {
        let batches = cut(SMALL, &[vec!["one"], vec!["two"], vec![]]);
        assert_eq!(texts(&batches), ["one", "two"]);
    }

    #[test]
    fn a_word_beyond_all_bounds_is_one_word_and_never_held() {
        let word = "xY".repeat(WHOLE_BYTES_MAX);
        let file = format!("a {word} b {word}");
        let pieces: Vec<_> = (0..file.len()).step_by(777).collect();
        let pieces: Vec<_> = pieces.iter().map(|at| &file[*at..file.len().min(at + 777)]).collect();
        let batches = cut(SMALL, &[pieces]);
        assert!(batches.iter().all(|batch| batch.text.len() <= 2 * WHOLE_BYTES_MAX));
        let tally = count(&batches);
        assert_eq!((tally.words, tally.distinct(), tally.lines), (4, 3, 1));
    }

    #[test]
    fn a_word_around_the_bound_is_counted_the_same_whoever_finds_it_to_be_a_giant() {
        for length in WHOLE_BYTES_MAX - 1..=WHOLE_BYTES_MAX + 2 {
            let file = format!("{} end", "w".repeat(length));
            let mut tally = Tally::default();
            words::words(&file).for_each(|word| tally.add(word));
            tally.lines = 1;
            let batches = cut(SMALL, &[vec![&file]]);
            assert_eq!(count(&batches), tally);
        }
    }

    proptest! {
        #[test]
        fn batches_hold_exactly_the_words_and_lines_of_the_text(
            text in "([a-c]{0,4}|[ ,\n]|é|東|。|\u{fffd}){0,60}",
            at in any::<prop::sample::Index>(),
            lines_max in 1..5_u64,
            bytes_max in 1..40_usize,
        ) {
            let middle = text.floor_char_boundary(at.index(text.len() + 1));
            let bounds = BatchBounds { lines_max, bytes_max };
            let batches = cut(bounds, &[vec![&text[..middle], &text[middle..]]]);
            let mut whole = Tally::of_lines(text.lines().count() as u64);
            words::words(&text).for_each(|word| whole.add(word));
            prop_assert_eq!(count(&batches), whole);
            prop_assert_eq!(texts(&batches).concat(), text);
            for batch in &batches {
                prop_assert!(batch.lines <= lines_max);
                prop_assert!(batch.text.len() <= BatchBounds::TEXT_BYTES_MAX);
            }
        }
    }
}
