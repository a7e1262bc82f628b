//! Points at which something rare can be made to happen.

use std::fmt;
use std::sync::Arc;

/// Makes rare things happen: decides at points in the code that have names whether what seldom happens
/// there happens now. A simulation has one; in production there is none, and asking costs one comparison
/// with zero, at places where that does not count.
///
/// What may happen at a point is always something that is allowed: less at once, later, in another
/// order. The idea and its name are FoundationDB's.
pub trait Buggify: Send + Sync + 'static {
    /// Whether it happens now.
    fn strikes(&self, point: &'static str) -> bool;
}

/// A [`Buggify`], or none.
#[derive(Clone, Default)]
pub(crate) struct Points(Option<Arc<dyn Buggify>>);

impl Points {
    pub(crate) fn new(points: impl Buggify) -> Self {
        Self(Some(Arc::new(points)))
    }

    pub(crate) fn strikes(&self, point: &'static str) -> bool {
        self.0.as_ref().is_some_and(|points| points.strikes(point))
    }
}

impl fmt::Debug for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Points" } else { "none" })
    }
}
