//! The plain count: one thread, one file after the other, character by character.

use std::io::Read;

use crate::demo::decoder::Decoder;
use crate::demo::sources::{SourceError, Sources};
use crate::demo::tally::Tally;
use crate::demo::words::{self, Giant, WHOLE_BYTES_MAX};

const READ_BYTES: usize = 64 << 10;

/// Counts as anybody would who had no cluster: what the cluster's count is compared with. It shares
/// with it how bytes are decoded and what a word is, but neither batches nor how text is cut.
///
/// `progress` is told how many bytes were read since it was last told.
pub(crate) fn count(
    sources: &Sources,
    mut progress: impl FnMut(u64),
) -> Result<Tally, SourceError> {
    let mut plain = Plain::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut text = String::new();
    for number in 0..sources.files() {
        let (name, mut reader) = sources.read(number)?;
        let mut decoder = Decoder::default();
        loop {
            let read = reader
                .read(&mut buffer)
                .map_err(|source| SourceError::Read { name: name.to_owned(), source })?;
            text.clear();
            match read {
                0 => decoder.finish(&mut text),
                read => decoder.push(&buffer[..read], &mut text),
            }
            text.chars().for_each(|character| plain.character(character));
            progress(read as u64);
            if read == 0 {
                break;
            }
        }
        plain.end_file();
    }
    Ok(plain.tally)
}

#[derive(Default)]
struct Plain {
    tally: Tally,
    word: String,
    giant: Option<Giant>,
    in_line: bool,
}

impl Plain {
    fn character(&mut self, character: char) {
        self.in_line = character != '\n';
        self.tally.lines += u64::from(!self.in_line);
        if !words::is_of_word(character) {
            return self.end_word();
        }
        self.word.push(character);
        if self.word.len() > WHOLE_BYTES_MAX {
            self.giant.get_or_insert_with(Giant::new).push(&self.word);
            self.word.clear();
        }
    }

    fn end_word(&mut self) {
        if let Some(mut giant) = self.giant.take() {
            giant.push(&self.word);
            self.tally.add_key(&giant.key());
        } else if !self.word.is_empty() {
            self.tally.add(&self.word);
        }
        self.word.clear();
    }

    fn end_file(&mut self) {
        self.end_word();
        self.tally.lines += u64::from(std::mem::take(&mut self.in_line));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn it_counts_what_a_naive_count_of_the_whole_text_counts() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let mut bytes = "Aa bb\r\n\nÄä 東京".repeat(20_000).into_bytes();
        bytes.extend_from_slice(b"\xff broken \xe2\x82 here\xe2");
        bytes.extend_from_slice("z".repeat(3 * WHOLE_BYTES_MAX).as_bytes());
        fs::write(&file, &bytes).unwrap();
        let sources = Sources::open(&[file], 1, directory.path()).unwrap();

        let text = String::from_utf8_lossy(&bytes);
        let mut naive = Tally::of_lines(text.lines().count() as u64);
        words::words(&text).for_each(|word| naive.add(word));
        let mut read = 0;
        let plain = count(&sources, |bytes| read += bytes).unwrap();
        assert_eq!(plain.differences(&naive, 3), []);
        assert_eq!(plain, naive);
        assert_eq!(read, bytes.len() as u64);
    }
}
