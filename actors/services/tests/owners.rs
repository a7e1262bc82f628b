//! A service whose value owns something that there is one of.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use support::manager;
use umbel_services::{
    Context, Failure, Handle, HostOptions, Method, Methods, Service, ServiceHost,
};

/// Owns something that there is one of, such as a port.
struct Owner {
    owned: Arc<AtomicBool>,
}

impl Service for Owner {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Hold>()
    }

    async fn on_start(&self) -> Result<(), Failure> {
        match self.owned.swap(true, Ordering::SeqCst) {
            false => Ok(()),
            true => Err(Failure::new("it is owned by another life")),
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.owned.store(false, Ordering::SeqCst);
    }
}

/// Never answered.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Hold;

impl Method for Hold {
    const NAME: &'static str = "hold";
    type Answer = ();
}

impl Handle<Hold> for Owner {
    async fn handle(&self, Hold: Hold, _: &Context) -> Result<(), Failure> {
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_life_owned_is_free_again_when_the_next_begins() {
    let services = manager();
    let owned = Arc::new(AtomicBool::new(false));
    let lives = Arc::new(AtomicUsize::new(0));
    let counted = lives.clone();
    let make = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Owner { owned: owned.clone() }
    };
    let options = HostOptions { max_restarts: 1_000, ..HostOptions::default() };
    let host = ServiceHost::new("owner", make).options(options);
    let owner = services.start(host).await.unwrap().unwrap();
    for _ in 0..20 {
        let call = services.call("owner", Hold);
        let killed = async {
            while owner.figures().running == 0 {
                tokio::task::yield_now().await;
            }
            let life = owner.address().watch();
            owner.supervisor().cell().get_children()[0].kill();
            life.await;
        };
        let (answer, ()) = tokio::join!(call, killed);
        answer.unwrap_err();
    }
    services.call_json("owner", "nothing", serde_json::Value::Null).await.unwrap_err();
    assert_eq!(lives.load(Ordering::SeqCst), 21);
}
