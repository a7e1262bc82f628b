use super::{Access, DatabaseKind, DatabaseUrl, Place, UrlError};

fn parse(text: &str) -> Result<DatabaseUrl, UrlError> {
    text.parse()
}

/// What the driver is given for `sslmode`.
fn mode(text: &str) -> String {
    let Place::Server(url) = parse(text).unwrap().place else { panic!("{text} is a server's") };
    let modes: Vec<_> = url.query_pairs().filter(|(key, _)| key == "sslmode").collect();
    assert_eq!(modes.len(), 1, "{modes:?}");
    modes[0].1.to_string()
}

#[test]
fn a_file_is_named_with_slashes_and_without() {
    for (text, path) in [
        ("sqlite:shop.db", "shop.db"),
        ("sqlite://shop.db", "shop.db"),
        ("sqlite:./a/../shop.db", "./a/../shop.db"),
        ("sqlite:///var/lib/shop.db", "/var/lib/shop.db"),
        ("sqlite:/var/lib/shop.db", "/var/lib/shop.db"),
        ("SQLite:with%20space%3F.db", "with space?.db"),
    ] {
        let url = parse(text).unwrap();
        assert_eq!(url.path(), Some(path.as_ref()));
        assert_eq!(url.access(), Some(Access::Create));
        assert_eq!(url.to_string(), format!("sqlite:{path}"));
    }
    assert_eq!(parse("sqlite:shop.db?mode=ro").unwrap().access(), Some(Access::Read));
    assert_eq!(parse("sqlite:shop.db?mode=rw").unwrap().access(), Some(Access::Write));
    assert_eq!(parse("sqlite::memory:"), Ok(DatabaseUrl::memory()));
    assert_eq!(parse("sqlite://:memory:"), Ok(DatabaseUrl::memory()));
}

#[test]
fn what_is_no_url_is_told_which_there_are() {
    for text in ["", "shop.db", "alice:secret@host/shop", "c:\\shop.db"] {
        assert_eq!(parse(text), Err(UrlError::NoScheme), "{text}");
    }
    let told = parse("mysql://u:secret@host/shop").unwrap_err().to_string();
    assert!(told.contains("no database mysql"), "{told}");
    assert!(told.contains("sqlite:FILE") && told.contains("postgres://"), "{told}");
    assert!(!told.contains("secret"), "{told}");
}

#[test]
fn wrong_urls_are_refused_with_what_was_expected() {
    for (text, expected) in [
        ("sqlite:", "names a file"),
        ("sqlite:a%00b", "names a file"),
        ("sqlite:%ff", "UTF-8"),
        ("sqlite:a?mode=often", "ro, rw or rwc"),
        ("sqlite:a?cache=shared", "no option but mode"),
        ("sqlite::memory:?mode=ro", "takes no options"),
        ("postgres:shop", "begins with postgres://"),
        ("postgres:///shop", "names a host"),
        ("postgres://u:p@host:port/shop", "is wrong"),
        ("postgres://host/shop?sslmode=maybe", "verify-full"),
        ("postgres://host/shop?sslmode=allow", "verify-full"),
        ("postgres://host/shop?port=x", "port"),
        ("postgres://host/shop?hostaddr=x", "address"),
        ("postgres://host/shop?passwd=secret", "no option passwd"),
    ] {
        let told = parse(text).expect_err(text).to_string();
        assert!(told.contains(expected), "{text}: {told}");
        assert!(!told.contains("secret"), "{text}: {told}");
    }
}

#[test]
fn a_password_is_not_shown() {
    for text in [
        "postgres://shop:s%40cret@db.example.org:5433/shop",
        "postgresql://shop@db.example.org:5433/shop?password=s%40cret",
        "postgres://x@y:1/z?user=shop&host=db.example.org&port=5433&dbname=shop&password=s%40cret",
    ] {
        let url = parse(text).unwrap();
        assert_eq!(url.kind(), DatabaseKind::Postgres);
        assert_eq!(url.to_string(), "postgres://shop@db.example.org:5433/shop");
        assert_eq!(format!("{url:?}"), "DatabaseUrl(\"postgres://shop@db.example.org:5433/shop\")");
    }
    let socket = "postgres:///shop?password=secret&user=shop&host=/run/postgresql&port=1";
    let shown = "postgres:///shop?host=/run/postgresql&port=1&user=shop";
    assert_eq!(parse(socket).unwrap().to_string(), shown);
    for text in ["postgres://u:secret@host:x/", "postgres://u:secret/y@host/z", "u:secret@host"] {
        let told = format!("{0} {0:?}", parse(text).unwrap_err());
        assert!(!told.contains("secret"), "{told}");
    }
}

#[test]
fn a_server_elsewhere_must_prove_itself_unless_the_url_says_otherwise() {
    assert_eq!(mode("postgres://db.example.org/shop"), "verify-full");
    assert_eq!(mode("postgres://10.0.0.1/shop"), "verify-full");
    assert_eq!(mode("postgres://localhost/shop?host=10.0.0.1"), "verify-full");
    assert_eq!(mode("postgres://db.example.org/shop?sslmode=disable"), "disable");
    for host in ["localhost", "127.0.0.1", "[::1]", "%2Frun%2Fpostgresql"] {
        assert_eq!(mode(&format!("postgres://{host}/shop")), "prefer");
    }
    assert_eq!(mode("postgres:///shop?host=/run/postgresql"), "prefer");
}

#[test]
fn a_configuration_that_is_wrong_does_not_repeat_the_password() {
    let url: DatabaseUrl = serde_json::from_str("\"sqlite:shop.db\"").unwrap();
    assert_eq!(url.path(), Some("shop.db".as_ref()));
    let wrong = "\"postgres://u:secret@host:x/shop\"";
    let told = serde_json::from_str::<DatabaseUrl>(wrong).unwrap_err().to_string();
    assert!(told.contains("PostgreSQL") && !told.contains("secret"), "{told}");
}
