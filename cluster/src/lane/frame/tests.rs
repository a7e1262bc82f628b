use std::time::Duration;

use proptest::prelude::*;
use umbel_actors::TraceContext;

use super::header::{ASKS, DEADLINES, FIELDS};
use super::*;

fn body(bytes: &[u8]) -> &[u8] {
    let length = first_length(bytes, usize::MAX).unwrap().unwrap();
    assert_eq!(bytes.len(), LENGTH_BYTES + length);
    &bytes[LENGTH_BYTES..]
}

proptest! {
    #[test]
    fn a_message_reads_as_it_was_written(
        actor: u64,
        schema: u32,
        asks in prop::collection::vec((any::<u64>(), any::<Option<u32>>()), 0..5),
        payload: Vec<u8>,
    ) {
        let (ids, remaining): (Vec<_>, Vec<_>) = asks.iter().copied().unzip();
        let remaining = remaining.iter().map(|left| left.map(|left| {
            Duration::from_micros(u64::from(left))
        }));
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        put_deadlines(&mut fields, remaining.clone());
        let header = Header { asks: &ids, fields: &fields };
        let length = message(&mut bytes, actor, schema, header, &payload);
        prop_assert!(length <= LENGTH_BYTES + header.bytes_max() + payload.len());
        let Frame::Message { actor: a, schema: s, asks: read, trace: None, payload: p } =
            Frame::read(body(&bytes)).unwrap() else { panic!() };
        let written: Vec<_> = ids.into_iter().zip(remaining)
            .map(|(correlation, remaining)| Ask { correlation, remaining })
            .collect();
        prop_assert_eq!((a, s, read.collect::<Vec<_>>(), p), (actor, schema, written, &payload[..]));
    }

    #[test]
    fn arbitrary_bytes_are_a_frame_or_an_error(bytes: Vec<u8>) {
        if let Ok(Frame::Message { asks, .. }) = Frame::read(&bytes) {
            prop_assert!(asks.count() <= ASKS_PER_MESSAGE_MAX);
        }
    }
}

#[test]
fn the_other_frames_read_as_they_were_written() {
    let mut bytes = Vec::new();
    answer(&mut bytes, 300, &[1, 2], b"yes");
    let Ok(Frame::Answer { correlation: 300, asks, payload: b"yes" }) = Frame::read(body(&bytes))
    else {
        panic!()
    };
    assert_eq!(asks.map(|ask| ask.correlation).collect::<Vec<_>>(), [1, 2]);
    bytes.clear();
    refusal(&mut bytes, 1, b"no");
    assert_eq!(Frame::read(body(&bytes)), Ok(Frame::Refusal { correlation: 1, why: b"no" }));
    bytes.clear();
    credit(&mut bytes, u64::MAX);
    assert_eq!(Frame::read(body(&bytes)), Ok(Frame::Credit { granted: u64::MAX }));
    bytes.clear();
    cancel(&mut bytes, 7);
    assert_eq!(Frame::read(body(&bytes)), Ok(Frame::Cancel { correlation: 7 }));
    bytes.clear();
    publication(&mut bytes, "news", 5, &[], b"hear");
    let heard = Frame::Publication { topic: "news", schema: 5, trace: None, payload: b"hear" };
    assert_eq!(Frame::read(body(&bytes)), Ok(heard));
    bytes.clear();
    undelivered(&mut bytes, 9, b"gone");
    assert_eq!(Frame::read(body(&bytes)), Ok(Frame::Undelivered { actor: 9, why: b"gone" }));
    bytes.clear();
    pause(&mut bytes, 9);
    assert_eq!(Frame::read(body(&bytes)), Ok(Frame::Pause { actor: 9 }));
    bytes.clear();
    resume(&mut bytes, 9);
    assert_eq!(Frame::read(body(&bytes)), Ok(Frame::Resume { actor: 9 }));
    bytes.clear();
    bulk_wanted(&mut bytes);
    assert_eq!(Frame::read(body(&bytes)), Ok(Frame::BulkWanted));
}

#[test]
fn the_bytes_of_a_message_are_what_they_were_when_the_protocol_was_frozen() {
    let mut bytes = Vec::new();
    message(&mut bytes, 300, 0x0403_0201, &[5], b"x");
    assert_eq!(bytes, [11, 0, 0, 0, 1, 1, 0xac, 2, 1, 2, 3, 4, 1, 5, b'x']);
}

#[test]
fn a_field_that_must_be_understood_is_refused_and_another_is_skipped() {
    let with = |tag: u8| [MESSAGE, FIELDS, 1, 0, 0, 0, 0, 3, tag, 1, 9, b'p'];
    assert_eq!(Frame::read(&with(0x81)), Err(FrameError::UnknownField(0x81)));
    assert!(matches!(Frame::read(&with(0x7f)), Ok(Frame::Message { payload: b"p", .. })));
}

#[test]
fn the_bytes_of_a_deadline_are_what_they_were_when_the_protocol_was_frozen() {
    let (mut bytes, mut fields) = (Vec::new(), Vec::new());
    put_deadlines(&mut fields, [Some(Duration::from_micros(299)), None].into_iter());
    message(&mut bytes, 1, 0, Header { asks: &[5, 6], fields: &fields }, b"x");
    let frame = [1, 3, 1, 0, 0, 0, 0, 2, 5, 6, 5, 1, 3, 0xac, 2, 0, b'x'];
    assert_eq!(bytes[LENGTH_BYTES..], frame);
}

#[test]
fn a_trace_stands_beside_the_deadlines_and_only_the_first_counts() {
    let trace = TraceContext::new(1 << 64 | 2, 3, 1).unwrap().with_state("a=b").unwrap();
    let (mut bytes, mut fields) = (Vec::new(), Vec::new());
    put_deadlines(&mut fields, [Some(Duration::from_micros(299))].into_iter());
    put_trace(&mut fields, &trace);
    put_trace(&mut fields, &TraceContext::new(7, 7, 0).unwrap());
    message(&mut bytes, 1, 0, Header { asks: &[5], fields: &fields }, b"x");
    let Frame::Message { asks, trace: Some(read), payload: b"x", .. } =
        Frame::read(body(&bytes)).unwrap()
    else {
        panic!()
    };
    assert_eq!(TraceContext::read(read), Ok(trace.clone()));

    let mut fields = Vec::new();
    put_trace(&mut fields, &trace);
    let mut bytes = Vec::new();
    publication(&mut bytes, "news", 5, &fields, b"hear");
    let read = Frame::read(&bytes[LENGTH_BYTES..]).unwrap();
    let Frame::Publication { topic: "news", schema: 5, trace: Some(read), payload: b"hear" } = read
    else {
        panic!("{read:?}")
    };
    assert_eq!(TraceContext::read(read), Ok(trace));
    let remaining = Some(Duration::from_micros(299));
    assert_eq!(asks.collect::<Vec<_>>(), [Ask { correlation: 5, remaining }]);
}

#[test]
fn deadlines_for_other_than_each_question_are_refused() {
    for deadlines in [&[][..], &[1], &[1, 1, 1], &[1, 0x80]] {
        let mut frame = vec![MESSAGE, ASKS | FIELDS, 1, 0, 0, 0, 0, 2, 5, 6];
        frame.push(2 + deadlines.len() as u8);
        frame.extend([DEADLINES, deadlines.len() as u8]);
        frame.extend(deadlines);
        assert_eq!(Frame::read(&frame), Err(FrameError::Field(DEADLINES)), "{deadlines:?}");
    }
}

#[test]
fn only_a_message_all_of_whose_askers_have_waited_too_long_is_late() {
    let late = |deadlines: &[u8]| {
        let numbers = vec![5; deadlines.len()];
        Asks { correlations: &numbers, deadlines }.are_late()
    };
    assert!(late(&[1]) && late(&[1, 1]));
    assert!(!late(&[]) && !late(&[0]) && !late(&[2]) && !late(&[1, 2]) && !late(&[0, 1]));
}

#[test]
fn what_an_old_node_does_not_know_it_refuses() {
    assert_eq!(Frame::read(&[99]), Err(FrameError::UnknownKind(99)));
    assert_eq!(Frame::read(&[MESSAGE, 4, 1, 0, 0, 0, 0]), Err(FrameError::UnknownFlags(4)));
    assert_eq!(Frame::read(&[]), Err(FrameError::Truncated));
    assert_eq!(Frame::read(&[CANCEL, 0xff]), Err(FrameError::Truncated));
    let endless = [&[CANCEL][..], &[0xff; 10]].concat();
    assert_eq!(Frame::read(&endless), Err(FrameError::Number));
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_anything_is_reserved() {
    let lie = u32::MAX.to_le_bytes();
    assert!(matches!(first_length(&lie, 1024), Err(FrameError::TooLarge { .. })));
    assert_eq!(first_length(&lie[..3], 1024), Ok(None));
}
