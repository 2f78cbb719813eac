//! `/admin/v1/prompts/{name}/…`: a prompt's examples, a run of them with a caller's key, and how one version differs from another.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::request::Parts;
use http::{HeaderValue, Method, Response, Uri, header};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::Fields;
use super::files::of_prompts;
use super::page::Asked;
use super::{Json, Problem, Viewer};
use crate::gateway::Gateway;
use crate::problem::FieldError;
use crate::prompt::edit;
use crate::prompt::examples::{self, Example, Tried};
use crate::prompt::{Prompt, Prompts};
use crate::steps::{Compared, EditError};
use crate::surface::Segment;
use crate::surface::prompts::call_with;

/// A version's examples.
#[derive(Debug, Serialize, ToSchema)]
pub struct Examples {
    /// `name@version`.
    prompt: String,
    /// The file that they are in.
    file: Option<String>,
    examples: Vec<Example>,
    /// Inputs that the prompt would refuse.
    faults: Vec<String>,
}

/// With which key examples are called.
#[derive(Default, Deserialize, ToSchema)]
pub struct TestRun {
    /// A whole key that may call the prompt: its limits hold, and it pays.
    #[schema(value_type = String, required)]
    key: Option<String>,
}

/// What came of a version's examples.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestReport {
    /// `name@version`.
    prompt: String,
    passed: usize,
    failed: usize,
    examples: Vec<Tried>,
}

/// What a version is compared with.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DiffQuery {
    /// The older version, as `name` or `name@version` [default: the one before].
    pub(super) from: Option<String>,
}

impl Fields for TestRun {
    fn names() -> Vec<&'static str> {
        vec!["key"]
    }
}

/// The examples of a version; of the newest where the name has no version.
#[utoipa::path(get, path = "/admin/v1/prompts/{name}/examples", tag = "prompts", params(("name" = String, Path)), responses((status = 200, body = Examples), (status = "4XX", body = Problem)))]
pub async fn list(_: Viewer, State(gateway): State<Arc<Gateway>>, Segment(name): Segment<3>) -> Result<Response<Body>, Problem> {
    let folder = gateway.config.prompts.folder.clone();
    let found = of_prompts(move || {
        let (prompt, file, examples) = of(&folder, &name)?;
        let faults = examples::faults(&folder, &prompt);
        Ok(Examples { prompt: prompt.label(), file, examples, faults })
    });
    Ok(axum::Json(found.await?).into_response())
}

/// Calls a version with each of its examples, as its callers do, and tells how the answers differ from what is expected.
#[utoipa::path(post, path = "/admin/v1/prompts/{name}/test", tag = "prompts", params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = TestRun, responses((status = 200, body = TestReport), (status = "4XX", body = Problem)))]
pub async fn test(
    _: Viewer,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    head: Parts,
    Json(run): Json<TestRun>,
) -> Result<Response<Body>, Problem> {
    let bearer = run.key.and_then(|key| HeaderValue::try_from(format!("Bearer {key}")).ok());
    let missing = || FieldError { pointer: "/key".to_owned(), detail: "send a whole key that may call the prompt".to_owned() };
    let bearer = bearer.ok_or_else(|| Problem::fields(vec![missing()]))?;
    let folder = gateway.config.prompts.folder.clone();
    let (prompt, _, examples) = of_prompts(move || of(&folder, &name)).await?;
    let label = prompt.label();
    let head = as_callers(head, &label, bearer)?;
    let mut tried = Vec::with_capacity(examples.len());
    for (at, example) in examples.iter().enumerate() {
        let response = call_with(&gateway, &label, head.clone(), example.input()).await;
        let status = response.status();
        let answer = response.into_body().collect().await.map(|whole| whole.to_bytes());
        let answer = answer.map(|whole| String::from_utf8_lossy(&whole).into_owned()).map_err(|e| format!("the answer broke off: {e}"));
        tried.push(example.tried(at, &label, answer.map(|answer| (status, answer))));
    }
    let passed = tried.iter().filter(|tried| tried.passed).count();
    Ok(axum::Json(TestReport { prompt: label, passed, failed: tried.len() - passed, examples: tried }).into_response())
}

/// How a version differs from another, line by line.
#[utoipa::path(get, path = "/admin/v1/prompts/{name}/diff", tag = "prompts", params(("name" = String, Path), DiffQuery), responses((status = 200, body = Compared), (status = "4XX", body = Problem)))]
pub async fn diff(
    _: Viewer,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    Asked(DiffQuery { from }): Asked<DiffQuery>,
) -> Result<Response<Body>, Problem> {
    let folder = gateway.config.prompts.folder.clone();
    let compared = of_prompts(move || edit::compared(&folder, &name, from.as_deref())).await?;
    Ok(axum::Json(compared).into_response())
}

/// A version with its examples, and the name of the file that they are in.
type Found = (Arc<Prompt>, Option<String>, Vec<Example>);

fn of(folder: &std::path::Path, name: &str) -> Result<Found, EditError> {
    let label = edit::source(folder, name)?.label;
    let prompts = Prompts::read(folder);
    let prompt = prompts.all().find(|prompt| prompt.label() == label).cloned();
    let prompt = prompt.ok_or_else(|| EditError::NotFound(format!("there is no '{label}' any more")))?;
    let (file, examples) = examples::of(folder, &prompt).map_err(EditError::Wrong)?;
    let file = file.file_name().filter(|_| !examples.is_empty()).map(|name| name.to_string_lossy().into_owned());
    Ok((prompt, file, examples))
}

/// The head that a caller of the prompt would send.
fn as_callers(mut head: Parts, label: &str, bearer: HeaderValue) -> Result<Parts, Problem> {
    let wrong = |_| Problem::new(http::StatusCode::UNPROCESSABLE_ENTITY, "prompt_invalid", format!("'{label}' cannot be called."));
    head.uri = Uri::try_from(format!("/prompts/{label}")).map_err(wrong)?;
    head.method = Method::POST;
    head.headers.clear();
    head.headers.insert(header::AUTHORIZATION, bearer);
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(head)
}
