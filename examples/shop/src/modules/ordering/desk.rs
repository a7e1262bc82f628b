//! Where orders are taken and brought to their end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use umbel_database::{Database, sqlx};
use umbel_modules::{Failure, ModuleContext};
use umbel_services::{CallError, CallOptions, ServiceManager};

use super::{Order, OrderPlaced, Status};
use crate::modules::catalog::{Release, Reserve};
use crate::modules::payment::Charge;

/// How long another module is waited for while a customer waits.
const WITHIN: Duration = Duration::from_secs(2);

/// How many orders are looked at at once.
const AT_ONCE: i64 = 100;

type Row = (String, String, i64, String, i64, String, String);

/// Where orders are taken and brought to their end. What it has begun is on disk: a process that is killed
/// goes on with it when it is back, and both other modules know an order that comes again.
pub(super) struct Desk {
    database: Database,
    context: ModuleContext,
}

impl Desk {
    pub(super) fn new(context: &ModuleContext) -> Result<Self, Failure> {
        Ok(Self { database: context.database()?.clone(), context: context.clone() })
    }

    /// Notes an order, and brings it as far as it goes.
    pub(super) async fn take(
        &self,
        sku: String,
        quantity: i64,
        customer: String,
    ) -> Result<Order, Failure> {
        let why = String::new();
        let (id, status) = (self.new_id(), Status::Pending);
        let order = Order { id, sku, quantity, customer, cents: 0, status, why };
        let note = sqlx::query(
            "INSERT INTO ordering_order (id, sku, quantity, customer, cents, status, why, told)
             VALUES ($1, $2, $3, $4, 0, 'pending', '', 0)",
        );
        let note = note.bind(&order.id).bind(&order.sku).bind(order.quantity).bind(&order.customer);
        note.execute(self.database.pool()).await?;
        self.bring_on(order).await
    }

    /// Brings on all orders that wait.
    pub(super) async fn go_on(&self) {
        let pending = self.list("status = 'pending' AND id > $1", "").await;
        for order in pending.unwrap_or_default() {
            if let Err(why) = self.bring_on(order).await {
                tracing::warn!(target: "shop", %why, "an order waits on");
            }
        }
    }

    pub(super) async fn get(&self, id: &str) -> Result<Option<Order>, Failure> {
        Ok(self.list("id = $1", id).await?.pop())
    }

    pub(super) async fn untold(&self) -> Result<Vec<Order>, Failure> {
        self.list("status = 'placed' AND told = 0 AND id > $1", "").await
    }

    pub(super) async fn told(&self, id: &str) -> Result<(), Failure> {
        let note = sqlx::query("UPDATE ordering_order SET told = 1 WHERE id = $1");
        note.bind(id).execute(self.database.pool()).await?;
        Ok(())
    }

    pub(super) async fn all_after(&self, id: &str) -> Result<Vec<Order>, Failure> {
        self.list("id > $1", id).await
    }

    async fn bring_on(&self, mut order: Order) -> Result<Order, Failure> {
        let services = self.context.services();
        match reserve_and_charge(services, &order).await {
            Ok(cents) => {
                (order.cents, order.status, order.why) = (cents, Status::Placed, String::new())
            }
            Err(Stop::Refused(failure)) => {
                (order.status, order.why) = (Status::Refused, failure.message);
            }
            Err(Stop::Waits(why)) => (order.status, order.why) = (Status::Pending, why),
        }
        // Once placed or refused, it stays so: it may have been brought on twice at a time.
        let note = sqlx::query(
            "UPDATE ordering_order SET cents = $1, status = $2, why = $3
             WHERE id = $4 AND status = 'pending'",
        );
        let note = note.bind(order.cents).bind(name(order.status)).bind(&order.why).bind(&order.id);
        let noted = note.execute(self.database.pool()).await?;
        if order.status == Status::Placed && noted.rows_affected() == 1 {
            // Who does not hear it asks for it later.
            let _ = self.context.events().publish(OrderPlaced(order.clone())).await;
        }
        Ok(order)
    }

    async fn list(&self, wanted: &'static str, id: &str) -> Result<Vec<Order>, Failure> {
        let rows = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(format!(
            "SELECT id, sku, quantity, customer, cents, status, why FROM ordering_order
             WHERE {wanted} ORDER BY id LIMIT {AT_ONCE}"
        )));
        let rows = rows.bind(id).fetch_all(self.database.pool()).await?;
        Ok(rows.into_iter().map(order).collect())
    }

    /// Ids of one process grow with time.
    fn new_id(&self) -> String {
        #[expect(clippy::disallowed_methods, reason = "an order is numbered by the wall clock")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        format!("{:015x}-{:08x}", now.as_micros(), self.context.system().random() >> 32)
    }
}

/// Why an order does not go on.
enum Stop {
    /// It never will.
    Refused(Failure),
    /// Another module cannot be reached just now.
    Waits(String),
}

async fn reserve_and_charge(services: &ServiceManager, order: &Order) -> Result<i64, Stop> {
    let options = CallOptions::new().deadline(WITHIN);
    let Order { id, sku, quantity, customer, .. } = order;
    let reserve = Reserve { order: id.clone(), sku: sku.clone(), quantity: *quantity };
    let reserved = services.service("catalog").call_with(options.clone(), reserve).await;
    let cents = reserved.map_err(|why| stop("catalog", why))?;
    let charge = Charge { order: id.clone(), customer: customer.clone(), cents };
    let charged = services.service("payment").call_with(options.clone(), charge).await;
    if let Err(why) = charged {
        let stop = stop("payment", why);
        if let Stop::Refused(_) = &stop {
            let release = Release { order: id.clone() };
            let released = services.service("catalog").call_with(options, release).await;
            // Or it would lie on the shelf for nobody: the order is refused when that is done.
            released.map_err(|why| Stop::Waits(format!("catalog: {why}")))?;
        }
        return Err(stop);
    }
    Ok(cents)
}

fn stop(module: &str, why: CallError) -> Stop {
    match why {
        CallError::Failed(failure) if failure.code.is_some() => Stop::Refused(failure),
        why => Stop::Waits(format!("{module}: {why}")),
    }
}

fn name(status: Status) -> &'static str {
    match status {
        Status::Pending => "pending",
        Status::Placed => "placed",
        Status::Refused => "refused",
    }
}

fn order((id, sku, quantity, customer, cents, status, why): Row) -> Order {
    let status = match status.as_str() {
        "placed" => Status::Placed,
        "refused" => Status::Refused,
        _ => Status::Pending,
    };
    Order { id, sku, quantity, customer, cents, status, why }
}
