//! What holds for every decoder whatever bytes it is given: it does not panic, and what it makes of them can be written and read again.
//!
//! One function for requests, one for answers, one for streams.

use keyward::catalog::{Dialect, Operation};
use keyward::dialect::ir::{Dropped, Event, Opening, Request};
use keyward::dialect::members::Members;
use keyward::dialect::translate::Translation;
use keyward::dialect::{Ask, Asked, Called, Codec, Meter, To, codec, wire};

use bytes::Bytes;
use serde_json::Value;

/// A caller's request: what is read can be written for every dialect, and what is written for its own is read again.
pub fn request(dialect: Dialect, bytes: &[u8]) {
    let _ = Ask::read(called(dialect), Bytes::copy_from_slice(bytes));
    let Ok(request) = codec(dialect).decode_request(&called(dialect), bytes) else { return };
    for to in Dialect::ALL {
        let told = To { model: "model", facts: None };
        let Ok(body) = codec(to).encode_request(&request, &told, &mut Dropped::default()) else { continue };
        is_json(to, &body);
        // To some a request without a word means something else than a chat.
        let says = request.messages.iter().any(|message| !message.content.is_empty());
        if to == dialect
            && says
            && let Err(refusal) = codec(to).decode_request(&called(to), &body)
        {
            panic!("what was read and written is refused: {}\n{}", refusal.message, String::from_utf8_lossy(&body));
        }
    }
}

/// A provider's whole answer: what is read can be written for every dialect, and what is written for its own is read again.
pub fn answer(dialect: Dialect, bytes: &[u8]) {
    let mut meter = Meter::whole(wire(dialect).tells);
    meter.pass(Bytes::copy_from_slice(bytes));
    let read = meter.finish().1;
    if let Ok(members) = Members::read(bytes) {
        let by_members = Meter::read_whole(wire(dialect).tells, &members, bytes);
        assert!(read.usage.is_none() || read.usage == by_members.usage, "{read:?} in all, {by_members:?} by its members");
    }
    let Ok(answer) = codec(dialect).decode_answer(bytes) else { return };
    for to in Dialect::ALL {
        let body = codec(to).encode_answer(answer.clone(), &asked(to, false), &mut Dropped::default());
        is_json(to, &body);
        if to == dialect
            && let Err(why) = codec(to).decode_answer(&body)
        {
            panic!("what was read and written is wrong: {why}\n{}", String::from_utf8_lossy(&body));
        }
    }
}

/// A provider's stream: torn anywhere it says the same, and it can be told in every dialect.
pub fn stream(dialect: Dialect, bytes: &[u8]) {
    let whole = events(codec(dialect), [bytes]);
    for length in [1, 7] {
        let torn = events(codec(dialect), bytes.chunks(length));
        assert!(torn == whole, "in pieces of {length} it says\n{torn:?}\nand not\n{whole:?}");
    }
    for to in Dialect::ALL {
        let mut translation = Translation::new(dialect, &asked(to, true));
        bytes.chunks(61).for_each(|piece| drop(translation.pass(piece)));
        translation.finish();
    }
    let meter = || match dialect {
        Dialect::BedrockConverse => Meter::frames(wire(dialect).tells),
        _ => Meter::stream(wire(dialect).tells, dialect == Dialect::OpenaiChat),
    };
    let (whole, torn) = (passed(meter(), [bytes]), passed(meter(), bytes.chunks(7)));
    assert!(torn == whole, "in pieces other bytes go by: {:?}, not {:?}", Bytes::from(torn), Bytes::from(whole));
}

fn events<'a>(codec: &dyn Codec, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let (mut reader, mut events) = (codec.stream_reader(), Vec::new());
    pieces.into_iter().for_each(|piece| reader.push(piece, &mut events));
    reader.finish(&mut events);
    // Ids that the provider did not give are made, and so are others each time.
    for event in &mut events {
        if let Event::Start { id, .. } | Event::Open { opening: Opening::ToolCall { id, .. }, .. } = event {
            id.clear();
        }
    }
    events
}

fn passed<'a>(mut meter: Meter, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    pieces.into_iter().for_each(|piece| out.extend_from_slice(&meter.pass(Bytes::copy_from_slice(piece))));
    out.extend_from_slice(&meter.finish().0);
    out
}

fn is_json(dialect: Dialect, body: &[u8]) {
    if let Err(e) = serde_json::from_slice::<Value>(body) {
        panic!("what is written for {dialect:?} is no JSON: {e}\n{}", String::from_utf8_lossy(body));
    }
}

fn called(dialect: Dialect) -> Called {
    // Where the path names the model, the body does not.
    Called { model: Some("model".to_owned()), ..Called::new(Operation::Chat, dialect) }
}

fn asked(dialect: Dialect, stream: bool) -> Asked {
    let request = Request { model: "model".to_owned(), stream, ..Request::default() };
    Asked { called: called(dialect), request: request.into(), body: Bytes::new() }
}
