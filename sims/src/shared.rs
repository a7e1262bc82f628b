//! What a world and the processes in it share.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::mutant::Mutant;
use crate::network::{Network, Place};
use crate::record::{Record, Recorded};

/// What a world and the processes in it share. One thread uses it, so no lock is ever waited for.
pub(crate) struct Shared {
    mutant: Option<Mutant>,
    network: Mutex<Network>,
    records: Mutex<Vec<Recorded>>,
    oracles: Mutex<BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    faults_over: AtomicBool,
}

impl Shared {
    pub(crate) fn new(network: Network, mutant: Option<Mutant>) -> Arc<Self> {
        Arc::new(Self {
            mutant,
            network: Mutex::new(network),
            records: Mutex::default(),
            oracles: Mutex::default(),
            faults_over: AtomicBool::new(false),
        })
    }

    pub(crate) fn mutant(&self) -> Option<Mutant> {
        self.mutant
    }

    pub(crate) fn network(&self) -> MutexGuard<'_, Network> {
        self.network.lock()
    }

    pub(crate) fn now(&self) -> Duration {
        self.network().now()
    }

    /// Takes note of what somebody saw or did; nothing of a process that has ended.
    pub(crate) fn record(&self, place: Place, record: Record) {
        let mut network = self.network();
        if network.runs(place) {
            network.note(format_args!("m{} {record:?}", place.machine));
            let at = network.now();
            drop(network);
            let Place { machine, life: process } = place;
            self.records.lock().push(Recorded { at, machine, process, record });
        }
    }

    pub(crate) fn take_records(&self) -> Vec<Recorded> {
        std::mem::take(&mut *self.records.lock())
    }

    pub(crate) fn oracle<T: Default + Send + 'static>(&self) -> Arc<Mutex<T>> {
        let mut oracles = self.oracles.lock();
        let oracle = oracles
            .entry(TypeId::of::<T>())
            .or_insert_with(|| Arc::new(Mutex::new(T::default())))
            .clone();
        oracle.downcast().expect("an oracle is kept under its own type")
    }

    pub(crate) fn faults_over(&self) -> bool {
        self.faults_over.load(Ordering::Relaxed)
    }

    pub(crate) fn end_faults(&self) {
        self.faults_over.store(true, Ordering::Relaxed);
    }
}
