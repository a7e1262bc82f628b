//! The questions in a message that is encoded.

use tokio::time::Instant;

use super::frame;

/// The questions in a message, and until when each asker waits.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) ids: Vec<u64>,
    pub(super) until: Vec<Option<Instant>>,
}

impl Asked {
    pub(super) fn clear(&mut self) {
        self.ids.clear();
        self.until.clear();
    }

    /// The header's fields that tell of them.
    pub(super) fn put_fields(&self, fields: &mut Vec<u8>) {
        if self.until.iter().any(Option::is_some) {
            let now = Instant::now();
            let remaining = self
                .until
                .iter()
                .map(|until| until.map(|until| until.saturating_duration_since(now)));
            frame::put_deadlines(fields, remaining);
        }
    }
}
