use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use thiserror::Error;

/// How often the exporter tidies up what it has recorded.
pub(crate) const UPKEEP: Duration = Duration::from_secs(5);

/// Upper bounds of the buckets of all durations, in seconds: the ones that Prometheus' own clients have.
const SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Where `/metrics` comes from.
///
/// ```
/// use umbel_http::{HttpServer, Metrics, Routes};
///
/// # async fn start() -> Result<HttpServer, Box<dyn std::error::Error>> {
/// let metrics = Metrics::install()?;      // once in a process, at its beginning
/// let server = HttpServer::builder(Routes::new()).listen("127.0.0.1:8080").metrics(metrics);
/// # Ok(server.start().await?)
/// # }
/// ```
#[derive(Clone)]
pub struct Metrics {
    render: Arc<dyn Fn() -> String + Send + Sync>,
    /// Whose rings are to be drained now and then.
    handle: Option<PrometheusHandle>,
}

/// Why no recorder was installed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The process has one already, which stays.
    #[error(
        "this process records its metrics elsewhere already: hand in where they are told, by Metrics::rendered"
    )]
    Taken,
    /// It could not be made.
    #[error("the recorder could not be made")]
    Build(#[source] BuildError),
}

impl Metrics {
    /// Records what the whole process counts from now on, and tells it at `/metrics`. Histograms of
    /// what ends in `_seconds` have buckets from 5 ms to 10 s.
    ///
    /// # Errors
    /// The process has a recorder already.
    pub fn install() -> Result<Self, InstallError> {
        let (recorder, metrics) = Self::recorder()?;
        metrics::set_global_recorder(recorder).map_err(|_| InstallError::Taken)?;
        Ok(metrics)
    }

    /// The same recorder, not yet installed: to be put behind others, say.
    ///
    /// # Errors
    /// It could not be made.
    pub fn recorder() -> Result<(PrometheusRecorder, Self), InstallError> {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
            .map_err(InstallError::Build)?;
        let recorder = builder.build_recorder();
        let metrics = Self::from(recorder.handle());
        Ok((recorder, metrics))
    }

    /// What `render` returns, in Prometheus' text format. It must not block.
    #[must_use]
    pub fn rendered(render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { render: Arc::new(render), handle: None }
    }

    /// The text, as it is now.
    #[must_use]
    pub fn render(&self) -> String {
        (self.render)()
    }

    pub(crate) fn tidy_up(&self) {
        if let Some(handle) = &self.handle {
            handle.run_upkeep();
        }
    }
}

impl From<PrometheusHandle> for Metrics {
    /// What a recorder of one's own has recorded.
    fn from(handle: PrometheusHandle) -> Self {
        let rendering = handle.clone();
        Self { render: Arc::new(move || rendering.render()), handle: Some(handle) }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
