mod golden;
mod hostile;
mod nesting;
mod properties;
mod refusals;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::*;

/// One of everything that has a way of its own onto the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rich {
    flag: bool,
    small: (u8, i8),
    medium: (u16, i16),
    wide: (u32, i32),
    wider: (u64, i64),
    widest: (u128, i128),
    floats: (f32, f64),
    letter: char,
    text: String,
    bytes: Vec<u8>,
    array: [u16; 3],
    maybe: Option<Option<u8>>,
    unit: (),
    marker: Marker,
    id: Id,
    words: BTreeMap<String, Vec<u32>>,
    shapes: Vec<Shape>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Marker;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Id(u64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(u32),
    Segment(Id, Id),
    Named { name: String, shape: Box<Shape> },
}

/// Nests in each way a type can refer to itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Boxed(Box<Tree>),
    Pair(Box<Tree>, u8),
    Field { tree: Box<Tree> },
    Many(Vec<Tree>),
    Keyed(HashMap<u8, Tree>),
    Maybe(Option<Box<Tree>>),
}

fn encoded<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(value, &mut bytes, usize::MAX).expect("the value is encodable");
    bytes
}

fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode(bytes, Limits::default())
}

/// A length as it stands on the wire.
fn length(len: u64) -> Vec<u8> {
    encoded(&len)
}

fn rich() -> Rich {
    Rich {
        flag: true,
        small: (250, -1),
        medium: (251, -300),
        wide: (65_536, i32::MIN),
        wider: (u64::MAX, -2),
        widest: (u128::MAX, 3),
        floats: (1.5, -0.25),
        letter: 'é',
        text: "grüß".to_owned(),
        bytes: vec![0, 255],
        array: [1, 2, 3],
        maybe: Some(None),
        unit: (),
        marker: Marker,
        id: Id(7),
        words: BTreeMap::from([("a".to_owned(), vec![1]), ("b".to_owned(), vec![])]),
        shapes: vec![
            Shape::Point,
            Shape::Circle(9),
            Shape::Segment(Id(1), Id(2)),
            Shape::Named { name: "n".to_owned(), shape: Box::new(Shape::Point) },
        ],
    }
}
