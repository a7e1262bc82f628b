//! URLs of SQLite.

use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::any::AnyConnectOptions;

use super::{Access, DatabaseUrl, Place};

pub(super) fn parse(rest: &str) -> Result<DatabaseUrl, String> {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if path == ":memory:" && query.is_empty() {
        return Ok(DatabaseUrl::memory());
    }
    let access = access(query)?;
    let path = percent_decode_str(path).decode_utf8();
    let path = path.map_err(|_| "names a file by text in UTF-8".to_owned())?;
    if path.is_empty() || path.contains('\0') {
        return Err("names a file, as in sqlite:shop.db, or memory, by sqlite::memory:".into());
    }
    if path == ":memory:" {
        return Err("in memory takes no options".into());
    }
    Ok(file(PathBuf::from(&*path), access))
}

fn access(query: &str) -> Result<Access, String> {
    let mut access = Access::Create;
    for (key, value) in ::url::form_urlencoded::parse(query.as_bytes()) {
        access = match (&*key, &*value) {
            ("mode", "rwc") => Access::Create,
            ("mode", "rw") => Access::Write,
            ("mode", "ro") => Access::Read,
            ("mode", _) => return Err("has the mode ro, rw or rwc".into()),
            _ => return Err("takes no option but mode".into()),
        };
    }
    Ok(access)
}

pub(super) fn file(path: PathBuf, access: Access) -> DatabaseUrl {
    let shown = format!("sqlite:{}", path.display());
    DatabaseUrl { place: Place::File { path, access }, shown }
}

pub(super) fn connect(path: &Path, access: Access) -> Result<AnyConnectOptions, sqlx::Error> {
    let Some(path) = path.to_str() else {
        return Err(sqlx::Error::Configuration("the path is not UTF-8".into()));
    };
    // SQLite would take these for a URI of its own, and for memory.
    let here = if path.starts_with("file:") || path.starts_with(':') { "./" } else { "" };
    // With its slashes written out, nobody resolves `..` in it but the system, which knows links.
    let path = format!("{here}{path}");
    let path = utf8_percent_encode(&path, NON_ALPHANUMERIC);
    let mode = match access {
        Access::Create => "rwc",
        Access::Write => "rw",
        Access::Read => "ro",
    };
    format!("sqlite:{path}?mode={mode}").parse()
}
