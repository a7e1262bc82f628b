//! What a process and its run tell each other: a JSON object a line.

use serde::{Deserialize, Serialize};

use crate::record::Record;
use crate::standing::Standing;

/// What a process tells.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    /// Where it listens.
    Listens(String),
    /// What somebody on it saw or did.
    Record(Record),
    /// How things stand there.
    Standing(Box<Standing>),
    /// What came of [`Order::Ask`].
    Asked {
        /// The order's number.
        number: u64,
        /// Why not all have answered, if they have not.
        trouble: Option<String>,
    },
}

/// What a process is told.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Ask all players, everywhere, until all have answered several times in a row.
    Ask {
        /// Names the answer.
        number: u64,
        /// How many players there must be.
        players: usize,
    },
    /// Leave things as they are, or not any more: see [`Calm`](crate::cast::Calm).
    Calm(bool),
    /// Say goodbye and end.
    Leave,
}

/// The line that says it, with its end.
pub(super) fn line(what: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(what).expect("what is told has names for keys");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_one_line_and_comes_back_as_it_was() {
        let told = [
            Told::Listens("127.0.0.1:1".to_owned()),
            Told::Record(Record::Died { actor: "a line\nand another".to_owned() }),
            Told::Asked { number: 7, trouble: None },
        ];
        for one in told {
            let line = line(&one);
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(serde_json::from_slice::<Told>(&line).expect("it was written so"), one);
        }
    }
}
