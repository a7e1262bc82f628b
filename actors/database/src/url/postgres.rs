//! URLs of PostgreSQL.

use std::net::IpAddr;

use ::url::Url;
use percent_encoding::percent_decode_str;

use super::{DatabaseUrl, Place};

/// What libpq knows of, too: <https://www.postgresql.org/docs/current/libpq-connect.html>.
const OPTIONS: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// Without libpq's `allow`, which the driver takes for `disable`.
const MODES: &[&str] = &["disable", "prefer", "require", "verify-ca", "verify-full"];

pub(super) fn parse(text: &str) -> Result<DatabaseUrl, String> {
    let mut url = Url::parse(text).map_err(|why| {
        format!("is wrong ({why}): what is no letter or digit in a password is written as in %2F")
    })?;
    if !text.contains("://") {
        return Err("begins with postgres://".into());
    }
    let mut asked = Asked::default();
    for (key, value) in url.query_pairs() {
        // The driver would pass over it, and log its value, which may be a password.
        if !OPTIONS.contains(&&*key) {
            return Err(format!(
                "takes no option {}: known are {}",
                key.escape_debug(),
                OPTIONS.join(", ")
            ));
        }
        match &*key {
            "sslmode" if !MODES.contains(&&*value) => {
                return Err(format!("has an sslmode of {}", MODES.join(", ")));
            }
            "sslmode" => asked.mode = true,
            "port" if value.parse::<u16>().is_err() => {
                return Err("has a port from 1 to 65535".into());
            }
            "hostaddr" if value.parse::<IpAddr>().is_err() => {
                return Err("has a hostaddr that is an address".into());
            }
            // The driver keeps what comes last.
            "host" | "hostaddr" => asked.host = Some(value.into_owned()),
            "port" => asked.port = Some(value.into_owned()),
            "user" => asked.user = Some(value.into_owned()),
            "dbname" => asked.database = Some(value.into_owned()),
            _ => {}
        }
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let some = |text: &str| (!text.is_empty()).then(|| decoded(text));
    let host = asked.host.or_else(|| some(url.host_str().unwrap_or_default()));
    let host = host.filter(|host| !host.is_empty()).ok_or(
        "names a host, as in postgres://localhost/shop, or the directory of a socket, as in \
         postgres:///shop?host=/run/postgresql",
    )?;
    let user = asked.user.or_else(|| some(url.username()));
    let port = asked.port.or_else(|| url.port().map(|port| port.to_string()));
    let database = asked.database.or_else(|| some(url.path().trim_start_matches('/')));
    if !asked.mode {
        let mode = if on_this_machine(&host) { "prefer" } else { "verify-full" };
        url.query_pairs_mut().append_pair("sslmode", mode);
    }
    let database = database.unwrap_or_default();
    let or_none = |text: Option<String>| text.unwrap_or_default();
    let shown = if host.starts_with('/') {
        let user = or_none(user.map(|user| format!("&user={user}")));
        let port = or_none(port.map(|port| format!("&port={port}")));
        format!("postgres:///{database}?host={host}{port}{user}")
    } else {
        let user = or_none(user.map(|user| format!("{user}@")));
        let port = or_none(port.map(|port| format!(":{port}")));
        format!("postgres://{user}{host}{port}/{database}")
    };
    Ok(DatabaseUrl { place: Place::Server(Box::new(url)), shown: shown.escape_debug().to_string() })
}

/// What a URL says, as far as it matters here.
#[derive(Default)]
struct Asked {
    mode: bool,
    host: Option<String>,
    port: Option<String>,
    user: Option<String>,
    database: Option<String>,
}

fn on_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.is_loopback())
}
