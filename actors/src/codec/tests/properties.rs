use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

/// bincode itself, which must read and write the same bytes. The limit keeps it from aborting.
const BINCODE: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<1_000_000>,
> = bincode::config::standard().with_limit();

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Point),
        any::<u32>().prop_map(Shape::Circle),
        any::<(u64, u64)>().prop_map(|(from, to)| Shape::Segment(Id(from), Id(to))),
    ];
    leaf.prop_recursive(4, 8, 1, |shape| {
        (".*", shape).prop_map(|(name, shape)| Shape::Named { name, shape: Box::new(shape) })
    })
}

fn any_rich() -> impl Strategy<Value = Rich> {
    let numbers = any::<(bool, (u8, i8), (u16, i16), (u32, i32), (u64, i64), (u128, i128))>();
    let plain = any::<((f32, f64), char, String, Vec<u8>, [u16; 3], Option<Option<u8>>, u64)>();
    let words = btree_map(".*", vec(any::<u32>(), 0..4), 0..4);
    (numbers, plain, words, vec(shape(), 0..5)).prop_map(|(numbers, plain, words, shapes)| {
        let (flag, small, medium, wide, wider, widest) = numbers;
        let (floats, letter, text, bytes, array, maybe, id) = plain;
        Rich {
            flag,
            small,
            medium,
            wide,
            wider,
            widest,
            floats,
            letter,
            text,
            bytes,
            array,
            maybe,
            unit: (),
            marker: Marker,
            id: Id(id),
            words,
            shapes,
        }
    })
}

/// Chains of all ways to nest, up to 40 of them, so on both sides of the limit of 64 levels.
fn tree() -> impl Strategy<Value = Tree> {
    vec((0..7, any::<u8>()), 0..40).prop_map(|steps| {
        steps.into_iter().fold(Tree::Leaf, |tree, (way, number)| match way {
            0 => Tree::Boxed(Box::new(tree)),
            1 => Tree::Pair(Box::new(tree), number),
            2 => Tree::Field { tree: Box::new(tree) },
            3 => Tree::Many(vec![Tree::Leaf, tree, Tree::Many(vec![])]),
            4 => Tree::Keyed(HashMap::from([(number, tree)])),
            5 => Tree::Maybe(Some(Box::new(tree))),
            _ => Tree::Many(vec![Tree::Maybe(None), tree]),
        })
    })
}

/// Decodes the bytes as many types, and holds each result against bincode's.
fn agrees_with_bincode(bytes: &[u8]) -> Result<(), TestCaseError> {
    fn on<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<(), TestCaseError> {
        let ours = decoded::<T>(bytes);
        if matches!(ours, Err(DecodeError::TooManyEmpty { .. })) {
            // bincode would be at it for centuries.
            return Ok(());
        }
        let theirs = bincode::serde::decode_from_slice::<T, _>(bytes, BINCODE);
        match (ours, theirs) {
            (Ok(ours), Ok((theirs, len))) => {
                prop_assert_eq!(len, bytes.len());
                prop_assert_eq!(encoded(&ours), encoded(&theirs));
            }
            (Ok(_), Err(error)) => prop_assert!(false, "bincode refuses: {error}"),
            (Err(DecodeError::TrailingBytes { bytes: trailing }), Ok((_, len))) => {
                prop_assert_eq!(len + trailing, bytes.len());
            }
            (Err(DecodeError::TooDeep { .. }), _) => {}
            (Err(error), Ok(_)) => prop_assert!(false, "bincode accepts: {error}"),
            (Err(_), Err(_)) => {}
        }
        Ok(())
    }
    on::<Rich>(bytes)?;
    on::<BTreeMap<u8, Vec<String>>>(bytes)?;
    on::<Vec<(Shape, Option<bool>)>>(bytes)?;
    on::<Vec<Vec<()>>>(bytes)?;
    on::<(u16, i128, char, f64)>(bytes)?;
    on::<Vec<u64>>(bytes)
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(rich in any_rich()) {
        prop_assert_eq!(decoded(&encoded(&rich)), Ok(rich));
    }

    #[test]
    fn bytes_are_those_of_bincode(rich in any_rich()) {
        prop_assert_eq!(encoded(&rich), bincode::serde::encode_to_vec(&rich, BINCODE).unwrap());
    }

    #[test]
    fn what_one_side_accepts_the_other_does(tree in tree(), depth_max in 1_usize..80) {
        let limits = Limits { depth_max, ..Limits::default() };
        let mut bytes = Vec::new();
        match encode_within(&tree, &mut bytes, usize::MAX, limits) {
            Ok(()) => prop_assert_eq!(decode(&bytes, limits), Ok(tree)),
            Err(error) => {
                prop_assert_eq!(error, EncodeError::TooDeep { depth_max });
                let unbounded = Limits { depth_max: usize::MAX, ..limits };
                encode_within(&tree, &mut bytes, usize::MAX, unbounded).unwrap();
                let refused = decode::<Tree>(&bytes, limits);
                prop_assert_eq!(refused, Err(DecodeError::TooDeep { depth_max }));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        agrees_with_bincode(&bytes)?;
        let _ = decoded::<Tree>(&bytes);
    }

    #[test]
    fn bytes_that_look_like_small_numbers_never_panic(bytes in vec(0_u8..8, 0..300)) {
        agrees_with_bincode(&bytes)?;
        let _ = decoded::<Tree>(&bytes);
    }

    #[test]
    fn a_mutated_message_never_panics(
        rich in any_rich(),
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = encoded(&rich);
        for (index, byte) in mutations {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        agrees_with_bincode(&bytes)?;
    }
}
