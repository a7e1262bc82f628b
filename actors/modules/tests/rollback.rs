//! What an upgrade that was rolled back leaves: the module of before, whole.

mod support;

use std::time::Duration;

use support::{Ask, impatient};
use umbel_database::{Database, DatabaseUrl, Migration};
use umbel_modules::{
    Dependents, Failure, Module, ModuleContext, Registration, ReplaceError, Runtime, RuntimeOptions,
};
use umbel_services::{Context, Handle, Method, Methods, Service, ServiceHost};

/// A service that works, or one that cannot and says so.
struct Till {
    is_stuck: bool,
}

impl Service for Till {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Ask>()
    }

    async fn health(&self) -> Result<(), Failure> {
        if self.is_stuck { Err(Failure::new("the till is stuck")) } else { Ok(()) }
    }
}

impl Handle<Ask> for Till {
    async fn handle(&self, _: Ask, _: &Context) -> Result<<Ask as Method>::Answer, Failure> {
        if self.is_stuck { Err(Failure::new("the till is stuck")) } else { Ok(("it".into(), 1)) }
    }
}

struct Shop {
    is_stuck: bool,
}

impl Module for Shop {
    fn name(&self) -> &str {
        "shop"
    }

    fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
        let is_stuck = self.is_stuck;
        module.service(ServiceHost::new("till", move || Till { is_stuck }));
        Ok(())
    }
}

#[tokio::test]
async fn one_whose_service_is_not_well_is_not_switched_to() {
    let options = RuntimeOptions { healthy: Duration::from_millis(200), ..impatient() };
    let shop = Runtime::builder("shop").module(|| Shop { is_stuck: false }).options(options);
    let runtime = shop.start().await.unwrap();
    let why = runtime.upgrade("shop", || Shop { is_stuck: true }).await.unwrap_err();
    assert!(matches!(why, ReplaceError::Unhealthy { .. }), "{why}");
    assert!(why.to_string().contains("service 'till' is not well"), "{why}");
    for _ in 0..10 {
        runtime.services().call("till", Ask).await.unwrap();
    }
    runtime.system().shutdown(Duration::from_secs(5)).await;
}

const TABLES: &[Migration] = &[
    Migration::new(1, "items", "CREATE TABLE item (name TEXT PRIMARY KEY)"),
    Migration::new(2, "prices", "ALTER TABLE item ADD COLUMN price BIGINT"),
];

/// The first has one table's first form; the second, which does not start, the next.
struct Catalog {
    is_new: bool,
}

impl Module for Catalog {
    fn name(&self) -> &str {
        "catalog"
    }

    fn migrations(&self) -> &[Migration] {
        if self.is_new { TABLES } else { &TABLES[..1] }
    }

    async fn on_startup(&self, _: &ModuleContext) -> Result<(), Failure> {
        if self.is_new { Err(Failure::new("it has a bug")) } else { Ok(()) }
    }
}

#[tokio::test]
async fn after_its_migrations_have_run_the_module_of_before_can_be_reloaded_and_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::file(directory.path().join("shop.db"));
    let runtime = Runtime::builder("shop")
        .module(|| Catalog { is_new: false })
        .database(Database::open_with(url.clone()).await.unwrap())
        .start()
        .await
        .unwrap();
    runtime.upgrade("catalog", || Catalog { is_new: true }).await.unwrap_err();
    runtime.reload("catalog").await.unwrap();
    runtime.unload("catalog", Dependents::Refuse).await.unwrap();
    runtime.load_known("catalog").await.unwrap();
    runtime.system().shutdown(Duration::from_secs(5)).await;
    // And by the next process, with the version of before.
    let runtime = Runtime::builder("shop")
        .module(|| Catalog { is_new: false })
        .database(Database::open_with(url).await.unwrap())
        .start()
        .await
        .unwrap();
    runtime.system().shutdown(Duration::from_secs(5)).await;
}
