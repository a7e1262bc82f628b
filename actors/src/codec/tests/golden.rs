use super::*;

/// The bytes of [`rich`], part by part.
fn golden() -> Vec<u8> {
    let parts: &[&[u8]] = &[
        &[1],                                           // true
        &[250, 255],                                    // u8 and i8 as they are
        &[251, 251, 0],             // 251 no longer fits one byte: 251, then two bytes
        &[251, 87, 2],              // -300 in zigzag is 599
        &[252, 0, 0, 1, 0],         // 252, then four bytes
        &[252, 255, 255, 255, 255], // i32::MIN in zigzag
        &[253, 255, 255, 255, 255, 255, 255, 255, 255], // 253, then eight bytes
        &[3],                       // -2 in zigzag
        &[254],                     // 254, then sixteen bytes
        &[255; 16],
        &[6],                                  // 3 in zigzag
        &[0, 0, 192, 63],                      // 1.5
        &[0, 0, 0, 0, 0, 0, 208, 191],         // -0.25
        &[195, 169],                           // 'é' in utf-8, no length
        &[6, b'g', b'r', 195, 188, 195, 159],  // text with its length in bytes
        &[2, 0, 255],                          // bytes, with their number
        &[1, 2, 3],                            // an array has no length
        &[1, 0],                               // Some(None)
        &[7],                                  // a newtype is what it holds; units are nothing
        &[2, 1, b'a', 1, 1, 1, b'b', 0],       // a map with its number of entries
        &[4, 0, 1, 9, 2, 1, 2, 3, 1, b'n', 0], // variants by index
    ];
    parts.concat()
}

#[test]
fn the_bytes_of_a_message_do_not_change() {
    assert_eq!(encoded(&rich()), golden());
    assert_eq!(decoded(&golden()), Ok(rich()));
}

#[test]
fn the_codec_id_does_not_change_while_the_bytes_do_not() {
    assert_eq!(CODEC_ID, 1);
}

#[test]
fn a_message_cut_short_anywhere_is_truncated() {
    let bytes = golden();
    for len in 0..bytes.len() {
        assert_eq!(decoded::<Rich>(&bytes[..len]), Err(DecodeError::Truncated), "cut at {len}");
    }
}

#[test]
fn bytes_after_the_value_are_refused() {
    let mut bytes = golden();
    bytes.extend([0, 0]);
    assert_eq!(decoded::<Rich>(&bytes), Err(DecodeError::TrailingBytes { bytes: 2 }));
    assert_eq!(decoded::<()>(&[0]), Err(DecodeError::TrailingBytes { bytes: 1 }));
}

#[test]
fn no_bytes_are_a_value_of_a_type_that_takes_none() {
    assert_eq!(decoded::<()>(&[]), Ok(()));
    assert_eq!(decoded::<Marker>(&[]), Ok(Marker));
    assert_eq!(decoded::<u8>(&[]), Err(DecodeError::Truncated));
}

#[test]
fn messages_are_appended_one_after_the_other() {
    let mut into = vec![9];
    encode(&Shape::Circle(1), &mut into, 2).unwrap();
    encode("ab", &mut into, 3).unwrap();
    assert_eq!(into, [9, 1, 1, 2, b'a', b'b']);
}

#[test]
fn a_small_message_allocates_nothing_where_there_is_room() {
    let mut into = Vec::with_capacity(64);
    let (address, capacity) = (into.as_ptr(), into.capacity());
    encode(&Shape::Segment(Id(u64::MAX), Id(2)), &mut into, 64).unwrap();
    assert_eq!((into.as_ptr(), into.capacity()), (address, capacity));
}
