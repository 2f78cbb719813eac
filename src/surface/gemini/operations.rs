//! Google's paths for files and batches, after their version: one table, passed on to a provider of the same dialect.

use axum::extract::Request;
use http::{HeaderMap, Method, Uri, header};

use crate::catalog::{Dialect, Operation};
use crate::exchange::errand::{Deed, Served, Takes};
use crate::held::Kind;
use crate::key::presented::{BARE_HEADERS, GOOGLE};

/// The paths, as the Gemini API's reference has them; `files` and `batches` are OpenAI's too under `/v1`.
static SERVED: &[Served] = &[
    served(Method::GET, "/files", Operation::Files, Takes::Nothing, Deed::List(Kind::File)),
    served(Method::GET, "/files/{id}", Operation::Files, Takes::Nothing, Deed::Use(Kind::File)),
    served(Method::DELETE, "/files/{id}", Operation::Files, Takes::Nothing, Deed::Delete(Kind::File)),
    served(Method::GET, "/files/{id}:download", Operation::Files, Takes::Nothing, Deed::Use(Kind::File)),
    served(Method::GET, "/batches", Operation::Batches, Takes::Nothing, Deed::List(Kind::Batch)),
    served(Method::GET, "/batches/{id}", Operation::Batches, Takes::Nothing, Deed::Use(Kind::Batch)),
    served(Method::DELETE, "/batches/{id}", Operation::Batches, Takes::Nothing, Deed::Delete(Kind::Batch)),
    served(Method::POST, "/batches/{id}:cancel", Operation::Batches, Takes::Json, Deed::Use(Kind::Batch)),
];

/// What makes batches: verbs of models.
static BATCHES: [(&str, Served); 2] = [
    ("batchGenerateContent", making("/models/{model}:batchGenerateContent")),
    ("asyncBatchEmbedContent", making("/models/{model}:asyncBatchEmbedContent")),
];

/// An upload's beginning.
pub static BEGINNING: Served = served(Method::POST, "/files", Operation::Files, Takes::Json, Deed::Begin);
/// What comes of it at the address that it is given.
pub static PIECE: Served = served(Method::POST, "/files", Operation::Files, Takes::Nothing, Deed::GoOn);

/// All that is served at a path, by its method.
pub fn at(path: &str) -> Vec<&'static Served> {
    let path = format!("/{path}");
    SERVED.iter().filter(|served| served.is_at(&path)).collect()
}

/// The batches that a model's verb makes.
pub fn made_by(verb: &str) -> Option<&'static Served> {
    BATCHES.iter().find(|(name, _)| *name == verb).map(|(_, served)| served)
}

/// Whether a path of OpenAI's, under `/v1`, is meant as Google's, by where its caller's SDK puts the key.
pub fn are_meant(headers: &HeaderMap, uri: &Uri) -> bool {
    let has_key = || uri.query().unwrap_or_default().split('&').any(|pair| pair.starts_with("key="));
    let has_other = || headers.contains_key(header::AUTHORIZATION) || BARE_HEADERS.iter().any(|name| headers.contains_key(name));
    headers.contains_key(GOOGLE) || (has_key() && !has_other())
}

/// The same of a request for one of OpenAI's own operations, with its path after the version: only for what Google has there too, and for the verbs that it alone has.
pub fn instead(other: &Served, request: &Request) -> Option<String> {
    let is_shared = matches!(other.operation, Operation::Files | Operation::Batches);
    if !is_shared || !are_meant(request.headers(), request.uri()) {
        return None;
    }
    let path = request.uri().path().trim_start_matches("/v1/");
    let is_there = path.contains(':') || at(path).iter().any(|served| served.method == request.method());
    is_there.then(|| path.to_owned())
}

const fn making(path: &'static str) -> Served {
    served(Method::POST, path, Operation::Batches, Takes::Json, Deed::Make(Kind::Batch))
}

const fn served(method: Method, path: &'static str, operation: Operation, takes: Takes, deed: Deed) -> Served {
    Served { method, path, operation, dialect: Dialect::Gemini, takes, deed }
}
