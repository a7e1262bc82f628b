//! What a file and the environment say of a runtime.

#[path = "../../services/tests/page/mod.rs"]
mod page;
mod support;

use serde::Deserialize;
use support::{Ask, Log, Part};
use umbel_modules::{
    ConfigFormat, Failure, Module, ModuleState, Registration, Runtime, RuntimeConfig,
};
use umbel_services::CallError;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Section {
    most_items: u32,
    #[serde(default)]
    greeting: String,
}

/// Takes its section, and shows it to whoever requires it.
struct Configured;

impl Module for Configured {
    fn name(&self) -> &str {
        "ordering"
    }

    fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
        let section: Section = module.config()?;
        module.offer("section", section);
        Ok(())
    }
}

/// Requires what it looks at.
struct Looks(Log);

impl Module for Looks {
    fn name(&self) -> &str {
        "looks"
    }

    fn requires(&self) -> &[&str] {
        &["ordering"]
    }

    fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
        self.0.add(format!("{:?}", module.offer_of::<Section>("ordering", "section")?));
        Ok(())
    }
}

fn parsed(text: &str, variables: &[(&str, &str)]) -> RuntimeConfig {
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    RuntimeConfig::parse(text, ConfigFormat::Toml, variables).unwrap()
}

#[tokio::test]
async fn a_file_and_the_environment_say_what_runs_and_how() {
    let (log, others) = (Log::default(), Log::default());
    let (looking, catalog, payment) = (log.clone(), others.clone(), others.clone());
    let config = parsed(
        r#"
        run = ["ordering", "looks", "catalog"]
        elsewhere = ["notification"]

        [modules.ordering]
        most_items = 100
        greeting = "good morning"

        [services.services.catalog.host]
        queue = 7
        "#,
        &[("UMBEL_RUNTIME_MODULES__ORDERING__MOST_ITEMS", "10"), ("SOMETHING_ELSE", "1")],
    );
    let runtime = Runtime::builder("shop")
        .module(|| Configured)
        .module(move || Looks(looking.clone()))
        .module(move || Part::new("catalog", &["notification"], &catalog))
        .module(move || Part::new("payment", &[], &payment))
        .config(config)
        .start()
        .await
        .unwrap();
    assert_eq!(log.take(), [r#"Section { most_items: 10, greeting: "good morning" }"#]);
    let states: Vec<_> =
        runtime.modules().iter().map(|view| (view.name.clone(), view.state)).collect();
    for (module, state) in [
        ("ordering", ModuleState::Running),
        ("catalog", ModuleState::Running),
        ("payment", ModuleState::Elsewhere),
        ("notification", ModuleState::Elsewhere),
    ] {
        assert!(states.contains(&(module.to_owned(), state)), "{module}: {states:?}");
    }
    assert!(!others.all().contains(&"register payment".to_owned()));
    runtime.services().call("catalog", Ask).await.unwrap();
}

#[tokio::test]
async fn a_section_that_is_wrong_keeps_its_module_from_loading_and_says_why() {
    for (section, wanted) in [
        ("", "missing field `most_items`"),
        ("most_items = 1\nmost_item = 2", "unknown field `most_item`"),
        ("most_items = 'many'", "most_items: invalid type: string, expected u32"),
    ] {
        let config = parsed(&format!("[modules.ordering]\n{section}"), &[]);
        let started = Runtime::builder("shop").module(|| Configured).config(config).start().await;
        let why = started.unwrap_err().to_string();
        let begins = "module 'ordering' did not register: configuration of module 'ordering': ";
        assert!(why.starts_with(begins) && why.contains(wanted), "{section}: {why}");
    }
}

#[test]
fn what_the_configuration_cannot_mean_is_refused() {
    let unknown =
        Runtime::builder("shop").module(|| Configured).config(parsed("run = ['odering']", &[]));
    assert_eq!(
        unknown.build().unwrap_err().to_string(),
        "the configuration runs module 'odering', but it is not registered",
    );
    let wrong = RuntimeConfig::parse("rum = []", ConfigFormat::Toml, []).unwrap_err().to_string();
    assert!(wrong.starts_with("configuration, line 1: unknown field `rum`"), "{wrong}");
}

#[tokio::test]
async fn a_service_that_is_to_be_called_on_other_nodes_is_left_out_here() {
    let log = Log::default();
    let config = parsed(
        "[services.services.catalog]\nplacement = 'remote'\nresolve_within = '10ms'\nretries = 0",
        &[],
    );
    let runtime = Runtime::builder("shop")
        .module(move || Part::new("catalog", &[], &log))
        .config(config)
        .start()
        .await
        .unwrap();
    assert_eq!(runtime.modules()[0].services, [""; 0]);
    let gone = runtime.services().call("catalog", Ask).await.unwrap_err();
    assert!(matches!(gone, CallError::NotFound { .. }), "{gone}");
    runtime.reload("catalog").await.unwrap();
}

#[test]
fn every_test_that_the_comparison_names_is_there() {
    page::names_tests_that_are_there(env!("CARGO_MANIFEST_DIR"), |file| match file {
        "nodes" => "../../cluster/modules/tests",
        "layouts" | "traces" => "../../examples/shop/tests",
        "conformance" => "../database/tests",
        _ => "tests",
    });
}
