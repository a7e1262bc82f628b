//! Who has paid.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use umbel_database::{Database, Migration, sqlx};
use umbel_http::Problem;
use umbel_modules::{Failure, Module, ModuleContext, Registration};
use umbel_services::{Context, Handle, Method, Methods, Service, ServiceHost};

use super::internal;

const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "payments",
    "CREATE TABLE payment (
         order_id TEXT PRIMARY KEY, customer TEXT NOT NULL, cents BIGINT NOT NULL
     )",
)];

/// What a customer can owe at most.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    #[serde(default = "most_cents")]
    most_cents: i64,
}

fn most_cents() -> i64 {
    100_000
}

/// Takes the money for an order. Asked again for the same order, it takes nothing more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Charge {
    pub(crate) order: String,
    pub(crate) customer: String,
    pub(crate) cents: i64,
}

impl Method for Charge {
    const NAME: &'static str = "charge";
    const IDEMPOTENT: bool = true;
    type Answer = ();
}

/// A payment as it is shown.
#[derive(Debug, Serialize)]
struct Payment {
    order: String,
    customer: String,
    cents: i64,
}

/// Who has paid.
pub(crate) struct Payments;

impl Module for Payments {
    fn name(&self) -> &str {
        "payment"
    }

    fn migrations(&self) -> &[Migration] {
        MIGRATIONS
    }

    fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
        let Limits { most_cents } = module.config()?;
        let database = module.database()?.clone();
        let make = move || Cashier { database: database.clone(), most_cents };
        module.service(ServiceHost::new("payment", make));
        Ok(())
    }

    fn routes(&self, context: &ModuleContext) -> Router {
        Router::new().route("/payments/{order}", get(payment)).with_state(context.clone())
    }
}

async fn payment(
    State(context): State<ModuleContext>,
    Path(order): Path<String>,
) -> Result<Json<Payment>, Problem> {
    let database = context.database().map_err(internal)?;
    let row = sqlx::query_as::<_, (String, String, i64)>(
        "SELECT order_id, customer, cents FROM payment WHERE order_id = $1",
    );
    let row = row.bind(&order).fetch_optional(database.pool()).await.map_err(internal)?;
    let Some((order, customer, cents)) = row else {
        let detail = format!("order {order} has not been paid");
        return Err(Problem::new(StatusCode::NOT_FOUND).detail(detail));
    };
    Ok(Json(Payment { order, customer, cents }))
}

struct Cashier {
    database: Database,
    most_cents: i64,
}

impl Service for Cashier {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Charge>()
    }
}

impl Handle<Charge> for Cashier {
    async fn handle(
        &self,
        Charge { order, customer, cents }: Charge,
        _: &Context,
    ) -> Result<(), Failure> {
        if cents > self.most_cents {
            let why = format!("{customer} may spend {} cents at most", self.most_cents);
            return Err(Failure::new(why).code("declined"));
        }
        let paid = sqlx::query(
            "INSERT INTO payment (order_id, customer, cents) VALUES ($1, $2, $3)
             ON CONFLICT (order_id) DO NOTHING",
        );
        let paid = paid.bind(order).bind(customer).bind(cents);
        paid.execute(self.database.pool()).await?;
        Ok(())
    }
}
