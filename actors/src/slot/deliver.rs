//! A slot as a link sees it.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;

use super::Slot;
use crate::arrivals::{Barrier, NotTaken};
use crate::codec::Limits;
use crate::kept::Contents;
use crate::message::Message;
use crate::parcel::{Askers, Charge, Entry, Extra, link_trace};
use crate::reply;
use crate::watch::{Exit, Watch};
use crate::wire::{Deliver, Unanswered};

impl<M: Message> Deliver for Slot<M> {
    fn id(&self) -> u64 {
        self.id
    }

    fn schema(&self) -> (&'static str, u32) {
        (M::NAME, M::FINGERPRINT)
    }

    fn deliver(
        &self,
        bytes: &[u8],
        schema: u32,
        limits: Limits,
        charge: Option<Charge>,
    ) -> Result<(), Unanswered> {
        let Some(codec) = &M::CODEC else {
            return Err(Unanswered::Undecodable(format!("`{}` does not cross nodes", M::NAME)));
        };
        if schema != M::FINGERPRINT {
            return Err(Unanswered::Undecodable(format!(
                "the sender's definition of the message differs from `{}` here",
                M::NAME
            )));
        }
        if self.is_gone() {
            return Err(Unanswered::NoSuchActor);
        }
        let (decoded, asked) = reply::finding(|| (codec.decode)(bytes, limits));
        let message = decoded.map_err(|why| Unanswered::Undecodable(why.to_string()))?;
        let extra = Extra {
            askers: (!asked.is_empty()).then(|| Askers::There(asked)),
            trace: link_trace(),
        };
        let has_extra = extra.askers.is_some() || extra.trace.is_some();
        let extra = has_extra.then(|| Box::new(extra));
        let mut contents = Contents { message, entry: Entry::Beside, charge, extra };
        // The link's credit bounds what lies here: waiting for room would stop the whole lane.
        if let Some(incarnation) = self.current.look().get() {
            match incarnation.push_beside(contents) {
                Ok(()) => return Ok(()),
                Err(back) => contents = back,
            }
        }
        let taken = self.arrivals.take(contents, bytes.len(), |contents| {
            let contents = match self.current.look().get() {
                Some(incarnation) => match incarnation.push_beside(contents) {
                    Ok(()) => return Ok(()),
                    Err(back) => back,
                },
                None => contents,
            };
            let gone = self.gone.load(Ordering::Acquire);
            Err((contents, if gone { Barrier::Gone } else { Barrier::Absent }))
        });
        taken.map_err(|not_taken| match not_taken {
            NotTaken::Full(_) => Unanswered::Restarting,
            NotTaken::Gone(_) => Unanswered::NoSuchActor,
        })
    }

    fn watch(&self) -> Watch {
        match self.incarnation() {
            Some(incarnation) => incarnation.watch(),
            None => Watch::over(Exit::NoSuchActor),
        }
    }

    fn gets_on(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let current = self.current.get();
                let Some(current) = current else {
                    changed.await;
                    continue;
                };
                tokio::select! {
                    biased;
                    () = current.pulse.beat() => return,
                    // Another life may do better.
                    () = changed => {}
                }
            }
        })
    }

    fn depth(&self) -> u64 {
        self.depth()
    }

    fn kill(&self) -> bool {
        self.current.look().get().map(|current| current.actor.kill()).is_some()
    }

    fn on_gone(&self, then: Box<dyn FnOnce() + Send>) {
        let mut wills = self.wills.lock();
        if !self.gone.load(Ordering::Acquire) {
            wills.push(then);
        } else {
            drop(wills);
            then();
        }
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
