//! A message on its way into a mailbox.

use std::sync::Arc;

use crate::docket::Asker;
use crate::message::Message;
use crate::parcel::Entry;
use crate::slot::Incarnation;

/// A message on its way into a mailbox: it is taken when it is let in, and is still here otherwise.
///
/// It is handed on by reference, so that it is moved once: a core that reads in one piece what was
/// written in several just before waits until all of that is in its cache, and each move of a message
/// does so. Handed on by value it was moved five times, for a tenth of an ask.
pub(crate) struct Outgoing<M>(Option<M>);

impl<M> Outgoing<M> {
    #[inline]
    pub(crate) fn new(message: M) -> Self {
        Self(Some(message))
    }

    /// The message, which nobody took.
    pub(crate) fn back(self) -> M {
        self.0.expect("a message that was let in nowhere is still here")
    }

    #[inline]
    pub(crate) fn take(&mut self) -> M {
        self.0.take().expect("a message is let in once")
    }
}

/// A message was not let in, and is where it was.
#[derive(Debug)]
pub(crate) struct Refused;

/// Whose message it is that goes into a mailbox.
pub(crate) trait Sender {
    /// Puts a message for which there is a place into the mailbox of an incarnation.
    fn send<M: Message>(
        &self,
        to: &Incarnation<M>,
        message: &mut Outgoing<M>,
    ) -> Result<(), Refused>;
}

/// One who tells: nobody waits for an answer.
pub(crate) struct Teller;

impl Sender for Teller {
    #[inline]
    fn send<M: Message>(
        &self,
        to: &Incarnation<M>,
        message: &mut Outgoing<M>,
    ) -> Result<(), Refused> {
        if to.is_plain {
            to.send_plain(Entry::Placed, message)
        } else {
            to.send(to.passage(Entry::Placed), None, message)
        }
    }
}

/// One who asks is entered in the docket.
impl<A: Asker + 'static> Sender for Arc<A> {
    #[inline]
    fn send<M: Message>(
        &self,
        to: &Incarnation<M>,
        message: &mut Outgoing<M>,
    ) -> Result<(), Refused> {
        if to.is_plain {
            to.docket.enter(self, || to.send_plain(Entry::Asked, message))
        } else {
            let passage = to.passage(Entry::Asked);
            to.docket.enter(self, || to.send(passage, Some(self.clone()), message))
        }
    }
}
