//! One process of the shop.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::extract::MatchedPath;
use axum::http::Extensions;
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use umbel_actors::System;
use umbel_cluster::{Credentials, Node};
use umbel_cluster_modules::OnNode;
use umbel_database::Database;
use umbel_http::Metrics;
use umbel_modules::{ConfigFormat, HttpConfig, Runtime, RuntimeConfig};
use umbel_telemetry::{HttpTraces, Telemetry};

use crate::log;
use crate::modules::catalog::Catalog;
use crate::modules::notification::Notifications;
use crate::modules::ordering::Ordering;
use crate::modules::payment::Payments;

/// How long a process may take to end what it has begun.
pub(crate) const LAST_WORK: Duration = Duration::from_secs(5);

/// What the launcher starts a process with. Its secrets come by environment.
#[derive(Args, Debug)]
pub(crate) struct ProcessArgs {
    /// The modules that run in it; the others run elsewhere.
    #[arg(long, value_delimiter = ',')]
    run: Vec<String>,
    /// Where its HTTP server listens.
    #[arg(long)]
    http: SocketAddr,
    /// Where its node listens, where there are others.
    #[arg(long, requires = "credentials")]
    node: Option<SocketAddr>,
    /// Where the node's certificate is, and under which name.
    #[arg(long)]
    credentials: Option<PathBuf>,
    #[arg(long)]
    name: String,
    /// Other nodes.
    #[arg(long)]
    join: Vec<String>,
    /// Its database.
    #[arg(long, env = "SHOP_DATABASE", hide_env_values = true)]
    database: String,
    #[arg(long, env = "SHOP_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
}

/// What a process says on its standard output when it is up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) http: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) node: Option<SocketAddr>,
}

/// Runs modules until the launcher closes this process's standard input.
pub(crate) async fn run(args: ProcessArgs) -> Result<(), Box<dyn std::error::Error>> {
    let (closed, end) = oneshot::channel();
    std::thread::spawn(move || end_with_the_launcher(closed));
    // Where the collector is, and what else OpenTelemetry's variables say.
    let telemetry = match std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT") {
        Some(_) => {
            let service = format!("shop-{}", args.name);
            Some(Telemetry::builder(service).attribute("umbel.node", &args.name).start()?)
        }
        None => None,
    };
    log::to_standard_error(telemetry.as_ref());
    let mut system = System::builder("shop");
    if let Some(telemetry) = &telemetry {
        system = system.traces(telemetry.traces());
    }
    let system = system.start();
    let node = node(&args, &system).await?;
    let mut http = HttpConfig::new(args.http.to_string());
    if let Some(token) = args.admin_token {
        http = http.admin_at("127.0.0.1:0", token);
    }
    // Of the environment: `UMBEL_RUNTIME_MODULES__PAYMENT__MOST_CENTS`, say.
    let mut config = RuntimeConfig::parse("", ConfigFormat::Toml, std::env::vars())?;
    config.run = Some(args.run.into_iter().collect());
    let mut shop = Runtime::builder("shop")
        .module(|| Catalog)
        .module(|| Payments)
        .module(|| Ordering)
        .module(|| Notifications)
        .config(config)
        .database(Database::open(&args.database).await?)
        .metrics(Metrics::install()?)
        .routes_through(|routes| routes.layer(HttpTraces::new().route(matched)))
        .system(&system)
        .http(http);
    if let Some(node) = &node {
        shop = shop.node(node);
    }
    let runtime = shop.start().await?;
    let node_address = node.as_ref().and_then(Node::address);
    let ready = Ready {
        http: runtime.http_addresses()[0],
        admin: runtime.admin_addresses().first().copied(),
        node: node_address.map(|address| address.parse()).transpose()?,
    };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&ready)?)?;
    tokio::select! {
        _ = end => {}
        _ = runtime.ended() => return Err("its modules failed too often".into()),
    }
    runtime.shutdown(LAST_WORK).await;
    if let Some(node) = node {
        node.leave(LAST_WORK).await;
    }
    if let Some(telemetry) = telemetry
        && let Err(why) = telemetry.shutdown(LAST_WORK).await
    {
        eprintln!("shop: {why}");
    }
    Ok(())
}

/// The route that a request takes, `/ordering/orders/{id}` say.
fn matched(found: &Extensions) -> Option<String> {
    found.get::<MatchedPath>().map(|path| path.as_str().to_owned())
}

async fn node(
    args: &ProcessArgs,
    system: &System,
) -> Result<Option<Node>, Box<dyn std::error::Error>> {
    let (Some(listen), Some(directory)) = (args.node, &args.credentials) else { return Ok(None) };
    let name = &args.name;
    let credentials = Credentials::load(
        directory.join(format!("{name}.pem")),
        directory.join(format!("{name}-key.pem")),
        directory.join("ca.pem"),
    )?;
    let node = Node::builder().credentials(credentials).system(system.clone());
    let node = node.listen(listen.to_string());
    Ok(Some(node.join(args.join.clone()).start().await?))
}

/// The launcher holds the other end of our standard input, and never writes: it ends when the launcher asks
/// for it, or does itself, however it does.
fn end_with_the_launcher(closed: oneshot::Sender<()>) {
    let mut nothing = [0];
    while let Ok(1) = std::io::stdin().read(&mut nothing) {}
    let _ = closed.send(());
    #[expect(clippy::disallowed_methods, reason = "nothing that hangs keeps the process alive")]
    std::thread::sleep(3 * LAST_WORK);
    std::process::exit(1);
}
