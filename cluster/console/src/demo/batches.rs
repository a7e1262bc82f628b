//! The batches of all files, read as they are wanted.

use std::io::Read;
use std::sync::Arc;

use crate::demo::cutter::{Batch, BatchBounds, Cutter};
use crate::demo::decoder::Decoder;
use crate::demo::sources::{SourceError, Sources};

/// The most that is read at once.
const READ_BYTES_MAX: u64 = 64 << 10;

/// An input is cut into about so many batches, unless they would be too large: so there are some
/// before and some after the kill, however small the input is.
const BATCHES_ABOUT: u64 = 1024;

/// The batches of all files, read as they are wanted: what is not wanted yet is on the disk.
pub(crate) struct Batches {
    sources: Arc<Sources>,
    /// The number of the file that is read next.
    next: u64,
    file: Option<OpenFile>,
    cutter: Cutter,
    buffer: Vec<u8>,
    text: String,
    read: u64,
}

struct OpenFile {
    name: String,
    reader: Box<dyn Read + Send + Sync>,
    decoder: Decoder,
}

impl Batches {
    pub(crate) fn new(sources: Arc<Sources>, lines_max: u64) -> Self {
        let bytes = sources.bytes();
        let within = |least: u64, most: u64, wanted: u64| {
            usize::try_from(wanted.clamp(least, most)).unwrap_or(usize::MAX)
        };
        let bytes_max = within(1, BatchBounds::BYTES_MOST as u64, bytes / BATCHES_ABOUT);
        let read = within(1, READ_BYTES_MAX, bytes / BATCHES_ABOUT);
        Self {
            sources,
            next: 0,
            file: None,
            cutter: Cutter::new(BatchBounds { lines_max, bytes_max }),
            buffer: vec![0; read],
            text: String::new(),
            read: 0,
        }
    }

    /// How many bytes were read so far.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// The next batch; `None` after the last one.
    pub(crate) fn next(&mut self) -> Result<Option<Batch>, SourceError> {
        loop {
            if let Some(batch) = self.cutter.pop() {
                return Ok(Some(batch));
            }
            let Some(file) = &mut self.file else {
                if self.next == self.sources.files() {
                    return Ok(None);
                }
                let (name, reader) = self.sources.read(self.next)?;
                let (name, decoder) = (name.to_owned(), Decoder::default());
                self.file = Some(OpenFile { name, reader, decoder });
                self.next += 1;
                continue;
            };
            let read = file
                .reader
                .read(&mut self.buffer)
                .map_err(|source| SourceError::Read { name: file.name.clone(), source })?;
            self.read += read as u64;
            self.text.clear();
            if read > 0 {
                file.decoder.push(&self.buffer[..read], &mut self.text);
                self.cutter.push(&self.text);
            } else {
                file.decoder.finish(&mut self.text);
                self.cutter.push(&self.text);
                self.cutter.end_file();
                self.file = None;
            }
        }
    }
}
