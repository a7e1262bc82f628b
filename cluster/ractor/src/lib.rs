//! x
mod door;
mod error;
mod introduction;
mod keeper;
mod lane;
mod lent;
mod sessions;

pub use error::LaneError;
pub use introduction::IntroductionError;
pub use lane::RactorCluster;
