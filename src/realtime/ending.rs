//! How a session ends: what each side is told, and what the ledger says of it.
//!
//! Source: RFC 6455, section 7.4; OpenAI's Realtime reference, server event `error`.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Utf8Bytes};

use crate::error::{Kind, Refusal};
use crate::ledger::record::Outcome;
use crate::surface::openai;
use crate::ticket;
use crate::upstream::{Failure, Who};

/// The first thing that keeps a session from going on.
pub enum End {
    /// The caller closes it.
    Caller(Option<CloseFrame>),
    /// The provider closes it.
    Provider(Option<CloseFrame>),
    /// The caller's connection is gone, or holds what is no WebSocket.
    CallerBroke(Error),
    /// The provider's is.
    ProviderBroke(Error),
    /// The key may not go on.
    Refused(Refusal),
    /// Neither side has said anything for long.
    Idle,
    /// This gateway stops.
    Stopping,
}

/// What is told on the way out.
pub struct Ending {
    /// For the ledger.
    pub outcome: Outcome,
    /// For the log, where it was not one of the two sides that closed.
    pub code: Option<&'static str>,
    /// An event for the caller, before its close.
    pub event: Option<String>,
    /// How the caller's side is closed.
    pub to_caller: Option<CloseFrame>,
    /// How the provider's side is closed.
    pub to_provider: Option<CloseFrame>,
}

// === impl End ===

impl End {
    /// What follows from it.
    pub fn ending(self, provider: &Who) -> Ending {
        match self {
            End::Caller(frame) => Ending { to_provider: frame, ..Ending::quiet(Outcome::Answered) },
            End::Provider(frame) => {
                let is_error = frame.as_ref().is_some_and(|frame| !matches!(frame.code, CloseCode::Normal | CloseCode::Away));
                let outcome = if is_error { Outcome::ProviderError } else { Outcome::Answered };
                Ending { to_caller: frame, ..Ending::quiet(outcome) }
            }
            End::CallerBroke(Error::Capacity(_)) => {
                let refusal = too_large();
                Ending { outcome: Outcome::Answered, to_caller: close(CloseCode::Size, refusal.code), ..Ending::told(&refusal) }
            }
            End::CallerBroke(_) => {
                Ending { to_provider: close(CloseCode::Away, "the caller is gone"), ..Ending::quiet(Outcome::Abandoned) }
            }
            End::ProviderBroke(e) => {
                let why = e.to_string();
                let failure = match e {
                    Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Failure::BrokeOff { provider: provider.clone(), why },
                    Error::Capacity(_) | Error::Protocol(_) | Error::Utf8(_) => Failure::BadAnswer { provider: provider.clone(), why },
                    _ => Failure::BrokeOff { provider: provider.clone(), why },
                };
                let refusal = failure.refusal();
                Ending { outcome: Outcome::Failed, to_caller: close(CloseCode::Error, refusal.code), ..Ending::told(&refusal) }
            }
            End::Refused(refusal) => Ending { to_caller: close(CloseCode::Policy, refusal.code), ..Ending::told(&refusal) },
            End::Idle => {
                let frame = close(CloseCode::Away, "session_idle");
                Ending { code: Some("session_idle"), to_caller: frame.clone(), to_provider: frame, ..Ending::quiet(Outcome::Answered) }
            }
            End::Stopping => {
                let frame = close(CloseCode::Away, "gateway_stopping");
                Ending { code: Some("gateway_stopping"), to_caller: frame.clone(), to_provider: frame, ..Ending::quiet(Outcome::Answered) }
            }
        }
    }
}

// === impl Ending ===

impl Ending {
    /// One side has said all there is to say.
    fn quiet(outcome: Outcome) -> Ending {
        Ending { outcome, code: None, event: None, to_caller: None, to_provider: None }
    }

    /// The caller is told why by an event; the provider sees an ordinary end.
    fn told(refusal: &Refusal) -> Ending {
        Ending {
            code: Some(refusal.code),
            event: Some(event(refusal, None)),
            to_provider: close(CloseCode::Normal, ""),
            ..Ending::quiet(Outcome::Answered)
        }
    }
}

/// A refusal as the event by which OpenAI's sessions tell of trouble; `about` is what its caller calls the event that is refused.
pub fn event(refusal: &Refusal, about: Option<&str>) -> String {
    let mut event = openai::object(refusal);
    event["type"] = Value::from("error");
    event["event_id"] = json!(format!("event_{}", ticket::next_id()));
    event["error"]["event_id"] = about.map_or(Value::Null, Value::from);
    event.to_string()
}

fn too_large() -> Refusal {
    let message = "This message is larger than the 16 MiB that this gateway takes in one: send sound in shorter pieces.";
    Refusal::new(http::StatusCode::PAYLOAD_TOO_LARGE, Kind::Invalid, "message_too_large", message)
}

fn close(code: CloseCode, reason: &'static str) -> Option<CloseFrame> {
    Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) })
}
