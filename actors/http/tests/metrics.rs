//! What is counted of requests. The recorder is one for the process, and so there is one test.

mod support;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{any, get};
use reqwest::{Client, Method};
use umbel_http::{HttpServer, InstallError, Metrics, Routes};

use support::{read, until, url};

#[tokio::test]
async fn requests_are_counted_and_clients_make_no_labels() {
    let metrics = Metrics::install().unwrap();
    assert!(matches!(Metrics::install(), Err(InstallError::Taken)));
    let routes = Routes::new();
    let builder = HttpServer::builder(routes.clone()).listen("127.0.0.1:0");
    let server = builder.metrics(metrics.clone()).start().await.unwrap();
    let router = Router::new()
        .route("/", any(|| async { "tea" }))
        .route("/sold", get(|| async { StatusCode::CONFLICT }));
    routes.mount("/catalog", router).unwrap().keep();

    for _ in 0..3 {
        assert_eq!(read(&server, "/catalog").await.0, 200);
    }
    assert_eq!(read(&server, "/catalog/sold").await.0, 409);
    for path in ["/made-up-1", "/made-up-2"] {
        assert_eq!(read(&server, path).await.0, 404);
    }
    let own = Method::from_bytes(b"BREW").unwrap();
    Client::new().request(own, url(&server, "/catalog")).send().await.unwrap();

    let lines = [
        r#"umbel_http_requests_total{prefix="/catalog",method="GET",status="2xx"} 3"#,
        r#"umbel_http_requests_total{prefix="/catalog",method="GET",status="4xx"} 1"#,
        r#"umbel_http_requests_total{prefix="/catalog",method="other",status="2xx"} 1"#,
        r#"umbel_http_requests_total{prefix="none",method="GET",status="4xx"} 2"#,
        r#"umbel_http_request_seconds_count{prefix="/catalog",method="GET"} 4"#,
        r#"umbel_http_request_seconds_bucket{prefix="/catalog",method="GET",le="10"} 4"#,
        r#"umbel_http_requests_under_way{prefix="/catalog"} 0"#,
    ];
    until(|| lines.iter().all(|line| metrics.render().contains(line))).await;
    let (status, text) = read(&server, "/metrics").await;
    assert_eq!(status, 200);
    for line in lines {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(!text.contains("made-up") && !text.contains("BREW"), "{text}");
    assert!(text.contains("umbel_http_connections"), "{text}");

    let own = HttpServer::builder(routes).listen("127.0.0.1:0");
    let own = own.metrics(Metrics::rendered(|| "mine 1\n".into())).start().await.unwrap();
    assert_eq!(read(&own, "/metrics").await, (200, "mine 1\n".into()));
}
