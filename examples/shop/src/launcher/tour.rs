//! One order, from the shelf to the customer, over HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::Failure;
use super::report::Report;
use crate::layout::Part;
use crate::process::Ready;

/// How long each step may take.
const WITHIN: Duration = Duration::from_secs(20);

/// Places an order, and follows it until the customer was told.
pub(super) async fn take(
    report: &Report,
    parts: &[Part],
    known: &BTreeMap<&'static str, Ready>,
) -> Result<(), Failure> {
    let at = |module: &str| {
        let part = parts.iter().find(|part| part.modules.contains(&module));
        part.and_then(|part| known.get(part.name)).map(|ready| ready.http).ok_or("no such module")
    };
    report.say("on the shelf", &ask(at("catalog")?, "/catalog/items/tea", None).await?);
    let wish = json!({ "sku": "tea", "quantity": 2, "customer": "Ada" });
    let order = ask(at("ordering")?, "/ordering/orders", Some(wish)).await?;
    report.say("ordered", &order);
    let id = order["id"].as_str().ok_or("an order has an id")?.to_owned();
    let path = format!("/ordering/orders/{id}");
    let placed = until(at("ordering")?, &path, |order| order["status"] == "placed").await?;
    report.say("placed", &placed);
    let paid = until(at("payment")?, &format!("/payment/payments/{id}"), |_| true).await?;
    report.say("paid", &paid);
    let path = format!("/notification/notifications/{id}");
    report.say("told", &until(at("notification")?, &path, |_| true).await?);
    report.say("on the shelf", &ask(at("catalog")?, "/catalog/items/tea", None).await?);
    Ok(())
}

/// Asks again until the answer is as wanted.
async fn until(
    at: std::net::SocketAddr,
    path: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Value, Failure> {
    let asking = async {
        loop {
            match ask(at, path, None).await {
                Ok(answer) if wanted(&answer) => return answer,
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    timeout(WITHIN, asking).await.map_err(|_| format!("{path} took longer than {WITHIN:?}").into())
}

async fn ask(at: std::net::SocketAddr, path: &str, body: Option<Value>) -> Result<Value, Failure> {
    let (client, url) = (reqwest::Client::new(), format!("http://{at}{path}"));
    let request = match body {
        Some(body) => client.post(url).json(&body),
        None => client.get(url),
    };
    let answer = request.send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    if !status.is_success() {
        return Err(format!("{path}: {status}: {text}").into());
    }
    Ok(serde_json::from_str(&text)?)
}
