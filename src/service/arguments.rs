//! An operation as a tool: the schema of its arguments, and the request that they make.

use std::sync::OnceLock;

use jsonschema::Validator;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::schema::{Schemas, follow};
use crate::prompt::Violation;

/// What a tool takes, and where each argument goes.
#[derive(Debug)]
pub struct Form {
    /// JSON Schema of the arguments.
    pub schema: Map<String, Value>,
    slots: Vec<Slot>,
    body: Option<Media>,
    validator: OnceLock<Option<Validator>>,
}

/// A request as the arguments make it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Below the service's base, escaped.
    pub path: String,
    /// Escaped; empty for none.
    pub query: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body, and what it is.
    pub body: Option<(&'static str, String)>,
}

/// Where an argument goes.
#[derive(Clone, Debug)]
struct Slot {
    /// The argument's name.
    argument: String,
    /// The parameter's name.
    name: String,
    place: Place,
    style: Style,
    /// Each element, or each member, by itself.
    is_exploded: bool,
    /// What means something in a URL is left as it is.
    is_reserved: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Path,
    Query,
    Header,
    Cookie,
}

/// How a value is written (OpenAPI, "Style Values").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Simple,
    Label,
    Matrix,
    Form,
    /// Elements with such a mark between them.
    Delimited(&'static str),
    /// `name[member]=value`.
    DeepObject,
    /// As JSON, whatever the style.
    Json,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    Json,
    Form,
    Text,
}

/// The argument that holds the body.
const BODY: &str = "body";
/// Headers that OpenAPI leaves to other parts of a description, and those that are between two neighbours.
const OTHERS_HEADERS: [&str; 11] = [
    "accept",
    "content-type",
    "authorization",
    "content-length",
    "host",
    "connection",
    "transfer-encoding",
    "te",
    "upgrade",
    "expect",
    "cookie",
];
/// What is escaped in a path and a query (RFC 6570, section 3.2.1), and where reserved letters are allowed; some would end the value.
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const RESERVED: AsciiSet = UNRESERVED
    .remove(b':')
    .remove(b'/')
    .remove(b'?')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b';')
    .remove(b'=');
/// What cannot stand in a cookie (RFC 6265, section 4.1.1).
const COOKIE: AsciiSet = CONTROLS.add(b' ').add(b'"').add(b',').add(b';').add(b'\\').add(b'%');

// === impl Form ===

impl Form {
    /// Reads the parameters and the body of an operation; `ours` are names (in lower case) that the gateway fills in itself.
    ///
    /// The error says what a tool cannot send.
    pub fn read(document: &Value, parameters: &[&Value], body: Option<&Value>, ours: &[String]) -> Result<Form, String> {
        let mut schemas = Schemas::of(document);
        let (mut properties, mut required, mut slots) = (Map::new(), Vec::new(), Vec::new());
        for parameter in parameters {
            let Some(slot) = Slot::read(parameter, ours)? else { continue };
            let content = parameter.get("content").and_then(Value::as_object).and_then(|content| content.values().next());
            let schema = content.unwrap_or(parameter).get("schema").cloned().unwrap_or_else(|| json!({}));
            let schema = described(schemas.take(&schema)?, parameter);
            let argument = match slot.argument != BODY && !properties.contains_key(&slot.argument) {
                true => slot.argument.clone(),
                false => format!("{}_{}", slot.place.as_str(), slot.name),
            };
            if slot.place == Place::Path || is_required(parameter) {
                required.push(argument.clone());
            }
            properties.insert(argument.clone(), schema);
            slots.push(Slot { argument, ..slot });
        }
        let media = match body {
            None => None,
            Some(body) => {
                let (media, schema) = media(body)?;
                if is_required(body) {
                    required.push(BODY.to_owned());
                }
                properties.insert(BODY.to_owned(), described(schemas.take(&schema)?, body));
                Some(media)
            }
        };
        let mut schema = Map::from_iter([("type".to_owned(), json!("object")), ("properties".to_owned(), Value::Object(properties))]);
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        schema.insert("additionalProperties".to_owned(), json!(false));
        if let Some(defs) = schemas.defs() {
            schema.insert("$defs".to_owned(), defs);
        }
        Ok(Form { schema, slots, body: media, validator: OnceLock::new() })
    }

    /// What in the arguments the schema does not allow, one sentence each.
    pub fn violations(&self, arguments: &Value) -> Vec<String> {
        // A schema with patterns that are none here is left to the API, which checks it anyway.
        let compile = || jsonschema::draft202012::new(&Value::Object(self.schema.clone())).ok();
        let Some(validator) = self.validator.get_or_init(compile) else { return Vec::new() };
        Violation::all(validator.iter_errors(arguments)).iter().map(Violation::told).collect()
    }

    /// The request for these arguments, to an operation with this path.
    pub fn fill(&self, template: &str, arguments: &Map<String, Value>) -> Filled {
        let mut filled = Filled { path: template.to_owned(), ..Filled::default() };
        let (mut query, mut cookies): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for slot in &self.slots {
            let Some(value) = arguments.get(&slot.argument).filter(|value| !value.is_null()) else { continue };
            match slot.place {
                Place::Path => filled.path = filled.path.replace(&format!("{{{}}}", slot.name), &slot.written(value)),
                Place::Header => filled.headers.push((slot.name.clone(), slot.written(value))),
                Place::Cookie => cookies.push(format!("{}={}", slot.name, slot.written(value))),
                Place::Query => query.extend(slot.pairs(value)),
            }
        }
        if !cookies.is_empty() {
            filled.headers.push(("Cookie".to_owned(), cookies.join("; ")));
        }
        filled.query = query.join("&");
        filled.body = self.body.and_then(|media| Some(media.write(arguments.get(BODY)?)));
        filled
    }

    /// Whether one of them is written with `;` into the path.
    pub fn has_matrix(&self) -> bool {
        self.slots.iter().any(|slot| slot.style == Style::Matrix)
    }
}

// === impl Slot ===

impl Slot {
    fn read(parameter: &Value, ours: &[String]) -> Result<Option<Slot>, String> {
        let text = |field: &str| parameter.get(field).and_then(Value::as_str);
        let name = text("name").ok_or("a parameter has no name")?;
        let lower = name.to_ascii_lowercase();
        let place = match text("in") {
            Some("path") => Place::Path,
            Some("query") if ours.contains(&lower) => return Ok(None),
            Some("query") => Place::Query,
            Some("header") if ours.contains(&lower) || OTHERS_HEADERS.contains(&lower.as_str()) => return Ok(None),
            Some("header") => Place::Header,
            Some("cookie") => Place::Cookie,
            _ => return Err(format!("the parameter '{name}' is 'in' nothing that is known")),
        };
        let style = match (text("style"), place) {
            _ if parameter.get("content").is_some() => Style::Json,
            (None | Some("simple"), Place::Path | Place::Header) => Style::Simple,
            (Some("label"), Place::Path) => Style::Label,
            (Some("matrix"), Place::Path) => Style::Matrix,
            (None | Some("form"), Place::Query | Place::Cookie) => Style::Form,
            (Some("spaceDelimited"), Place::Query) => Style::Delimited("%20"),
            (Some("pipeDelimited"), Place::Query) => Style::Delimited("%7C"),
            (Some("deepObject"), Place::Query) => Style::DeepObject,
            (Some(other), _) => return Err(format!("the parameter '{name}' has the style '{other}', which a {} has not", place.as_str())),
        };
        // A cookie with several values of one name is none that could be told apart.
        let is_exploded = parameter.get("explode").and_then(Value::as_bool).unwrap_or(style == Style::Form) && place != Place::Cookie;
        let is_reserved = place == Place::Query && parameter.get("allowReserved").is_some_and(|allowed| allowed == true);
        Ok(Some(Slot { argument: name.to_owned(), name: name.to_owned(), place, style, is_exploded, is_reserved }))
    }

    /// Parameters of the query, escaped.
    fn pairs(&self, value: &Value) -> Vec<String> {
        let pair = |name: &str, value: &str| format!("{}={value}", escaped(name));
        match (self.style, value) {
            (Style::DeepObject, Value::Object(all)) => {
                all.iter().map(|(member, one)| pair(&format!("{}[{member}]", self.name), &self.escaped(one))).collect()
            }
            (Style::Json, value) => vec![pair(&self.name, &self.escaped(&Value::from(value.to_string())))],
            (_, Value::Array(all)) if self.is_exploded => all.iter().map(|one| pair(&self.name, &self.escaped(one))).collect(),
            (_, Value::Object(all)) if self.is_exploded => all.iter().map(|(member, one)| pair(member, &self.escaped(one))).collect(),
            (Style::Delimited(mark), value) => vec![pair(&self.name, &self.parts(value).join(mark))],
            (_, value) => vec![pair(&self.name, &self.parts(value).join(","))],
        }
    }

    /// A value of a path, a header or a cookie.
    fn written(&self, value: &Value) -> String {
        let parts = self.parts(value);
        match (self.style, value) {
            (Style::Json, value) => self.escaped(&Value::from(value.to_string())),
            (Style::Label, _) => format!(".{}", parts.join(if self.is_exploded { "." } else { "," })),
            (Style::Matrix, Value::Object(_)) if self.is_exploded => parts.iter().map(|part| format!(";{part}")).collect(),
            (Style::Matrix, Value::Array(_)) if self.is_exploded => {
                parts.iter().map(|part| format!(";{}={part}", escaped(&self.name))).collect()
            }
            (Style::Matrix, _) => format!(";{}={}", escaped(&self.name), parts.join(",")),
            _ => parts.join(","),
        }
    }

    /// Elements of a list, members of an object, or the value alone, escaped.
    fn parts(&self, value: &Value) -> Vec<String> {
        let name = |name: &String| self.escaped(&Value::from(name.as_str()));
        match value {
            Value::Array(all) => all.iter().map(|one| self.escaped(one)).collect(),
            Value::Object(all) if self.is_exploded => {
                all.iter().map(|(member, one)| format!("{}={}", name(member), self.escaped(one))).collect()
            }
            Value::Object(all) => all.iter().flat_map(|(member, one)| [name(member), self.escaped(one)]).collect(),
            one => vec![self.escaped(one)],
        }
    }

    fn escaped(&self, value: &Value) -> String {
        let text = text(value);
        match self.place {
            Place::Header => text,
            Place::Cookie => utf8_percent_encode(&text, &COOKIE).to_string(),
            Place::Query if self.is_reserved => utf8_percent_encode(&text, &RESERVED).to_string(),
            Place::Path | Place::Query => escaped(&text),
        }
    }
}

// === impl Place ===

impl Place {
    fn as_str(self) -> &'static str {
        match self {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
            Place::Cookie => "cookie",
        }
    }
}

// === impl Media ===

impl Media {
    fn write(self, value: &Value) -> (&'static str, String) {
        match (self, value) {
            (Media::Text, value) => ("text/plain; charset=utf-8", text(value)),
            (Media::Form, Value::Object(all)) => {
                let pairs = all.iter().flat_map(|(name, one)| match one {
                    Value::Array(all) => all.iter().map(|one| (name.clone(), text(one))).collect(),
                    one => vec![(name.clone(), text(one))],
                });
                ("application/x-www-form-urlencoded", encoded(&pairs.collect::<Vec<_>>()))
            }
            (Media::Json | Media::Form, value) => ("application/json", value.to_string()),
        }
    }
}

/// The first kind of body that a tool can send, with its schema.
fn media(body: &Value) -> Result<(Media, Value), String> {
    let content = body.get("content").and_then(Value::as_object).filter(|content| !content.is_empty());
    let content = content.ok_or("its body has no 'content'")?;
    let kind = |name: &str| name.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = |name: &str| name == "application/json" || name.ends_with("+json") || name == "*/*";
    let of = |fits: &dyn Fn(&str) -> bool| content.iter().find(|(name, _)| fits(&kind(name))).map(|(_, media)| media);
    let found = of(&is_json).map(|media| (Media::Json, media));
    let found = found.or_else(|| of(&|name| name == "application/x-www-form-urlencoded").map(|media| (Media::Form, media)));
    let found = found.or_else(|| of(&|name| name.starts_with("text/")).map(|media| (Media::Text, media)));
    let names = || content.keys().cloned().collect::<Vec<_>>().join(", ");
    let (media, described) = found.ok_or_else(|| format!("its body is {}, which a tool cannot send", names()))?;
    let any = if media == Media::Text { json!({ "type": "string" }) } else { json!({}) };
    Ok((media, described.get("schema").cloned().unwrap_or(any)))
}

/// The parameters of an operation: those of its path, and its own in their place, with references followed.
pub fn parameters<'a>(document: &'a Value, item: &'a Value, operation: &'a Value) -> Result<Vec<&'a Value>, String> {
    let mut all: Vec<&Value> = Vec::new();
    for list in [item, operation] {
        for parameter in list.get("parameters").and_then(Value::as_array).into_iter().flatten() {
            let parameter = follow(document, parameter)?;
            let same = |other: &&Value| other.get("name") == parameter.get("name") && other.get("in") == parameter.get("in");
            match all.iter().position(same) {
                Some(at) => all[at] = parameter,
                None => all.push(parameter),
            }
        }
    }
    Ok(all)
}

/// A schema with the description that stands beside it, where it has none itself.
fn described(schema: Value, beside: &Value) -> Value {
    match (schema, beside.get("description")) {
        (Value::Object(mut schema), Some(description)) => {
            schema.entry("description").or_insert_with(|| description.clone());
            Value::Object(schema)
        }
        (schema, _) => schema,
    }
}

fn is_required(value: &Value) -> bool {
    value.get("required").is_some_and(|required| required == true)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, &UNRESERVED).to_string()
}

fn encoded(pairs: &[(String, String)]) -> String {
    let mut out = url::form_urlencoded::Serializer::new(String::new());
    out.extend_pairs(pairs);
    out.finish()
}
