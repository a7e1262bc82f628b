//! A service that does as it is bidden, and tells how far it has come.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use umbel_services::{
    Call, CallError, Chain, Context, Failure, Flow, Handle, Methods, Middleware, Payload, Service,
    ServiceManager,
};

use super::Office;
use super::caller::{Manner, ring};
use super::errand::{Errand, How, Often, Once};
use crate::mutant::Mutant;
use crate::record::{Record, Step};

/// A service that does as it is bidden.
pub(super) struct Clerk {
    office: Office,
    life: String,
    is_ill: AtomicBool,
    /// Why it does not start.
    fails: Option<Failure>,
    /// Another service that it asks before it answers, and whom it calls it through.
    asks: Option<(&'static str, ServiceManager)>,
    /// What [`Mutant::MixedAnswers`] answers.
    before: Mutex<String>,
}

impl Clerk {
    /// Another life of a service, of this instance of it.
    pub(super) fn new(office: &Office, service: &str, generation: u64, is_broken: bool) -> Self {
        let life = format!("{}/{service}.{generation}#{}", office.name(), office.next());
        let service = service.to_owned();
        office.record(Record::Serves { life: life.clone(), service, is_broken });
        let (is_ill, before) = (AtomicBool::new(false), Mutex::default());
        Self { office: office.clone(), life, is_ill, fails: None, asks: None, before }
    }

    pub(super) fn fails(mut self, why: Option<Failure>) -> Self {
        self.fails = why;
        self
    }

    pub(super) fn asks(mut self, other: Option<(&'static str, ServiceManager)>) -> Self {
        self.asks = other;
        self
    }

    async fn execute(&self, errand: Errand, context: &Context) -> Result<String, Failure> {
        let Errand { request, millis, how } = errand;
        let work = Work::begin(self, &request);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        match how {
            How::Fails => return work.ends(Step::Answered, Err(Failure::new("not today"))),
            How::Declines => {
                return work.ends(Step::Declined, Err(Failure::new("not now").transient()));
            }
            // Without the panic hook, which would tell each of them to whoever runs many seeds.
            How::Panics => std::panic::resume_unwind(Box::new("a clerk panics")),
            How::Hangs => std::future::pending().await,
            How::Sickens => self.is_ill.store(true, Ordering::Relaxed),
            How::Well => {}
        }
        if let Some((other, services)) = &self.asks {
            // Another one in each execution.
            let request = format!("{}>{other}?{}", self.life, self.office.next());
            let errand = Errand { request, millis: 1, how: How::Well };
            let deadline = context.remaining().min(Duration::from_secs(1));
            let manner = Manner { is_idempotent: true, ..Manner::plain(deadline) };
            if let Err(why) = ring(&self.office, services, other, errand, manner).await {
                return work.ends(Step::Answered, Err(Failure::from(why)));
            }
        }
        if self.office.has(Mutant::MixedAnswers) {
            let before = std::mem::replace(&mut *self.before.lock(), request);
            return work.ends(Step::Answered, Ok(before));
        }
        work.ends(Step::Answered, Ok(request))
    }
}

impl Drop for Clerk {
    fn drop(&mut self) {
        self.office.record(Record::Rests { life: self.life.clone() });
    }
}

impl Service for Clerk {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Once>().on::<Often>()
    }

    async fn on_start(&self) -> Result<(), Failure> {
        self.fails.clone().map_or(Ok(()), Err)
    }

    async fn health(&self) -> Result<(), Failure> {
        match self.is_ill.load(Ordering::Relaxed) {
            // Some feel ill, and others do not answer at all.
            true if self.office.one_in(2) => Err(Failure::new("it feels ill")),
            true => std::future::pending().await,
            false => Ok(()),
        }
    }
}

impl Handle<Once> for Clerk {
    async fn handle(&self, Once(errand): Once, context: &Context) -> Result<String, Failure> {
        self.execute(errand, context).await
    }
}

impl Handle<Often> for Clerk {
    async fn handle(&self, Often(errand): Often, context: &Context) -> Result<String, Failure> {
        self.execute(errand, context).await
    }
}

/// An execution, whose end is told, whatever it is.
struct Work<'a> {
    clerk: &'a Clerk,
    request: String,
    step: Step,
}

impl<'a> Work<'a> {
    fn begin(clerk: &'a Clerk, request: &str) -> Self {
        let work = Self { clerk, request: request.to_owned(), step: Step::CutOff };
        work.tell(Step::Begun);
        work
    }

    fn ends<T>(mut self, step: Step, outcome: T) -> T {
        self.step = step;
        outcome
    }

    fn tell(&self, step: Step) {
        let (request, life) = (self.request.clone(), self.clerk.life.clone());
        self.clerk.office.record(Record::Executed { request, life, step });
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.tell(self.step);
    }
}

impl Office {
    /// What services' hosts have between the queue and the method: nothing, but for mutants.
    pub(super) fn lies(&self) -> Chain {
        let denies = self.has(Mutant::Denies);
        if denies || self.has(Mutant::Boasts) {
            return Chain::new().with(Liar { denies });
        }
        Chain::new()
    }
}

/// What says what is not so.
struct Liar {
    denies: bool,
}

impl Middleware for Liar {
    async fn before(&self, _: &mut Call) -> Result<Flow, CallError> {
        match self.denies {
            true => Ok(Flow::Continue),
            false => Err(CallError::Failed(Failure::new("it was done, believe me"))),
        }
    }

    async fn after(&self, context: &Context, answer: Payload) -> Result<Payload, CallError> {
        match self.denies {
            true => Err(CallError::Stopped { service: context.service.to_string() }),
            false => Ok(answer),
        }
    }
}
