//! What a provider keeps of a response: who made it is noted as it passes, and what goes on with it goes to the provider that has it.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame};
use jiff::Timestamp;
use memchr::memmem;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::catalog::Dialect;
use crate::dialect::ir::MediaSource;
use crate::dialect::members::Members;
use crate::dialect::{Ask, Meant};
use crate::error::{self, Refusal};
use crate::gateway::Gateway;
use crate::held::{Held, Keeper, Kind};
use crate::key::KeyId;
use crate::route::{LiveProvider, Target};
use crate::store::StoreError;
use crate::upstream::{AnswerBody, media_of};

/// An answer on its way out that is looked at until its id has passed.
pub(super) struct Noting {
    answer: AnswerBody,
    /// Where the id is noted; `None` once it was, or is not looked for any more.
    note: Option<Note>,
    is_stream: bool,
}

struct Note {
    keeper: Arc<Keeper>,
    key: KeyId,
    provider: String,
    pieces: usize,
}

/// The id is in the first event; one that is not in the first few pieces is not there.
const MOST_PIECES: usize = 8;

/// The targets for a request: those at the provider that keeps what it goes on with, where it goes on with anything.
pub(super) async fn targets(gateway: &Gateway, ask: &Ask, key: KeyId) -> Result<Vec<Target>, Refusal> {
    let files = if ask.called.dialect == Dialect::Gemini { files_named(&ask.body)? } else { Vec::new() };
    let kept = if files.is_empty() { &ask.earlier } else { &files };
    let (Some(holder), Some((kind, id))) = (holder(gateway, key, kept).await?, kept.first()) else {
        return Ok(gateway.router().resolve(&ask.model)?);
    };
    let targets = gateway.router().resolve_at(&ask.model, &holder)?;
    match targets.is_empty() {
        true => Err(elsewhere(*kind, id, &holder)),
        false => Ok(targets),
    }
}

/// Who keeps all of what a request goes on with; none where nothing of it was made through this gateway.
pub(super) async fn holder(gateway: &Gateway, key: KeyId, kept: &[(Kind, String)]) -> Result<Option<Arc<str>>, Refusal> {
    let mut holder: Option<Arc<str>> = None;
    for (kind, id) in kept {
        let Some(found) = gateway.held.holder(key, *kind, id).await.map_err(|e| store_down(&e))? else {
            // What was not made through this gateway is its provider's to judge.
            match gateway.held.is_anyones(*kind, id).await.map_err(|e| store_down(&e))? {
                true => return Err(kind.not_found(id)),
                false => continue,
            }
        };
        if holder.as_ref().is_some_and(|other| *other != found) {
            return Err(elsewhere(*kind, id, &found));
        }
        holder = Some(found);
    }
    Ok(holder)
}

/// Refuses what another key uploaded to Google, where a request that is to be translated names it by its address.
pub(super) async fn check_media(gateway: &Gateway, key: KeyId, meant: &Meant) -> Result<(), Refusal> {
    let Meant::Chat(asked) = meant else { return Ok(()) };
    let named: Vec<(Kind, String)> = media_of(&asked.request)
        .filter_map(|media| match &media.source {
            MediaSource::Url(uri) | MediaSource::File { of: Dialect::Gemini, id: uri } => file_at(uri),
            _ => None,
        })
        .map(|file| (Kind::File, file))
        .collect();
    holder(gateway, key, &named).await.map(drop)
}

/// Google's files that a body names by their addresses, wherever it does: `"fileUri": "https://…/files/ID"`.
pub(super) fn files_named(body: &[u8]) -> Result<Vec<(Kind, String)>, Refusal> {
    let has = |text: &str| memmem::find(body, text.as_bytes()).is_some();
    // An escape may stand for any letter of the name; nearly all bodies have neither.
    let has_letter = || memmem::find_iter(body, b"\\u00").any(|at| matches!(body.get(at + 4), Some(b'4'..=b'7')));
    let mut found = Vec::new();
    if has("fileUri") || has("file_uri") || has_letter() {
        let looking = FilesNamed { into: &mut found, is_address: false };
        let looked = looking.deserialize(&mut serde_json::Deserializer::from_slice(body));
        // What was not looked through to its end may name any file.
        looked.map_err(|e| Refusal::invalid("invalid_json", format!("The body cannot be read: {e}.")))?;
    }
    Ok(found.into_iter().map(|file| (Kind::File, file)).collect())
}

/// `files/ID` in an address, or as the whole of it.
fn file_at(address: &str) -> Option<String> {
    let address = percent_encoding::percent_decode_str(address).decode_utf8_lossy();
    let (_, rest) = address.rsplit_once("files/").filter(|(before, _)| before.is_empty() || before.ends_with('/'))?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(rest.len());
    (end > 0).then(|| format!("files/{}", &rest[..end]))
}

/// Notes who made a whole response.
pub(super) fn note_response(gateway: &Gateway, key: KeyId, provider: &LiveProvider, body: &[u8]) {
    if let Some(id) = id_of(body) {
        gateway.held.note(Held { kind: Kind::Response, id, key, provider: provider.holder(), created: Timestamp::now() });
    }
}

/// The `id` at a document's top level.
pub(super) fn id_of(json: &[u8]) -> Option<String> {
    let members = Members::read(json).ok()?;
    serde_json::from_str(members.get("id")?.raw).ok()
}

/// Who made what cannot be told right now.
pub(super) fn store_down(error: &StoreError) -> Refusal {
    tracing::error!(%error, "it cannot be told who made what a provider keeps: requests for it are refused until it can");
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        error::Kind::Unavailable,
        "store_unavailable",
        "This gateway cannot look up right now what your key made. Your key is fine: try again in a moment.",
    )
}

fn elsewhere(kind: Kind, id: &str, holder: &str) -> Refusal {
    let name = kind.as_str();
    let message = format!("The {name} '{id}' is kept by '{holder}': name a model of that provider, as '{holder}/model'.");
    Refusal::invalid("held_elsewhere", message).with_param("model")
}

// === impl FilesNamed ===

/// Looks through JSON for addresses of files, and builds nothing of it.
struct FilesNamed<'a> {
    into: &'a mut Vec<String>,
    /// The value that comes is one.
    is_address: bool,
}

impl<'de> DeserializeSeed<'de> for FilesNamed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FilesNamed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let is_address = matches!(&*name, "fileUri" | "file_uri");
            map.next_value_seed(FilesNamed { into: self.into, is_address })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(FilesNamed { into: self.into, is_address: false })?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.into.extend(file_at(text).filter(|_| self.is_address));
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

// === impl Noting ===

impl Noting {
    pub(super) fn new(answer: AnswerBody, keeper: &Arc<Keeper>, key: KeyId, provider: &LiveProvider, is_stream: bool) -> Noting {
        let note = Note { keeper: Arc::clone(keeper), key, provider: provider.holder(), pieces: 0 };
        Noting { answer, note: Some(note), is_stream }
    }

    fn look_at(&mut self, piece: &[u8]) {
        let Some(note) = &mut self.note else { return };
        note.pieces += 1;
        let is_last = note.pieces == MOST_PIECES || !self.is_stream;
        let id = if self.is_stream { id_in_events(piece) } else { leading_id(piece) };
        let is_found = id.is_some();
        if let Some(id) = id {
            let (key, provider) = (note.key, note.provider.clone());
            note.keeper.note(Held { kind: Kind::Response, id, key, provider, created: Timestamp::now() });
        }
        if is_found || is_last {
            self.note = None;
        }
    }
}

impl Body for Noting {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.answer).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(piece) = frame.data_ref()
        {
            this.look_at(piece);
        }
        polled
    }
}

/// The id of the response that an event of the first few is about.
fn id_in_events(lines: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Response {
        id: String,
    }
    #[derive(Deserialize)]
    struct Event {
        response: Response,
    }
    let data = lines.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:"));
    data.take(MOST_PIECES).find_map(|json| serde_json::from_slice::<Event>(json).ok()).map(|event| event.response.id)
}

/// The id of a document that is not all here, where it is its first member, as OpenAI writes it.
fn leading_id(start: &[u8]) -> Option<String> {
    let after = start.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start().strip_prefix(b"\"id\"")?;
    let value = after.trim_ascii_start().strip_prefix(b":")?;
    String::deserialize(&mut serde_json::Deserializer::from_slice(value)).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn googles_files_are_found_wherever_a_body_names_them() {
        let named = |body: &str| files_named(body.as_bytes()).unwrap().into_iter().map(|(_, id)| id).collect::<Vec<_>>();
        let part = r#"{"contents":[{"parts":[{"text":"see https://x/files/none"},{"fileData":{"fileUri":"https://g.example/v1beta/files/abc-1?alt=media"}}]}]}"#;
        assert_eq!(named(part), ["files/abc-1"]);
        assert_eq!(named(r#"{"a":{"file_uri":"files/b"},"n":[1,-1,1.5,null,true]}"#), ["files/b"]);
        assert_eq!(named(r#"{"\u0066ileUri":"https:\/\/g.example\/v1\/files\/c"}"#), ["files/c"]);
        assert_eq!(named(r#"{"fileUri":"https://g.example/v1/files/%61bc"}"#), ["files/abc"]);
        for none in [r#"{"fileUri":"gs://bucket/profiles/a"}"#, r#"{"fileUri":"https://youtu.be/x"}"#, r#"{"text":"\u00e4 files/a"}"#] {
            assert!(named(none).is_empty(), "{none}");
        }
        let deep = format!(r#"{{"x":{}{},"fileUri":"files/a"}}"#, "[".repeat(200), "]".repeat(200));
        assert!(files_named(deep.as_bytes()).is_err());
    }
}
