//! What modules offer to each other.

use std::any::{Any, type_name};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// What a module offers to others, by key and type.
#[derive(Default)]
pub(crate) struct Offers(BTreeMap<String, Offer>);

struct Offer {
    value: Arc<dyn Any + Send + Sync>,
    type_name: &'static str,
}

/// Why there is no such thing to be had of a module.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OfferError {
    /// A module may only use what it requires: else it might not be there yet.
    #[error("module '{by}' uses '{module}' but does not require it")]
    NotRequired {
        /// Who would use it.
        by: String,
        /// The module.
        module: String,
    },
    /// The module does not run in this process. Values are not sent to other nodes: call a service.
    #[error(
        "module '{module}' does not run here: what it offers can be had in its own process only"
    )]
    NotHere {
        /// The module.
        module: String,
    },
    /// The module offers nothing under this key.
    #[error("module '{module}' does not offer '{key}': it offers {}", listed(offered))]
    Absent {
        /// The module.
        module: String,
        /// The key.
        key: String,
        /// What it offers instead.
        offered: Vec<String>,
    },
    /// The module offers something of another type.
    #[error("module '{module}' offers '{key}' as {is}, not as {wanted}")]
    WrongType {
        /// The module.
        module: String,
        /// The key.
        key: String,
        /// The type that it is of.
        is: &'static str,
        /// The type that was asked for.
        wanted: &'static str,
    },
}

fn listed(offered: &[String]) -> String {
    match offered {
        [] => "nothing".to_owned(),
        offered => format!("'{}'", offered.join("', '")),
    }
}

impl Offers {
    /// Adds something; false if there is something of this key already.
    pub(crate) fn add<T: Send + Sync + 'static>(&mut self, key: String, value: T) -> bool {
        let offer = Offer { value: Arc::new(value), type_name: type_name::<T>() };
        self.0.insert(key, offer).is_none()
    }

    pub(crate) fn get<T: Send + Sync + 'static>(
        &self,
        module: &str,
        key: &str,
    ) -> Result<Arc<T>, OfferError> {
        let (module, key) = (module.to_owned(), key.to_owned());
        let Some(offer) = self.0.get(&key) else {
            let offered = self.0.keys().cloned().collect();
            return Err(OfferError::Absent { module, key, offered });
        };
        let (is, wanted) = (offer.type_name, type_name::<T>());
        let wrong = |_| OfferError::WrongType { module, key, is, wanted };
        offer.value.clone().downcast().map_err(wrong)
    }
}

impl fmt::Debug for Offers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offers = self.0.iter().map(|(key, offer)| (key, offer.type_name));
        f.debug_map().entries(offers).finish()
    }
}
