use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Directory, DirectoryError, Follow, Instance};
use crate::host::ServiceView;

/// The services of one system. Cheap to clone; clones are the same directory.
#[derive(Clone, Default)]
pub struct LocalDirectory {
    shared: Arc<Shared>,
}

struct Shared {
    known: Mutex<BTreeMap<String, Vec<(u64, ServiceView)>>>,
    /// Counts what has become of all services.
    changes: watch::Sender<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { known: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl LocalDirectory {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<(u64, ServiceView)>>, u64)) {
        self.changes.send_modify(|changes| {
            *changes += 1;
            let mut known = self.known.lock();
            // What has ended for good is forgotten on the way.
            known.retain(|_, views| {
                views.retain(|(_, view)| !view.address().is_gone());
                !views.is_empty()
            });
            change(&mut known, *changes);
        });
    }
}

impl Directory for LocalDirectory {
    fn follow(&self, service: &str) -> Box<dyn Follow> {
        Box::new(Local {
            service: service.to_owned(),
            directory: self.shared.clone(),
            changes: self.shared.changes.subscribe(),
            views: None,
            listed: Arc::new([]),
            shown: Vec::new(),
        })
    }

    fn register(&self, view: ServiceView) -> BoxFuture<'_, Result<(), DirectoryError>> {
        let registered = if view.address().is_gone() {
            Err(DirectoryError::Ended)
        } else {
            self.shared.change(|known, number| {
                let views = known.entry(view.name().to_owned()).or_default();
                if views.iter().all(|(_, other)| other.address() != view.address()) {
                    views.push((number, view));
                }
            });
            Ok(())
        };
        Box::pin(async { registered })
    }

    fn deregister(&self, view: ServiceView) -> BoxFuture<'_, ()> {
        self.shared.change(|known, _| {
            if let Some(views) = known.get_mut(view.name()) {
                views.retain(|(_, other)| other.address() != view.address());
                if views.is_empty() {
                    known.remove(view.name());
                }
            }
        });
        Box::pin(async {})
    }
}

struct Local {
    service: String,
    directory: Arc<Shared>,
    changes: watch::Receiver<u64>,
    /// Those that are registered; `None` before they were looked at.
    views: Option<Vec<(u64, ServiceView)>>,
    listed: Arc<[Instance]>,
    /// Which of the views are in the list.
    shown: Vec<bool>,
}

impl Follow for Local {
    fn instances(&mut self) -> Arc<[Instance]> {
        let are_new = self.views.is_none() || self.changes.has_changed().unwrap_or(false);
        if are_new {
            self.changes.mark_unchanged();
            let known = self.directory.known.lock();
            self.views = Some(known.get(&self.service).cloned().unwrap_or_default());
        }
        let views = self.views.as_deref().unwrap_or_default();
        if are_new || !shown(views).eq(self.shown.iter().copied()) {
            self.shown = shown(views).collect();
            let listed = views.iter().zip(&self.shown).filter(|(_, shown)| **shown);
            let instance = |((place, view), _): (&(u64, ServiceView), _)| Instance {
                address: view.address().clone(),
                node: None,
                place: *place,
            };
            self.listed = listed.map(instance).collect();
        }
        self.listed.clone()
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if self.views.is_none() {
                self.instances();
            }
            let views = self.views.as_deref().unwrap_or_default();
            // Before they are looked at, so that no change after that is missed.
            let mut wellness: Vec<_> = views.iter().map(|(_, view)| view.wellness()).collect();
            while shown(views).eq(self.shown.iter().copied()) {
                let mut told: FuturesUnordered<_> =
                    wellness.iter_mut().map(watch::Receiver::changed).collect();
                tokio::select! {
                    biased;
                    // The sender lives in `self`.
                    _ = self.changes.changed() => {
                        self.views = None;
                        return;
                    }
                    Some(_) = told.next() => {}
                }
            }
        })
    }
}

/// Which of these are handed out.
fn shown(views: &[(u64, ServiceView)]) -> impl Iterator<Item = bool> {
    let living = |view: &ServiceView| !view.address().is_gone();
    // Where none is well, one that lives is better than nothing: it is being started again.
    let some_well = views.iter().any(|(_, view)| living(view) && view.is_well());
    views.iter().map(move |(_, view)| living(view) && (view.is_well() || !some_well))
}

impl fmt::Debug for LocalDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.shared.known.lock().keys()).finish()
    }
}
