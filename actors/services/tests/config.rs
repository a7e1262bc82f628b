//! One file and the environment set everything, and what is wrong is refused with its place.

mod support;

use std::time::Duration;

use support::*;
use umbel_services::{
    CONFIG_BYTES_MAX, CallError, ConfigError, ConfigFormat, ConfigReader, HostOptions, Placement,
    Policy, ServiceManager, ServiceOptions, ServicesConfig,
};

const SECOND: Duration = Duration::from_secs(1);

const TOML: &str = r#"
[handles]
max = 100
idle = "2m"

[default]
deadline = "10s"
middleware = [{ logging = {} }, { metrics = {} }]

[default.host]
workers = 20
health_interval = "1s"

[services.desk]
policy = "least_loaded"
placement = "anywhere"
attempt_deadline = "3s"
retries = 1
retry_after = "250ms"
hedge_after = "1h"
resolve_within = "2s"
middleware = [
    { rate_limit = { per_second = 10, burst = 5 } },
    { concurrency_limit = { calls = 8 } },
    { bulkhead = { concurrent = 4, waiting = 0, wait = "1s" } },
    { cache = { entries = 10, within = "30s" } },
    { fallback = { method = "work", value = { sorry = [1, "two"] } } },
    { circuit_breaker = { window = 10, calls_min = 2, failed_share = 0.5, open_for = "1m", trials = 1 } },
]

[services.desk.host]
workers = 3
queue = 7
queue_bytes = 1000
queue_wait = "1s"
deadline = "4s"
remember = "1m"
remembered = 50
max_restarts = 0
restart_period = "1m"
health_timeout = "500ms"
health_failures = 2
drain = "2s"
middleware = [{ metrics = {} }]
"#;

const YAML: &str = r#"
handles: { max: 100, idle: 2m }
default:
  deadline: 10s
  middleware: [logging: {}, metrics: {}]
  host: { workers: 20, health_interval: 1s }
services:
  desk:
    policy: least_loaded
    placement: anywhere
    attempt_deadline: 3s
    retries: 1
    retry_after: 250ms
    hedge_after: 1h
    resolve_within: 2s
    middleware:
      - rate_limit: { per_second: 10, burst: 5 }
      - concurrency_limit: { calls: 8 }
      - bulkhead: { concurrent: 4, waiting: 0, wait: 1s }
      - cache: { entries: 10, within: 30s }
      - fallback: { method: work, value: { sorry: [1, two] } }
      - circuit_breaker: { window: 10, calls_min: 2, failed_share: 0.5, open_for: 1m, trials: 1 }
    host:
      workers: 3
      queue: 7
      queue_bytes: 1000
      queue_wait: 1s
      deadline: 4s
      remember: 1m
      remembered: 50
      max_restarts: 0
      restart_period: 1m
      health_timeout: 500ms
      health_failures: 2
      drain: 2s
      middleware: [metrics: {}]
"#;

fn parse(text: &str, format: ConfigFormat) -> Result<ServicesConfig, ConfigError> {
    ServicesConfig::parse(text, format, [])
}

fn with_variables(text: &str, variables: &[(&str, &str)]) -> Result<ServicesConfig, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    ServicesConfig::parse(text, ConfigFormat::Toml, variables)
}

fn manager_of(config: ServicesConfig) -> ServiceManager {
    let said = ServiceOptions { retries: 9, deadline: 99 * SECOND, ..ServiceOptions::default() };
    ServiceManager::builder(&system()).default_options(said).config(config).build()
}

#[tokio::test(start_paused = true)]
async fn toml_and_yaml_say_the_same_and_all_of_it_is_used() {
    let (toml, yaml) = (parse(TOML, ConfigFormat::Toml), parse(YAML, ConfigFormat::Yaml));
    let config = toml.unwrap();
    assert_eq!(config, yaml.unwrap());
    let services = manager_of(config);
    let handle = services.service("desk");
    let options = handle.options();
    assert_eq!((options.policy, options.placement), (Policy::LeastLoaded, Placement::Anywhere));
    assert_eq!(options.deadline, 10 * SECOND, "the default's");
    assert_eq!((options.retries, options.retry_after), (1, SECOND / 4));
    assert_eq!(options.attempt_deadline, Some(3 * SECOND));
    assert_eq!(options.hedge_after, Some(3600 * SECOND));
    assert_eq!(options.resolve_within, 2 * SECOND);
    assert_eq!((options.middleware.len(), options.middleware.circuit_breakers().len()), (6, 1));
    let other = services.service("other");
    assert_eq!((other.options().middleware.len(), other.options().retries), (2, 9));

    let (host, book) = desk(HostOptions { workers: 1, ..HostOptions::default() });
    let desk = services.start(host).await.unwrap().unwrap();
    assert_eq!(desk.figures().workers, 3);
    for _ in 0..3 {
        assert_eq!(handle.call(Echo("x".into())).await.as_deref(), Ok("x"));
    }
    assert_eq!(book.executed(), 1, "the cache is there");
    handle.call(Echo("x".into())).await.unwrap();
    handle.call(Echo("x".into())).await.unwrap();
    let limited = handle.call(Echo("x".into())).await.unwrap_err();
    assert!(matches!(limited, CallError::Rejected { .. }), "the rate limit is there: {limited}");
    tokio::time::sleep(SECOND).await;
    let sorry = handle.call_json("work", serde_json::json!(5_000)).await.unwrap();
    assert_eq!(sorry, serde_json::json!({ "sorry": [1, "two"] }), "the fallback is there");
}

#[test]
fn what_is_wrong_is_refused_with_its_line_and_what_was_expected() {
    let duration = "expected a duration as text, such as \"30s\", with ms, s, m or h";
    let cases = [
        ("[default]\n\nretrys = 3\n", 3, "unknown field `retrys`, expected one of `deadline`, "),
        ("[default]\ndeadline = \"soon\"\n", 2, duration),
        ("[default]\n\n\ndeadline = 30\n", 4, duration),
        ("[default]\ndeadline = \"0s\"\n", 2, duration),
        ("[default]\ndeadline = \"99999999999999999h\"\n", 2, duration),
        ("[default.host]\nqueue = 1\nworkers = 0\n", 3, "expected a whole number from 1 on"),
        ("[default.host]\nworkers = -1\n", 2, "expected a whole number from 1 on"),
        ("[default.host]\nworkers = \"ten\"\n", 2, "expected a whole number from 1 on"),
        ("[default]\nretries = -1\n", 2, "expected a whole number from 0 on"),
        (
            "[services.a]\npolicy = \"best\"\n",
            2,
            "unknown variant `best`, expected one of `round_robin`",
        ),
        (
            "[services.a]\nplacement = \"there\"\n",
            2,
            "expected one of `anywhere`, `local`, `remote`",
        ),
        ("[services.a.host]\nworkerz = 1\n", 2, "unknown field `workerz`"),
        ("[handles]\nmin = 1\n", 2, "expected `max` or `idle`"),
        ("[server]\nport = 1\n", 1, "unknown field `server`"),
        (
            "[default]\nmiddleware = [\n  { logging = {} },\n  { cash = {} },\n]\n",
            4,
            "unknown field `cash`",
        ),
        ("[default]\nmiddleware = [\n  { cache = { within = 5 } },\n]\n", 3, duration),
        ("[default]\nmiddleware = [\n\n  { },\n]\n", 4, "expected one such as `logging`"),
        (
            "[default]\nmiddleware = [\n  { logging = {}, metrics = {} },\n]\n",
            3,
            "they have an order",
        ),
        (
            "[default]\nmiddleware = [{ rate_limit = { burst = 1 } }]\n",
            2,
            "missing field `per_second`",
        ),
        (
            "[default]\nmiddleware = [{ circuit_breaker = { failed_share = 2 } }]\n",
            2,
            "from 0 to 1",
        ),
        ("[default\n", 1, "unclosed table"),
        ("[default]\nretries = 1\nretries = 2\n", 3, "duplicate key"),
    ];
    for (text, line, why) in cases {
        let refused = parse(text, ConfigFormat::Toml).expect_err(text).to_string();
        assert!(refused.starts_with(&format!("configuration, line {line}: ")), "{text}: {refused}");
        assert!(refused.contains(why), "{text}: {refused}");
    }
}

#[test]
fn in_yaml_it_is_refused_likewise() {
    let duration = "expected a duration as text, such as \"30s\"";
    let cases = [
        ("default:\n  retrys: 3\n", 2, "unknown field `retrys`, expected one of `deadline`, "),
        ("default:\n  retries: 3\n  deadline: soon\n", 3, duration),
        ("default:\n  deadline: 30\n", 2, duration),
        ("default:\n  host:\n    workers: 0\n", 3, "expected a whole number from 1 on"),
        ("services:\n  a:\n    policy: best\n", 3, "unknown variant `best`"),
        ("default:\n  middleware:\n    - logging: {}\n    - cash: {}\n", 4, "unknown field `cash`"),
        ("default:\n  middleware:\n    - cache: { within: 5 }\n", 3, duration),
        ("default: [\n", 1, "invalid type: sequence, expected a table"),
        ("default:\n  retries: 3\n  deadline: \"5s\n", 4, "found unexpected end of stream"),
    ];
    for (text, line, why) in cases {
        let refused = parse(text, ConfigFormat::Yaml).expect_err(text).to_string();
        assert!(refused.starts_with(&format!("configuration, line {line}: ")), "{text}: {refused}");
        assert!(refused.contains(why), "{text}: {refused}");
        assert!(!refused.contains(" at line "), "once: {refused}");
    }
    let laughs = (0..40).fold("a0: &a0 [x]\n".to_owned(), |text, number| {
        let list = format!("*a{number}, ").repeat(9);
        text + &format!("a{}: &a{} [{list}]\n", number + 1, number + 1)
    });
    assert!(parse(&laughs, ConfigFormat::Yaml).is_err());
    let deep = parse(&format!("\n{}", "[".repeat(1 << 20)), ConfigFormat::Yaml).unwrap_err();
    assert_eq!(deep.to_string(), "configuration, line 2: nested deeper than 64");
    assert!(parse(&format!("x = {}", "[".repeat(100_000)), ConfigFormat::Toml).is_err());
}

#[tokio::test(start_paused = true)]
async fn an_empty_configuration_changes_nothing() {
    for format in [ConfigFormat::Toml, ConfigFormat::Yaml] {
        assert_eq!(parse("", format).unwrap(), ServicesConfig::default());
    }
    let services = manager_of(ServicesConfig::default());
    assert_eq!(services.service("desk").options().retries, 9);
}

#[tokio::test(start_paused = true)]
async fn the_environment_goes_before_the_file() {
    let variables = [
        ("UMBEL_SERVICES_DEFAULT__DEADLINE", "7s"),
        ("UMBEL_SERVICES_SERVICES__DESK__RETRIES", "4"),
        ("UMBEL_SERVICES_SERVICES__DESK__HOST__WORKERS", "5"),
        ("UMBEL_SERVICES_SERVICES__DESK__MIDDLEWARE", "[{logging={}}]"),
        ("UMBEL_SERVICES_SERVICES__LATER__POLICY", "by_key"),
        ("UMBEL_LISTEN", "of somebody else"),
        ("PATH", "/bin"),
    ];
    let services = manager_of(with_variables(TOML, &variables).unwrap());
    let handle = services.service("desk");
    let options = handle.options();
    assert_eq!((options.deadline, options.retries), (7 * SECOND, 4));
    assert_eq!(options.middleware.len(), 1);
    assert_eq!(options.policy, Policy::LeastLoaded, "what it does not say stays");
    assert_eq!(services.service("later").options().policy, Policy::ByKey);
    let (host, _) = desk(HostOptions::default());
    assert_eq!(services.start(host).await.unwrap().unwrap().figures().workers, 5);
}

#[test]
fn a_variable_that_is_wrong_is_named() {
    let cases = [
        ("UMBEL_SERVICES_DEFAULT__DEADLINE", "soon", "expected a duration as text"),
        ("UMBEL_SERVICES_DEFAULT__DEADLINE", "5", "expected a duration as text"),
        ("UMBEL_SERVICES_DEFAULT__HOST__WORKERS", "0", "expected a whole number from 1 on"),
        ("UMBEL_SERVICES_DEFAULT__HOST__WORKRES", "5", "unknown field"),
        ("UMBEL_SERVICES_SERVICES__DESK__POLICY", "best", "unknown variant"),
        ("UMBEL_SERVICES_PORT", "5", "unknown field"),
    ];
    for (name, value, why) in cases {
        let refused = with_variables("", &[(name, value)]).expect_err(name).to_string();
        assert!(refused.starts_with(&format!("variable {name}: ")), "{refused}");
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn a_variable_mends_what_is_wrong_in_the_file() {
    let config = with_variables(
        "[default]\ndeadline = 5\nretries = 2\n",
        &[("UMBEL_SERVICES_DEFAULT__DEADLINE", "5s")],
    );
    assert_eq!(
        config.unwrap(),
        parse("[default]\ndeadline = \"5s\"\nretries = 2\n", ConfigFormat::Toml).unwrap()
    );
}

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    name: String,
    share: f64,
    of: Vec<String>,
}

#[test]
fn the_environment_alone_is_a_configuration() {
    let read = |variables: &[(&str, &str)]| {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        ConfigReader::new("OWN_").variables::<Own>(variables).map_err(|why| why.to_string())
    };
    let whole = [("OWN_NAME", "1.50"), ("OWN_SHARE", "0.50"), ("OWN_OF", "[a, b]"), ("X", "y")];
    let own = Own { name: "1.50".into(), share: 0.5, of: vec!["a".into(), "b".into()] };
    assert_eq!(read(&whole), Ok(own));
    assert_eq!(read(&whole[1..]).unwrap_err(), "variable OWN_NAME: missing field `name`");
    let wrong = [whole[0], ("OWN_SHARE", "half"), whole[2]];
    let told = "variable OWN_SHARE: invalid type: string, expected f64";
    assert_eq!(read(&wrong).unwrap_err(), told);
    // Those of this process are there, and none of them is for it.
    assert_eq!(ServicesConfig::from_environment().unwrap(), ServicesConfig::default());
}

#[test]
fn files_are_read_by_their_ending_and_named_when_they_are_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let toml = ServicesConfig::read(write("services.toml", TOML)).unwrap();
    assert_eq!(toml, ServicesConfig::read(write("services.yaml", YAML)).unwrap());
    assert_eq!(toml, ServicesConfig::read(write("services.yml", YAML)).unwrap());
    let wrong = write("wrong.toml", "[default]\nretrys = 3\n");
    let refused = ServicesConfig::read(&wrong).unwrap_err().to_string();
    assert!(refused.starts_with(&format!("{}, line 2: ", wrong.display())), "{refused}");
    let refused = ServicesConfig::read(write("services.ini", "")).unwrap_err().to_string();
    assert!(refused.ends_with("ends in .toml, .yaml or .yml"), "{refused}");
    let absent = directory.path().join("absent.toml");
    assert!(matches!(ServicesConfig::read(absent), Err(ConfigError::Read { .. })));
    let large = write("large.toml", &"#".repeat(CONFIG_BYTES_MAX as usize + 1));
    let refused = ServicesConfig::read(large).unwrap_err().to_string();
    assert!(refused.ends_with("has more than 1048576 bytes"), "{refused}");
    let binary = directory.path().join("binary.toml");
    std::fs::write(&binary, [0xff, 0xfe]).unwrap();
    assert!(matches!(ServicesConfig::read(binary), Err(ConfigError::Read { .. })));
}
