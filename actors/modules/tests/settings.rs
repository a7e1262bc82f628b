//! What a file and the environment say of a runtime, and what is told where they are wrong.

mod support;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use serde::Deserialize;
use support::{Log, Part};
use umbel_modules::{
    BuildError, ConfigError, ConfigFormat, Failure, Module, ModuleContext, Runtime, RuntimeConfig,
    Secret,
};

const ADMIN: &str = "[http]\nlisten = \"127.0.0.1:0\"\n[http.admin]\nlisten = \"127.0.0.1:0\"\n";
const ADMIN_YAML: &str = "http:\n  listen: 127.0.0.1:0\n  admin:\n    listen: 127.0.0.1:0\n";

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<RuntimeConfig, ConfigError> {
    let format = match text.contains(':') && !text.contains('=') {
        true => ConfigFormat::Yaml,
        false => ConfigFormat::Toml,
    };
    parse_as(format, text, variables)
}

fn parse_as(
    format: ConfigFormat,
    text: &str,
    variables: &[(&str, &str)],
) -> Result<RuntimeConfig, ConfigError> {
    let variable =
        |(name, value): &(&str, &str)| (format!("UMBEL_RUNTIME_{name}"), (*value).into());
    RuntimeConfig::parse(text, format, variables.iter().map(variable))
}

fn token(config: &RuntimeConfig) -> &str {
    config.http.as_ref().unwrap().admin.as_ref().unwrap().token.expose()
}

#[test]
fn a_secret_that_is_not_in_the_file_comes_from_the_environment() {
    for file in [ADMIN, ADMIN_YAML] {
        let alone = parse(file, &[]).unwrap_err().to_string();
        assert!(alone.starts_with("configuration, line "), "{alone}");
        assert!(alone.contains("missing field `token`"), "{alone}");
        let config = parse(file, &[("HTTP__ADMIN__TOKEN", "open sesame")]).unwrap();
        assert_eq!(token(&config), "open sesame");
        assert_eq!(config.http.unwrap().listen, "127.0.0.1:0", "and the rest from the file");
    }
    let alone = [("HTTP__LISTEN", "[::1]:0"), ("HTTP__ADMIN__TOKEN", "open sesame")];
    let config = parse("", &alone).unwrap();
    assert_eq!(
        (token(&config), &*config.http.as_ref().unwrap().listen),
        ("open sesame", "[::1]:0")
    );
}

#[test]
fn of_two_errors_the_one_that_helps_is_told() {
    let cases = [
        // The file's own, with its line.
        (format!("{ADMIN}tokn = 1"), ("HTTP__ADMIN__TOKEN", "a"), "configuration, line 5: unknown"),
        (ADMIN.into(), ("HTTP__ADMIN__LISTEN", "[::1]:1"), "configuration, line 3: missing field"),
        // The variable's.
        (
            ADMIN.into(),
            ("HTTP__ADMIN__TOKN", "a"),
            "variable UMBEL_RUNTIME_HTTP__ADMIN__TOKN: unkno",
        ),
        (String::new(), ("HTTP__LISTN", "a"), "variable UMBEL_RUNTIME_HTTP__LISTN: unknown field"),
        (
            String::new(),
            ("HTTP__ADMIN__TOKEN", "a"),
            "variable UMBEL_RUNTIME_HTTP__LISTEN: missing field `listen`",
        ),
        // Neither: what the variable has mended was not all.
        (
            "[http.admin]\nlisten = \"[::1]:0\"\n".into(),
            ("HTTP__ADMIN__TOKEN", "a"),
            "configuration with the environment: http.listen: missing field `listen`",
        ),
    ];
    for (file, variable, told) in cases {
        let why = parse_as(ConfigFormat::Toml, &file, &[variable]).unwrap_err().to_string();
        assert!(why.starts_with(told), "{file} {variable:?}: {why}");
    }
}

#[test]
fn a_token_is_what_the_variable_has_whatever_it_looks_like() {
    let looks = ["987654321", "007", "+5", "true", "1.50", "1e5", "[a, b]", "{a=b}", "0x1F", "-1"];
    for text in looks {
        let config = parse(ADMIN, &[("HTTP__ADMIN__TOKEN", text)]).unwrap();
        assert_eq!(token(&config), text);
    }
    let config = parse(ADMIN, &[("HTTP__ADMIN__TOKEN", "\"a b\"")]).unwrap();
    assert_eq!(token(&config), "a b", "in quotes it is what is in them");
    let config = parse(&format!("{ADMIN}token = 987654321"), &[]).unwrap();
    assert_eq!(token(&config), "987654321");
}

/// A secret with what may be in one, and by which it is found in a text.
fn secret() -> impl Strategy<Value = (String, String)> {
    let text = "hush[a-z0-9 \"'`:{}\\[\\]]{0,8}(, expected )?[a-z]{0,4}";
    let number = "7[1-9]{8}|7[1-9]{4}\\.[1-9]{4}|-7[1-9]{8}";
    let find = |secret: String| {
        let found = secret.trim_start_matches('-')[..4].to_owned();
        (secret, found)
    };
    prop_oneof![text.prop_map(find), number.prop_map(find)]
}

/// Where a secret may be by mistake, as JSON, which is YAML as well: `$` is the secret.
const PLACES: &[&str] = &[
    r#"{"http": {"listen": "a", "admin": {"token": [$]}}}"#,
    r#"{"http": {"listen": "a", "admin": {"token": {"a": $}}}}"#,
    r#"{"http": {"listen": "a", "admin": {"token": $, "tokn": $}}}"#,
    r#"{"http": {"listen": "a", "admin": $}}"#,
    r#"{"http": {"listen": [$], "admin": {"token": "a"}}}"#,
    r#"{"http": $}"#,
    r#"{"run": $}"#,
    r#"{"modules": $}"#,
    r#"{"database": $}"#,
    r#"{"database": {"url": [$]}}"#,
    r#"{"database": {"url": $}}"#,
    r#"{"database": {"url": "postgres://ada:$$@db:port/shop"}}"#,
    r#"{"database": {"url": "postgres://ada:$$@db/shop?sslmode=$$"}}"#,
    r#"{"database": {"url": "postgres:ada:$$@db/shop"}}"#,
    r#"{"database": {"url": "ada:$$@db/shop"}}"#,
    r#"{"database": {"url": "sqlite:shop.db?password=$$"}}"#,
    r#"{"services": {"default": {"deadline": $}}}"#,
    r#"{"services": {"default": {"retries": [$]}}}"#,
    r#"{"services": {"default": {"middleware": [$]}}}"#,
];

fn no_error_has(why: &ConfigError, found: &str) {
    let texts = [why.to_string(), format!("{why:?}"), format!("{why:#?}")];
    for text in texts {
        assert!(!text.contains(found), "{found:?} is told: {text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn no_error_of_a_file_tells_a_secret((secret, found) in secret(), is_text: bool) {
        let number: Option<serde_json::Number> = serde_json::from_str(&secret).ok();
        let json = match number {
            Some(_) if !is_text => secret.clone(),
            _ => serde_json::to_string(&secret).unwrap(),
        };
        for place in PLACES {
            let inside = &serde_json::to_string(&secret).unwrap();
            let yaml = place.replace("$$", &inside[1..inside.len() - 1]).replace('$', &json);
            let tree: toml::Value = serde_json::from_str(&yaml).unwrap();
            let toml = toml::to_string(&tree).unwrap();
            for (format, text) in [(ConfigFormat::Yaml, yaml), (ConfigFormat::Toml, toml)] {
                let why = parse_as(format, &text, &[]).expect_err(&text);
                no_error_has(&why, &found);
                let variables = [("SERVICES__DEFAULT__DEADLINE", "1s"), ("ELSEWHERE", "[a]")];
                if let Err(why) = parse_as(format, &text, &variables) {
                    no_error_has(&why, &found);
                }
            }
        }
    }

    #[test]
    fn no_error_of_what_is_no_file_at_all_tells_a_secret((secret, found) in secret()) {
        for broken in [
            format!("[http.admin]\ntoken = \"{secret}"),
            format!("[http.admin]\ntoken = {secret} x"),
            format!("[http.admin]\ntoken = \"\\z{secret}\""),
            format!("[http.admin]\ntoken = \"a\" {secret}"),
            format!("http:\n  admin: {{ token: \"{secret}"),
            format!("http:\n  admin:\n    token: *a{secret}"),
            format!("http:\n  admin:\n    token: !!int \"{secret}x\""),
            format!("http:\n  admin:\n    token: !a [ {secret}"),
            format!("http:\n  admin:\n    token: {secret}: {secret}: a"),
        ] {
            for format in [ConfigFormat::Toml, ConfigFormat::Yaml] {
                if let Err(why) = parse_as(format, &broken, &[]) {
                    no_error_has(&why, &found);
                }
            }
        }
    }

    #[test]
    fn no_error_of_a_variable_tells_a_secret((secret, found) in secret()) {
        let text = serde_json::to_string(&secret).unwrap();
        for value in [secret.clone(), text.clone(), format!("[{text}]"), format!("{{a={text}}}")] {
            for name in ["HTTP", "HTTP__ADMIN", "DATABASE", "DATABASE__URL", "SERVICES"] {
                for file in [ADMIN, ""] {
                    let why = parse_as(ConfigFormat::Toml, file, &[(name, &value)]);
                    no_error_has(&why.expect_err(name), &found);
                }
            }
            let tokens = [("HTTP__ADMIN__TOKEN", &*value), ("HTTP__ADMIN__TOKN", &*value)];
            no_error_has(&parse(ADMIN, &tokens).unwrap_err(), &found);
            let inside = [("HTTP__ADMIN__TOKEN__INSIDE", &*value)];
            no_error_has(&parse(ADMIN, &inside).unwrap_err(), &found);
        }
    }
}

#[test]
fn a_section_of_a_module_that_is_not_there_is_refused() {
    let log = Log::default();
    let shop = |file: &str| {
        let (ordering, catalog) = (log.clone(), log.clone());
        Runtime::builder("shop")
            .module(move || Part::new("ordering", &["catalog"], &ordering))
            .module(move || Part::new("catalog", &[], &catalog))
            .elsewhere("billing")
            .config(parse_as(ConfigFormat::Toml, file, &[]).unwrap())
            .build()
    };
    let why = shop("[modules.orderng]\nmost_items = 1").unwrap_err();
    assert!(matches!(&why, BuildError::Section { module, .. } if module == "orderng"));
    assert_eq!(
        why.to_string(),
        "the configuration has a section of module 'orderng', which is not registered; there are \
         'billing', 'catalog', 'ordering'"
    );
    // Here, not started here, elsewhere by the program, elsewhere by the file.
    let all = "run = [\"catalog\"]\nelsewhere = [\"stock\"]\n[modules.catalog]\n[modules.ordering]\n\
               [modules.billing]\n[modules.stock]\n";
    assert_eq!(shop(all).unwrap().order().collect::<Vec<_>>(), ["catalog"]);
}

/// Reads its section, which has a secret in it.
#[derive(Clone)]
struct Shop(Arc<Mutex<Option<Result<Section, String>>>>);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    key: Secret,
    most: Option<u32>,
}

impl Module for Shop {
    fn name(&self) -> &str {
        "shop"
    }

    async fn on_startup(&self, context: &ModuleContext) -> Result<(), Failure> {
        *self.0.lock() = Some(context.config::<Section>().map_err(|why| why.to_string()));
        Ok(())
    }
}

async fn section(file: &str, variables: &[(&str, &str)]) -> Result<Section, String> {
    let shop = Shop(Arc::default());
    let made = shop.clone();
    let runtime = Runtime::builder("shop")
        .module(move || made.clone())
        .config(parse_as(ConfigFormat::Toml, file, variables).unwrap())
        .start()
        .await
        .unwrap();
    runtime.system().shutdown(Duration::from_secs(5)).await;
    shop.0.lock().take().unwrap()
}

#[tokio::test]
async fn a_modules_secret_is_read_and_told_by_no_error() {
    for text in ["open sesame", "987654321", "007"] {
        let read = section("", &[("MODULES__SHOP__KEY", text)]).await.unwrap();
        assert_eq!(read.key.expose(), text);
        assert_eq!(
            (read.most, format!("{read:?}")),
            (None, "Section { key: ***, most: None }".into())
        );
    }
    for (file, told) in [
        ("shop = \"hush\"", "invalid type: string, expected struct Section"),
        ("[modules.shop]\nkey = \"a\"\nmost = \"hush\"", "invalid type: string, expected u32"),
        ("[modules.shop]\nkey = [\"hush\"]", "invalid type: sequence, expected a text, in quotes"),
        ("[modules.shop]\nkey = \"hush\"\nkye = \"hush\"", "unknown field `kye`, expected `key`"),
    ] {
        let file = if file.starts_with('[') { file.into() } else { format!("modules.{file}") };
        let why = section(&file, &[]).await.unwrap_err();
        assert!(why.starts_with("configuration of module 'shop': "), "{why}");
        assert!(why.contains(told) && !why.contains("hush"), "{why}");
    }
}
