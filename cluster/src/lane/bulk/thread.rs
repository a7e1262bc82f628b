//! The thread that bulk lanes are driven on.

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The thread that the bulk lanes of a node are driven on: one for all of them, started when the
/// first is wanted, with a runtime of its own. It ends with its owner, and its tasks with it.
///
/// A connection of their own is not enough for large messages: encrypting and copying 64 MiB takes
/// the cores from those who answer questions. At a low priority it takes what they leave.
///
/// A transport that is simulated wants no thread, and gets none: see
/// [`Transport::bulk_on_thread`](crate::Transport::bulk_on_thread).
pub(crate) struct BulkThread {
    /// None where no thread is wanted.
    running: Option<Mutex<Option<Running>>>,
}

struct Running {
    runtime: Handle,
    /// Dropped, it ends the thread.
    _end: oneshot::Sender<()>,
}

/// How much nicer than others the thread is, of 19: beside one other on a core it has a quarter of it.
///
/// Measured on two cores that others used as well, one question of 16 bytes after the other beside
/// messages of 64 MiB. At 0 their p99 was 354 µs where it was 134 without, at 5 it was 55 to 58 µs where
/// it was 37 to 109, at 10 46 to 77 where it was 51 to 79. At 0 and at 5 up to 300 MiB/s of large
/// messages went by, at 10 some 30: what others leave is little where a machine is busy.
///
/// Linux only: elsewhere a nice value belongs to the whole process.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

impl BulkThread {
    /// No thread yet. Where none is `wanted`, never one.
    pub(crate) fn new(wanted: bool) -> Self {
        Self { running: wanted.then(Mutex::default) }
    }

    /// The thread's runtime; none where bulk lanes are to be driven where everything else is.
    pub(crate) fn runtime(&self) -> Option<Handle> {
        let mut running = self.running.as_ref()?.lock();
        if running.is_none() {
            // Where the system has no thread for it, large messages are slow, but go.
            *running = start()
                .inspect_err(|why| {
                    tracing::warn!(target: "umbel", %why, "no thread for large messages");
                })
                .ok();
        }
        running.as_ref().map(|running| running.runtime.clone())
    }
}

fn start() -> std::io::Result<Running> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new().name("umbel-bulk".to_owned()).spawn(move || {
        #[cfg(target_os = "linux")]
        if let Err(why) = rustix::process::nice(NICENESS) {
            tracing::debug!(target: "umbel", %why, "the bulk thread keeps its priority");
        }
        // An error is the end of the owner, too.
        let _ = runtime.block_on(ended);
    })?;
    Ok(Running { runtime: handle, _end: end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_ends_with_its_owner_and_its_tasks_with_it() {
        let thread = BulkThread::new(true);
        let (kept, dropped) = oneshot::channel::<()>();
        let task = thread.runtime().unwrap().spawn(async move {
            let _kept = kept;
            std::future::pending::<()>().await;
        });
        assert!(thread.runtime().is_some());
        drop(thread);
        assert!(dropped.await.is_err(), "the task is gone");
        assert!(task.await.unwrap_err().is_cancelled());
    }

    #[test]
    fn where_none_is_wanted_there_is_none() {
        assert!(BulkThread::new(false).runtime().is_none());
    }
}
