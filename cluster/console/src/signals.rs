//! Being told to end.

use std::io;

/// Waits for Ctrl-C or, where there is such a thing, SIGTERM or SIGHUP; the status that a process
/// ends with which was ended so: 128 and the signal's number.
#[cfg(unix)]
pub(crate) async fn told_to_end() -> io::Result<u8> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
        _ = hangup.recv() => 129,
    })
}

/// Waits for Ctrl-C; the status to end with.
#[cfg(not(unix))]
pub(crate) async fn told_to_end() -> io::Result<u8> {
    tokio::signal::ctrl_c().await?;
    Ok(130)
}
