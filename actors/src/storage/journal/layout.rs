//! The bytes of a journal.
//!
//! A header of three sectors: who it is, and two notes of how far it was synced, written in turn, so that
//! one of them is whole whatever happens. Then records, one after the other: the length plus one (four
//! bytes, little endian, so that zeros are no record), a checksum (four bytes), the record. The checksum goes
//! on from the one before: a record that a crash left behind where others were lost does not fit to
//! what is written in their place, and cannot come back.

use crc32c::{crc32c, crc32c_append};

/// What disks write whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// Where the notes are.
pub(super) const MARKS_AT: u64 = SECTOR_BYTES;

/// Where the records begin.
pub(super) const HEADER_BYTES: u64 = 3 * SECTOR_BYTES;

/// The bytes before each record.
pub(super) const FRAME_BYTES: usize = 8;

/// The first bytes of a journal; the last of them is the version of what is described here.
const MAGIC: [u8; 8] = *b"umbljrn\x01";

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// It is a journal.
    Whole {
        /// How far it was synced at least.
        synced: u64,
        /// The note that says less.
        next: Mark,
    },
    /// It is what a crash left of one that was being made, all of it perhaps. It never had a record that
    /// was synced, for the header is synced before the first one; and where that sync failed, it can be
    /// read, and is on no disk.
    Unfinished,
    /// It is a journal, and neither note can be read.
    Unmarked,
    /// It is something else.
    Foreign,
}

impl Header {
    /// Judges the first [`HEADER_BYTES`] of a file that is `length` bytes long.
    pub(super) fn of(bytes: &[u8], length: u64) -> Self {
        let marks = [Mark::FIRST, Mark::SECOND].map(|mark| mark.read(bytes));
        let is_ours = bytes.starts_with(&MAGIC);
        match marks {
            _ if length <= HEADER_BYTES && is_part_of_new(bytes) => Self::Unfinished,
            [Some(first), second] if is_ours && second.is_none_or(|second| second < first) => {
                Self::Whole { synced: first, next: Mark::SECOND }
            }
            [_, Some(second)] if is_ours => Self::Whole { synced: second, next: Mark::FIRST },
            _ if is_ours => Self::Unmarked,
            _ => Self::Foreign,
        }
    }
}

/// Whether a crash can have left this of a new header: some of it, and else zeros.
fn is_part_of_new(bytes: &[u8]) -> bool {
    bytes.iter().zip(new_header()).all(|(byte, new)| *byte == 0 || *byte == new)
}

/// The header of a journal without records.
pub(super) fn new_header() -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES as usize];
    bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
    let (at, mark) = Mark::FIRST.at(HEADER_BYTES);
    bytes[at as usize..at as usize + mark.len()].copy_from_slice(&mark);
    bytes
}

/// One of the two notes of how far a journal was synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(u64);

impl Mark {
    pub(super) const FIRST: Self = Self(MARKS_AT);
    pub(super) const SECOND: Self = Self(MARKS_AT + SECTOR_BYTES);

    /// The other one.
    pub(super) fn next(self) -> Self {
        if self == Self::FIRST { Self::SECOND } else { Self::FIRST }
    }

    /// What is to be written where.
    pub(super) fn at(self, synced: u64) -> (u64, Vec<u8>) {
        let bytes = synced.to_le_bytes();
        let checksum = crc32c_append(crc32c(&MAGIC), &bytes);
        (self.0, [&bytes[..], &checksum.to_le_bytes()].concat())
    }

    fn read(self, header: &[u8]) -> Option<u64> {
        let at = self.0 as usize;
        let bytes = header.get(at..at + 12)?;
        let synced = u64::from_le_bytes(*bytes.first_chunk()?);
        (self.at(synced).1 == bytes && synced >= HEADER_BYTES).then_some(synced)
    }
}

/// What the first record's checksum goes on from.
pub(super) fn chain_start() -> u32 {
    crc32c(&MAGIC)
}

/// A record as it is written, and its checksum. `length` is the record's, and less than `u32::MAX`.
pub(super) fn frame(chain: u32, length: u32, record: &[u8]) -> (Vec<u8>, u32) {
    let length = (length + 1).to_le_bytes();
    let checksum = crc32c_append(crc32c_append(chain, &length), record);
    ([&length[..], &checksum.to_le_bytes(), record].concat(), checksum)
}

/// What stands before a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// The length of the record.
    pub(super) length: u32,
    /// What the checksum should be.
    pub(super) checksum: u32,
    /// What it is, before the record's own bytes.
    pub(super) begun: u32,
}

impl Frame {
    /// Reads what stands before a record; `None` where it begins none.
    pub(super) fn read(chain: u32, bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        Some(Self {
            length: u32::from_le_bytes(*length).checked_sub(1)?,
            checksum: u32::from_le_bytes(*rest.first_chunk()?),
            begun: crc32c_append(chain, length),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32c() {
        // The check value of the catalogue of parametrised CRC algorithms (CRC-32/ISCSI).
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn the_format_stays_as_it_is() {
        // The checksums were reckoned bit by bit, by another program.
        let (record, chain) = frame(chain_start(), 2, b"hi");
        assert_eq!(record[..4], [3, 0, 0, 0]);
        assert_eq!(record[8..], *b"hi");
        assert_eq!(record[4..8], chain.to_le_bytes());
        assert_eq!(chain, 0x5bc7_e532);
        let (_, mark) = Mark::FIRST.at(HEADER_BYTES);
        assert_eq!(mark, [0, 6, 0, 0, 0, 0, 0, 0, 170, 86, 255, 223]);
    }

    #[test]
    fn a_new_header_is_whole_once_a_record_follows() {
        let new = new_header();
        let whole = Header::Whole { synced: HEADER_BYTES, next: Mark::SECOND };
        assert_eq!(Header::of(&new, HEADER_BYTES), Header::Unfinished);
        assert_eq!(Header::of(&new, HEADER_BYTES + 1), whole);
        for sector in 0..2 {
            let mut torn = new.clone();
            torn[sector * 512..(sector + 1) * 512].fill(0);
            assert_eq!(Header::of(&torn, HEADER_BYTES), Header::Unfinished);
        }
        for length in [0, 5, 512, 520] {
            assert_eq!(Header::of(&new[..length], length as u64), Header::Unfinished, "{length}");
        }
        assert_eq!(Header::of(b"a text of somebody's", 20), Header::Foreign);
        assert_eq!(Header::of(&[0; 1536], 5000), Header::Foreign);
        let mut unmarked = new;
        unmarked[512..].fill(0);
        assert_eq!(Header::of(&unmarked, 5000), Header::Unmarked);
    }

    #[test]
    fn the_greater_whole_note_holds() {
        let mut header = new_header();
        let (at, bytes) = Mark::SECOND.at(9000);
        header[at as usize..at as usize + 12].copy_from_slice(&bytes);
        let second = Header::Whole { synced: 9000, next: Mark::FIRST };
        assert_eq!(Header::of(&header, 9000), second);
        header[at as usize] ^= 1;
        let first = Header::Whole { synced: HEADER_BYTES, next: Mark::SECOND };
        assert_eq!(Header::of(&header, 9000), first);
    }
}
