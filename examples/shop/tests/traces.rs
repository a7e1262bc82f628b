//! An order is one trace: from the customer's request over the modules of three processes, and back.

mod customer;
#[path = "../../../actors/telemetry/tests/receiver/mod.rs"]
mod receiver;

use customer::Shop;
use receiver::{Received, Receiver};
use reqwest::StatusCode;
use serde_json::{Value, json};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// The spans above this one, from the next on.
fn above<'a>(all: &'a [Received], below: &Received) -> Vec<&'a Received> {
    let (mut line, mut parent) = (Vec::new(), below.parent.clone());
    while let Some(above) = all.iter().find(|span| span.span == parent) {
        parent.clone_from(&above.parent);
        line.push(above);
    }
    line
}

async fn an_order_is_one_trace(layout: &str, [ordering, catalog, payment]: [&str; 3]) {
    let receiver = Receiver::start().await;
    let url = receiver.url();
    let collector = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*url), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
    let shop = Shop::open_with(layout, &[], &collector).await;
    let asked = shop.client.post(shop.url("/ordering/orders"));
    let asked = asked.header("traceparent", format!("00-{TRACE}-{SPAN}-01"));
    let answer = asked.json(&json!({ "sku": "tea", "customer": "Ada" })).send().await.unwrap();
    let status = answer.status();
    let order: Value = answer.json().await.unwrap();
    assert_eq!(status, StatusCode::CREATED, "{order}");

    let find = |all: &[Received], service: &str, name: &str, kind: i32| {
        let is_it = |span: &&Received| {
            (&*span.service, &*span.name, span.kind) == (service, name, kind) && span.trace == TRACE
        };
        all.iter().find(is_it).cloned()
    };
    let wanted = [
        (ordering, "POST /ordering/orders", 2),
        (ordering, "catalog/reserve", 3),
        (catalog, "catalog/reserve", 2),
        (ordering, "payment/charge", 3),
        (payment, "payment/charge", 2),
    ];
    let there = |all: &[Received]| {
        wanted.iter().all(|(service, name, kind)| find(all, service, name, *kind).is_some())
    };
    let all = receiver.until("the whole order", there).await;
    for (service, name) in [(catalog, "catalog/reserve"), (payment, "payment/charge")] {
        let executed = find(&all, service, name, 2).unwrap();
        let line = above(&all, &executed);
        let names: Vec<_> = line.iter().map(|span| (&*span.service, &*span.name)).collect();
        assert_eq!(names.last(), Some(&(ordering, "POST /ordering/orders")), "{names:?}");
        assert!(names.contains(&(ordering, name)), "{names:?}");
        assert_eq!(line.last().unwrap().parent, SPAN);
    }
    #[cfg(unix)]
    shop.close().await;
}

#[tokio::test]
async fn an_order_is_one_trace_over_three_processes() {
    let processes = ["shop-ordering", "shop-catalog", "shop-payment"];
    an_order_is_one_trace("microservices", processes).await;
}

#[tokio::test]
async fn an_order_is_one_trace_in_one_process() {
    an_order_is_one_trace("monolith", ["shop-shop"; 3]).await;
}
