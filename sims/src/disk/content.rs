//! What one file holds: in the page cache, and on the disk.

use std::collections::VecDeque;

use rand::RngCore;

use super::{FailedSync, Losses};

/// What a disk writes whole or not at all, in bytes: the sector that all disks can address.
const SECTOR_BYTES: usize = 512;

/// How much of a file may wait to be synced, in bytes. Beyond that the oldest is written, as a kernel does
/// by itself after a while.
const DIRTY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A number for what a change without bytes takes of that.
const CHANGE_BYTES: usize = 64;

#[derive(Default)]
pub(super) struct Content {
    cached: Vec<u8>,
    durable: Vec<u8>,
    dirty: VecDeque<Change>,
    dirty_bytes: usize,
}

/// What was done to the cache, and not yet to the disk.
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Change {
    fn bytes(&self) -> usize {
        match self {
            Self::Write { bytes, .. } => CHANGE_BYTES + bytes.len(),
            Self::Length(_) => CHANGE_BYTES,
        }
    }

    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write(to, *offset, bytes),
            Self::Length(length) => to.resize(*length, 0),
        }
    }
}

fn write(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[offset..end].copy_from_slice(bytes);
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        self.cached.len() as u64
    }

    pub(super) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(self.cached.len());
        let end = offset.saturating_add(length).min(self.cached.len());
        self.cached[offset..end].to_vec()
    }

    /// The caller has seen to it that there is room up to `offset` and the bytes.
    pub(super) fn write(&mut self, offset: usize, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.change(Change::Write { offset, bytes });
        }
    }

    /// As of [`write`](Self::write).
    pub(super) fn truncate(&mut self, length: usize) {
        if length != self.cached.len() {
            self.change(Change::Length(length));
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.cached);
        self.dirty_bytes += change.bytes();
        self.dirty.push_back(change);
        while self.dirty_bytes > DIRTY_BYTES_MAX {
            let Some(oldest) = self.dirty.pop_front() else { break };
            self.dirty_bytes -= oldest.bytes();
            oldest.apply(&mut self.durable);
        }
    }

    pub(super) fn sync(&mut self) {
        // One by one, and not by copying the cache: after a failed sync it may have what the disk never will.
        for change in self.take_dirty() {
            change.apply(&mut self.durable);
        }
    }

    pub(super) fn fail_sync(&mut self, left: FailedSync) {
        self.take_dirty();
        if left == FailedSync::Dropped {
            self.cached = self.durable.clone();
        }
    }

    fn take_dirty(&mut self) -> VecDeque<Change> {
        self.dirty_bytes = 0;
        std::mem::take(&mut self.dirty)
    }

    pub(super) fn power_loss(&mut self, chance: &mut impl RngCore, losses: &mut Losses) {
        for change in self.take_dirty() {
            let fate = chance.next_u64() % 4;
            match (fate, &change) {
                (0, _) => {
                    losses.kept += 1;
                    change.apply(&mut self.durable);
                }
                (1, Change::Write { offset, bytes }) => {
                    losses.torn += 1;
                    tear(&mut self.durable, *offset, bytes, chance);
                }
                (2, Change::Write { offset, bytes }) => {
                    // The file system has noted the length, and the bytes never came.
                    losses.lost += 1;
                    let end = offset + bytes.len();
                    if self.durable.len() < end {
                        self.durable.resize(end, 0);
                    }
                }
                _ => losses.lost += 1,
            }
        }
        self.cached = self.durable.clone();
    }

    pub(super) fn decay(&mut self, offset: u64, mask: u8) -> bool {
        let Ok(offset) = usize::try_from(offset) else { return false };
        if let Some(byte) = self.cached.get_mut(offset) {
            *byte ^= mask;
        }
        self.durable.get_mut(offset).map(|byte| *byte ^= mask).is_some()
    }
}

/// Writes some sectors: the first ones, or any.
fn tear(to: &mut Vec<u8>, offset: usize, bytes: &[u8], chance: &mut impl RngCore) {
    let sectors = sectors(offset, bytes.len());
    let in_order = chance.next_u64().is_multiple_of(2);
    let first = chance.next_u64() % (sectors.len() as u64 + 1);
    for (index, (from, until)) in (0_u64..).zip(sectors) {
        let kept = if in_order { index < first } else { chance.next_u64().is_multiple_of(2) };
        if kept {
            write(to, from, &bytes[from - offset..until - offset]);
        }
    }
}

/// The parts of a range that lie in one sector each.
fn sectors(offset: usize, length: usize) -> Vec<(usize, usize)> {
    let (mut parts, mut from, end) = (Vec::new(), offset, offset + length);
    while from < end {
        let until = ((from / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
        parts.push((from, until));
        from = until;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    /// The generator of a run, as `rand` asks for it.
    struct Seeded(Chance);

    impl RngCore for Seeded {
        fn next_u32(&mut self) -> u32 {
            self.next_u64() as u32
        }

        fn next_u64(&mut self) -> u64 {
            self.0.next()
        }

        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            bytes.fill_with(|| self.next_u64() as u8);
        }
    }

    #[test]
    fn a_range_is_divided_at_sectors() {
        assert_eq!(sectors(0, 0), []);
        assert_eq!(sectors(10, 20), [(10, 30)]);
        assert_eq!(sectors(500, 600), [(500, 512), (512, 1024), (1024, 1100)]);
        assert_eq!(sectors(512, 512), [(512, 1024)]);
    }

    #[test]
    fn an_unsynced_write_over_synced_bytes_leaves_each_sector_old_or_new() {
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..2000 {
            let mut content = Content::default();
            content.write(0, vec![b'o'; 2048]);
            content.sync();
            content.write(100, vec![b'n'; 1500]);
            content.power_loss(&mut Seeded(Chance::new(seed)), &mut Losses::default());
            assert_eq!(content.length(), 2048);
            let kept = sectors(100, 1500).into_iter().map(|(from, until)| {
                let part = content.read(from as u64, until - from);
                assert!(part.iter().all(|byte| *byte == part[0]), "seed {seed}: half a sector");
                part[0] == b'n'
            });
            outcomes.insert(kept.collect::<Vec<_>>());
            let around = [content.read(0, 100), content.read(1600, 448)].concat();
            assert!(around.iter().all(|byte| *byte == b'o'), "seed {seed}: past what was written");
        }
        assert_eq!(outcomes.len(), 16, "each of four sectors can be either");
    }

    #[test]
    fn what_waits_to_be_synced_is_bounded() {
        let mut content = Content::default();
        for _ in 0..40 {
            content.write(0, vec![1; 1 << 20]);
            content.truncate(0);
        }
        assert!(content.dirty_bytes <= DIRTY_BYTES_MAX, "{} bytes", content.dirty_bytes);
        assert!(!content.dirty.is_empty());
    }
}
