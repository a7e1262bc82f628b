//! What a driver's error says.

use std::io::ErrorKind;

/// Whether another connection of SQLite's has the lock: `SQLITE_BUSY` and `SQLITE_LOCKED`, in the lowest
/// byte of <https://www.sqlite.org/rescode.html>.
pub(crate) fn is_locked(why: &sqlx::Error) -> bool {
    let Some(code) = sqlite_code(why) else { return false };
    matches!(code & 0xff, 5 | 6)
}

/// PostgreSQL's `lock_timeout` was over: `lock_not_available`, 55P03.
pub(crate) fn is_lock_timeout(why: &sqlx::Error) -> bool {
    state(why).as_deref() == Some("55P03")
}

/// Whether it may be otherwise in a moment: nobody listens yet, the server starts or stops
/// (`cannot_connect_now`, `admin_shutdown`, `crash_shutdown`), it has as many connections as it may, or
/// somebody has SQLite's lock.
pub(crate) fn is_passing(why: &sqlx::Error) -> bool {
    match why {
        // A socket is not there before its server is.
        sqlx::Error::Io(why) => matches!(
            why.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionReset
                | ErrorKind::NotFound
                | ErrorKind::UnexpectedEof
        ),
        why => {
            is_locked(why)
                || matches!(state(why).as_deref(), Some("57P03" | "57P01" | "57P02" | "53300"))
        }
    }
}

/// Whether the connection is gone, so that nobody knows what became of the last statement.
pub(crate) fn is_broken(why: &sqlx::Error) -> bool {
    let shut_down = matches!(state(why).as_deref(), Some("57P01" | "57P02"));
    shut_down
        || matches!(why, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed)
}

fn state(why: &sqlx::Error) -> Option<String> {
    let database = why.as_database_error()?;
    let postgres = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
    Some(postgres.code().to_owned())
}

fn sqlite_code(why: &sqlx::Error) -> Option<u32> {
    let database = why.as_database_error()?;
    database.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    database.code()?.parse().ok()
}
