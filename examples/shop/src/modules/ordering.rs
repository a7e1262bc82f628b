//! Orders, from when they are placed until they are paid.

mod desk;
mod http;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use serde::{Deserialize, Serialize};
use umbel_database::Migration;
use umbel_modules::{Event, Failure, Module, ModuleContext, Registration};
use umbel_services::{Context, Handle, Method, Methods, Service, ServiceHost};

use self::desk::Desk;
use crate::every::Every;

const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "orders",
    "CREATE TABLE ordering_order (
         id TEXT PRIMARY KEY, sku TEXT NOT NULL, quantity BIGINT NOT NULL, customer TEXT NOT NULL,
         cents BIGINT NOT NULL, status TEXT NOT NULL, why TEXT NOT NULL, told SMALLINT NOT NULL
     )",
)];

/// How often orders that wait for another module are tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) sku: String,
    pub(crate) quantity: i64,
    pub(crate) customer: String,
    pub(crate) cents: i64,
    pub(crate) status: Status,
    /// Why it waits, or was refused.
    pub(crate) why: String,
}

/// What has become of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Another module cannot be reached just now; it goes on by itself.
    Pending,
    /// It is reserved and paid.
    Placed,
    /// It cannot be had.
    Refused,
}

/// An order was placed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OrderPlaced(pub(crate) Order);

impl Event for OrderPlaced {
    const TOPIC: &'static str = "ordering.placed";
}

/// Placed orders of which nobody was told: for whoever may have missed the event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Untold;

impl Method for Untold {
    const NAME: &'static str = "untold";
    const IDEMPOTENT: bool = true;
    type Answer = Vec<Order>;
}

/// The customer of an order has been told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) order: String,
}

impl Method for Told {
    const NAME: &'static str = "told";
    const IDEMPOTENT: bool = true;
    type Answer = ();
}

/// Orders, from when they are placed until they are paid.
pub(crate) struct Ordering;

impl Module for Ordering {
    fn name(&self) -> &str {
        "ordering"
    }

    fn requires(&self) -> &[&str] {
        &["catalog", "payment"]
    }

    fn migrations(&self) -> &[Migration] {
        MIGRATIONS
    }

    fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
        let desk = Arc::new(Desk::new(module.context())?);
        let (answering, going_on) = (desk.clone(), desk);
        module.service(ServiceHost::new("ordering", move || Clerk(answering.clone())));
        module.actor("going-on", move || {
            let desk = going_on.clone();
            let work = Arc::new(move || {
                let desk = desk.clone();
                async move { desk.go_on().await }
            });
            (Every { pause: AGAIN_AFTER, work }, ())
        });
        Ok(())
    }

    fn routes(&self, context: &ModuleContext) -> Router {
        http::routes(context)
    }
}

struct Clerk(Arc<Desk>);

impl Service for Clerk {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Untold>().on::<Told>()
    }
}

impl Handle<Untold> for Clerk {
    async fn handle(&self, Untold: Untold, _: &Context) -> Result<Vec<Order>, Failure> {
        self.0.untold().await
    }
}

impl Handle<Told> for Clerk {
    async fn handle(&self, Told { order }: Told, _: &Context) -> Result<(), Failure> {
        self.0.told(&order).await
    }
}
