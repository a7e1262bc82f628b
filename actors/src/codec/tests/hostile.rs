use std::cell::Cell;
use std::collections::BTreeSet;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

use super::*;

/// Lengths that no message can keep: one too many, and those that would abort an allocator or
/// overflow a product.
const LIES: [u64; 6] = [4, 1 << 20, 1 << 32, 1 << 46, u64::MAX / 8, u64::MAX];

/// Puts each lie before three bytes of content.
fn refuses_lies<T: DeserializeOwned + std::fmt::Debug + PartialEq>() {
    for lie in LIES {
        let bytes = [length(lie), vec![0; 3]].concat();
        assert_eq!(decoded::<T>(&bytes), Err(DecodeError::Truncated), "length {lie}");
    }
}

#[test]
fn a_string_whose_length_lies_is_truncated() {
    refuses_lies::<String>();
    refuses_lies::<Box<str>>();
}

#[test]
fn a_vec_of_bytes_whose_length_lies_is_truncated() {
    refuses_lies::<Vec<u8>>();
    refuses_lies::<std::ffi::CString>();
}

#[test]
fn a_vec_of_numbers_whose_length_lies_is_truncated() {
    refuses_lies::<Vec<u64>>();
    refuses_lies::<Vec<[u128; 8]>>();
}

#[test]
fn a_map_whose_length_lies_is_truncated() {
    refuses_lies::<HashMap<u64, u64>>();
    refuses_lies::<BTreeMap<u8, ()>>();
    refuses_lies::<BTreeSet<String>>();
}

#[test]
fn lengths_that_lie_inside_one_another_are_truncated() {
    for lie in LIES {
        let bytes = [length(lie), length(lie), length(lie), vec![1]].concat();
        assert_eq!(decoded::<Vec<Vec<Vec<u64>>>>(&bytes), Err(DecodeError::Truncated));
        assert_eq!(decoded::<Vec<(Vec<u8>, String)>>(&bytes), Err(DecodeError::Truncated));
    }
}

/// Reads sequences of sequences without end, and notes how many elements it was told to expect.
#[derive(Clone, Copy)]
struct Hints<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Hints<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Hints<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.set(self.0.get() + seq.size_hint().ok_or_else(|| A::Error::custom("no hint"))?);
        while seq.next_element_seed(self)?.is_some() {}
        Ok(())
    }
}

/// Collections reserve memory by the hint, so this bounds what a message makes them reserve.
fn elements_reserved_for(bytes: &[u8]) -> usize {
    let hints = Cell::new(0);
    let _ = Hints(&hints).deserialize(Decoder::new(&mut Input::new(bytes, Limits::default())));
    hints.get()
}

#[test]
fn nested_lies_reserve_no_more_elements_than_the_message_has_bytes() {
    let mut bytes = Vec::new();
    for _ in 0..60 {
        bytes.extend(length(u64::MAX));
    }
    bytes.resize(100_000, 0);
    assert_eq!(elements_reserved_for(&bytes), bytes.len());
}

#[test]
fn lies_in_a_row_reserve_no_more_elements_than_the_message_has_bytes() {
    // Every inner sequence is empty but the last ones, which lie.
    let bytes = [length(1000), vec![0; 900], [length(90)].concat(), vec![250; 500]].concat();
    assert!(elements_reserved_for(&bytes) <= bytes.len());
}

#[test]
fn an_honest_message_has_all_its_room_reserved() {
    let honest = vec![vec![vec![(); 0]; 5]; 4];
    // Four sequences in the outermost, five in each of those, none in the innermost.
    assert_eq!(elements_reserved_for(&encoded(&honest)), 4 + 4 * 5);
}

proptest::proptest! {
    #[test]
    fn no_bytes_reserve_more_elements_than_there_are_bytes(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
    ) {
        proptest::prop_assert!(elements_reserved_for(&bytes) <= bytes.len());
    }
}

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Skipped {
    #[serde(skip)]
    number: u64,
}

/// The flood that is refused is one above the budget; at the budget it is a message.
fn refuses_floods<T: DeserializeOwned + std::fmt::Debug>() {
    let limits = Limits { empty_elements_max: 100, ..Limits::default() };
    let too_many = DecodeError::TooManyEmpty { empty_elements_max: 100 };
    decode::<T>(&length(100), limits).expect("the budget can be used up");
    for flood in [101, 1 << 30, u64::MAX] {
        assert_eq!(decode::<T>(&length(flood), limits).unwrap_err(), too_many);
    }
    let too_many = DecodeError::TooManyEmpty { empty_elements_max: 65_536 };
    assert_eq!(decoded::<T>(&length(1 << 30)).unwrap_err(), too_many);
}

#[test]
fn a_flood_of_units_is_refused() {
    refuses_floods::<Vec<()>>();
    refuses_floods::<BTreeSet<()>>();
}

#[test]
fn a_flood_of_structs_without_bytes_is_refused() {
    refuses_floods::<Vec<Marker>>();
    refuses_floods::<Vec<Skipped>>();
    refuses_floods::<Vec<((), [Marker; 3])>>();
}

#[test]
fn a_flood_of_map_entries_without_bytes_is_refused() {
    refuses_floods::<BTreeMap<(), ()>>();
    refuses_floods::<HashMap<Skipped, Marker>>();
}

#[test]
fn a_flood_of_keys_without_bytes_is_refused_whatever_the_values_take() {
    let bytes = [length(200), vec![7; 200]].concat();
    let limits = Limits { empty_elements_max: 100, ..Limits::default() };
    let too_many = DecodeError::TooManyEmpty { empty_elements_max: 100 };
    assert_eq!(decode::<BTreeMap<(), u8>>(&bytes, limits), Err(too_many));
}

#[test]
fn nested_floods_share_one_budget() {
    let bytes = [length(11), length(10).repeat(11)].concat();
    let limits = Limits { empty_elements_max: 110, ..Limits::default() };
    assert_eq!(decode::<Vec<Vec<()>>>(&bytes, limits).unwrap().concat().len(), 110);
    let limits = Limits { empty_elements_max: 109, ..limits };
    let too_many = DecodeError::TooManyEmpty { empty_elements_max: 109 };
    assert_eq!(decode::<Vec<Vec<()>>>(&bytes, limits), Err(too_many));
}

#[test]
fn elements_that_take_bytes_cost_nothing_of_the_budget() {
    let limits = Limits { empty_elements_max: 0, ..Limits::default() };
    assert_eq!(decode::<Vec<u8>>(&encoded(&vec![1_u8; 1000]), limits).unwrap().len(), 1000);
    assert_eq!(decode::<Rich>(&encoded(&rich()), limits), Ok(rich()));
}
