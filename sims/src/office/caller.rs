//! Who calls services, everywhere, and tells what becomes of each call.

use std::time::Duration;

use tokio::task::JoinSet;
use umbel_services::{CallError, CallOptions, Executed, RequestId, ServiceManager};

use super::errand::{Errand, How, Often, Once};
use super::{LEDGER, Office, Phase};
use crate::mutant::Mutant;
use crate::record::{Conclusion, Record};

/// The longest pause between two calls.
const PAUSE_MILLIS: u64 = 120;

/// How many calls may be open at once.
const CALLS_MAX: usize = 32;

/// The longest deadline.
const DEADLINE_MAX: Duration = Duration::from_secs(2);

/// The deadline of a call that must be answered.
const SURE_WITHIN: Duration = Duration::from_secs(2);

/// With [`Mutant::NoDeadlines`].
const FAR: Duration = Duration::from_secs(3600);

/// How something is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) deadline: Duration,
    pub(super) is_idempotent: bool,
    pub(super) retries: u32,
    pub(super) retry_after: Duration,
    pub(super) hedge_after: Option<Duration>,
    pub(super) id: Option<RequestId>,
    /// Which time it is called with the same id, and of how many.
    pub(super) time: (u32, u32),
    pub(super) is_sure: bool,
}

impl Manner {
    pub(super) fn plain(deadline: Duration) -> Self {
        Self {
            deadline,
            is_idempotent: false,
            retries: 3,
            retry_after: Duration::from_millis(100),
            hedge_after: None,
            id: None,
            time: (1, 1),
            is_sure: false,
        }
    }

    /// How often the request may be executed.
    fn executions_max(&self) -> u32 {
        let of_one = match self.is_idempotent {
            true => 1 + self.retries + u32::from(self.hedge_after.is_some()),
            false => 1,
        };
        of_one * self.time.1
    }

    fn options(&self, office: &Office) -> CallOptions {
        let far = office.has(Mutant::NoDeadlines) && !self.is_sure;
        let options = CallOptions::new()
            .deadline(if far { FAR } else { self.deadline })
            .retries(self.retries)
            .retry_after(self.retry_after);
        let options = match self.hedge_after {
            Some(after) => options.hedge_after(after),
            None => options,
        };
        let options = match self.id {
            Some(id) => options.id(id),
            None => options,
        };
        if office.has(Mutant::Overeager) { options.idempotent(true) } else { options }
    }
}

/// Calls a service, and tells what becomes of the call.
pub(super) async fn ring(
    office: &Office,
    services: &ServiceManager,
    service: &str,
    errand: Errand,
    manner: Manner,
) -> Result<(), CallError> {
    let request = errand.request.clone();
    let line = Line::open(office, &request, manner);
    let (handle, options) = (services.service(service), manner.options(office));
    let answer = match manner.is_idempotent {
        true => handle.call_with(options, Often(errand)).await,
        false => handle.call_with(options, Once(errand)).await,
    };
    line.conclude(match &answer {
        Ok(answer) if *answer == request => (Conclusion::Answered, Some(true)),
        Ok(answer) => (Conclusion::Wrong(answer.clone()), Some(true)),
        Err(why) => {
            let executed = match why.executed() {
                Executed::Yes => Some(true),
                Executed::No => Some(false),
                Executed::Unknown => None,
            };
            (Conclusion::Failed(why.to_string()), executed)
        }
    });
    answer.map(drop)
}

/// A call whose end will be told, whatever it is.
struct Line<'a> {
    office: &'a Office,
    call: String,
    ending: Option<(Conclusion, Option<bool>)>,
}

impl<'a> Line<'a> {
    fn open(office: &'a Office, request: &str, manner: Manner) -> Self {
        let call = match manner.time.0 {
            1 => request.to_owned(),
            time => format!("{request} ({time})"),
        };
        office.record(Record::Called {
            call: call.clone(),
            request: request.to_owned(),
            deadline: manner.deadline,
            executions_max: manner.executions_max(),
            is_sure: manner.is_sure,
        });
        Self { office, call, ending: None }
    }

    fn conclude(mut self, ending: (Conclusion, Option<bool>)) {
        self.ending = Some(ending);
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let (outcome, executed) = self.ending.take().unwrap_or((Conclusion::GivenUp, None));
        self.office.record(Record::Returned { call: self.call.clone(), outcome, executed });
    }
}

/// Calls services until the day is over, and ends when all calls have.
pub(super) async fn call(office: &Office, services: &'static [&'static str]) {
    let (anywhere, here) = (office.services(), office.services_here());
    let (mut calls, mut count) = (JoinSet::new(), 0);
    while office.phase() != Phase::Rest {
        tokio::time::sleep(Duration::from_millis(1 + office.below(PAUSE_MILLIS))).await;
        while calls.try_join_next().is_some() {}
        if calls.len() >= CALLS_MAX {
            continue;
        }
        count += 1;
        let request = format!("{}?{count}", office.name());
        let service = services[office.below(services.len() as u64) as usize];
        if !office.0.is_client && office.one_in(4) {
            calls.spawn(twice(office.clone(), here.clone(), service, request));
            continue;
        }
        let errand = Errand { request, millis: office.below(80), how: office.how(service) };
        let (office, services, manner) = (office.clone(), anywhere.clone(), office.manner());
        calls.spawn(async move {
            // What becomes of it has been told.
            let _ = ring(&office, &services, service, errand, manner).await;
        });
    }
    while calls.join_next().await.is_some() {}
}

/// Calls a service of this node, and calls it again with the same id.
async fn twice(office: Office, here: ServiceManager, service: &'static str, request: String) {
    let id = Some(RequestId::new(office.node().system()));
    let is_idempotent = office.one_in(2);
    // The ledger is always there, and on this node nothing is in between.
    let is_sure = service == LEDGER || office.phase() == Phase::Peace;
    for time in 1..=2 {
        let how = if service == LEDGER { How::Well } else { office.how(service) };
        let errand = Errand { request: request.clone(), millis: office.below(40), how };
        let plain = Manner::plain(SURE_WITHIN);
        let manner = Manner { is_idempotent, id, time: (time, 2), is_sure, ..plain };
        let _ = ring(&office, &here, service, errand, manner).await;
    }
}

impl Office {
    fn manner(&self) -> Manner {
        if self.phase() == Phase::Peace {
            let is_idempotent = self.one_in(2);
            return Manner { is_idempotent, is_sure: true, ..Manner::plain(SURE_WITHIN) };
        }
        let below = |bound| Duration::from_millis(self.below(bound));
        Manner {
            deadline: Duration::from_millis(20) + below(DEADLINE_MAX.as_millis() as u64 - 20),
            is_idempotent: self.one_in(2),
            retries: self.below(4) as u32,
            retry_after: below(300),
            hedge_after: self.one_in(6).then(|| below(100)),
            ..Manner::plain(Duration::ZERO)
        }
    }

    /// How a request of such a service is to be executed.
    fn how(&self, service: &str) -> How {
        if service == LEDGER || self.phase() != Phase::Rough {
            return How::Well;
        }
        match self.below(40) {
            0..2 => How::Fails,
            2..5 => How::Declines,
            5..7 => How::Panics,
            7 => How::Hangs,
            8 => How::Sickens,
            _ => How::Well,
        }
    }
}
