//! What an actor has not read yet, where its next incarnation is to read it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::docket::Asker;
use crate::outgoing::Refused;
use crate::parcel::{Askers, Charge, Entry, Extra};
use crate::watch::Exit;

/// The unread messages of an actor whose messages outlive it.
///
/// ractor drops a mailbox with its actor. So what lies in the mailbox of such an actor is a letter
/// which is kept here, too, until it is read; the next incarnation is sent all that is left.
pub(crate) struct Kept<M> {
    state: Mutex<State<M>>,
}

struct State<M> {
    /// Which incarnation reads. Others get nothing more: what came to them now would be kept when
    /// its time to be sent on is over.
    reader: u64,
    /// In the order in which they were sent, those that were read among them.
    letters: VecDeque<Unread<M>>,
    /// How the last incarnation ended.
    ended: Exit,
    closed: bool,
}

struct Unread<M> {
    letter: Arc<Letter<M>>,
    asker: Option<Arc<dyn Asker>>,
}

/// A message in a mailbox and here, for whoever takes it first.
pub(crate) struct Letter<M>(Mutex<Option<Contents<M>>>);

/// A message, and how it came in.
pub(crate) struct Contents<M> {
    pub(crate) message: M,
    pub(crate) entry: Entry,
    pub(crate) charge: Option<Charge>,
    pub(crate) extra: Option<Box<Extra>>,
}

impl<M> Letter<M> {
    pub(crate) fn new(contents: Contents<M>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(contents))))
    }

    pub(crate) fn take(&self) -> Option<Contents<M>> {
        self.0.lock().take()
    }

    fn is_read(&self) -> bool {
        self.0.lock().is_none()
    }
}

impl<M> Kept<M> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                reader: 0,
                letters: VecDeque::new(),
                ended: Exit::Stopped,
                closed: false,
            }),
        })
    }

    /// Makes a new incarnation the reader, and sends it what is left by `send`. Returns its number.
    ///
    /// `send` gets each message with who asks, and returns its new letter, or `None` where the
    /// incarnation takes nothing more; the next one gets it then.
    pub(crate) fn begin(
        &self,
        mut send: impl FnMut(Contents<M>) -> Result<Arc<Letter<M>>, Contents<M>>,
    ) -> u64 {
        let mut state = self.state.lock();
        state.reader += 1;
        for Unread { letter, asker } in std::mem::take(&mut state.letters) {
            let Some(mut contents) = letter.take() else { continue };
            // Asked of an incarnation before, it is in the docket of that one, which looks after it.
            if contents.entry == Entry::Asked {
                contents.entry = Entry::Placed;
            }
            if let Some(asker) = &asker {
                let extra = contents.extra.get_or_insert_default();
                extra.askers = Some(Askers::Here(asker.clone()));
            }
            let letter = send(contents).unwrap_or_else(Letter::new);
            state.letters.push_back(Unread { letter, asker });
        }
        state.reader
    }

    /// Sends one message to an incarnation by `send`, which returns its letter. It is refused where
    /// another incarnation reads by now.
    ///
    /// Under the lock, so that a new incarnation finds what was sent to the one before. Nothing of
    /// the user's runs there.
    pub(crate) fn send(
        &self,
        reader: u64,
        asker: Option<Arc<dyn Asker>>,
        send: impl FnOnce() -> Result<Arc<Letter<M>>, Refused>,
    ) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if state.reader != reader || state.closed {
            return Err(Refused);
        }
        let letter = send()?;
        while state.letters.front().is_some_and(|first| first.letter.is_read()) {
            state.letters.pop_front();
        }
        state.letters.push_back(Unread { letter, asker });
        Ok(())
    }

    /// Notes how an incarnation ended.
    pub(crate) fn ended(&self, how: &Exit) {
        self.state.lock().ended = how.clone();
    }

    /// The messages that wait.
    pub(crate) fn len(&self) -> u64 {
        self.state.lock().letters.iter().filter(|unread| !unread.letter.is_read()).count() as u64
    }

    /// There will be no next incarnation: drops all, and tells those who ask. Returns how many it
    /// were, and how the last incarnation ended.
    pub(crate) fn close(&self) -> (u64, Exit) {
        let (letters, ended) = {
            let mut state = self.state.lock();
            state.closed = true;
            (std::mem::take(&mut state.letters), state.ended.clone())
        };
        let mut unread = 0;
        for Unread { letter, asker } in letters {
            if let Some(contents) = letter.take() {
                unread += 1;
                // Before the message, whose reply would say that it was dropped in the actor's hands.
                if let Some(asker) = asker {
                    asker.closed();
                }
                drop(contents);
            }
        }
        (unread, ended)
    }
}
