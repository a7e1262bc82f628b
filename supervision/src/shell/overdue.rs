use std::sync::Arc;

use parking_lot::Mutex;

/// Who was killed since it did not stop in time, in one tree: the first so many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overdue(Arc<Mutex<Vec<Arc<str>>>>);

/// How many are noted until somebody asks.
const NOTED_MAX: usize = 1_000;

impl Overdue {
    pub(super) fn note(&self, path: Arc<str>) {
        let mut paths = self.0.lock();
        if paths.len() < NOTED_MAX {
            paths.push(path);
        }
    }

    /// Those below a supervisor, which are forgotten.
    pub(crate) fn take_below(&self, supervisor: &str) -> Vec<Arc<str>> {
        let is_below = |path: &mut Arc<str>| {
            path.strip_prefix(supervisor).is_some_and(|rest| rest.starts_with('/'))
        };
        self.0.lock().extract_if(.., is_below).collect()
    }
}
