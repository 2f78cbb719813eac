//! OpenAI's paths beside chat: one table, served by the corridor's side door.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::routing::on;
use http::Method;

use super::{AppState, OpenAi};
use crate::catalog::{Dialect, Operation};
use crate::exchange::errand::{self, Deed, Served, Takes, serve};
use crate::gateway::Gateway;
use crate::held::Kind;
use crate::surface::anthropic::{self, Anthropic};
use crate::surface::gemini;

/// The paths, as OpenAI's API reference has them.
static SERVED: &[Served] = &[
    served(Method::POST, "/v1/images/generations", Operation::Images, Takes::Json, Deed::Call),
    served(Method::POST, "/v1/images/edits", Operation::ImageEdits, Takes::Form, Deed::Call),
    served(Method::POST, "/v1/images/variations", Operation::ImageVariations, Takes::Form, Deed::Call),
    served(Method::POST, "/v1/audio/speech", Operation::Speech, Takes::Json, Deed::Call),
    served(Method::POST, "/v1/audio/transcriptions", Operation::Transcriptions, Takes::Form, Deed::Call),
    served(Method::POST, "/v1/audio/translations", Operation::Translations, Takes::Form, Deed::Call),
    served(Method::POST, "/v1/moderations", Operation::Moderations, Takes::Json, Deed::Call),
    served(Method::POST, "/v1/files", Operation::Files, Takes::Form, Deed::Make(Kind::File)),
    served(Method::GET, "/v1/files", Operation::Files, Takes::Nothing, Deed::List(Kind::File)),
    served(Method::GET, "/v1/files/{id}", Operation::Files, Takes::Nothing, Deed::Use(Kind::File)),
    served(Method::DELETE, "/v1/files/{id}", Operation::Files, Takes::Nothing, Deed::Delete(Kind::File)),
    served(Method::GET, "/v1/files/{id}/content", Operation::Files, Takes::Nothing, Deed::Use(Kind::File)),
    served(Method::POST, "/v1/batches", Operation::Batches, Takes::Json, Deed::Make(Kind::Batch)),
    served(Method::GET, "/v1/batches", Operation::Batches, Takes::Nothing, Deed::List(Kind::Batch)),
    served(Method::GET, "/v1/batches/{id}", Operation::Batches, Takes::Nothing, Deed::Use(Kind::Batch)),
    served(Method::POST, "/v1/batches/{id}/cancel", Operation::Batches, Takes::Json, Deed::Use(Kind::Batch)),
    served(Method::POST, "/v1/responses/input_tokens", Operation::CountTokens, Takes::Json, Deed::Call),
    served(Method::GET, "/v1/responses/{id}", Operation::StoredResponses, Takes::Nothing, Deed::Use(Kind::Response)),
    served(Method::DELETE, "/v1/responses/{id}", Operation::StoredResponses, Takes::Nothing, Deed::Delete(Kind::Response)),
    served(Method::POST, "/v1/responses/{id}/cancel", Operation::StoredResponses, Takes::Json, Deed::Use(Kind::Response)),
    served(Method::GET, "/v1/responses/{id}/input_items", Operation::StoredResponses, Takes::Nothing, Deed::Use(Kind::Response)),
    served(Method::POST, "/v1/conversations", Operation::Conversations, Takes::Json, Deed::Make(Kind::Conversation)),
    served(Method::GET, "/v1/conversations/{id}", Operation::Conversations, Takes::Nothing, Deed::Use(Kind::Conversation)),
    served(Method::POST, "/v1/conversations/{id}", Operation::Conversations, Takes::Json, Deed::Use(Kind::Conversation)),
    served(Method::DELETE, "/v1/conversations/{id}", Operation::Conversations, Takes::Nothing, Deed::Delete(Kind::Conversation)),
    served(Method::POST, "/v1/conversations/{id}/items", Operation::Conversations, Takes::Json, Deed::Use(Kind::Conversation)),
    served(Method::GET, "/v1/conversations/{id}/items", Operation::Conversations, Takes::Nothing, Deed::Use(Kind::Conversation)),
    served(Method::GET, "/v1/conversations/{id}/items/{item}", Operation::Conversations, Takes::Nothing, Deed::Use(Kind::Conversation)),
    served(Method::DELETE, "/v1/conversations/{id}/items/{item}", Operation::Conversations, Takes::Nothing, Deed::Use(Kind::Conversation)),
];

/// The paths with what serves them.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    SERVED.iter().fold(axum::Router::new(), |router, served| {
        let way = move |State(gateway): AppState, request: Request| async move {
            if let Some(instead) = anthropic::operations::instead(served, request.headers()) {
                return serve(gateway, &Anthropic, instead, None, request).await;
            }
            match gemini::operations::instead(served, &request) {
                Some(path) => gemini::at(gateway, &path, request).await,
                None => serve(gateway, &OpenAi, served, None, request).await,
            }
        };
        router.route(served.path, on(served.filter(), way))
    })
}

/// How a path of these is called; none where it is none of them.
pub fn methods(path: &str) -> Vec<&'static str> {
    errand::methods(SERVED, path)
}

const fn served(method: Method, path: &'static str, operation: Operation, takes: Takes, deed: Deed) -> Served {
    let dialect = match operation {
        Operation::StoredResponses | Operation::Conversations | Operation::CountTokens => Dialect::OpenaiResponses,
        _ => Dialect::OpenaiChat,
    };
    Served { method, path, operation, dialect, takes, deed }
}
