//! The shop as a customer sees it, over HTTP: the same in all layouts, and while a process is killed.

mod customer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use customer::Shop;
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::{Instant, interval};

/// How long it may take until the shop is whole again.
const WHOLE_WITHIN: Duration = Duration::from_secs(10);

/// What holds in all layouts.
async fn suite(shop: &Shop) {
    let (status, items) = shop.get("/catalog/items").await;
    assert_eq!((status, items.as_array().unwrap().len()), (StatusCode::OK, 3));
    let (status, problem) = shop.get("/catalog/items/kettle").await;
    assert_eq!(
        (status, &problem["detail"]),
        (StatusCode::NOT_FOUND, &json!("there is no item kettle"))
    );

    // From the shelf to the customer.
    let before = shop.stock("tea").await;
    let (status, order) =
        shop.order(&json!({ "sku": "tea", "quantity": 3, "customer": "Ada" })).await;
    assert_eq!(status, StatusCode::CREATED, "{order}");
    assert_eq!((&order["cents"], &order["degraded"]), (&json!(1350), &json!(false)));
    let id = order["id"].as_str().unwrap();
    shop.fulfilled(id).await;
    assert_eq!(shop.stock("tea").await, before - 3);
    let (_, paid) = shop.get(&format!("/payment/payments/{id}")).await;
    assert_eq!(paid, json!({ "order": id, "customer": "Ada", "cents": 1350 }));
    let (_, told) = shop.get(&format!("/notification/notifications/{id}")).await;
    assert_eq!(told["told"], json!("Ada, your 3 tea for 1350 cents are on their way"));

    // What cannot be had is refused, and leaves the shelf as it was.
    for (wish, wanted) in [
        (json!({ "sku": "kettle", "customer": "Ada" }), "there is no item kettle"),
        (json!({ "sku": "teapot", "quantity": 4, "customer": "Ada" }), "3 of teapot are left"),
        (json!({ "sku": "samovar", "customer": "Ada" }), "Ada may spend 100000 cents at most"),
        (json!({ "sku": "tea", "quantity": 0, "customer": "Ada" }), "between 1 and 1000"),
    ] {
        let (status, problem) = shop.order(&wish).await;
        assert_eq!(status, StatusCode::CONFLICT, "{wish}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(wanted), "{wish}: {problem}");
    }
    assert_eq!((shop.stock("teapot").await, shop.stock("samovar").await), (3, 5));
    for nonsense in
        [json!({}), json!([]), json!({ "sku": "tea", "customer": "" }), json!({ "x": 1 })]
    {
        let (status, problem) = shop.order(&nonsense).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{nonsense}: {problem}");
    }

    // Of many at once, as many are served as there are.
    let wish = json!({ "sku": "teapot", "customer": "Grace" });
    let orders = join_all((0..8).map(|_| shop.order(&wish))).await;
    let served = orders.iter().filter(|(status, _)| *status != StatusCode::CONFLICT);
    let served: Vec<_> = served.map(|(_, order)| order["id"].as_str().unwrap()).collect();
    assert_eq!(served.len(), 3);
    for order in &served {
        shop.fulfilled(order).await;
    }
    assert_eq!(shop.stock("teapot").await, 0);

    for module in ["catalog", "ordering", "payment", "notification"] {
        let base = format!("http://{}", shop.modules[module].0);
        for path in ["/healthz", "/readyz"] {
            let answer = shop.client.get(format!("{base}{path}")).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{module}{path}");
        }
        let metrics = shop.client.get(format!("{base}/metrics")).send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        assert!(metrics.contains("umbel_http_requests_total"), "{metrics}");
    }
}

async fn the_suite_passes(layout: &str, processes: usize) {
    let shop = Shop::open(layout, &[]).await;
    let mut pids: Vec<_> = shop.modules.values().map(|(_, pid)| *pid).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), processes);
    suite(&shop).await;
    #[cfg(unix)]
    shop.close().await;
}

#[tokio::test]
async fn the_suite_passes_on_the_monolith() {
    the_suite_passes("monolith", 1).await;
}

#[tokio::test]
async fn the_suite_passes_on_microservices() {
    the_suite_passes("microservices", 4).await;
}

#[tokio::test]
async fn the_suite_passes_on_the_mixed_layout() {
    the_suite_passes("mixed", 2).await;
}

#[cfg(unix)]
#[tokio::test]
async fn catalog_answers_while_ordering_is_down_and_the_shop_is_whole_again_soon() {
    let mut shop = Shop::open("microservices", &["--restart-after", "2000"]).await;
    let wish = json!({ "sku": "tea", "customer": "Ada" });
    let (_, order) = shop.order(&wish).await;
    let killed = Instant::now();
    shop.kill("ordering");
    while shop.event().await["event"] != "ended" {}
    let down = shop.client.get(shop.url("/ordering/orders")).send().await;
    assert!(down.unwrap_err().is_connect());
    assert_eq!(shop.stock("tea").await, 999);
    let (status, _) = shop.get("/catalog/items").await;
    assert_eq!(status, StatusCode::OK);

    while shop.event().await["event"] != "up" {}
    shop.fulfilled(order["id"].as_str().unwrap()).await;
    let (status, order) = shop.order(&wish).await;
    assert_eq!(status, StatusCode::CREATED, "{order}");
    shop.fulfilled(order["id"].as_str().unwrap()).await;
    let took = killed.elapsed();
    println!("whole again {took:?} after the kill");
    assert!(took < WHOLE_WITHIN, "{took:?}");
    shop.close().await;
}

#[cfg(unix)]
#[tokio::test]
async fn ordering_answers_as_degraded_while_catalog_is_down_and_finishes_the_order_when_it_is_back()
{
    let mut shop = Shop::open("microservices", &["--restart-after", "3000"]).await;
    let killed = Instant::now();
    shop.kill("catalog");
    while shop.event().await["event"] != "ended" {}
    let wish = json!({ "sku": "tea", "quantity": 2, "customer": "Ada" });
    let (status, order) = shop.order(&wish).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{order}");
    assert_eq!((&order["degraded"], &order["status"]), (&json!(true), &json!("pending")));
    assert!(order["why"].as_str().unwrap().starts_with("catalog: "), "{order}");
    let id = order["id"].as_str().unwrap();
    let (status, listed) = shop.get("/ordering/orders").await;
    assert_eq!((status, &listed[0]["status"]), (StatusCode::OK, &json!("pending")));

    while shop.event().await["event"] != "up" {}
    shop.fulfilled(id).await;
    assert_eq!(shop.stock("tea").await, 998);
    let took = killed.elapsed();
    println!("whole again {took:?} after the kill");
    assert!(took < WHOLE_WITHIN, "{took:?}");
    shop.close().await;
}

#[tokio::test]
async fn modules_are_reloaded_by_the_admin_api_while_customers_order() {
    let shop = Shop::open("mixed", &["--admin-token", "open-sesame"]).await;
    let mut orders = Vec::new();
    for round in 0..10 {
        let module = ["catalog", "payment", "ordering", "notification"][round % 4];
        let url = format!("http://{}/modules/{module}/reload", shop.admin[module]);
        let reload = shop.client.post(url).bearer_auth("open-sesame").send();
        let wish = json!({ "sku": "tea", "customer": "Ada" });
        let (reloaded, (status, order)) = tokio::join!(reload, shop.order(&wish));
        assert_eq!(reloaded.unwrap().status(), StatusCode::OK, "{module}");
        assert_eq!(status, StatusCode::CREATED, "{module}: {order}");
        orders.push(order["id"].as_str().unwrap().to_owned());
    }
    for order in &orders {
        shop.fulfilled(order).await;
    }
    assert_eq!(shop.stock("tea").await, 990);
    #[cfg(unix)]
    shop.close().await;
}

/// Customers that look at the shelf, all together at a rate, until they are told to stop; their requests, and
/// those that failed.
async fn customers(shop: &Shop, per_second: u32, stop: &AtomicBool) -> (usize, Vec<String>) {
    const CUSTOMERS: u32 = 20;
    let url = shop.url("/catalog/items/tea");
    let looking = (0..CUSTOMERS).map(|_| async {
        let (mut requests, mut failed) = (0, Vec::new());
        let mut ticks = interval(Duration::from_secs(1) * CUSTOMERS / per_second);
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            requests += 1;
            match shop.client.get(&url).send().await {
                Ok(answer) if answer.status() == StatusCode::OK => {}
                other => failed.push(format!("{other:?}")),
            }
        }
        (requests, failed)
    });
    let all = join_all(looking).await;
    (all.iter().map(|(requests, _)| requests).sum(), all.into_iter().flat_map(|(_, f)| f).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_a_thousand_requests_a_second_fail_none_of_them() {
    let shop = Shop::open("mixed", &["--admin-token", "open-sesame"]).await;
    let (stop, begun) = (AtomicBool::new(false), Instant::now());
    let reloads = async {
        let url = format!("http://{}/modules/catalog/reload", shop.admin["catalog"]);
        let mut ticks = interval(Duration::from_millis(20));
        for _ in 0..100 {
            ticks.tick().await;
            let reload = shop.client.post(&url).bearer_auth("open-sesame").send().await.unwrap();
            assert_eq!(reload.status(), StatusCode::OK);
        }
        stop.store(true, Ordering::Relaxed);
    };
    let ((requests, failed), ()) = tokio::join!(customers(&shop, 1_000, &stop), reloads);
    let rate = requests as f64 / begun.elapsed().as_secs_f64();
    println!("{requests} requests, {rate:.0} a second, {} failed", failed.len());
    assert_eq!(failed, [""; 0]);
    assert!(requests > 200, "{requests}");
    #[cfg(unix)]
    shop.close().await;
}
