//! Anthropic's paths beside chat: one table, passed on to a provider of the same dialect.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::routing::on;
use http::{HeaderMap, Method};

use super::{Anthropic, VERSION};
use crate::catalog::{Dialect, Operation};
use crate::exchange::errand::{self, Deed, Served, Takes, serve};
use crate::gateway::Gateway;
use crate::held::Kind;

/// The paths, as Anthropic's API reference has them.
static SERVED: &[Served] = &[
    served(Method::POST, "/v1/messages/count_tokens", Operation::CountTokens, Takes::Json, Deed::Call),
    served(Method::POST, "/v1/messages/batches", Operation::Batches, Takes::Json, Deed::Make(Kind::Batch)),
    served(Method::GET, "/v1/messages/batches", Operation::Batches, Takes::Nothing, Deed::List(Kind::Batch)),
    served(Method::GET, "/v1/messages/batches/{id}", Operation::Batches, Takes::Nothing, Deed::Use(Kind::Batch)),
    served(Method::DELETE, "/v1/messages/batches/{id}", Operation::Batches, Takes::Nothing, Deed::Delete(Kind::Batch)),
    served(Method::POST, "/v1/messages/batches/{id}/cancel", Operation::Batches, Takes::Json, Deed::Use(Kind::Batch)),
    served(Method::GET, "/v1/messages/batches/{id}/results", Operation::Batches, Takes::Nothing, Deed::Use(Kind::Batch)),
    served(Method::POST, "/v1/files", Operation::Files, Takes::Form, Deed::Make(Kind::File)),
    served(Method::GET, "/v1/files", Operation::Files, Takes::Nothing, Deed::List(Kind::File)),
    served(Method::GET, "/v1/files/{id}", Operation::Files, Takes::Nothing, Deed::Use(Kind::File)),
    served(Method::DELETE, "/v1/files/{id}", Operation::Files, Takes::Nothing, Deed::Delete(Kind::File)),
    served(Method::GET, "/v1/files/{id}/content", Operation::Files, Takes::Nothing, Deed::Use(Kind::File)),
];

/// The paths, with and without `/anthropic` before them; those of files are OpenAI's too where nothing is before them.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    SERVED.iter().fold(axum::Router::new(), |router, served| {
        let way = || {
            on(served.filter(), move |State(gateway): State<Arc<Gateway>>, request: Request| {
                serve(gateway, &Anthropic, served, None, request)
            })
        };
        let router = router.route(&format!("/anthropic{}", served.path), way());
        if served.operation == Operation::Files { router } else { router.route(served.path, way()) }
    })
}

/// What is meant where a path is OpenAI's too, and the caller says to be Anthropic's SDK.
pub fn instead(other: &Served, headers: &HeaderMap) -> Option<&'static Served> {
    SERVED.iter().find(|served| served.path == other.path && served.method == other.method && headers.contains_key(VERSION))
}

/// How a path of these is called; none where it is none of them.
pub fn methods(path: &str) -> Vec<&'static str> {
    let path = path.strip_prefix("/anthropic").unwrap_or(path);
    errand::methods(SERVED, path)
}

const fn served(method: Method, path: &'static str, operation: Operation, takes: Takes, deed: Deed) -> Served {
    Served { method, path, operation, dialect: Dialect::AnthropicMessages, takes, deed }
}
