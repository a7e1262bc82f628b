//! What there is to buy, and how much of it.

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

const MIGRATIONS: &[Migration] = &[
    Migration::new(
        1,
        "items and what is reserved of them",
        "CREATE TABLE catalog_item (
             sku TEXT PRIMARY KEY, name TEXT NOT NULL, cents BIGINT NOT NULL,
             stock BIGINT NOT NULL CHECK (stock >= 0)
         );
         CREATE TABLE catalog_reservation (
             order_id TEXT PRIMARY KEY, sku TEXT NOT NULL, quantity BIGINT NOT NULL, cents BIGINT NOT NULL
         )",
    ),
    Migration::new(
        2,
        "what is sold at first",
        "INSERT INTO catalog_item (sku, name, cents, stock) VALUES
             ('tea', 'Green tea, 100 g', 450, 1000),
             ('teapot', 'Teapot of cast iron', 4800, 3),
             ('samovar', 'Samovar of silver', 250000, 5)",
    ),
];

/// An item as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    sku: String,
    name: String,
    cents: i64,
    stock: i64,
}

/// Sets a quantity of an item aside for an order; answers what it costs in all. Asked again for the same
/// order, it answers the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reserve {
    pub(crate) order: String,
    pub(crate) sku: String,
    pub(crate) quantity: i64,
}

impl Method for Reserve {
    const NAME: &'static str = "reserve";
    const IDEMPOTENT: bool = true;
    type Answer = i64;
}

/// Gives back what was set aside for an order, if something was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Release {
    pub(crate) order: String,
}

impl Method for Release {
    const NAME: &'static str = "release";
    const IDEMPOTENT: bool = true;
    type Answer = ();
}

/// What there is to buy, and how much of it.
pub(crate) struct Catalog;

impl Module for Catalog {
    fn name(&self) -> &str {
        "catalog"
    }

    fn migrations(&self) -> &[Migration] {
        MIGRATIONS
    }

    fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
        let database = module.database()?.clone();
        module.service(ServiceHost::new("catalog", move || Shelves { database: database.clone() }));
        Ok(())
    }

    fn routes(&self, context: &ModuleContext) -> Router {
        Router::new()
            .route("/items", get(items))
            .route("/items/{sku}", get(item))
            .with_state(context.clone())
    }
}

async fn items(State(context): State<ModuleContext>) -> Result<Json<Vec<Item>>, Problem> {
    let database = context.database().map_err(internal)?;
    let rows = sqlx::query_as::<_, (String, String, i64, i64)>(
        "SELECT sku, name, cents, stock FROM catalog_item ORDER BY sku",
    );
    let rows = rows.fetch_all(database.pool()).await.map_err(internal)?;
    let item = |(sku, name, cents, stock)| Item { sku, name, cents, stock };
    Ok(Json(rows.into_iter().map(item).collect()))
}

async fn item(
    State(context): State<ModuleContext>,
    Path(sku): Path<String>,
) -> Result<Json<Item>, Problem> {
    let database = context.database().map_err(internal)?;
    let row = sqlx::query_as::<_, (String, String, i64, i64)>(
        "SELECT sku, name, cents, stock FROM catalog_item WHERE sku = $1",
    );
    let row = row.bind(&sku).fetch_optional(database.pool()).await.map_err(internal)?;
    let Some((sku, name, cents, stock)) = row else {
        return Err(Problem::new(StatusCode::NOT_FOUND).detail(format!("there is no item {sku}")));
    };
    Ok(Json(Item { sku, name, cents, stock }))
}

struct Shelves {
    database: Database,
}

impl Service for Shelves {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Reserve>().on::<Release>()
    }

    async fn health(&self) -> Result<(), Failure> {
        self.database.health().await?;
        Ok(())
    }
}

impl Handle<Reserve> for Shelves {
    async fn handle(
        &self,
        Reserve { order, sku, quantity }: Reserve,
        _: &Context,
    ) -> Result<i64, Failure> {
        if !(1..=1000).contains(&quantity) {
            return Err(Failure::new("between 1 and 1000 are sold at once").code("quantity"));
        }
        let mut transaction = self.database.begin().await?;
        let before = sqlx::query_scalar::<_, i64>(
            "SELECT cents FROM catalog_reservation WHERE order_id = $1",
        );
        if let Some(cents) = before.bind(&order).fetch_optional(&mut *transaction).await? {
            return Ok(cents);
        }
        let taken = sqlx::query_scalar::<_, i64>(
            "UPDATE catalog_item SET stock = stock - $1 WHERE sku = $2 AND stock >= $1
             RETURNING cents",
        );
        let taken = taken.bind(quantity).bind(&sku).fetch_optional(&mut *transaction).await?;
        let Some(cents) = taken else {
            let known =
                sqlx::query_scalar::<_, i64>("SELECT stock FROM catalog_item WHERE sku = $1");
            let known = known.bind(&sku).fetch_optional(&mut *transaction).await?;
            return Err(match known {
                Some(stock) => Failure::new(format!("{stock} of {sku} are left")).code("sold_out"),
                None => Failure::new(format!("there is no item {sku}")).code("unknown_item"),
            });
        };
        let cents = cents * quantity;
        let note = sqlx::query(
            "INSERT INTO catalog_reservation (order_id, sku, quantity, cents) VALUES ($1, $2, $3, $4)",
        );
        note.bind(&order).bind(&sku).bind(quantity).bind(cents).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(cents)
    }
}

impl Handle<Release> for Shelves {
    async fn handle(&self, Release { order }: Release, _: &Context) -> Result<(), Failure> {
        let mut transaction = self.database.begin().await?;
        let gone = sqlx::query_as::<_, (String, i64)>(
            "DELETE FROM catalog_reservation WHERE order_id = $1 RETURNING sku, quantity",
        );
        if let Some((sku, quantity)) = gone.bind(&order).fetch_optional(&mut *transaction).await? {
            let back = sqlx::query("UPDATE catalog_item SET stock = stock + $1 WHERE sku = $2");
            back.bind(quantity).bind(sku).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
