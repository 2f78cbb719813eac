//! The events of a session that bring a response about or end one, and nothing else of what passes.
//!
//! Source: OpenAI's Realtime reference.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;

use super::meter;
use crate::dialect::members::Members;
use crate::error::Refusal;
use crate::ledger::record::Usage;

/// A caller's event, as far as it is read.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// What it may bring about.
    pub what: What,
    /// What its caller calls it.
    pub event_id: Option<String>,
    /// The most tokens that the response may have.
    pub max_output: Option<u64>,
}

/// What a caller's event may bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A response.
    Create,
    /// One as well, where the provider listens for the end of what is said.
    Sound,
    /// Nothing by itself.
    Other,
}

/// A provider's event, as far as it is read.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// A response begins.
    Created,
    /// One has ended, with what it used.
    Done(Option<Usage>),
    /// An event is refused: the one of that name, where that is told.
    Error(Option<String>),
    /// How the session is: the model that writes out what it hears, where there is one.
    Session(Option<String>),
    /// What was said is complete.
    Committed,
    /// It is written out, which used so much.
    Transcribed(Option<Usage>),
    /// It could not be.
    NotTranscribed,
}

/// Made once: making one costs as much as searching a kilobyte.
static MARKS: LazyLock<[Finder<'static>; 7]> = LazyLock::new(|| {
    let marks = [
        "\"response.created\"",
        "\"response.done\"",
        "\"error\"",
        "session.created\"",
        "session.updated\"",
        "\"input_audio_buffer.committed\"",
        "\"conversation.item.input_audio_transcription.",
    ];
    marks.map(|mark| Finder::new(mark.as_bytes()))
});

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    error: Option<About>,
}

#[derive(Deserialize)]
struct About {
    event_id: Option<String>,
}

#[derive(Deserialize)]
struct SessionEvent {
    session: Session,
}

/// A session, as far as it says who writes out what it hears: where sessions have that now, and where they had it before.
#[derive(Deserialize)]
struct Session {
    audio: Option<Audio>,
    input_audio_transcription: Option<Transcription>,
}

#[derive(Deserialize)]
struct Audio {
    input: Option<AudioIn>,
}

#[derive(Deserialize)]
struct AudioIn {
    transcription: Option<Transcription>,
}

#[derive(Deserialize)]
struct Transcription {
    model: Option<String>,
}

/// The names of a limit, newer and older.
#[derive(Deserialize)]
struct Limits {
    max_output_tokens: Option<serde_json::Value>,
    max_response_output_tokens: Option<serde_json::Value>,
}

// === impl Asked ===

impl Asked {
    /// Reads an event; a refusal where it is no JSON object, or has a name twice, of which a provider could take the other.
    pub fn read(event: &[u8]) -> Result<Asked, Refusal> {
        let members = Members::read(event).map_err(|e| Refusal::invalid("invalid_event", format!("The event is no JSON object: {e}.")))?;
        let text = |name: &str| members.get(name).and_then(|member| serde_json::from_str::<String>(member.raw).ok());
        let what = match text("type").as_deref() {
            Some("response.create") => What::Create,
            Some("input_audio_buffer.append") => What::Sound,
            _ => What::Other,
        };
        let limits: Option<Limits> = members.get("response").and_then(|member| serde_json::from_str(member.raw).ok());
        let named = limits.into_iter().flat_map(|limits| [limits.max_output_tokens, limits.max_response_output_tokens]).flatten();
        // `inf` is none, and whichever of two names its provider reads may have it.
        let named: Option<Vec<u64>> = named.map(|limit| limit.as_u64()).collect();
        let max_output = named.and_then(|named| named.into_iter().max());
        Ok(Asked { what, event_id: text("event_id"), max_output })
    }
}

// === impl Session ===

impl Session {
    fn transcriber(self) -> Option<String> {
        let now = self.audio.and_then(|audio| audio.input?.transcription);
        now.or(self.input_audio_transcription)?.model
    }
}

// === impl Told ===

impl Told {
    /// Reads an event, where it is one of these.
    pub fn read(text: &str) -> Option<Told> {
        MARKS.iter().find(|mark| mark.find(text.as_bytes()).is_some())?;
        let event: Event<'_> = serde_json::from_str(text).ok()?;
        match &*event.kind {
            "response.created" => Some(Told::Created),
            "response.done" => Some(Told::Done(meter::read(text))),
            "error" => Some(Told::Error(event.error.and_then(|about| about.event_id))),
            "session.created" | "session.updated" | "transcription_session.created" | "transcription_session.updated" => {
                let told: Option<SessionEvent> = serde_json::from_str(text).ok();
                told.map(|told| Told::Session(told.session.transcriber()))
            }
            "input_audio_buffer.committed" => Some(Told::Committed),
            "conversation.item.input_audio_transcription.completed" => Some(Told::Transcribed(meter::read_transcript(text))),
            "conversation.item.input_audio_transcription.failed" => Some(Told::NotTranscribed),
            _ => None,
        }
    }
}
