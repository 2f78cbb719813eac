//! What a provider keeps of a response: who made it is noted as it passes, and what goes on with it goes to the provider that has it.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame};
use jiff::Timestamp;
use serde::Deserialize;

use super::naming::{file_ids, files_named};
use crate::catalog::Dialect;
use crate::dialect::Ask;
use crate::dialect::members::Members;
use crate::error::{self, Refusal};
use crate::gateway::Gateway;
use crate::held::{Held, Keeper, Kind};
use crate::key::KeyId;
use crate::prompt::{Prompt, chat};
use crate::route::{LiveProvider, Target};
use crate::store::StoreError;
use crate::upstream::AnswerBody;

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

/// The targets for a request: those at the provider that keeps what it goes on with, where it goes on with anything. A model that leads nowhere is
/// the fault of a prompt that names it.
pub(super) async fn targets(gateway: &Gateway, ask: &Ask, key: KeyId, prompt: &Option<Arc<Prompt>>) -> Result<Vec<Target>, Refusal> {
    let kept: Cow<'_, [(Kind, String)]> = match ask.called.dialect {
        Dialect::Gemini => files_named(&ask.body)?.into(),
        _ if ask.names_files => [ask.earlier.clone(), file_ids(&ask.body)?].concat().into(),
        _ => (&ask.earlier).into(),
    };
    let keeper = holder(gateway, key, &kept).await?;
    let targets = gateway.router().resolve_for(&ask.model, keeper.as_deref());
    let targets = targets.map_err(|no_route| chat::own_fault(prompt, no_route.into()))?;
    match (kept.first(), keeper) {
        (Some((kind, id)), Some(keeper)) if targets.is_empty() => Err(not_there(gateway, *kind, id, &keeper)),
        _ => Ok(targets),
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

/// Notes who made a whole response.
pub(super) fn note_response(gateway: &Gateway, key: KeyId, provider: &LiveProvider, body: &[u8]) {
    if let Some(id) = id_of(body) {
        gateway.held.keep(Held { kind: Kind::Response, id, key, provider: provider.holder(), created: Timestamp::now() });
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

/// What is kept cannot be had from whoever was asked: it is another's, or nobody can ask for it any more.
pub(super) fn not_there(gateway: &Gateway, kind: Kind, id: &str, holder: &str) -> Refusal {
    if gateway.router().provider(holder).is_some() { elsewhere(kind, id, holder) } else { out_of_use(gateway, holder) }
}

/// The credential by which something was made is not used now.
pub(super) fn out_of_use(gateway: &Gateway, holder: &str) -> Refusal {
    let (router, id) = (gateway.router(), provider_of(holder));
    let dormant = || router.dormant().find(|(dormant, _)| *dormant == id).map(|(_, dormant)| dormant.name.clone());
    let name = router.provider(id).map(|provider| provider.name.clone()).or_else(dormant).unwrap_or_else(|| id.to_owned());
    let message = format!(
        "{name} keeps this for a credential that this gateway does not use now, and no other can ask for it. Your own key is fine: tell whoever runs this gateway."
    );
    let mut refusal = Refusal::new(StatusCode::BAD_GATEWAY, error::Kind::Upstream, "provider_credential_unusable", message);
    refusal.provider = Some(id.to_owned());
    refusal
}

/// The provider of one of its lines, `id` or `id#credential`.
pub(super) fn provider_of(holder: &str) -> &str {
    holder.split('#').next().unwrap_or_default()
}

/// It is kept by another provider than the one that is asked.
pub(super) fn elsewhere(kind: Kind, id: &str, holder: &str) -> Refusal {
    // Credentials are nothing that its callers choose.
    let (name, holder) = (kind.as_str(), provider_of(holder));
    let message = format!("The {name} '{id}' is kept by '{holder}': name a model of that provider, as '{holder}/model'.");
    Refusal::invalid("held_elsewhere", message).with_param("model")
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
            note.keeper.keep(Held { kind: Kind::Response, id, key, provider, created: Timestamp::now() });
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
