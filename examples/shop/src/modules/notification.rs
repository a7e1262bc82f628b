//! What customers are told.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use umbel_database::{Migration, sqlx};
use umbel_http::Problem;
use umbel_modules::{Failure, Module, ModuleContext, Registration};

use super::internal;
use super::ordering::{Order, OrderPlaced, Told, Untold};
use crate::every::Every;

const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "notifications",
    "CREATE TABLE notification (order_id TEXT PRIMARY KEY, customer TEXT NOT NULL, told TEXT NOT NULL)",
)];

/// How often it asks for orders whose event it has missed: events come at most once.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// A notification as it is shown.
#[derive(Serialize)]
struct Notification {
    order: String,
    customer: String,
    told: String,
}

/// What customers are told.
pub(crate) struct Notifications;

impl Module for Notifications {
    fn name(&self) -> &str {
        "notification"
    }

    fn requires(&self) -> &[&str] {
        &["ordering"]
    }

    fn migrations(&self) -> &[Migration] {
        MIGRATIONS
    }

    fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
        module.on_event(|OrderPlaced(order): OrderPlaced, context: ModuleContext| async move {
            tell(&context, &order).await
        });
        let context = module.context().clone();
        module.actor("catching-up", move || {
            let context = context.clone();
            let work = Arc::new(move || {
                let context = context.clone();
                async move {
                    if let Err(why) = catch_up(&context).await {
                        tracing::debug!(target: "shop", %why, "ordering is not there");
                    }
                }
            });
            (Every { pause: ASK_EVERY, work }, ())
        });
        Ok(())
    }

    fn routes(&self, context: &ModuleContext) -> Router {
        Router::new().route("/notifications/{order}", get(notification)).with_state(context.clone())
    }
}

/// Tells the customer of an order, once, and ordering that it is done.
async fn tell(context: &ModuleContext, order: &Order) -> Result<(), Failure> {
    let Order { id, sku, quantity, customer, cents, .. } = order;
    let text = format!("{customer}, your {quantity} {sku} for {cents} cents are on their way");
    let note = sqlx::query(
        "INSERT INTO notification (order_id, customer, told) VALUES ($1, $2, $3)
         ON CONFLICT (order_id) DO NOTHING",
    );
    note.bind(id).bind(customer).bind(text).execute(context.database()?.pool()).await?;
    context.services().call("ordering", Told { order: id.clone() }).await?;
    Ok(())
}

/// Tells of all orders that were placed and not told of.
async fn catch_up(context: &ModuleContext) -> Result<(), Failure> {
    loop {
        let missed = context.services().call("ordering", Untold).await?;
        if missed.is_empty() {
            return Ok(());
        }
        for order in &missed {
            tell(context, order).await?;
        }
    }
}

async fn notification(
    State(context): State<ModuleContext>,
    Path(order): Path<String>,
) -> Result<Json<Notification>, Problem> {
    let database = context.database().map_err(internal)?;
    let row = sqlx::query_as::<_, (String, String, String)>(
        "SELECT order_id, customer, told FROM notification WHERE order_id = $1",
    );
    let row = row.bind(&order).fetch_optional(database.pool()).await.map_err(internal)?;
    let Some((order, customer, told)) = row else {
        let detail = format!("nobody was told of order {order}");
        return Err(Problem::new(StatusCode::NOT_FOUND).detail(detail));
    };
    Ok(Json(Notification { order, customer, told }))
}
