//! Reading a journal from its beginning.

use crc32c::crc32c_append;

use super::super::{StorageError, StorageFile, StoragePath};
use super::JournalError;
use super::layout::{FRAME_BYTES, Frame, HEADER_BYTES, chain_start};

/// How much is read at once.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// A reader of the records in a file.
pub(super) struct Replay<'a> {
    file: &'a dyn StorageFile,
    path: &'a StoragePath,
    length: u64,
    /// What was read; what is before `used` is done with.
    read: Vec<u8>,
    used: usize,
    /// Where the next bytes to be read are.
    at: u64,
}

/// How far whole records go.
pub(super) struct Found {
    pub(super) end: u64,
    pub(super) chain: u32,
    pub(super) records: u64,
}

impl<'a> Replay<'a> {
    pub(super) fn new(file: &'a dyn StorageFile, path: &'a StoragePath, length: u64) -> Self {
        Self { file, path, length, read: Vec::new(), used: 0, at: HEADER_BYTES }
    }

    pub(super) async fn run(
        mut self,
        record_bytes_max: u32,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Found, JournalError> {
        let mut found = Found { end: HEADER_BYTES, chain: chain_start(), records: 0 };
        while let Some(frame) = Frame::read(found.chain, self.ahead(FRAME_BYTES).await?) {
            let bytes = FRAME_BYTES as u64 + u64::from(frame.length);
            if bytes > self.length - found.end {
                break;
            }
            if frame.length > record_bytes_max {
                self.refuse_whole(found.end, frame, record_bytes_max).await?;
                break;
            }
            let whole = FRAME_BYTES + frame.length as usize;
            let Some(record) = self.ahead(whole).await?.get(FRAME_BYTES..whole) else { break };
            if crc32c_append(frame.begun, record) != frame.checksum {
                break;
            }
            each(record);
            self.skip(whole);
            found =
                Found { end: found.end + bytes, chain: frame.checksum, records: found.records + 1 };
        }
        Ok(found)
    }

    /// A record beyond the limit is refused if it is whole, which takes no memory to find out. What is
    /// not may have any length, by chance, and is as torn as any other.
    async fn refuse_whole(
        &mut self,
        at_bytes: u64,
        frame: Frame,
        max_bytes: u32,
    ) -> Result<(), JournalError> {
        self.skip(FRAME_BYTES);
        let (mut left, mut checksum) = (frame.length as usize, frame.begun);
        while left > 0 {
            let part = left.min(CHUNK_BYTES);
            let Some(bytes) = self.ahead(part).await?.get(..part) else { return Ok(()) };
            checksum = crc32c_append(checksum, bytes);
            self.skip(part);
            left -= part;
        }
        if checksum != frame.checksum {
            return Ok(());
        }
        let path = self.path.clone();
        Err(JournalError::RecordBeyondLimit { path, at_bytes, bytes: frame.length, max_bytes })
    }

    /// What comes next: so many bytes at least, but where the file ends before.
    async fn ahead(&mut self, bytes: usize) -> Result<&[u8], StorageError> {
        let there = self.read.len() - self.used;
        if there < bytes {
            self.read.drain(..self.used);
            self.used = 0;
            let more = self.file.read(self.at, (bytes - there).max(CHUNK_BYTES)).await?;
            self.at += more.len() as u64;
            self.read.extend(more);
        }
        Ok(&self.read[self.used..])
    }

    fn skip(&mut self, bytes: usize) {
        self.used += bytes;
    }
}
