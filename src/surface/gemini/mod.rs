//! Google's surface: the paths of the Gemini API and those of Vertex AI, whose last segment names a model and what to do with it.

mod error;
pub mod models;
pub mod operations;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::{any, get, post};
use bytes::Bytes;
use http::{Method, Response, StatusCode, Uri};

use super::{ProviderError, Rest, Segment, Surface};
use crate::catalog::{Dialect, Operation};
use crate::dialect::Called;
use crate::error::{Kind, Refusal};
use crate::exchange::errand::{self, Deed, Served, Takes};
use crate::exchange::exchange;
use crate::gateway::Gateway;

/// Google's dialect.
pub struct Gemini;

/// What a path is for.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A model, by the name that the gateway has for it, and what to do with it.
    Model { model: String, verb: String },
    /// All models, as the Gemini API lists them, or as Vertex AI does.
    List { of_publishers: bool },
    /// One model.
    Show { model: String },
}

/// Passed on to a provider of the same dialect, and free.
static COUNT_TOKENS: Served = Served {
    method: Method::POST,
    path: "/v1beta/models/{model}:countTokens",
    operation: Operation::CountTokens,
    dialect: Dialect::Gemini,
    takes: Takes::Json,
    deed: Deed::Call,
};

/// The versions whose paths are Google's alone.
const VERSIONS: [&str; 3] = ["/v1beta/", "/v1beta1/", "/v1alpha/"];
/// Where files go, and where they come from.
const MEDIA: [&str; 2] = ["/upload/", "/download/"];
const MEDIA_VERSIONS: [&str; 3] = ["v1", "v1beta", "v1alpha"];

/// The paths that Google's SDKs call when given `http://…` as their base URL; under `/v1` those that OpenAI's surface has not.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    let media = |router: axum::Router<Arc<Gateway>>, version: &&str| {
        let download = format!("/download/{version}/files/{{id}}");
        router.route(&format!("/upload/{version}/files"), post(serve_upload)).route(&download, get(serve_download))
    };
    MEDIA_VERSIONS
        .iter()
        .fold(axum::Router::new(), media)
        .route("/v1beta/{*rest}", any(serve))
        .route("/v1beta1/{*rest}", any(serve))
        .route("/v1alpha/{*rest}", any(serve))
        .route("/v1/projects/{*rest}", any(serve_projects))
        .route("/v1/publishers/{*rest}", any(serve_publishers))
        .route("/v1/models/{*id}", post(serve_model))
        .route("/v1/batches/{id}", post(serve_batch).delete(serve_batch))
}

/// Whether a path that nothing is served at is one of this surface's.
pub fn owns(path: &str) -> bool {
    VERSIONS.iter().any(|version| path.starts_with(version) || path == version.trim_end_matches('/'))
        || MEDIA.iter().any(|media| path.starts_with(media))
        || path.starts_with("/v1/projects/")
        || path.starts_with("/v1/publishers/")
        || path.starts_with("/models/")
}

/// A path of this surface's that nothing is served at.
pub fn unknown_path(uri: &Uri) -> Response<Body> {
    let path = super::shown(uri.path());
    let hint = match path.starts_with("/models/") {
        true => format!(" The version is missing: call /v1beta{path}."),
        false => " Google's paths are such as /v1beta/models/{model}:generateContent; GET /v1beta/models lists the models.".to_owned(),
    };
    error::refuse(&Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "path_not_found", format!("Nothing is served at {path}.{hint}")))
}

/// A path of this surface's that is served for another method.
pub fn wrong_method(method: &Method, uri: &Uri) -> Response<Body> {
    let path = uri.path().trim_start_matches('/');
    let served = operations::at(path.split_once('/').map_or("", |(_, rest)| rest));
    let right = match served.is_empty() {
        false => served.iter().map(|served| served.method.as_str()).collect::<Vec<_>>().join(" or "),
        true if path.contains(':') || path.starts_with("upload/") => "POST".to_owned(),
        true => "GET".to_owned(),
    };
    let message = format!("{} is not called with {method}: use {right}.", super::shown(uri.path()));
    error::refuse(&Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Invalid, "method_not_allowed", message))
}

async fn serve(State(gateway): State<Arc<Gateway>>, Rest(rest): Rest<1>, request: Request) -> Response<Body> {
    at(gateway, &rest, request).await
}

async fn serve_projects(State(gateway): State<Arc<Gateway>>, Rest(rest): Rest<2>, request: Request) -> Response<Body> {
    at(gateway, &format!("projects/{rest}"), request).await
}

async fn serve_publishers(State(gateway): State<Arc<Gateway>>, Rest(rest): Rest<2>, request: Request) -> Response<Body> {
    at(gateway, &format!("publishers/{rest}"), request).await
}

async fn serve_model(State(gateway): State<Arc<Gateway>>, Rest(id): Rest<2>, request: Request) -> Response<Body> {
    let path = format!("models/{id}");
    match place(&path) {
        Some(Place::Model { .. }) => at(gateway, &path, request).await,
        // Without a verb it is OpenAI's path.
        _ => super::openai::wrong_method(request.method(), request.uri()),
    }
}

/// What OpenAI's surface has not of a path that it shares.
async fn serve_batch(State(gateway): State<Arc<Gateway>>, Segment(id): Segment<2>, request: Request) -> Response<Body> {
    match operations::are_meant(request.headers(), request.uri()) {
        true => at(gateway, &format!("batches/{id}"), request).await,
        false => super::name(request.headers(), super::openai::wrong_method(request.method(), request.uri())),
    }
}

async fn serve_upload(State(gateway): State<Arc<Gateway>>, request: Request) -> Response<Body> {
    match errand::of_piece(&request) {
        Some(sealed) => errand::serve_piece(gateway, &Gemini, &operations::PIECE, &sealed, request).await,
        None => errand::serve(gateway, &Gemini, &operations::BEGINNING, None, request).await,
    }
}

async fn serve_download(State(gateway): State<Arc<Gateway>>, Segment(id): Segment<3>, request: Request) -> Response<Body> {
    match id.ends_with(":download") {
        true => at(gateway, &format!("files/{id}"), request).await,
        false => super::name(request.headers(), unknown_path(request.uri())),
    }
}

/// Serves a path, as it is after its version and percent-decoded.
pub async fn at(gateway: Arc<Gateway>, path: &str, request: Request) -> Response<Body> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let kept = operations::at(after_version(path));
    if !kept.is_empty() {
        return match kept.into_iter().find(|served| served.method == method) {
            Some(served) => errand::serve(gateway, &Gemini, served, None, request).await,
            None => super::name(request.headers(), wrong_method(&method, &uri)),
        };
    }
    match place(path) {
        Some(Place::Model { model, verb }) if method == Method::POST => {
            if verb == "countTokens" {
                return errand::serve(gateway, &Gemini, &COUNT_TOKENS, Some(model), request).await;
            }
            if let Some(served) = operations::made_by(&verb) {
                return errand::serve(gateway, &Gemini, served, Some(model), request).await;
            }
            let (operation, stream) = match verb.as_str() {
                "generateContent" => (Operation::Chat, false),
                "streamGenerateContent" => (Operation::Chat, true),
                "embedContent" => (Operation::EmbedOne, false),
                "batchEmbedContents" => (Operation::Embeddings, false),
                _ => return super::name(request.headers(), unknown_verb(&model, &verb)),
            };
            let as_array = stream && !is_sse(&uri);
            let called = Called { model: Some(model), stream: Some(stream), as_array, ..Called::new(operation, Dialect::Gemini) };
            exchange(gateway, &Gemini, called, request).await
        }
        Some(Place::List { of_publishers }) if method == Method::GET => {
            let head = super::EndsSoon::asked_for(request);
            super::name_with_end(&head, models::list(&gateway, &head, of_publishers).await)
        }
        Some(Place::Show { model }) if method == Method::GET => {
            let head = super::EndsSoon::asked_for(request);
            super::name_with_end(&head, models::show(&gateway, &head, &model).await)
        }
        // What is posted to a model has a verb, whether or not its name looks like one.
        Some(Place::Show { model }) if method == Method::POST => {
            let (model, verb) = model.rsplit_once(':').unwrap_or((&model, ""));
            super::name(request.headers(), unknown_verb(model, verb))
        }
        Some(_) => super::name(request.headers(), wrong_method(&method, &uri)),
        None => super::name(request.headers(), unknown_path(&uri)),
    }
}

/// What the rest of a path after its version is for.
fn place(path: &str) -> Option<Place> {
    let path = after_version(path);
    // Whose project it is, and where, is the gateway's own affair.
    let path = match path.strip_prefix("projects/") {
        Some(inside) => inside.splitn(4, '/').nth(3)?,
        None => path,
    };
    let (publisher, path) = match path.strip_prefix("publishers/") {
        Some(inside) => inside.split_once('/').map(|(publisher, path)| (Some(publisher), path))?,
        None => (None, path),
    };
    if path == "models" {
        return Some(Place::List { of_publishers: publisher.is_some() });
    }
    let named = path.strip_prefix("models/").filter(|named| !named.is_empty())?;
    // Some SDKs put the word before a name that has it already.
    let named = named.strip_prefix("models/").unwrap_or(named);
    let (name, verb) = match named.rsplit_once(':') {
        Some((name, verb)) if !verb.is_empty() && verb.bytes().all(|b| b.is_ascii_alphabetic()) && verb.contains(char::is_uppercase) => {
            (name, Some(verb))
        }
        _ => (named, None),
    };
    let model = match publisher.filter(|publisher| *publisher != "google") {
        Some(publisher) => format!("{publisher}/{name}"),
        None => name.to_owned(),
    };
    Some(match verb {
        Some(verb) => Place::Model { model, verb: verb.to_owned() },
        None => Place::Show { model },
    })
}

/// A path without a version that the base URL has already, and that some clients give twice.
fn after_version(path: &str) -> &str {
    let path = path.trim_matches('/');
    ["v1beta/", "v1/"].iter().find_map(|version| path.strip_prefix(version)).unwrap_or(path)
}

fn is_sse(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().split('&').any(|pair| matches!(pair, "alt=sse" | "%24alt=sse" | "$alt=sse"))
}

fn unknown_verb(model: &str, verb: &str) -> Response<Body> {
    let shown = |text: &str| text.chars().take(100).collect::<String>();
    let message = format!(
        "'{}' is not served for '{}': generateContent, streamGenerateContent, countTokens, embedContent, batchEmbedContents, \
         batchGenerateContent and asyncBatchEmbedContent are.",
        shown(verb),
        shown(model)
    );
    error::refuse(&Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "method_not_found", message))
}

// === impl Gemini ===

impl Surface for Gemini {
    fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        error::refuse(refusal)
    }

    fn error_event(&self, refusal: &Refusal) -> Bytes {
        error::error_event(refusal)
    }

    fn provider_error(&self, provider_error: &ProviderError<'_>) -> Response<Body> {
        error::of_provider(provider_error)
    }
}
