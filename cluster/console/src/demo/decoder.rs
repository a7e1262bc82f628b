//! Text out of bytes that come in pieces and may not be UTF-8.

/// Decodes as [`String::from_utf8_lossy`] would decode the whole, wherever the pieces are cut.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// Bytes that may be the beginning of a character: at most three.
    tail: Vec<u8>,
}

impl Decoder {
    /// Decodes the next piece, and appends what is certain of it to `text`.
    pub(crate) fn push(&mut self, piece: &[u8], text: &mut String) {
        if self.tail.is_empty() {
            self.decode(piece, text);
            return;
        }
        let mut joined = std::mem::take(&mut self.tail);
        joined.extend_from_slice(piece);
        self.decode(&joined, text);
    }

    fn decode(&mut self, bytes: &[u8], text: &mut String) {
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            let is_last = chunks.peek().is_none();
            let may_go_on =
                || std::str::from_utf8(invalid).is_err_and(|why| why.error_len().is_none());
            if is_last && may_go_on() {
                self.tail.extend_from_slice(invalid);
            } else if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }

    /// The bytes end here: what was begun stays unfinished.
    pub(crate) fn finish(&mut self, text: &mut String) {
        if !self.tail.is_empty() {
            self.tail.clear();
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
        // Bytes of whole characters, of broken ones, and of anything.
        let bytes = prop_oneof![
            Just("aä€😀".as_bytes().to_vec()),
            Just(vec![0xe2, 0x82]),
            Just(vec![0xf0, 0x9f, 0x98]),
            Just(vec![0xc0, 0x80, 0xff]),
            prop::collection::vec(any::<u8>(), 0..5),
        ];
        let whole = prop::collection::vec(bytes, 0..12).prop_map(|parts| parts.concat());
        (whole, 1..7_usize)
            .prop_map(|(whole, size)| whole.chunks(size).map(<[u8]>::to_vec).collect())
    }

    proptest! {
        #[test]
        fn pieces_decode_to_what_the_whole_decodes_to(pieces in pieces()) {
            let (mut decoder, mut text) = (Decoder::default(), String::new());
            for piece in &pieces {
                decoder.push(piece, &mut text);
                prop_assert!(decoder.tail.len() <= 3);
            }
            decoder.finish(&mut text);
            let whole = pieces.concat();
            prop_assert_eq!(text, String::from_utf8_lossy(&whole));
        }
    }
}
