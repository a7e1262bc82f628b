//! Ctrl-C: the first ends the work with what there is, the second ends the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::signal::ctrl_c;

/// How soon Ctrl-C is noticed by one who waits for something else.
const LOOK: Duration = Duration::from_millis(50);

/// Whether Ctrl-C was pressed.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

/// What one who waits gets.
#[derive(Debug)]
pub(crate) enum Received<T> {
    /// What it has waited for.
    This(T),
    /// Nobody is there any more to send something.
    End,
    /// Ctrl-C was pressed.
    Interrupted,
}

impl Interrupt {
    /// Listens from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        let interrupt = Self(Arc::default());
        let pressed = interrupt.0.clone();
        let (listens, ready) = sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut first = Box::pin(ctrl_c());
                // The first look is what has it listen.
                let already = first.as_mut().now_or_never();
                let _ = listens.send(());
                let pressed_first = match already {
                    Some(already) => already,
                    None => first.await,
                };
                if pressed_first.is_err() {
                    return;
                }
                pressed.store(true, Ordering::Relaxed);
                if ctrl_c().await.is_ok() {
                    std::process::exit(130);
                }
            });
        })?;
        // Where its thread has ended, Ctrl-C does what it does by default.
        let _ = ready.recv();
        Ok(interrupt)
    }

    fn is_pressed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits for what comes, or for Ctrl-C.
    pub(crate) fn wait_for<T>(&self, coming: &Receiver<T>) -> Received<T> {
        loop {
            if self.is_pressed() {
                return Received::Interrupted;
            }
            match coming.recv_timeout(LOOK) {
                Ok(this) => return Received::This(this),
                Err(RecvTimeoutError::Disconnected) => return Received::End,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}
