//! Messages that wait behind one that lies in ractor's mailbox.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use parking_lot::Mutex;

use crate::kept::Contents;

/// The messages of an actor that takes several in a row.
///
/// ractor looks at four queues and moves the actor's state about for each message, which costs more
/// than all else that becomes of a small one. So only the first of those that wait lies in its
/// mailbox: the *lead*. The others wait here, and whoever handles the lead handles them too, up to a
/// number; then the next one leads. All of them are in the order in which they came.
pub(crate) struct Backlog<M> {
    state: Mutex<State<M>>,
    in_a_row_max: usize,
}

struct State<M> {
    waiting: VecDeque<Contents<M>>,
    /// A message leads: it lies in ractor's mailbox, or it or those behind it are at work.
    has_lead: bool,
    /// ractor takes nothing more.
    closed: bool,
}

impl<M> Backlog<M> {
    /// For an actor that takes so many messages in a row; none where that is one.
    pub(crate) fn new(in_a_row_max: NonZeroUsize) -> Option<Self> {
        let in_a_row_max = in_a_row_max.get();
        let state = State { waiting: VecDeque::new(), has_lead: false, closed: false };
        (in_a_row_max > 1).then(|| Self { state: Mutex::new(state), in_a_row_max })
    }

    /// How many messages are handled in a row.
    pub(crate) fn in_a_row_max(&self) -> usize {
        self.in_a_row_max
    }

    /// Has a message wait, or lead by `lead`, which puts it into ractor's mailbox. It comes back where
    /// the actor has ended or is ending.
    ///
    /// It leads outside the lock: what comes meanwhile waits behind it, so the order is kept, and the
    /// actor, which may be awake before `lead` has returned, finds the lock free. (Held, it made an
    /// ask two and a half times slower.)
    #[inline]
    pub(crate) fn push(
        &self,
        contents: Contents<M>,
        lead: impl FnOnce(Contents<M>) -> Result<(), M>,
    ) -> Result<(), M> {
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            return Err(contents.message);
        }
        if state.has_lead {
            state.waiting.push_back(contents);
            return Ok(());
        }
        state.has_lead = true;
        drop(state);
        lead(contents).inspect_err(|_| self.state.lock().closed = true)
    }

    /// Has a run of messages wait, or the first of them lead by `lead`, as [`Self::push`] does. Those are left in
    /// `run` that are not let in, where the actor has ended; one that ractor refused has lost what came with it.
    pub(crate) fn push_run(
        &self,
        run: &mut VecDeque<Contents<M>>,
        lead: impl FnOnce(Contents<M>) -> Result<(), M>,
    ) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        let first = if state.has_lead { None } else { run.pop_front() };
        state.has_lead |= first.is_some();
        let behind = run.len();
        state.waiting.append(run);
        drop(state);
        let Some(first) = first else { return };
        let entry = first.entry;
        let Err(message) = lead(first) else { return };
        let mut state = self.state.lock();
        state.closed = true;
        // Nothing waited, for none led: what came meanwhile is behind these. If the actor has ended meanwhile, all
        // that waited are lost with it, and only the first comes back.
        let behind = behind.min(state.waiting.len());
        run.push_back(Contents { message, entry, charge: None, extra: None });
        run.extend(state.waiting.drain(..behind));
    }

    /// Takes all that wait into `taken`, which is empty; `false` where there are none, and the next to
    /// come leads.
    fn take(&self, taken: &mut VecDeque<Contents<M>>) -> bool {
        let mut state = self.state.lock();
        std::mem::swap(&mut state.waiting, taken);
        state.has_lead = !taken.is_empty();
        state.has_lead
    }

    /// Gives back what was taken and not handled, before all that came since.
    fn give_back(&self, taken: &mut VecDeque<Contents<M>>) {
        let mut state = self.state.lock();
        taken.append(&mut state.waiting);
        std::mem::swap(&mut state.waiting, taken);
    }

    /// The actor has ended: takes all that wait, and lets nothing in any more.
    pub(crate) fn close(&self) -> VecDeque<Contents<M>> {
        let mut state = self.state.lock();
        state.closed = true;
        std::mem::take(&mut state.waiting)
    }
}

/// What is behind a lead that is at work. What is not handled goes back when this is dropped.
pub(crate) struct Row<'a, M> {
    backlog: &'a Backlog<M>,
    taken: VecDeque<Contents<M>>,
}

impl<'a, M> Row<'a, M> {
    pub(crate) fn new(backlog: &'a Backlog<M>) -> Self {
        Self { backlog, taken: VecDeque::new() }
    }

    /// The next message, if one waits.
    pub(crate) fn next(&mut self) -> Option<Contents<M>> {
        if self.taken.is_empty() && !self.backlog.take(&mut self.taken) {
            return None;
        }
        self.taken.pop_front()
    }

    /// Has the next message lead by `lead`, if one waits: the actor looks about before it goes on.
    pub(crate) fn pause(mut self, lead: impl FnOnce(Contents<M>) -> Result<(), M>) {
        self.backlog.give_back(&mut self.taken);
        let mut state = self.backlog.state.lock();
        let next = state.waiting.pop_front();
        state.has_lead = next.is_some();
        drop(state);
        // Where ractor takes it no more, the actor is ending, and so is all that waits.
        if let Some(Err(refused)) = next.map(lead) {
            self.backlog.state.lock().closed = true;
            drop(refused);
        }
    }
}

impl<M> Drop for Row<'_, M> {
    fn drop(&mut self) {
        if !self.taken.is_empty() {
            self.backlog.give_back(&mut self.taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::parcel::Entry;

    fn contents(message: u32) -> Contents<u32> {
        Contents { message, entry: Entry::Placed, charge: None, extra: None }
    }

    /// ractor's mailbox, with at most one lead in it.
    #[derive(Default)]
    struct Mailbox(Option<u32>);

    impl Mailbox {
        fn lead(&mut self, contents: Contents<u32>) -> Result<(), u32> {
            assert_eq!(self.0.replace(contents.message), None, "one leads at a time");
            Ok(())
        }
    }

    #[test]
    fn an_actor_that_takes_one_at_a_time_has_no_backlog() {
        assert!(Backlog::<u32>::new(NonZeroUsize::MIN).is_none());
    }

    #[test]
    fn nothing_is_let_in_when_the_actor_has_ended() {
        let backlog = Backlog::new(NonZeroUsize::new(4).unwrap()).unwrap();
        let mut mailbox = Mailbox::default();
        for message in 1..=3 {
            backlog.push(contents(message), |lead| mailbox.lead(lead)).unwrap();
        }
        let left: Vec<_> = backlog.close().into_iter().map(|it| it.message).collect();
        assert_eq!(left, [2, 3]);
        assert_eq!(backlog.push(contents(4), |_| unreachable!()), Err(4));
        assert_eq!(rest_of(&backlog, 5..7, |_| unreachable!()), [5, 6]);
    }

    /// What is not let in of a run.
    fn rest_of(
        backlog: &Backlog<u32>,
        run: std::ops::Range<u32>,
        lead: impl FnOnce(Contents<u32>) -> Result<(), u32>,
    ) -> Vec<u32> {
        let mut run: VecDeque<_> = run.map(contents).collect();
        backlog.push_run(&mut run, lead);
        run.into_iter().map(|it| it.message).collect()
    }

    #[test]
    fn what_ractor_refuses_comes_back_and_nothing_is_let_in_behind_it() {
        let four = NonZeroUsize::new(4).unwrap();
        let backlog = Backlog::new(four).unwrap();
        assert_eq!(backlog.push(contents(1), |lead| Err(lead.message)), Err(1));
        assert_eq!(backlog.push(contents(2), |_| unreachable!()), Err(2));

        let backlog = Backlog::new(four).unwrap();
        // What another sends before the refusal has been let in, and is lost with the mailbox.
        let refuse = |lead: Contents<u32>| {
            backlog.push(contents(9), |_| unreachable!()).unwrap();
            Err(lead.message)
        };
        assert_eq!(rest_of(&backlog, 1..4, refuse), [1, 2, 3]);
        assert_eq!(rest_of(&backlog, 1..4, |_| unreachable!()), [1, 2, 3]);
        let left: Vec<_> = backlog.close().into_iter().map(|it| it.message).collect();
        assert_eq!(left, [9]);
    }

    #[test]
    fn when_ractor_refuses_the_next_lead_nothing_more_is_let_in() {
        let backlog = Backlog::new(NonZeroUsize::new(4).unwrap()).unwrap();
        let mut mailbox = Mailbox::default();
        for message in 1..=2 {
            backlog.push(contents(message), |lead| mailbox.lead(lead)).unwrap();
        }
        Row::new(&backlog).pause(|lead| Err(lead.message));
        assert_eq!(backlog.push(contents(3), |_| unreachable!()), Err(3));
    }

    #[test]
    fn what_waits_of_a_run_is_gone_where_the_actor_ends_before_the_refusal() {
        let backlog = Backlog::new(NonZeroUsize::new(4).unwrap()).unwrap();
        let end = |lead: Contents<u32>| {
            assert_eq!(backlog.close().len(), 2);
            Err(lead.message)
        };
        assert_eq!(rest_of(&backlog, 1..4, end), [1]);
    }

    #[derive(Clone, Debug)]
    enum Act {
        Push,
        /// Pushes so many at once.
        PushRun(u32),
        /// Handles the lead, and of those behind it so many; killed after so many, if at all.
        Handle {
            killed_after: Option<usize>,
        },
    }

    proptest! {
        #[test]
        fn all_are_handled_once_and_in_order_however_they_come_and_go(
            most in 2..5_usize,
            acts in prop::collection::vec(
                prop_oneof![
                    3 => Just(Act::Push),
                    1 => (0..6_u32).prop_map(Act::PushRun),
                    2 => prop::option::of(0..4_usize)
                        .prop_map(|killed_after| Act::Handle { killed_after }),
                ],
                0..80,
            ),
        ) {
            let backlog = Backlog::new(NonZeroUsize::new(most).unwrap()).unwrap();
            let (mut mailbox, mut pushed, mut handled) = (Mailbox::default(), 0, Vec::new());
            let mut ended = false;
            for act in acts {
                match act {
                    Act::Push => {
                        let told = backlog.push(contents(pushed), |lead| mailbox.lead(lead));
                        prop_assert_eq!(told.is_err(), ended);
                        pushed += u32::from(!ended);
                    }
                    Act::PushRun(messages) => {
                        let run = pushed..pushed + messages;
                        let rest = rest_of(&backlog, run.clone(), |lead| mailbox.lead(lead));
                        prop_assert_eq!(rest, if ended { run.collect() } else { Vec::new() });
                        pushed += if ended { 0 } else { messages };
                    }
                    Act::Handle { killed_after } => {
                        let Some(lead) = mailbox.0.take() else { continue };
                        handled.push(lead);
                        let mut row = Row::new(&backlog);
                        for turn in 1..most {
                            if killed_after == Some(turn) {
                                ended = true;
                                break;
                            }
                            let Some(contents) = row.next() else { break };
                            handled.push(contents.message);
                        }
                        if ended {
                            drop(row);
                            handled.extend(backlog.close().into_iter().map(|it| it.message));
                            mailbox = Mailbox::default();
                        } else {
                            row.pause(|lead| mailbox.lead(lead));
                        }
                    }
                }
            }
            while let Some(lead) = mailbox.0.take() {
                handled.push(lead);
                Row::new(&backlog).pause(|lead| mailbox.lead(lead));
            }
            prop_assert_eq!(handled, (0..pushed).collect::<Vec<_>>());
        }
    }
}
