//! Who fills a place just now.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwapOption, Guard};

/// Who fills a place just now: nobody, the first who ever did, or a later one.
///
/// Most actors have one life, and whoever sends them something looks here first. To look at one who
/// can be replaced takes two writes that others must see (`arc-swap` notes who looks), a fortieth of an
/// ask; the first takes none, for it is kept as long as the place is.
pub(super) struct Present<T> {
    first: OnceLock<Arc<T>>,
    is_first: AtomicBool,
    later: ArcSwapOption<T>,
}

/// Who was seen in a place.
pub(super) enum Seen<'a, T> {
    First(&'a Arc<T>),
    Later(Guard<Option<Arc<T>>>),
}

impl<T> Seen<'_, T> {
    #[inline]
    pub(super) fn get(&self) -> Option<&Arc<T>> {
        match self {
            Self::First(first) => Some(first),
            Self::Later(later) => later.as_ref(),
        }
    }
}

impl<T> Present<T> {
    pub(super) fn nobody() -> Self {
        Self {
            first: OnceLock::new(),
            is_first: AtomicBool::new(false),
            later: ArcSwapOption::empty(),
        }
    }

    #[inline]
    pub(super) fn look(&self) -> Seen<'_, T> {
        match self.first.get() {
            Some(first) if self.is_first.load(Ordering::Acquire) => Seen::First(first),
            _ => Seen::Later(self.later.load()),
        }
    }

    pub(super) fn get(&self) -> Option<Arc<T>> {
        self.look().get().cloned()
    }

    /// Has another one fill the place.
    pub(super) fn fill(&self, with: Arc<T>) {
        match self.first.set(with) {
            Ok(()) => self.is_first.store(true, Ordering::Release),
            Err(later) => {
                self.later.store(Some(later));
                self.is_first.store(false, Ordering::Release);
            }
        }
    }

    /// Empties the place if this one fills it. Says whether it did.
    pub(super) fn clear(&self, of: &Arc<T>) -> bool {
        if self.first.get().is_some_and(|first| Arc::ptr_eq(first, of)) {
            return self.is_first.swap(false, Ordering::AcqRel);
        }
        let seen = self.later.load();
        let is_here = seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, of));
        if is_here {
            self.later.compare_and_swap(&*seen, None);
        }
        is_here
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_life_is_seen_until_it_is_cleared_or_another_fills_the_place() {
        let place = Present::nobody();
        assert!(place.get().is_none());
        let lives: Vec<_> = (0..3).map(Arc::new).collect();
        place.fill(lives[0].clone());
        assert_eq!(place.get(), Some(lives[0].clone()));
        assert!(place.clear(&lives[0]));
        assert!(place.get().is_none());
        for life in &lives[1..] {
            place.fill(life.clone());
            assert_eq!(place.get(), Some(life.clone()));
        }
        assert!(place.clear(&lives[2]));
        assert!(place.get().is_none());
    }

    #[test]
    fn one_who_is_cleared_late_does_not_take_its_successor_along() {
        let place = Present::nobody();
        let lives: Vec<_> = (0..3).map(Arc::new).collect();
        for (life, next) in lives.iter().zip(&lives[1..]) {
            place.fill(life.clone());
            place.fill(next.clone());
            assert!(!place.clear(life));
            assert_eq!(place.get(), Some(next.clone()));
        }
    }
}
