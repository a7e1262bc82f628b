//! A slot as a link sees it.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;

use super::Slot;
use crate::arrivals::{Barrier, NotTaken};
use crate::codec::Limits;
use crate::kept::Contents;
use crate::message::{Codec, Message};
use crate::parcel::{Askers, Charge, Entry, Extra, link_trace};
use crate::reply;
use crate::watch::{Exit, Watch};
use crate::wire::{Deliver, Unanswered};

impl<M: Message> Slot<M> {
    /// How messages of this schema are decoded; or why the actor takes none of them.
    fn codec(&self, schema: u32) -> Result<&'static Codec<M>, Unanswered> {
        let Some(codec) = &M::CODEC else {
            return Err(Unanswered::Undecodable(format!("`{}` does not cross nodes", M::NAME)));
        };
        if schema != M::FINGERPRINT {
            return Err(Unanswered::Undecodable(format!(
                "the sender's definition of the message differs from `{}` here",
                M::NAME
            )));
        }
        if self.is_gone() { Err(Unanswered::NoSuchActor) } else { Ok(codec) }
    }

    #[cold]
    fn take_between_lives(&self, contents: Contents<M>, bytes: usize) -> Result<(), Unanswered> {
        let taken = self.arrivals.take(contents, bytes, |contents| {
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
        let (contents, why) = match taken {
            Ok(()) => return Ok(()),
            Err(NotTaken::Full(contents)) => (contents, Unanswered::Restarting),
            Err(NotTaken::Gone(contents)) => (contents, Unanswered::NoSuchActor),
        };
        // The user's `Drop` changes nothing in why.
        let _ = guarded(|| drop(contents));
        Err(why)
    }
}

/// Decodes a message that came over a link.
fn decode<M>(codec: &Codec<M>, bytes: &[u8], limits: Limits) -> Result<Contents<M>, Unanswered> {
    let (decoded, asked) = guarded(|| reply::finding(|| (codec.decode)(bytes, limits)))?;
    let message = decoded.map_err(|why| Unanswered::Undecodable(why.to_string()))?;
    let askers = (!asked.is_empty()).then(|| Askers::There(asked));
    let trace = link_trace();
    let has_extra = askers.is_some() || trace.is_some();
    let extra = has_extra.then(|| Box::new(Extra { askers, trace }));
    Ok(Contents { message, entry: Entry::Beside, charge: None, extra })
}

/// Runs what is the user's: a `Deserialize` or a `Drop`. What made it panic is the peer's, and may not end the
/// link.
fn guarded<R>(work: impl FnOnce() -> R) -> Result<R, Unanswered> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Unanswered::panicked())
}

impl<M: Message> Deliver for Slot<M> {
    fn id(&self) -> u64 {
        self.id
    }

    fn schema(&self) -> (&'static str, u32) {
        (M::NAME, M::FINGERPRINT)
    }

    fn deliver(
        &self,
        run: &[&[u8]],
        schema: u32,
        limits: Limits,
        charge: Charge,
    ) -> Vec<Unanswered> {
        let codec = match self.codec(schema) {
            Ok(codec) => codec,
            Err(why) => return vec![why; run.len()],
        };
        let (mut undelivered, mut bad) = (Vec::new(), Vec::new());
        let mut decoded = VecDeque::with_capacity(run.len());
        for (place, bytes) in run.iter().enumerate() {
            match decode(codec, bytes, limits) {
                Ok(contents) => decoded.push_back(contents),
                Err(why) => {
                    undelivered.push(why);
                    bad.push(place);
                }
            }
        }
        let good = decoded.len();
        let Some(last) = decoded.back_mut() else { return undelivered };
        last.charge = Some(charge);
        // The link's credit bounds what lies in the mailbox: waiting for room would stop the whole lane.
        if let Some(incarnation) = self.current.look().get() {
            incarnation.push_run_beside(&mut decoded);
        }
        if !decoded.is_empty() {
            let places = (0..run.len()).filter(|place| !bad.contains(place));
            let left = places.skip(good - decoded.len()).zip(decoded);
            let taken = left.map(|(place, left)| self.take_between_lives(left, run[place].len()));
            undelivered.extend(taken.filter_map(Result::err));
        }
        undelivered
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
