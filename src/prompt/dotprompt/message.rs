//! What a template renders to: messages of parts, cut at the helpers' marks.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::helpers::Mark;

/// A message in Dotprompt's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `model` or `tool`.
    pub role: String,
    /// What it says.
    pub content: Vec<Part>,
    /// Such as `{"purpose": "history"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Part {
    Text { text: String },
    Media { media: Media },
    Pending { metadata: Map<String, Value> },
}

/// An image or the like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Media {
    /// Where it is; `data:` URLs too.
    pub url: String,
    /// Such as `image/png`.
    #[serde(default, rename = "contentType", skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

/// Cuts a rendered template into messages, with the history where the template wants it, or before its last message.
pub fn messages(rendered: &str, mark: &Mark, history: &[Message]) -> Vec<Message> {
    let mut messages = vec![Message::of("user")];
    let mut is_placed = false;
    for piece in mark.pieces(rendered) {
        match piece {
            Ok(text) => last(&mut messages).say(text),
            Err(Value::String(_)) => {
                is_placed = true;
                messages.extend(history.iter().cloned().map(Message::into_history));
                messages.push(Message::of("model"));
            }
            Err(said) => match (said["role"].as_str(), said["section"].as_str()) {
                (Some(role), _) if last(&mut messages).is_blank() => last(&mut messages).role = role.to_owned(),
                (Some(role), _) => messages.push(Message::of(role)),
                (_, Some(section)) => {
                    let metadata = Map::from_iter([("purpose".to_owned(), json!(section)), ("pending".to_owned(), json!(true))]);
                    last(&mut messages).content.push(Part::Pending { metadata });
                }
                _ => last(&mut messages).content.extend(serde_json::from_value(said["media"].clone()).map(|media| Part::Media { media })),
            },
        }
    }
    messages.retain(|message| message.metadata.is_some() || !message.is_blank());
    if is_placed || history.is_empty() {
        return messages;
    }
    let at = messages.len() - usize::from(messages.last().is_some_and(|message| message.role == "user"));
    messages.splice(at..at, history.iter().cloned());
    messages
}

/// Where in its metadata a message says which one it stands for.
const PLACE: &str = "history";

fn last(messages: &mut Vec<Message>) -> &mut Message {
    if messages.is_empty() {
        messages.push(Message::of("user"));
    }
    let at = messages.len() - 1;
    // There is one: it was just made if there was none.
    &mut messages[at]
}

// === impl Message ===

impl Message {
    /// One that only says where a message of a conversation goes.
    pub fn standing_for(place: usize) -> Message {
        Message { content: vec![Part::Pending { metadata: Map::from_iter([(PLACE.to_owned(), json!(place))]) }], ..Message::of("user") }
    }

    /// Which message of the conversation goes here, where it stands for one.
    pub fn stands_for(&self) -> Option<usize> {
        let [Part::Pending { metadata }] = &self.content[..] else { return None };
        usize::try_from(metadata.get(PLACE)?.as_u64()?).ok()
    }

    fn of(role: &str) -> Message {
        Message { role: role.to_owned(), content: Vec::new(), metadata: None }
    }

    fn into_history(mut self) -> Message {
        self.metadata.get_or_insert_default().insert("purpose".to_owned(), json!("history"));
        self
    }

    fn say(&mut self, more: &str) {
        match self.content.last_mut() {
            Some(Part::Text { text }) => text.push_str(more),
            // White space between marks says nothing.
            _ if more.trim().is_empty() => {}
            _ => self.content.push(Part::Text { text: more.to_owned() }),
        }
    }

    fn is_blank(&self) -> bool {
        self.content.iter().all(|part| matches!(part, Part::Text { text } if text.trim().is_empty()))
    }
}
