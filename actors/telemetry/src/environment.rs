//! What the environment says, in OpenTelemetry's own variables.

use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::error::TelemetryError;

/// What the environment says; `None` where it says nothing. An empty variable says nothing.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Environment {
    pub(crate) is_disabled: bool,
    /// The service's name is set, and is the SDK's to read.
    pub(crate) names_service: bool,
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) sampling: Option<Sampling>,
    pub(crate) export_within: Option<Duration>,
    pub(crate) export_every: Option<Duration>,
    pub(crate) queue: Option<usize>,
    pub(crate) batch: Option<usize>,
}

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sampling {
    /// The share of those that are decided on here, from 0 to 1.
    pub(crate) ratio: f64,
    /// Whether those that came from elsewhere are recorded as was decided there.
    pub(crate) follows: bool,
}

impl Environment {
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, TelemetryError> {
        let said = |name| variable(name).filter(|value| !value.trim().is_empty());
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| said(name).map(|value| (name, value)))
        };
        let number = |name| said(name).map(|value| whole(name, &value)).transpose();
        let protocol = first(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]);
        if let Some((name, value)) = protocol
            && value.trim() != "http/protobuf"
        {
            let expected = "http/protobuf, the one protocol that is spoken here";
            return Err(TelemetryError::Variable { name, expected });
        }
        let within = first(["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]);
        let within = within.map(|(name, value)| whole(name, &value)).transpose()?;
        let resource = said("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        Ok(Self {
            is_disabled: is_disabled(&said)?,
            names_service: said("OTEL_SERVICE_NAME").is_some()
                || resource.split(',').any(|pair| pair.trim().starts_with("service.name=")),
            endpoint: endpoint(&said)?,
            sampling: sampling(&said)?,
            export_within: within.map(Duration::from_millis),
            export_every: number("OTEL_BSP_SCHEDULE_DELAY")?.map(Duration::from_millis),
            queue: number("OTEL_BSP_MAX_QUEUE_SIZE")?.map(|spans| spans as usize),
            batch: number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE")?.map(|spans| spans as usize),
        })
    }
}

type Said<'a> = &'a dyn Fn(&'static str) -> Option<String>;

fn is_disabled(said: Said<'_>) -> Result<bool, TelemetryError> {
    let name = "OTEL_TRACES_EXPORTER";
    let is_none = match said(name).as_deref().map(str::trim) {
        None | Some("otlp") => false,
        Some("none") => true,
        Some(_) => return Err(TelemetryError::Variable { name, expected: "otlp or none" }),
    };
    // By OpenTelemetry, whatever is not `true` is false.
    let is_off = said("OTEL_SDK_DISABLED").is_some_and(|it| it.trim().eq_ignore_ascii_case("true"));
    Ok(is_none || is_off)
}

fn endpoint(said: Said<'_>) -> Result<Option<Endpoint>, TelemetryError> {
    let of = |name, read: fn(&str) -> Option<Endpoint>| {
        let refused = TelemetryError::Variable { name, expected: Endpoint::EXPECTED };
        said(name).map(|value| read(value.trim()).ok_or(refused)).transpose()
    };
    match of("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", Endpoint::exactly)? {
        None => of("OTEL_EXPORTER_OTLP_ENDPOINT", Endpoint::below),
        exactly => Ok(exactly),
    }
}

fn sampling(said: Said<'_>) -> Result<Option<Sampling>, TelemetryError> {
    let name = "OTEL_TRACES_SAMPLER";
    let Some(sampler) = said(name) else { return Ok(None) };
    let sampler = sampler.trim();
    let (follows, decides) = match sampler.strip_prefix("parentbased_") {
        Some(decides) => (true, decides),
        None => (false, sampler),
    };
    let ratio = match decides {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => {
            let name = "OTEL_TRACES_SAMPLER_ARG";
            let refused = TelemetryError::Variable { name, expected: "a number from 0 to 1" };
            let ratio = said(name).map_or(Ok(1.0), |value| value.trim().parse());
            ratio.ok().filter(|ratio| (0.0..=1.0).contains(ratio)).ok_or(refused)?
        }
        _ => {
            let expected = "always_on, always_off or traceidratio, as it is or after parentbased_";
            return Err(TelemetryError::Variable { name, expected });
        }
    };
    Ok(Some(Sampling { ratio, follows }))
}

fn whole(name: &'static str, value: &str) -> Result<u64, TelemetryError> {
    let refused = TelemetryError::Variable { name, expected: "a whole number, at least 1" };
    value.trim().parse().ok().filter(|number| *number > 0).ok_or(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(said: &[(&str, &str)]) -> Result<Environment, TelemetryError> {
        Environment::read(|name| {
            said.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_environment_that_says_nothing_changes_nothing() {
        assert_eq!(read(&[]).unwrap(), Environment::default());
        let empty = [("OTEL_TRACES_SAMPLER", ""), ("OTEL_EXPORTER_OTLP_ENDPOINT", " ")];
        assert_eq!(read(&empty).unwrap(), Environment::default());
    }

    #[test]
    fn all_samplers_are_known() {
        let sampling = |name, argument| {
            let said = [("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            read(&said).unwrap().sampling.map(|said| (said.ratio, said.follows)).unwrap()
        };
        assert_eq!(sampling("always_on", ""), (1.0, false));
        assert_eq!(sampling("always_off", "0.5"), (0.0, false));
        assert_eq!(sampling("traceidratio", "0.25"), (0.25, false));
        assert_eq!(sampling("parentbased_always_on", ""), (1.0, true));
        assert_eq!(sampling("parentbased_always_off", ""), (0.0, true));
        assert_eq!(sampling("parentbased_traceidratio", ""), (1.0, true));
    }

    #[test]
    fn the_endpoint_of_traces_goes_before_that_of_all() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/");
        let endpoint = |said: &[_]| read(said).unwrap().endpoint.unwrap().to_string();
        assert_eq!(endpoint(&[all]), "http://all:4318/v1/traces");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/mine");
        assert_eq!(endpoint(&[all, traces]), "https://traces/mine");
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_name() {
        let bad = [
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ];
        for (name, value) in bad {
            let why = read(&[(name, value)]).unwrap_err().to_string();
            assert!(why.starts_with(&format!("{name}: expected ")), "{why}");
        }
        for ratio in ["1.5", "-0.1", "NaN", "half"] {
            let said =
                [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", ratio)];
            assert!(read(&said).is_err(), "{ratio}");
        }
    }

    #[test]
    fn it_can_be_switched_off_and_name_the_service() {
        for off in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert!(read(&[off]).unwrap().is_disabled);
        }
        let named = [
            ("OTEL_SERVICE_NAME", "shop"),
            ("OTEL_RESOURCE_ATTRIBUTES", "host.name=a, service.name=shop"),
        ];
        for named in named {
            assert!(read(&[named]).unwrap().names_service);
        }
        assert!(!read(&[("OTEL_RESOURCE_ATTRIBUTES", "host.name=a")]).unwrap().names_service);
    }
}
