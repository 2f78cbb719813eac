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
