use std::thread;

use super::*;

const TOO_DEEP: DecodeError = DecodeError::TooDeep { depth_max: 64 };

#[derive(Debug, Serialize, Deserialize)]
struct Options(Option<Box<Options>>);

#[derive(Debug, Serialize, Deserialize)]
struct Vecs(Vec<Vecs>);

#[derive(Debug, Serialize, Deserialize)]
struct Maps(BTreeMap<u8, Maps>);

/// Contains itself and nothing else: no value of it exists, and no byte ends it.
#[derive(Debug, Serialize, Deserialize)]
struct Endless(Box<Endless>);

#[derive(Debug, Serialize, Deserialize)]
struct EndlessField {
    unit: (),
    field: Box<EndlessField>,
}

#[derive(Debug, Serialize, Deserialize)]
struct EndlessTuple((), Box<EndlessTuple>);

/// As many bytes as overflow an unguarded stack many times over.
fn flood(piece: &[u8]) -> Vec<u8> {
    piece.repeat(900_000 / piece.len())
}

#[test]
fn deep_enums_are_refused() {
    for piece in [&[1][..], &[2], &[3], &[4, 1], &[5, 1, 0], &[6, 1]] {
        assert_eq!(decoded::<Tree>(&flood(piece)), Err(TOO_DEEP), "of {piece:?}");
    }
}

#[test]
fn deep_boxes_options_and_newtypes_are_refused() {
    assert_eq!(decoded::<Options>(&flood(&[1])).unwrap_err(), TOO_DEEP);
}

#[test]
fn deep_sequences_are_refused() {
    assert_eq!(decoded::<Vecs>(&flood(&[1])).unwrap_err(), TOO_DEEP);
}

#[test]
fn deep_maps_are_refused() {
    assert_eq!(decoded::<Maps>(&flood(&[1])).unwrap_err(), TOO_DEEP);
}

#[test]
fn types_without_end_are_refused_although_they_take_no_bytes() {
    assert_eq!(decoded::<Endless>(&[]).unwrap_err(), TOO_DEEP);
    assert_eq!(decoded::<EndlessField>(&[]).unwrap_err(), TOO_DEEP);
    assert_eq!(decoded::<EndlessTuple>(&[]).unwrap_err(), TOO_DEEP);
}

fn boxes(depth: usize) -> Tree {
    (1..depth).fold(Tree::Leaf, |tree, _| Tree::Boxed(Box::new(tree)))
}

#[test]
fn depth_is_refused_one_above_the_limit_by_both_sides() {
    let at_limit = encoded(&boxes(64));
    assert_eq!(decoded(&at_limit), Ok(boxes(64)));

    let mut into = vec![9];
    let refused = encode(&boxes(65), &mut into, usize::MAX);
    assert_eq!(refused, Err(EncodeError::TooDeep { depth_max: 64 }));
    assert_eq!(into, [9]);
    let above_limit = [vec![1], at_limit].concat();
    assert_eq!(decoded::<Tree>(&above_limit), Err(TOO_DEEP));
}

#[test]
fn depth_counts_what_stands_inside_not_beside() {
    let wide = Tree::Many(vec![Tree::Many(vec![Tree::Leaf; 100]); 100]);
    // The enum, its sequence, and the same again, and the leaf, which is an enum.
    let limits = Limits { depth_max: 5, ..Limits::default() };
    assert_eq!(decode(&encoded(&wide), limits), Ok(wide));
}

#[test]
fn a_depth_of_zero_leaves_plain_values() {
    let limits = Limits { depth_max: 0, ..Limits::default() };
    assert_eq!(decode(&[7], limits), Ok(7_u8));
    assert_eq!(decode(&[1, b'a'], limits), Ok("a".to_owned()));
    assert_eq!(decode(&[0], limits), Ok(None::<u8>));
    assert_eq!(decode::<Marker>(&[], limits), Ok(Marker));
    assert_eq!(decode::<Id>(&[7], limits), Err(DecodeError::TooDeep { depth_max: 0 }));
}

#[test]
fn other_limits_allow_other_depths_on_both_sides() {
    let limits = Limits { depth_max: 200, ..Limits::default() };
    let mut bytes = Vec::new();
    encode_within(&boxes(200), &mut bytes, usize::MAX, limits).unwrap();
    assert_eq!(decode(&bytes, limits), Ok(boxes(200)));
}

/// A kilobyte of value at each level: unoptimized code holds several copies in every frame.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Nasty {
    Leaf,
    Wide([Vec<u64>; 32], String, Box<Nasty>),
    Arrays { first: [[u64; 32]; 3], next: Option<Box<Nasty>> },
    Many(Vec<Nasty>),
}

#[test]
fn the_deepest_message_needs_less_than_half_of_the_stack_of_a_worker_thread() {
    // tokio's threads and Rust's have 2 MiB.
    let decoder = thread::Builder::new().stack_size(1 << 20).spawn(|| {
        let wide = [vec![1], vec![0; 33]].concat();
        let arrays = [vec![2], vec![0; 96], vec![1]].concat();
        for piece in [wide, arrays, vec![3, 1]] {
            assert_eq!(decoded::<Nasty>(&flood(&piece)), Err(TOO_DEEP));
        }
    });
    decoder.unwrap().join().unwrap();
}
