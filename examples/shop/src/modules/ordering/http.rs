//! Orders over HTTP.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use umbel_http::Problem;
use umbel_modules::ModuleContext;

use super::desk::Desk;
use super::{Order, Status};
use crate::modules::internal;

pub(super) fn routes(context: &ModuleContext) -> Router {
    // It has just registered with the same database.
    let desk = Desk::new(context).map(Arc::new).expect("the module needs a database");
    Router::new()
        .route("/orders", get(orders).post(place))
        .route("/orders/{id}", get(order))
        .with_state(desk)
}

/// What a customer orders.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    sku: String,
    #[serde(default = "one")]
    quantity: i64,
    customer: String,
}

fn one() -> i64 {
    1
}

/// An order, and whether the shop is whole.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    order: Order,
    /// Whether another module was not there, so that the order waits for it.
    degraded: bool,
}

/// 201 where it is placed, 202 where it waits for a module that is not there, 409 where it cannot be had.
async fn place(
    State(desk): State<Arc<Desk>>,
    Json(Wish { sku, quantity, customer }): Json<Wish>,
) -> Result<(StatusCode, Json<Answer>), Problem> {
    if !(1..=64).contains(&customer.len()) || !(1..=64).contains(&sku.len()) {
        let detail = "customer and sku have between 1 and 64 bytes";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY).detail(detail));
    }
    let order = desk.take(sku, quantity, customer).await.map_err(internal)?;
    let status = match order.status {
        Status::Placed => StatusCode::CREATED,
        Status::Pending => StatusCode::ACCEPTED,
        Status::Refused => {
            let problem = Problem::new(StatusCode::CONFLICT).detail(order.why);
            return Err(problem.with("order", order.id.into()));
        }
    };
    Ok((status, Json(Answer { degraded: order.status == Status::Pending, order })))
}

async fn order(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
) -> Result<Json<Order>, Problem> {
    let order = desk.get(&id).await.map_err(internal)?;
    let unknown = || Problem::new(StatusCode::NOT_FOUND).detail(format!("there is no order {id}"));
    order.map(Json).ok_or_else(unknown)
}

/// From which order on.
#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: String,
}

async fn orders(
    State(desk): State<Arc<Desk>>,
    Query(After { after }): Query<After>,
) -> Result<Json<Vec<Order>>, Problem> {
    desk.all_after(&after).await.map(Json).map_err(internal)
}
