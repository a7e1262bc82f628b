//! The first words of a peer, in which it names itself.

use prost::Message;
use thiserror::Error;

/// The largest frame before a peer has named itself, in bytes: two names, a number and a digest.
const FRAME_BYTES_MAX: u64 = 4096;

/// Reads along while a peer introduces itself, until it has said the name that its certificate
/// gives it.
///
/// ractor_cluster believes any name, and chooses among all sessions of one name which of them may
/// stay: a peer that took another's name could end the other's session.
#[derive(Debug)]
pub(crate) struct Introduction {
    name: String,
    awaited: Awaited,
    /// What has come of the present frame.
    frame: Vec<u8>,
}

/// What the peer says next.
#[derive(Clone, Copy, Debug)]
enum Awaited {
    /// A dialler begins with its name.
    Name,
    /// An acceptor answers a name with a status,
    Status,
    /// and then with a challenge, in which it names itself.
    Challenge,
}

/// What a peer's first words were instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IntroductionError {
    /// A frame is larger than any of the first words.
    #[error("a frame of {0} bytes, where the limit is {FRAME_BYTES_MAX} before the peer is named")]
    TooLarge(u64),
    /// A frame cannot be decoded.
    #[error("a frame that cannot be decoded: {0}")]
    Undecodable(#[source] prost::DecodeError),
    /// Something else was due.
    #[error("something else was said where the peer was to name itself")]
    OutOfTurn,
    /// The peer calls itself by another name.
    #[error("the peer calls itself {said:?}, and by its certificate it is {certified:?}")]
    OtherName {
        /// The name that it said, cut.
        said: String,
        /// The name that it should have said.
        certified: String,
    },
}

impl Introduction {
    /// Of a peer that must call itself `name`, and that dialled or was dialled.
    pub(crate) fn new(name: String, dialled_by_us: bool) -> Self {
        let awaited = if dialled_by_us { Awaited::Status } else { Awaited::Name };
        Self { name, awaited, frame: Vec::new() }
    }

    /// Takes what has come. `true` when the peer is named, and all else is of no concern.
    pub(crate) fn hear(&mut self, mut bytes: &[u8]) -> Result<bool, IntroductionError> {
        while !bytes.is_empty() {
            let missing = self.missing()?;
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            self.frame.extend_from_slice(taken);
            bytes = rest;
            if self.missing()? == 0 {
                let frame = std::mem::take(&mut self.frame);
                if self.judge(&frame[HEAD..])? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// How many bytes of the head, or then of the frame, are still to come.
    fn missing(&self) -> Result<usize, IntroductionError> {
        let Some(head) = self.frame.first_chunk::<HEAD>() else {
            return Ok(HEAD - self.frame.len());
        };
        let length = u64::from_be_bytes(*head);
        if length > FRAME_BYTES_MAX {
            return Err(IntroductionError::TooLarge(length));
        }
        Ok(HEAD + length as usize - self.frame.len())
    }

    fn judge(&mut self, body: &[u8]) -> Result<bool, IntroductionError> {
        let frame = Network::decode(body).map_err(IntroductionError::Undecodable)?;
        let said = match frame.said {
            Some(Said::Auth(Auth { step })) => step,
            _ => None,
        };
        match (self.awaited, said) {
            (Awaited::Name, Some(Step::Name(named)))
            | (Awaited::Challenge, Some(Step::Challenge(named))) => {
                if named.name == self.name {
                    return Ok(true);
                }
                let said = named.name.chars().take(300).collect();
                Err(IntroductionError::OtherName { said, certified: self.name.clone() })
            }
            (Awaited::Status, Some(Step::Status(_))) => {
                self.awaited = Awaited::Challenge;
                Ok(false)
            }
            _ => Err(IntroductionError::OutOfTurn),
        }
    }
}

/// The bytes of a frame's length, big-endian: `read_u64` in ractor_cluster's `net/session.rs`.
const HEAD: usize = 8;

/// The part of ractor_cluster's `meta.proto` and `auth.proto` that is looked at. Its own types are
/// private; decoded by the same library, with the same numbers, a frame means the same here and
/// there, whatever is said twice in it.
#[derive(Clone, PartialEq, Message)]
struct Network {
    #[prost(oneof = "Said", tags = "1, 2, 3")]
    said: Option<Said>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Said {
    #[prost(message, tag = "1")]
    Auth(Auth),
    #[prost(message, tag = "2")]
    Node(Ignored),
    #[prost(message, tag = "3")]
    Control(Ignored),
}

#[derive(Clone, PartialEq, Message)]
struct Auth {
    #[prost(oneof = "Step", tags = "1, 2, 3, 4, 5, 6")]
    step: Option<Step>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Step {
    #[prost(message, tag = "1")]
    Name(Named),
    #[prost(message, tag = "2")]
    Status(Ignored),
    #[prost(message, tag = "3")]
    ClientStatus(Ignored),
    #[prost(message, tag = "4")]
    Challenge(Named),
    #[prost(message, tag = "5")]
    ClientChallenge(Ignored),
    #[prost(message, tag = "6")]
    Ack(Ignored),
}

#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Ignored {}

#[cfg(test)]
mod tests {
    use super::*;

    const B: &str = "b@b.shop";

    fn frame(said: Said) -> Vec<u8> {
        let body = Network { said: Some(said) }.encode_to_vec();
        [&(body.len() as u64).to_be_bytes()[..], &body].concat()
    }

    fn auth(step: Step) -> Vec<u8> {
        frame(Said::Auth(Auth { step: Some(step) }))
    }

    fn named(name: &str) -> Named {
        Named { name: name.to_owned() }
    }

    #[test]
    fn a_peer_is_named_by_either_side_however_its_words_are_cut() {
        let dialler = auth(Step::Name(named(B)));
        let acceptor = [auth(Step::Status(Ignored {})), auth(Step::Challenge(named(B)))].concat();
        for (dialled_by_us, words) in [(false, dialler), (true, acceptor)] {
            for at_once in 1..=words.len() {
                let mut introduction = Introduction::new(B.into(), dialled_by_us);
                let heard: Vec<_> =
                    words.chunks(at_once).map(|some| introduction.hear(some).unwrap()).collect();
                let (last, before) = heard.split_last().unwrap();
                assert!(*last && before.iter().all(|done| !done), "{at_once}: {heard:?}");
            }
        }
    }

    #[test]
    fn what_follows_the_name_is_of_no_concern() {
        let words = [auth(Step::Name(named(B))), vec![0xff; 64]].concat();
        assert_eq!(Introduction::new(B.into(), false).hear(&words), Ok(true));
    }

    #[test]
    fn another_name_is_refused_also_where_the_right_one_was_said_before() {
        let lie = auth(Step::Name(named("c@c.shop")));
        let refused = Introduction::new(B.into(), false).hear(&lie);
        let wanted =
            IntroductionError::OtherName { said: "c@c.shop".into(), certified: B.to_owned() };
        assert_eq!(refused, Err(wanted.clone()));
        // In protobuf the last of two counts.
        let twice = [auth(Step::Name(named(B))), lie];
        let body = [&twice[0][HEAD..], &twice[1][HEAD..]].concat();
        let words = [&(body.len() as u64).to_be_bytes()[..], &body].concat();
        assert_eq!(Introduction::new(B.into(), false).hear(&words), Err(wanted));
    }

    #[test]
    fn nothing_else_is_let_through_before_the_name() {
        let out_of_turn = [
            frame(Said::Node(Ignored {})),
            frame(Said::Control(Ignored {})),
            auth(Step::Status(Ignored {})),
            auth(Step::Challenge(named(B))),
            vec![0; HEAD],
        ];
        for words in out_of_turn {
            let refused = Introduction::new(B.into(), false).hear(&words);
            assert_eq!(refused, Err(IntroductionError::OutOfTurn), "{words:?}");
        }
        let mut dialled = Introduction::new(B.into(), true);
        assert_eq!(
            dialled.hear(&auth(Step::Challenge(named(B)))),
            Err(IntroductionError::OutOfTurn)
        );
    }

    #[test]
    fn lengths_that_lie_and_nonsense_are_refused() {
        for length in [FRAME_BYTES_MAX + 1, u64::MAX] {
            let refused = Introduction::new(B.into(), false).hear(&length.to_be_bytes());
            assert_eq!(refused, Err(IntroductionError::TooLarge(length)));
        }
        let nonsense = [&4_u64.to_be_bytes()[..], &[0xff; 4]].concat();
        let refused = Introduction::new(B.into(), false).hear(&nonsense);
        assert!(matches!(refused, Err(IntroductionError::Undecodable(_))), "{refused:?}");
    }
}
