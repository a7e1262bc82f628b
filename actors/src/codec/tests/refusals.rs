use std::panic::{self, AssertUnwindSafe};

use serde::de::{Deserializer, Error as _};
use serde::ser::{Error as _, SerializeSeq, Serializer};

use super::*;

#[track_caller]
fn malformed<T: DeserializeOwned + std::fmt::Debug + PartialEq>(bytes: &[u8], text: &str) {
    assert_eq!(decoded::<T>(bytes), Err(DecodeError::Malformed(text.to_owned())));
}

#[test]
fn an_unknown_variant_is_malformed() {
    malformed::<Shape>(&[4], "invalid value: integer `4`, expected variant index 0 <= i < 4");
}

#[test]
fn text_that_is_not_utf8_is_malformed() {
    malformed::<String>(&[2, b'a', 255], "invalid utf-8 sequence of 1 bytes from index 1");
}

#[test]
fn a_bool_or_option_of_two_is_malformed() {
    malformed::<bool>(&[2], "a bool is 2, neither 0 nor 1");
    malformed::<Option<u8>>(&[2, 0], "an option is 2, neither 0 nor 1");
}

#[test]
fn a_char_that_is_none_is_malformed() {
    let text = "a char is not one character of utf-8";
    malformed::<char>(&[0x80], text); // a continuation byte
    malformed::<char>(&[0xED, 0xA0, 0x80], text); // a surrogate
    malformed::<char>(&[0xC3, 0xC3], text); // an unfinished character
}

#[test]
fn an_integer_wider_than_its_type_is_malformed() {
    let text = "an integer is too wide for its type";
    malformed::<u16>(&[252, 0, 0, 0, 0], text);
    malformed::<i32>(&[253, 0, 0, 0, 0, 0, 0, 0, 0], text);
    malformed::<Vec<u8>>(&[254, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], text);
    malformed::<u64>(&[255], text);
}

#[test]
fn a_type_that_asks_the_format_what_comes_next_is_undecodable() {
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only refused")]
    enum Untagged {
        Number(u8),
    }
    let error = decoded::<Untagged>(&[1]).unwrap_err();
    assert_eq!(error, DecodeError::Undecodable("asks what value comes next"));
}

/// Refuses to be written or read, at length.
#[derive(Debug, PartialEq)]
struct Objector;

impl Serialize for Objector {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom(format!("i object{}", "é".repeat(1_000_000))))
    }
}

impl<'de> Deserialize<'de> for Objector {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(format!("i object{}", "é".repeat(1_000_000))))
    }
}

#[test]
fn a_users_own_error_is_passed_through_and_cut() {
    let mut into = vec![9];
    let Err(EncodeError::Unencodable(text)) = encode(&(1, Objector), &mut into, 10) else {
        panic!("it was encoded");
    };
    assert!(text.starts_with("i objecté") && (255..=256).contains(&text.len()), "{text}");
    assert_eq!(into, [9]);

    let Err(DecodeError::Malformed(text)) = decoded::<Objector>(&[]) else {
        panic!("it was decoded");
    };
    assert!(text.starts_with("i objecté") && (255..=256).contains(&text.len()), "{text}");
}

#[test]
fn errors_say_what_became_of_the_message() {
    let error = EncodeError::TooLarge { bytes_max: 7 };
    assert_eq!(error.to_string(), "the message was not encoded: it takes more than 7 bytes");
    let error = DecodeError::Undecodable("asks to skip a value");
    assert_eq!(
        error.to_string(),
        "the message was refused: its type asks to skip a value, which this format cannot answer: \
         take serde's `untagged`, `tag` or `flatten` out of it"
    );
}

#[test]
fn a_message_may_be_as_large_as_the_bound_and_no_larger() {
    let len = encoded(&rich()).len();
    for bytes_max in 0..len {
        let mut into = vec![9; 5];
        let refused = encode(&rich(), &mut into, bytes_max);
        assert_eq!(refused, Err(EncodeError::TooLarge { bytes_max }));
        assert_eq!(into, [9; 5]);
    }
    let mut into = vec![9; 5];
    encode(&rich(), &mut into, len).unwrap();
    assert_eq!(into.len(), 5 + len);
}

/// A sequence of `announced` elements that turns out to have `written`.
struct Sequence {
    announced: usize,
    written: usize,
}

impl Serialize for Sequence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.announced))?;
        for _ in 0..self.written {
            seq.serialize_element(&0_u64)?;
        }
        seq.end()
    }
}

#[test]
fn a_value_that_is_too_large_is_refused_before_it_is_buffered() {
    let endless = Sequence { announced: usize::MAX, written: usize::MAX };
    let mut into = Vec::new();
    let refused = encode(&endless, &mut into, 1000);
    assert_eq!(refused, Err(EncodeError::TooLarge { bytes_max: 1000 }));
    assert!(into.is_empty() && into.capacity() <= 2000, "capacity {}", into.capacity());

    let huge = "x".repeat(1 << 24);
    let mut into = Vec::new();
    let refused = encode(&huge, &mut into, 1 << 20);
    assert_eq!(refused, Err(EncodeError::TooLarge { bytes_max: 1 << 20 }));
    assert!(into.capacity() <= 64, "capacity {}", into.capacity());
}

#[track_caller]
fn unencodable<T: Serialize>(value: &T, part_of_text: &str) {
    let mut into = vec![9];
    match encode(value, &mut into, usize::MAX) {
        Err(EncodeError::Unencodable(text)) => assert!(text.contains(part_of_text), "{text}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(into, [9]);
}

#[test]
fn a_sequence_of_another_length_than_announced_is_unencodable() {
    unencodable(&Sequence { announced: 3, written: 2 }, "another length");
    unencodable(&Sequence { announced: 3, written: 4 }, "another length");
    assert_eq!(encoded(&Sequence { announced: 3, written: 3 }), [3, 0, 0, 0]);
}

#[test]
fn a_struct_that_leaves_fields_out_is_unencodable() {
    #[derive(Serialize)]
    struct Sparse {
        #[serde(skip_serializing_if = "Option::is_none")]
        maybe: Option<u8>,
        number: u8,
    }
    unencodable(&Sparse { maybe: None, number: 1 }, "`maybe`");
    assert_eq!(encoded(&Sparse { maybe: Some(2), number: 1 }), [1, 2, 1]);
}

#[test]
fn a_struct_with_flattened_fields_is_unencodable() {
    #[derive(Serialize)]
    struct Outer {
        #[serde(flatten)]
        inner: HashMap<String, u8>,
    }
    unencodable(&Outer { inner: HashMap::new() }, "does not say its length");
}

#[test]
fn a_flood_that_the_receiver_would_refuse_is_not_sent() {
    let flood = vec![(); 65_537];
    let refused = encode(&flood, &mut Vec::new(), usize::MAX);
    assert_eq!(refused, Err(EncodeError::TooManyEmpty { empty_elements_max: 65_536 }));
    assert_eq!(decoded::<Vec<()>>(&encoded(&flood[1..])).unwrap().len(), 65_536);
}

#[test]
fn a_panic_while_encoding_leaves_nothing_behind() {
    struct Bomb;

    impl Serialize for Bomb {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("boom");
        }
    }

    let mut into = vec![9];
    let encoding = AssertUnwindSafe(|| encode(&("half a message", Bomb), &mut into, 100));
    assert!(panic::catch_unwind(encoding).is_err());
    assert_eq!(into, [9]);
}
