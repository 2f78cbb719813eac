//! An OpenAPI description (3.0 and 3.1): which operations an API has, and how it is told to the gateway's callers.

use std::collections::BTreeMap;

use http::Method;
use reqwest::Url;
use serde_json::{Map, Value};

use super::arguments::{self, Form};
use super::path::{Path, Template};
use super::schema::follow;
use super::told::{self, METHODS};
use crate::deep;
use crate::prompt::dotprompt::Fault;

/// What an API has.
#[derive(Debug)]
pub struct Description {
    /// The description as it was written.
    pub document: Value,
    /// Its operations; of two whose path fits, the one that says more comes first.
    pub operations: Vec<Operation>,
    /// Operations that are on another server than the service, which the gateway's credential must not go to.
    pub elsewhere: Vec<String>,
    /// Operations whose path has a query or a fragment in it, which no path of a request has.
    pub unreachable: Vec<String>,
    /// Names (in lower case) of parameters that the gateway fills in itself.
    pub ours: Vec<String>,
}

/// One thing that can be called.
#[derive(Debug)]
pub struct Operation {
    /// Its `operationId`, or a name made of its method and path; letters, digits, `_` and `-`.
    pub id: String,
    /// How it is called.
    pub method: Method,
    /// Its path below the service's base, as the description writes it.
    pub path: String,
    /// What it does, in a sentence.
    pub summary: Option<String>,
    /// More than that.
    pub description: Option<String>,
    /// The server of its own that the description gives it, where it is another than that of the others.
    pub server: Option<String>,
    /// The API says that it will go.
    pub deprecated: bool,
    /// The cookies that it takes.
    pub cookies: Vec<String>,
    /// What it takes as a tool, or why it cannot be one.
    pub form: Result<Form, String>,
    template: Template,
}

/// How deep a description may be nested; what reads JSON allows as much.
const DEEPEST: usize = 127;
/// Paths below a service that are the gateway's own.
const OWN_PATHS: [&str; 2] = ["/openapi.json", "/subscription"];

// === impl Description ===

impl Description {
    /// Reads a file's text, JSON or YAML; `ours` are names (in lower case) of parameters that the gateway fills in itself.
    pub fn read(text: &str, is_json: bool, ours: &[String]) -> Result<Description, Fault> {
        deep::done(|| Description::parsed(text, is_json, ours)).map_err(|why| Fault::at(1, format!("it cannot be read ({why})")))?
    }

    fn parsed(text: &str, is_json: bool, ours: &[String]) -> Result<Description, Fault> {
        let mut document = parse(text, is_json)?;
        // Without quotes it is a number in YAML.
        if let Some(number) = document.get("openapi").and_then(Value::as_f64) {
            document["openapi"] = format!("{number:.1}.0").into();
        }
        let at = |what: &str, message: String| Fault::at(line_of(text, what), message);
        match document.get("openapi").and_then(Value::as_str) {
            Some(version) if version.starts_with("3.") => {}
            Some(other) => return Err(at("openapi", format!("'openapi' is {other}, and has to be 3.0 or 3.1"))),
            None if document.get("swagger").is_some() => {
                return Err(at("swagger", "this is Swagger 2.0: convert it to OpenAPI 3 first".to_owned()));
            }
            None => return Err(Fault::at(1, "this is no OpenAPI description: it has no 'openapi: 3.…'")),
        }
        let paths = document.get("paths").and_then(Value::as_object);
        let paths = paths.ok_or_else(|| Fault::at(1, "it has no 'paths', so that nothing could be called"))?;
        let mut operations: Vec<Operation> = Vec::new();
        for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
            let found = of_path(&document, path, item, ours).map_err(|message| at(path, message))?;
            for operation in found {
                if let Some(other) = operations.iter().find(|other| other.id == operation.id) {
                    let message = format!(
                        "'{}' is the name of {} {} and of {} {}: give one another 'operationId'",
                        operation.id, other.method, other.path, operation.method, operation.path
                    );
                    return Err(at(path, message));
                }
                operations.push(operation);
            }
        }
        if operations.is_empty() {
            return Err(at("paths", "it has no operation, so that nothing could be called".to_owned()));
        }
        let is_reachable = |operation: &Operation| !operation.path.contains(['?', '#']);
        let unreachable: Vec<Operation> = operations.extract_if(.., |operation| !is_reachable(operation)).collect();
        if operations.is_empty() {
            return Err(at("paths", "the paths of all its operations have a '?' or '#' in them: say that by parameters".to_owned()));
        }
        operations.sort_by_key(|operation| operation.template.openness());
        let unreachable = unreachable.into_iter().map(|operation| operation.id).collect();
        Ok(Description { document, operations, elsewhere: Vec::new(), unreachable, ours: ours.to_vec() })
    }

    /// Leaves out the operations on other servers than that of this base; those on the same one are below their own path there.
    pub fn keep_at(&mut self, base: &Url) {
        for mut operation in std::mem::take(&mut self.operations) {
            let own = operation.server.as_deref().map(|server| base.join(server));
            match own {
                None => self.operations.push(operation),
                Some(Ok(own)) if own.origin() == base.origin() && own.query().is_none() && !own.path().contains("%7B") => {
                    operation.server = Some(own.path().trim_end_matches('/').to_owned());
                    self.operations.push(operation);
                }
                Some(_) => self.elsewhere.push(operation.id),
            }
        }
    }

    /// The operation for a method and path; where there is none, the methods that the path has.
    ///
    /// What is got can be asked for its head too (RFC 9110, section 9.3.2).
    pub fn find(&self, method: &Method, path: &Path) -> Result<&Operation, Vec<&Method>> {
        let fitting = || self.operations.iter().filter(|operation| operation.template.fits(path));
        by_method(method, fitting).ok_or_else(|| {
            let mut methods: Vec<&Method> = fitting().map(|operation| &operation.method).collect();
            if methods.contains(&&Method::GET) {
                methods.push(&Method::HEAD);
            }
            methods.sort_by_key(|method| method.as_str());
            methods.dedup();
            methods
        })
    }

    /// Whether a path leads to an operation that was found for it, however the API reads paths.
    pub fn is_clear(&self, operation: &Operation, method: &Method, path: &Path) -> bool {
        let has_matrix = operation.form.as_ref().is_ok_and(Form::has_matrix);
        // With its escaped slashes taken for slashes, it must be none of another operation.
        if let Some(unescaped) = path.unescaped() {
            let fitting = || self.operations.iter().filter(|other| other.template.fits_loosely(&unescaped.loosely(false)));
            if fitting().any(|other| other.id != operation.id) {
                return false;
            }
        }
        let loosely = path.loosely(has_matrix || operation.template.has_parameters());
        // An API that has paths which differ by the size of letters alone can tell them apart.
        let is_other = |other: &&Operation| !(other.id != operation.id && other.template.is_alike(&operation.template));
        let fitting = || self.operations.iter().filter(is_other).filter(|other| other.template.fits_loosely(&loosely));
        by_method(method, fitting).is_some_and(|other| other.id == operation.id)
    }

    /// The operation with that id.
    pub fn operation(&self, id: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.id == id)
    }

    /// A text of its `info`.
    pub fn info(&self, field: &str) -> Option<&str> {
        self.document.get("info")?.get(field)?.as_str()
    }

    /// The description for callers: of the operations that `may_call` lets through, at this gateway's address and under its keys.
    pub fn told(&self, server: &str, is_deprecated: bool, may_call: impl Fn(&Operation) -> bool) -> Value {
        told::told(self, (server, is_deprecated), may_call)
    }

    /// The operations that are no tools, and why.
    pub fn no_tools(&self) -> BTreeMap<&str, &str> {
        self.operations.iter().filter_map(|operation| Some((operation.id.as_str(), operation.form.as_ref().err()?.as_str()))).collect()
    }
}

fn by_method<'a, I: Iterator<Item = &'a Operation>>(method: &Method, fitting: impl Fn() -> I) -> Option<&'a Operation> {
    let found = fitting().find(|operation| operation.method == *method);
    found.or_else(|| fitting().find(|operation| *method == Method::HEAD && operation.method == Method::GET))
}

fn of_path(document: &Value, path: &str, item: &Value, ours: &[String]) -> Result<Vec<Operation>, String> {
    let template = Template::parse(path)?;
    if OWN_PATHS.contains(&path) {
        return Err(format!("the path '{path}' is the gateway's own below a service: put it into another"));
    }
    let item = follow(document, item)?;
    let of_method = |method: &str| {
        let operation = item.get(method)?.as_object()?;
        Some(Operation::read(document, (path, &template), (method, operation), item, ours).map_err(|why| format!("{method} {path}: {why}")))
    };
    METHODS.iter().filter_map(|method| of_method(method)).collect()
}

// === impl Operation ===

impl Operation {
    fn read(
        document: &Value,
        (path, template): (&str, &Template),
        (method, operation): (&str, &Map<String, Value>),
        item: &Value,
        ours: &[String],
    ) -> Result<Operation, String> {
        let text =
            |field: &str| operation.get(field).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let whole = Value::Object(operation.clone());
        let parameters = arguments::parameters(document, item, &whole)?;
        let is_of_path = |parameter: &&&Value| parameter.get("in").is_some_and(|place| place == "path");
        let declared: Vec<&str> = parameters.iter().filter(is_of_path).filter_map(|parameter| parameter.get("name")?.as_str()).collect();
        if let Some(missing) = template.names.iter().find(|name| !declared.contains(&name.as_str())) {
            return Err(format!("'{{{missing}}}' stands in the path and is no parameter"));
        }
        let is_cookie = |parameter: &&&Value| parameter.get("in").is_some_and(|place| place == "cookie");
        let cookies =
            parameters.iter().filter(is_cookie).filter_map(|parameter| parameter.get("name")?.as_str()).map(str::to_owned).collect();
        let body = operation.get("requestBody").map(|body| follow(document, body)).transpose()?;
        let form = Form::read(document, &parameters, body, ours);
        let server = |of: &Value| of.get("servers")?.get(0)?.get("url")?.as_str().map(str::to_owned);
        let server = server(&whole).or_else(|| server(item)).filter(|own| Some(own) != server(document).as_ref());
        let id = text("operationId").map_or_else(|| made(method, path), |id| named(&id));
        Ok(Operation {
            id,
            method: Method::from_bytes(method.to_ascii_uppercase().as_bytes()).map_err(|e| e.to_string())?,
            path: path.to_owned(),
            server,
            summary: text("summary"),
            description: text("description"),
            deprecated: operation.get("deprecated").is_some_and(|deprecated| deprecated == true),
            cookies,
            form,
            template: template.clone(),
        })
    }
}

/// A name of letters, digits, `_` and `-` alone.
fn named(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

/// A name for an operation that has none: `get_pets_petId`.
fn made(method: &str, path: &str) -> String {
    let name = named(&format!("{method}_{path}"));
    name.split('_').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
}

fn parse(text: &str, is_json: bool) -> Result<Value, Fault> {
    if is_json {
        return serde_json::from_str(text).map_err(|error| Fault::at(error.line().max(1), format!("it is no JSON ({error})")));
    }
    crate::yaml::read(text, DEEPEST).map_err(|(line, message)| Fault::at(line, format!("it is no YAML ({message})")))
}

/// The line on which a member of that name is, or the first.
fn line_of(text: &str, name: &str) -> usize {
    let is_it = |line: &str| {
        let line = line.trim_start();
        [format!("\"{name}\""), format!("'{name}'"), name.to_owned()]
            .iter()
            .any(|written| line.strip_prefix(written.as_str()).is_some_and(|rest| rest.trim_start().starts_with(':')))
    };
    text.lines().position(is_it).map_or(1, |at| at + 1)
}
