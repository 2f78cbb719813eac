#![allow(clippy::unwrap_used)]

use super::*;

fn events(pieces: &[&[u8]]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut sse = Sse::default();
    let mut take = |event: &SseEvent| out.push((event.event.clone(), String::from_utf8(event.data.clone()).unwrap()));
    for piece in pieces {
        sse.push(piece, &mut take);
    }
    sse.finish(&mut take);
    out
}

#[test]
fn events_torn_anywhere_read_alike() {
    let text = b": hello\n\nevent: a\ndata: {\"x\":1}\n\ndata:two\r\ndata: lines\r\n\r\nid: 7\n\nevent: end\ndata";
    let expected = events(&[text]);
    assert_eq!(expected, [("a", "{\"x\":1}"), ("", "two\nlines"), ("end", "")].map(|(event, data)| (event.to_owned(), data.to_owned())));
    for first in 0..text.len() {
        for second in first..text.len() {
            assert_eq!(events(&[&text[..first], &text[first..second], &text[second..]]), expected, "{first} {second}");
        }
    }
}

#[test]
fn what_is_written_is_read() {
    let mut out = Vec::new();
    write_sse("name", b"{}", &mut out);
    write_sse("", b"[DONE]", &mut out);
    assert_eq!(events(&[&out]), [("name".to_owned(), "{}".to_owned()), (String::new(), "[DONE]".to_owned())]);
}

/// What a message of an event stream says, or that it is broken.
type Told = Result<(AwsKind, String, Vec<u8>), Broken>;

fn frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Told> {
    let (mut frames, mut out) = (AwsFrames::default(), Vec::new());
    for piece in pieces {
        frames.push(piece, |frame| out.push(frame.map(|frame| (frame.kind, frame.name.to_owned(), frame.payload.to_vec()))));
    }
    out
}

fn aws_stream() -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(AwsKind::Event, "messageStart", &mut out, |out| out.extend_from_slice(b"{}"));
    write_frame(AwsKind::Event, "ping", &mut out, |_| {});
    write_frame(AwsKind::Exception, "throttlingException", &mut out, |out| out.extend_from_slice(b"{\"message\":\"slower\"}"));
    out
}

#[test]
fn aws_messages_torn_anywhere_read_alike() {
    let stream = aws_stream();
    let expected = [
        Ok((AwsKind::Event, "messageStart".to_owned(), b"{}".to_vec())),
        Ok((AwsKind::Event, "ping".to_owned(), Vec::new())),
        Ok((AwsKind::Exception, "throttlingException".to_owned(), b"{\"message\":\"slower\"}".to_vec())),
    ];
    for cut in 0..stream.len() {
        assert_eq!(frames([&stream[..cut], &stream[cut..]]), expected, "{cut}");
    }
    assert_eq!(frames(stream.chunks(1)), expected);
}

#[test]
fn damage_to_an_aws_message_is_seen_wherever_it_is() {
    let stream = aws_stream();
    for at in 0..stream.len() {
        let mut damaged = stream.clone();
        damaged[at] ^= 4;
        let read = frames([&damaged[..]]);
        assert!(read.iter().any(Result::is_err) && read.iter().filter(|frame| frame.is_ok()).count() < 3, "{at}: {read:?}");
    }
}

/// A message whose headers are of every type, as the specification's own tests have them.
#[test]
fn aws_headers_of_every_type_are_passed_over() {
    let mut headers = Vec::new();
    let values: [(u8, &[u8]); 10] = [
        (0, b""),
        (1, b""),
        (2, b"\x01"),
        (3, b"\x00\x01"),
        (4, b"\x00\x00\x00\x01"),
        (5, &[0; 8]),
        (6, b"\x00\x03abc"),
        (8, &[0; 8]),
        (9, &[0; 16]),
        (7, b"\x00\x05event"),
    ];
    for (of, value) in values {
        let name: &[u8] = if of == 7 { b":message-type" } else { b"x" };
        headers.push(name.len() as u8);
        headers.extend_from_slice(name);
        headers.push(of);
        headers.extend_from_slice(value);
    }
    let total = (16 + headers.len() + 2) as u32;
    let mut message = [total.to_be_bytes(), (headers.len() as u32).to_be_bytes()].concat();
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message.extend_from_slice(&headers);
    message.extend_from_slice(b"{}");
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    assert_eq!(frames([&message[..]]), [Ok((AwsKind::Event, String::new(), b"{}".to_vec()))]);
}
