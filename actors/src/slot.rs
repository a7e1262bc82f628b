//! What an address of this machine points at: a place that one incarnation of an actor fills at a
//! time.

mod deliver;
mod present;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use ractor::{ActorId, ActorRef, MessagingErr};
use tokio::sync::{Notify, oneshot};

use self::present::Present;
use crate::arrivals::Arrivals;
use crate::backlog::Backlog;
use crate::dead_letter::{DeadLetter, DeadLetterReason, Unread};
use crate::docket::{Asker, Docket};
use crate::gate::{Barred, Gate};
use crate::hooks;
use crate::kept::{Contents, Kept};
use crate::managed::Mailbox;
use crate::message::Message;
use crate::outgoing::{Outgoing, Refused, Sender};
use crate::parcel::{Entry, Extra, Passage, current_trace, entering, entering_plainly, keeping};
use crate::pulse::Pulse;
use crate::reply;
use crate::system::WeakSystem;
use crate::trace::Traces;
use crate::watch::{Exit, Watch};
use crate::wire::Unanswered;

/// A place for one actor, over all its incarnations.
pub(crate) struct Slot<M: Message> {
    pub(crate) id: u64,
    /// The name it has in its system, or its type.
    pub(crate) label: Arc<str>,
    pub(crate) system: WeakSystem,
    current: Present<Incarnation<M>>,
    /// What is unread, where the next incarnation is to read it.
    kept: Option<Arc<Kept<M>>>,
    /// What came over links between two incarnations.
    arrivals: Arrivals<M>,
    gone: AtomicBool,
    /// What is to be done when it is gone.
    wills: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
    /// Told at each change of `current` and `gone`.
    changed: Notify,
}

/// One life of an actor.
pub(crate) struct Incarnation<M: Message> {
    pub(crate) actor: ActorRef<M>,
    pub(crate) gate: Gate,
    pub(crate) docket: Arc<Docket>,
    pub(crate) pulse: Pulse,
    pub(crate) traces: Option<Arc<dyn Traces>>,
    /// Messages of this machine go into ractor's mailbox as they are: with no trace, and neither kept nor
    /// behind others.
    pub(crate) is_plain: bool,
    /// With the number of this incarnation.
    kept: Option<(Arc<Kept<M>>, u64)>,
    /// What waits behind the message that leads, where the actor takes several in a row.
    pub(crate) backlog: Option<Backlog<M>>,
    /// It was told to stop by its address. Who is told so by ractor alone, ractor shows to nobody.
    told_to_stop: AtomicBool,
    ending: Mutex<Ending>,
}

#[derive(Default)]
struct Ending {
    /// The reason, once it is known; the end itself may come later.
    why: Option<Exit>,
    over: bool,
    watchers: Vec<oneshot::Sender<Exit>>,
}

/// What became of a message that was offered to a slot. It was taken if it was accepted.
pub(crate) enum Offer {
    Accepted,
    /// The mailbox is full.
    Full,
    /// The actor is between two incarnations.
    Absent,
    /// It will not come back.
    Gone,
}

impl<M: Message> Incarnation<M> {
    /// A life of the actor, which is sent what those before it have left unread, if that is kept.
    pub(crate) fn new(actor: ActorRef<M>, mailbox: Mailbox, slot: &Slot<M>) -> Arc<Self> {
        let gate = Gate::new(mailbox.capacity);
        let kept = slot.kept.as_ref().map(|kept| {
            let send = |Contents { message, entry, charge, extra }| {
                gate.readmit(entry);
                let passage = Passage { entry, charge, extra };
                let mut message = Outgoing::new(message);
                keeping(passage, || cast(&actor, &mut message)).map_err(|_| {
                    gate.leave_by(entry);
                    Contents { message: message.back(), entry, charge: None, extra: None }
                })
            };
            (kept.clone(), kept.begin(send))
        });
        // What is kept lies in ractor's mailbox, all of it.
        let throughput = mailbox.throughput.filter(|_| kept.is_none());
        let backlog = throughput.and_then(Backlog::new);
        let traces = slot.system.upgrade().and_then(|system| system.traces().cloned());
        Arc::new(Self {
            actor,
            gate,
            is_plain: kept.is_none() && backlog.is_none() && traces.is_none(),
            backlog,
            docket: Docket::new(),
            pulse: Pulse::default(),
            traces,
            kept,
            told_to_stop: AtomicBool::new(false),
            ending: Mutex::default(),
        })
    }

    /// Stops this life after the message that it has in hands.
    pub(crate) fn stop(&self) {
        // First, so that ractor knows of it when the row ends by the mark.
        self.actor.stop(None);
        self.told_to_stop.store(true, Ordering::Release);
    }

    /// Whether a row of messages is to end, so that ractor can end the actor.
    pub(crate) fn is_told_to_stop(&self) -> bool {
        self.told_to_stop.load(Ordering::Acquire)
    }

    /// Puts a message for which there is a place into the mailbox.
    #[inline]
    fn push(&self, message: &mut Outgoing<M>, sender: &impl Sender) -> Result<(), Refused> {
        sender.send(self, message).inspect_err(|_| self.gate.leave())
    }

    /// Puts a message that came over a link into the mailbox, beside the places. It comes back where
    /// this life takes nothing more.
    fn push_beside(&self, contents: Contents<M>) -> Result<(), Contents<M>> {
        if !self.gate.enter_beside(1) {
            return Err(contents);
        }
        let Contents { message, entry, charge, extra } = contents;
        let mut message = Outgoing::new(message);
        self.send(Passage { entry, charge, extra }, None, &mut message).map_err(|_| {
            self.gate.leave_beside(1);
            Contents { message: message.back(), entry, charge: None, extra: None }
        })
    }

    /// Puts a run of messages that came over a link into the mailbox, beside the places. Those are left in
    /// `run` that this life does not take.
    fn push_run_beside(&self, run: &mut VecDeque<Contents<M>>) {
        let Some(backlog) = &self.backlog else {
            while let Some(contents) = run.pop_front() {
                if let Err(back) = self.push_beside(contents) {
                    return run.push_front(back);
                }
            }
            return;
        };
        if self.gate.enter_beside(run.len()) {
            backlog.push_run(run, |contents| self.lead(contents));
            if !run.is_empty() {
                self.gate.leave_beside(run.len());
            }
        }
    }

    /// How a message of this machine comes in. The user's [`Traces`] run here: under no lock.
    pub(crate) fn passage(&self, entry: Entry) -> Passage {
        let trace = self.traces.as_ref().and_then(|traces| current_trace(&**traces));
        let extra = trace.map(|trace| Box::new(Extra { askers: None, trace: Some(trace) }));
        Passage { entry, charge: None, extra }
    }

    /// Puts a message of this machine into the mailbox, where it [is plain](Self::is_plain).
    #[inline]
    pub(crate) fn send_plain(
        &self,
        entry: Entry,
        message: &mut Outgoing<M>,
    ) -> Result<(), Refused> {
        entering_plainly(entry, || cast(&self.actor, message))
    }

    /// Puts a message into the mailbox; if it is kept, with who asks.
    pub(crate) fn send(
        &self,
        passage: Passage,
        asker: Option<Arc<dyn Asker>>,
        message: &mut Outgoing<M>,
    ) -> Result<(), Refused> {
        match (&self.kept, &self.backlog) {
            (Some((kept, number)), _) => {
                kept.send(*number, asker, || keeping(passage, || cast(&self.actor, message)))
            }
            (None, Some(backlog)) => self.send_behind(backlog, passage, message),
            (None, None) => entering(passage, || cast(&self.actor, message)),
        }
    }

    /// Puts a message behind others that wait, if there are any.
    fn send_behind(
        &self,
        backlog: &Backlog<M>,
        passage: Passage,
        message: &mut Outgoing<M>,
    ) -> Result<(), Refused> {
        let Passage { entry, charge, extra } = passage;
        let contents = Contents { message: message.take(), entry, charge, extra };
        backlog.push(contents, |contents| self.lead(contents)).map_err(|back| {
            *message = Outgoing::new(back);
            Refused
        })
    }

    /// Puts a message into ractor's mailbox.
    pub(crate) fn lead(&self, contents: Contents<M>) -> Result<(), M> {
        let Contents { message, entry, charge, extra } = contents;
        let mut message = Outgoing::new(message);
        entering(Passage { entry, charge, extra }, || cast(&self.actor, &mut message))
            .map_err(|_| message.back())
    }

    /// Lets nobody in any more. What is still in the mailbox will not be handled, unless it is kept
    /// for the next life, and whoever asked is told so.
    pub(crate) fn close(&self) {
        self.gate.close();
        if self.kept.is_none() {
            self.docket.close();
        }
    }

    /// Notes the reason of an end that is under way, and closes.
    pub(crate) fn ending(&self, why: Exit) {
        let why = why.cut();
        self.ending.lock().why.get_or_insert(why);
        self.close();
    }

    /// The end itself. Returns the reason, how many messages are lost unread, and who is to be told
    /// when all is cleared away.
    pub(crate) fn over(&self, unless_known: Exit) -> (Exit, u64, Vec<oneshot::Sender<Exit>>) {
        self.close();
        let mut ending = self.ending.lock();
        ending.over = true;
        let why = ending.why.get_or_insert(unless_known).clone();
        let unread = match &self.kept {
            None => self.gate.depth(),
            Some((kept, _)) => {
                kept.ended(&why);
                0
            }
        };
        let watchers = std::mem::take(&mut ending.watchers);
        drop(ending);
        // Those who asked were told when this life closed; what is dropped is the user's.
        drop(self.backlog.as_ref().map(Backlog::close));
        (why, unread, watchers)
    }

    fn watch(&self) -> Watch {
        let mut ending = self.ending.lock();
        if ending.over {
            return Watch::over(ending.why.clone().unwrap_or(Exit::NoSuchActor));
        }
        let (told, ended) = oneshot::channel();
        // Watches that were dropped go when the list would grow.
        if ending.watchers.len() == ending.watchers.capacity() {
            ending.watchers.retain(|watcher| !watcher.is_closed());
        }
        ending.watchers.push(told);
        Watch::new(ended, Exit::Killed)
    }
}

#[inline]
fn cast<M: Message>(actor: &ActorRef<M>, message: &mut Outgoing<M>) -> Result<(), Refused> {
    actor.send_message(message.take()).map_err(|why| match why {
        MessagingErr::SendErr(back) => {
            *message = Outgoing::new(back);
            Refused
        }
        MessagingErr::ChannelClosed | MessagingErr::InvalidActorType => {
            unreachable!("a local actor takes its own message type")
        }
    })
}

impl<M: Message> Slot<M> {
    pub(crate) fn new(
        id: u64,
        label: Arc<str>,
        system: WeakSystem,
        keep_unread: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            label,
            system,
            current: Present::nobody(),
            kept: keep_unread.then(Kept::new),
            arrivals: Arrivals::new(),
            gone: AtomicBool::new(false),
            wills: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// A place that never had an actor and never will.
    pub(crate) fn vacant_for_good() -> Arc<Self> {
        let slot = Self::new(0, "gone".into(), WeakSystem::default(), false);
        slot.gone.store(true, Ordering::Release);
        slot
    }

    pub(crate) fn fill(&self, incarnation: Arc<Incarnation<M>>) {
        let first = incarnation.clone();
        self.arrivals
            .pass_on(|contents| first.push_beside(contents), || self.current.fill(incarnation));
        self.changed.notify_waiters();
    }

    /// Empties the slot if it still holds this incarnation: the supervisor may have filled it anew.
    pub(crate) fn clear(&self, incarnation: &Arc<Incarnation<M>>) {
        if self.current.clear(incarnation) {
            self.changed.notify_waiters();
        }
    }

    fn set_gone(&self) {
        let wills = {
            let mut wills = self.wills.lock();
            self.gone.store(true, Ordering::Release);
            std::mem::take(&mut *wills)
        };
        self.changed.notify_waiters();
        for will in wills {
            will();
        }
        let arrived = self.arrivals.close();
        let count = arrived.len() as u64;
        reply::dropped_as(&Unanswered::NoSuchActor, arrived);
        if count > 0
            && let Some(system) = self.system.upgrade()
        {
            let why = DeadLetterReason::Undeliverable(Unanswered::NoSuchActor);
            system.dead_letter(DeadLetter::new(self.label.clone(), M::NAME, count, why));
        }
        if let Some(kept) = &self.kept {
            let (unread, ended) = kept.close();
            self.unread(unread, &ended);
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire) && self.current.look().get().is_none()
    }

    /// One who asked, and has no answer yet, waits no more.
    #[cold]
    pub(crate) fn gave_up(&self) {
        if let Some(incarnation) = self.current.look().get() {
            incarnation.docket.gave_up();
        }
    }

    /// The present incarnation. While the actor starts, only itself is let in.
    pub(crate) fn incarnation(&self) -> Option<Arc<Incarnation<M>>> {
        self.current.get().or_else(|| hooks::starting(self.id))
    }

    pub(crate) fn depth(&self) -> u64 {
        match (self.current.look().get(), &self.kept) {
            (Some(incarnation), _) => incarnation.gate.depth(),
            (None, Some(kept)) => kept.len(),
            (None, None) => 0,
        }
    }

    /// Offers a message without waiting.
    #[inline]
    pub(crate) fn offer(&self, message: &mut Outgoing<M>, sender: &impl Sender) -> Offer {
        loop {
            let current = self.current.look();
            let starting;
            let incarnation = match current.get() {
                Some(incarnation) => incarnation,
                None => match hooks::starting(self.id) {
                    Some(found) => {
                        starting = found;
                        &starting
                    }
                    None if self.gone.load(Ordering::Acquire) => return Offer::Gone,
                    None => return Offer::Absent,
                },
            };
            match incarnation.gate.try_enter() {
                Ok(()) => match incarnation.push(message, sender) {
                    Ok(()) => return Offer::Accepted,
                    // ractor refuses: the actor stops or drains, and this slot will soon be clear.
                    Err(Refused) => incarnation.close(),
                },
                Err(Barred::Full) => return Offer::Full,
                Err(Barred::Closed) => {
                    // Ending: wait for the next incarnation, if there is to be one.
                    return if self.gone.load(Ordering::Acquire) {
                        Offer::Gone
                    } else {
                        Offer::Absent
                    };
                }
            }
        }
    }

    /// Offers a message, waiting for room and for the next incarnation. It is refused if the actor
    /// will not come back.
    pub(crate) async fn push(
        &self,
        message: &mut Outgoing<M>,
        sender: &impl Sender,
    ) -> Result<(), Refused> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.offer(message, sender) {
                Offer::Accepted => return Ok(()),
                Offer::Gone => return Err(Refused),
                Offer::Absent => changed.await,
                Offer::Full => {
                    let Some(incarnation) = self.incarnation() else { continue };
                    if incarnation.gate.enter().await {
                        match incarnation.push(message, sender) {
                            Ok(()) => return Ok(()),
                            Err(Refused) => incarnation.close(),
                        }
                    }
                }
            }
        }
    }

    /// Ends when this incarnation, if it is the present one, gets on with its work.
    pub(crate) async fn beat(self: Arc<Self>, incarnation: ActorId) {
        let current = self.current.get();
        if let Some(current) = current.filter(|current| current.actor.get_id() == incarnation) {
            current.pulse.beat().await;
        }
    }

    pub(crate) async fn until_gone(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_gone() {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn unread(&self, count: u64, why: &Exit) {
        if count > 0
            && let Some(system) = self.system.upgrade()
        {
            system.bury(Unread { to: &self.label, message: M::NAME, count, why });
        }
    }
}

/// Held by whoever can start the actor again; when the last one goes, the slot is vacant for good.
pub(crate) struct SlotOwner<M: Message> {
    pub(crate) slot: Arc<Slot<M>>,
}

impl<M: Message> Drop for SlotOwner<M> {
    fn drop(&mut self) {
        self.slot.set_gone();
        if let Some(system) = self.slot.system.upgrade() {
            system.forget(self.slot.id, &self.slot.label);
        }
    }
}
