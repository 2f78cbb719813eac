//! A request's head written, an answer's head read (RFC 9112, sections 2 to 6).

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use httparse::{ParserConfig, Status};

use super::Fault;
use super::framing::Framing;

/// The longest head of an answer, in bytes.
const LONGEST: usize = 256 << 10;
/// The most headers of an answer: of servers in use some send sixty.
const MOST_HEADERS: usize = 128;
/// Room for a head with a long credential.
const USUAL: usize = 1 << 10;
/// What the connection says itself.
const OURS: [HeaderName; 4] = [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// What an answer's head says.
pub(super) struct Head {
    pub(super) parts: Parts,
    pub(super) framing: Framing,
    /// Whether the connection goes on after it.
    pub(super) keeps: bool,
}

/// The head of a POST with a body of that length.
pub fn write_post(path: &str, host: &HeaderValue, headers: &HeaderMap, length: u64) -> Bytes {
    let mut head = Vec::with_capacity(USUAL);
    let mut write = |parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
    write(&[b"POST ", path.as_bytes(), b" HTTP/1.1\r\nhost: ", host.as_bytes(), b"\r\n"]);
    for (name, value) in headers.iter().filter(|(name, _)| !OURS.contains(name)) {
        write(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    write(&[b"content-length: ", itoa::Buffer::new().format(length).as_bytes(), b"\r\n\r\n"]);
    head.into()
}

/// Takes the head of an answer out of what was read, and whatever heads announce it (`100 Continue`, `103 Early Hints`).
pub(super) fn read(read: &mut BytesMut) -> Result<Option<Head>, Fault> {
    while let Some((status, version, headers)) = parse(read)? {
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Fault::Bad("it switches to a protocol that nobody asked for"));
        }
        if !status.is_informational() {
            return head(status, version, headers).map(Some);
        }
    }
    Ok(None)
}

fn parse(read: &mut BytesMut) -> Result<Option<(StatusCode, Version, HeaderMap)>, Fault> {
    if read.is_empty() {
        return Ok(None);
    }
    let mut room = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let length = match ParserConfig::default().parse_response_with_uninit_headers(&mut response, read, &mut room) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if read.len() > LONGEST => return Err(Fault::Bad("the answer's head is too long")),
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Fault::Bad("the answer has too many headers")),
        Err(httparse::Error::Version) => return Err(Fault::Bad("the answer is of another version than HTTP/1.1, or no HTTP")),
        Err(_) => return Err(Fault::Bad("the answer's head is not HTTP")),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Fault::Bad("the answer's status is no number"))?;
    let version = if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let start = read.as_ptr() as usize;
    let place = |part: &[u8]| {
        let begins = part.as_ptr() as usize - start;
        begins..begins + part.len()
    };
    let places: Vec<(Range<usize>, Range<usize>)> =
        response.headers.iter().map(|header| (place(header.name.as_bytes()), place(header.value))).collect();
    // Values share the bytes that were read.
    let bytes = read.split_to(length).freeze();
    let mut headers = HeaderMap::with_capacity(places.len());
    for (name, value) in places {
        let name = HeaderName::from_bytes(&bytes[name]).map_err(|_| Fault::Bad("a header's name is not HTTP"))?;
        let value = HeaderValue::from_maybe_shared(bytes.slice(value)).map_err(|_| Fault::Bad("a header's value is not HTTP"))?;
        headers.append(name, value);
    }
    Ok(Some((status, version, headers)))
}

fn head(status: StatusCode, version: Version, headers: HeaderMap) -> Result<Head, Fault> {
    let is_named = |token: &str| tokens(&headers, header::CONNECTION).any(|named| named.eq_ignore_ascii_case(token));
    let keeps = if version == Version::HTTP_10 { is_named("keep-alive") } else { !is_named("close") };
    let (framing, has_clear_end) = framing(status, version, &headers)?;
    let (mut parts, ()) = Response::new(()).into_parts();
    (parts.status, parts.version, parts.headers) = (status, version, headers);
    Ok(Head { parts, framing, keeps: keeps && has_clear_end })
}

/// How the body ends, and whether that is beyond doubt (RFC 9112, section 6.3).
fn framing(status: StatusCode, version: Version, headers: &HeaderMap) -> Result<(Framing, bool), Fault> {
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok((Framing::Ended, true));
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        if version == Version::HTTP_10 {
            return Err(Fault::Bad("HTTP/1.0 has no transfer-encoding"));
        }
        let is_chunked = tokens(headers, header::TRANSFER_ENCODING).last().is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        return Ok(match is_chunked {
            true => (Framing::ChunkSize, !headers.contains_key(header::CONTENT_LENGTH)),
            false => (Framing::ToClose, false),
        });
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let Some(first) = lengths.next() else { return Ok((Framing::ToClose, false)) };
    let length = length(first).filter(|first| lengths.all(|other| length(other) == Some(*first)));
    Ok((Framing::of_length(length.ok_or(Fault::Bad("its content-length is no number"))?), true))
}

/// A length is digits alone: no sign, as Rust's own reading would allow.
fn length(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

/// The words of a header that is a list.
fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty())
}
