//! Bodies of requests: JSON objects of known fields, and where one is wrong each bad field by its JSON pointer.

use std::error::Error;
use std::io;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Problem;
use crate::config::hint;
use crate::key::diagnose::is_secret;
use crate::problem::FieldError;

/// What can be read from a body; it needs no field, so that what is missing is the handler's to say.
pub trait Fields: DeserializeOwned {
    /// The names of all fields.
    fn names() -> Vec<&'static str>;

    /// Those that can be nothing, where others cannot: null in one of those would be taken for "as it is" by some, and for "none" by others.
    fn clearable() -> Option<&'static [&'static str]> {
        None
    }
}

/// A body that was read.
pub struct Json<T>(pub T);

// === impl Json ===

impl<S: Send + Sync, T: Fields> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Json<T>, Problem> {
        let bytes = Bytes::from_request(request, state).await.map_err(|e| unread(&e, e.status()))?;
        read(&bytes).map(Json)
    }
}

/// A body that was not read to its end, which would have been answered with this status.
pub(super) fn unread(error: &(dyn Error + 'static), status: StatusCode) -> Problem {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, "body_too_large", "The body is larger than what is taken here: send less at a time.")
        }
        _ => broken_off(error, StatusCode::BAD_REQUEST, "The body broke off."),
    }
}

/// The same of one that did not come in time, or else that.
pub(super) fn broken_off(error: &(dyn Error + 'static), status: StatusCode, otherwise: &'static str) -> Problem {
    let mut causes = std::iter::successors(Some(error), |cause| (*cause).source());
    let late = causes.find_map(|cause| cause.downcast_ref::<io::Error>().filter(|cause| cause.kind() == io::ErrorKind::TimedOut));
    match late {
        Some(late) => Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", late.to_string()),
        None => Problem::new(status, "body_unreadable", otherwise),
    }
}

/// Reads a body; an empty one is an object without fields.
pub(super) fn read<T: Fields>(bytes: &[u8]) -> Result<T, Problem> {
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    let wrong = |e: serde_json::Error| {
        // What stands there instead of an object is not repeated: it may be a secret.
        let detail = if e.is_data() { "The body is JSON, and no object.".to_owned() } else { format!("The body is no JSON object: {e}.") };
        Problem::new(StatusCode::BAD_REQUEST, "invalid_json", detail)
    };
    let object: Map<String, Value> = serde_json::from_slice(text).map_err(wrong)?;
    let names = T::names();
    let unknown = object.keys().filter(|name| !names.contains(&name.as_str())).map(|name| {
        let near = hint::nearest(name, names.iter().copied())
            .map_or_else(|| format!("there are {}", names.join(", ")), |near| format!("did you mean '{near}'?"));
        // A key in the place of a name is not repeated.
        let pointer = if is_secret(name) { "/…".to_owned() } else { format!("/{}", escaped(name)) };
        FieldError { pointer, detail: format!("there is no such field; {near}") }
    });
    let unknown: Vec<FieldError> = unknown.collect();
    if !unknown.is_empty() {
        return Err(Problem::fields(unknown));
    }
    let keeps = |name: &str| T::clearable().is_some_and(|clearable| !clearable.contains(&name));
    let nulls = object.iter().filter(|(name, value)| value.is_null() && keeps(name)).map(|(name, _)| {
        let detail = "it cannot be null: leave it out, or send what it is to be ([] for an empty list)".to_owned();
        FieldError { pointer: format!("/{}", escaped(name)), detail }
    });
    let nulls: Vec<FieldError> = nulls.collect();
    if !nulls.is_empty() {
        return Err(Problem::fields(nulls));
    }
    serde_json::from_value(Value::Object(object.clone())).map_err(|e| blame::<T>(&object, &e.to_string()))
}

/// The fields that cannot be read by themselves; none is needed, so that each can be tried alone.
fn blame<T: Fields>(object: &Map<String, Value>, whole: &str) -> Problem {
    let errors: Vec<FieldError> = object.iter().flat_map(|(name, value)| of_field::<T>(name, value)).collect();
    match errors.is_empty() {
        true => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields", whole),
        false => Problem::fields(errors),
    }
}

fn of_field<T: Fields>(name: &str, value: &Value) -> Vec<FieldError> {
    let Some(detail) = fault::<T>(name, value.clone()) else { return Vec::new() };
    let pointer = format!("/{}", escaped(name));
    let elements = value.as_array().map(Vec::as_slice).unwrap_or_default().iter().enumerate();
    let bad = elements.filter_map(|(at, element)| {
        let detail = fault::<T>(name, Value::Array(vec![element.clone()]))?;
        Some(FieldError { pointer: format!("{pointer}/{at}"), detail })
    });
    match bad.collect::<Vec<_>>() {
        bad if bad.is_empty() => vec![FieldError { pointer, detail }],
        bad => bad,
    }
}

/// What is wrong with a field where it stands alone.
fn fault<T: Fields>(name: &str, value: Value) -> Option<String> {
    let alone = Map::from_iter([(name.to_owned(), value)]);
    serde_json::from_value::<T>(Value::Object(alone)).err().map(|e| e.to_string())
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
