//! Words: maximal runs of Unicode alphanumeric characters, in lower case.

use std::borrow::Cow;

/// A word of more bytes than this, as it is spelled in the text, is a [`Giant`].
///
/// A file may be one word of a gigabyte. It must be counted as one word, must fit neither in memory
/// nor in a frame, and must be told from other such words: so both counts know it by its digest.
pub(crate) const WHOLE_BYTES_MAX: usize = 64 << 10;

/// How many characters of a giant are shown.
const HEAD_CHARS: usize = 24;

/// Whether a character is of a word.
pub(crate) fn is_of_word(character: char) -> bool {
    character.is_alphanumeric()
}

/// The words of a text that begins and ends at the edge of a word, as they are spelled there.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character| !is_of_word(character)).filter(|word| !word.is_empty())
}

/// What a word is counted as: itself in lower case, or the digest of a giant.
pub(crate) fn key(word: &str) -> Cow<'_, str> {
    if word.len() > WHOLE_BYTES_MAX {
        let mut giant = Giant::new();
        giant.push(word);
        return Cow::Owned(giant.key());
    }
    if word.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(word.to_lowercase())
}

/// A word that is too long to be held, known by its first characters, its length and the 128-bit
/// FNV-1a hash of its lower case, which is taken character by character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Giant {
    head: String,
    bytes: u64,
    hash: u128,
}

impl Giant {
    pub(crate) fn new() -> Self {
        Self { head: String::new(), bytes: 0, hash: 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d }
    }

    /// The word goes on.
    pub(crate) fn push(&mut self, part: &str) {
        self.bytes += part.len() as u64;
        if self.head.is_empty() {
            self.head = part.chars().take(HEAD_CHARS).flat_map(char::to_lowercase).collect();
        }
        let mut utf8 = [0; 4];
        for character in part.chars() {
            if character.is_ascii() {
                self.byte(character.to_ascii_lowercase() as u8);
                continue;
            }
            for lower in character.to_lowercase() {
                for byte in lower.encode_utf8(&mut utf8).bytes() {
                    self.byte(byte);
                }
            }
        }
    }

    fn byte(&mut self, byte: u8) {
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        self.hash = (self.hash ^ u128::from(byte)).wrapping_mul(PRIME);
    }

    /// What it is counted as. No word has a space in it, so it is never taken for one.
    pub(crate) fn key(&self) -> String {
        format!("{}... ({} bytes, {:032x})", self.head, self.bytes, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_maximal_run_of_alphanumeric_characters_of_any_script() {
        let found: Vec<_> = words("Don't stop—número 4½, 東京・大阪\u{fffd}x_y").collect();
        assert_eq!(found, ["Don", "t", "stop", "número", "4½", "東京", "大阪", "x", "y"]);
        assert_eq!(words(" \n,").count(), 0);
    }

    #[test]
    fn words_are_counted_in_lower_case() {
        assert_eq!(key("plain"), "plain");
        assert_eq!(key("Straße7"), "straße7");
        // The final sigma is a matter of the whole word.
        assert_eq!(key("ΟΔΟΣ"), "οδος");
    }

    #[test]
    fn a_giant_is_the_same_in_whatever_pieces_and_case_it_comes() {
        let word = "aBcÄ".repeat(WHOLE_BYTES_MAX / 4);
        let whole = key(&word).into_owned();
        let (mut pieces, mut lower) = (Giant::new(), Giant::new());
        for piece in word.split_inclusive('Ä') {
            pieces.push(piece);
            lower.push(&piece.to_lowercase());
        }
        assert_eq!(pieces.hash, lower.hash);
        assert!(whole.ends_with(&format!("({} bytes, {:032x})", word.len(), pieces.hash)));
        assert_ne!(key(&format!("{word}x")), whole);
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // Test vector of the FNV authors.
        let mut giant = Giant::new();
        giant.push("foobar");
        assert_eq!(giant.hash, 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }
}
