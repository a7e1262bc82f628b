//! Platforms on which nothing is taken over.

use super::NotInForce;

pub(super) fn try_all() -> Result<(), NotInForce> {
    Err(NotInForce::Platform)
}
