//! Calling services from code that blocks.

use serde_json::Value;
use tokio::runtime::Handle;

use super::{CallOptions, ServiceHandle, ServiceManager};
use crate::error::CallError;
use crate::method::Method;

/// Calls services from code that blocks, such as a thread of one's own: by
/// [`ServiceManager::blocking`]. What takes time happens on the manager's runtime, which must go on
/// meanwhile.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use umbel_services::{CallError, Method, ServiceManager};
/// # #[derive(Clone, Serialize, Deserialize)]
/// # struct Price { item: String }
/// # impl Method for Price { const NAME: &'static str = "price"; type Answer = u64; }
/// fn total(services: &ServiceManager) -> Result<u64, CallError> {
///     let catalog = services.blocking().service("catalog");
///     Ok(catalog.call(Price { item: "tea".into() })? + catalog.call(Price { item: "cup".into() })?)
/// }
/// # let _ = total;
/// ```
#[derive(Clone, Debug)]
pub struct BlockingServices {
    services: ServiceManager,
    runtime: Handle,
}

/// Calls one service from code that blocks.
#[derive(Clone, Debug)]
pub struct BlockingHandle {
    handle: ServiceHandle,
    runtime: Handle,
}

impl BlockingServices {
    pub(super) fn new(services: ServiceManager, runtime: Handle) -> Self {
        Self { services, runtime }
    }

    /// A service by name.
    #[must_use]
    pub fn service(&self, name: &str) -> BlockingHandle {
        BlockingHandle { handle: self.services.service(name), runtime: self.runtime.clone() }
    }
}

impl BlockingHandle {
    /// Calls a method and blocks until it is answered: [`ServiceHandle::call`].
    ///
    /// # Errors
    /// [`CallError`], which says what became of the request.
    ///
    /// # Panics
    /// In asynchronous code, whose thread must not be blocked: call asynchronously there.
    pub fn call<M: Method>(&self, request: M) -> Result<M::Answer, CallError> {
        self.runtime.block_on(self.handle.call(request))
    }

    /// As [`BlockingHandle::call`], with options.
    ///
    /// # Errors
    /// [`CallError`], which says what became of the request.
    ///
    /// # Panics
    /// In asynchronous code.
    pub fn call_with<M: Method>(
        &self,
        options: CallOptions,
        request: M,
    ) -> Result<M::Answer, CallError> {
        self.runtime.block_on(self.handle.call_with(options, request))
    }

    /// Calls a method by its name and blocks until it is answered: [`ServiceHandle::call_json`].
    ///
    /// # Errors
    /// [`CallError`], which says what became of the request.
    ///
    /// # Panics
    /// In asynchronous code.
    pub fn call_json(&self, method: &str, request: Value) -> Result<Value, CallError> {
        self.runtime.block_on(self.handle.call_json(method, request))
    }

    /// As [`BlockingHandle::call_json`], with options.
    ///
    /// # Errors
    /// [`CallError`], which says what became of the request.
    ///
    /// # Panics
    /// In asynchronous code.
    pub fn call_json_with(
        &self,
        options: CallOptions,
        method: &str,
        request: Value,
    ) -> Result<Value, CallError> {
        self.runtime.block_on(self.handle.call_json_with(options, method, request))
    }
}
