//! Names of the gateway's own for the events that ask for a response: so an error tells which of them it is about, whatever else its caller
//! calls by the same name, or by none.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;

use super::turns::locked;
use crate::dialect::ask::json_string;
use crate::dialect::members::Members;

/// The names of one session's events.
#[derive(Default)]
pub struct Names {
    /// What nobody can foretell them without.
    secret: RandomState,
    given: Mutex<Given>,
}

#[derive(Default)]
struct Given {
    count: u64,
    /// The last of them, each with what its caller calls the event.
    last: VecDeque<(String, Option<String>)>,
}

/// What they begin with.
const BEGIN: &str = "event_gateway_";
/// Errors come at once: what is about an older event is told by our name for it.
const MOST: usize = 256;

// === impl Names ===

impl Names {
    /// A name for an event, which its caller calls so.
    pub fn give(&self, callers: Option<String>) -> String {
        let mut given = locked(&self.given);
        given.count += 1;
        let name = format!("{BEGIN}{:016x}", self.secret.hash_one(given.count));
        if given.last.len() == MOST {
            given.last.pop_front();
        }
        given.last.push_back((name.clone(), callers));
        name
    }

    /// An event of the provider's in its caller's words, where it has one of these names in it.
    pub fn put_back(&self, text: &str) -> Option<String> {
        text.contains(BEGIN).then(|| {
            let given = locked(&self.given);
            given.last.iter().fold(text.to_owned(), |text, (name, callers)| {
                let callers = callers.as_deref().map_or("null".into(), |name| String::from_utf8_lossy(&json_string(name)).into_owned());
                text.replace(&format!("\"{name}\""), &callers)
            })
        })
    }
}

/// An event under another name.
pub fn named(event: &[u8], name: &str) -> Vec<u8> {
    let name = json_string(name);
    let members = Members::read(event).ok();
    match members.as_ref().and_then(|members| members.get("event_id")) {
        Some(member) => [&event[..member.range.start], &name, &event[member.range.end..]].concat(),
        None => {
            // It has a type at least, so that another member follows.
            let start = event.iter().position(|byte| *byte == b'{').map_or(0, |at| at + 1);
            [&event[..start], b"\"event_id\":", &name, b",", &event[start..]].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_event_goes_by_our_name_and_comes_back_by_its_callers() {
        let names = Names::default();
        let (mine, nameless) = (names.give(Some("a \"b\"".to_owned())), names.give(None));
        assert_ne!(mine, nameless);
        for (event, name) in
            [(r#"{"type":"response.create","event_id" : "a \"b\"","x":1}"#, &mine), (r#" {"type":"response.create"}"#, &nameless)]
        {
            let sent: serde_json::Value = serde_json::from_slice(&named(event.as_bytes(), name)).unwrap();
            assert_eq!((sent["event_id"].as_str(), sent["type"].as_str()), (Some(&**name), Some("response.create")));
        }
        let error = |name: &str| format!(r#"{{"type":"error","error":{{"event_id":"{name}"}}}}"#);
        assert_eq!(names.put_back(&error(&mine)).unwrap(), r#"{"type":"error","error":{"event_id":"a \"b\""}}"#);
        assert_eq!(names.put_back(&error(&nameless)).unwrap(), r#"{"type":"error","error":{"event_id":null}}"#);
        assert_eq!(names.put_back(&error("another")), None);
    }
}
