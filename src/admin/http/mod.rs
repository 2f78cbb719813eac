//! `/admin/v1`: the management API over HTTP, one file a resource; every handler asks for a role, and every error is a problem (RFC 9457).

mod access;
mod audit;
mod body;
mod budgets;
mod credentials;
mod examples;
mod failed;
mod files;
mod github;
mod groups;
mod keys;
mod leaks;
mod line;
mod once;
mod openapi;
pub(super) mod page;
mod partials;
mod prompts;
mod services;
mod tag;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::{Method, Response, StatusCode, Uri};

pub use github::ScannerKeys;
pub use line::written_if_managements as logged_if_managements;

use super::{explain, usage};
use crate::gateway::Gateway;
use crate::key::Pepper;
use crate::problem::Problem;
use crate::store::IdempotencyStore;
use crate::surface::shown;
use access::Admin;
pub use access::Viewer;
use body::Json;
pub use body::{Fields, Json as JsonBody};
pub use once::KEPT_FOR as ANSWERS_KEPT_FOR;

/// What management needs beside what all requests do.
pub struct Desk {
    /// The secret that keys are hashed under.
    pub pepper: Pepper,
    /// Answers to requests that name themselves.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// Who may report leaks without a key; `None` where nobody may.
    pub scanner: Option<Arc<ScannerKeys>>,
    /// Changes are made one at a time, so that none is lost between another's reading and writing.
    pub changing: tokio::sync::Mutex<()>,
    /// Tells those who wait for their turn that the store was found locked: none of them waits for that again.
    pub locked: tokio::sync::Notify,
}

/// Below which all of it is served.
const ROOT: &str = "/admin/v1";

/// Whether a path is the management API's.
pub fn owns(path: &str) -> bool {
    path == "/admin" || path.starts_with("/admin/")
}

/// A path that nothing is served at.
pub fn unknown_path(uri: &Uri) -> Response<Body> {
    let detail = format!("Nothing is served at {}: /admin/v1/openapi.json lists what is.", shown(uri.path()));
    Problem::new(StatusCode::NOT_FOUND, "path_not_found", detail).into_response()
}

/// A path that is served for other methods.
pub fn wrong_method(method: &Method, uri: &Uri) -> Response<Body> {
    let detail = format!("{} is not called with {method}: /admin/v1/openapi.json tells with what it is.", shown(uri.path()));
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail).into_response()
}

/// The paths of the management API, as they are written in its description.
const RESOURCES: [Resource; 41] = [
    ("/admin/v1/keys", || get(keys::list).post(keys::create)),
    ("/admin/v1/keys/revoke", || post(keys::revoke_all)),
    ("/admin/v1/keys/disable", || post(keys::disable_all)),
    ("/admin/v1/keys/enable", || post(keys::enable_all)),
    ("/admin/v1/keys/{id}", || get(keys::show).patch(keys::update)),
    ("/admin/v1/keys/{id}/rotate", || post(keys::rotate)),
    ("/admin/v1/keys/{id}/revoke", || post(keys::revoke)),
    ("/admin/v1/keys/{id}/disable", || post(keys::disable)),
    ("/admin/v1/keys/{id}/enable", || post(keys::enable)),
    ("/admin/v1/teams", || get(groups::teams).post(groups::create_team)),
    ("/admin/v1/teams/{id}", || get(groups::team).patch(groups::update_team)),
    ("/admin/v1/projects", || get(groups::projects).post(groups::create_project)),
    ("/admin/v1/projects/{id}", || get(groups::project).patch(groups::update_project)),
    ("/admin/v1/limits", || get(groups::limits).patch(groups::update_limits)),
    ("/admin/v1/budgets", || get(budgets::list)),
    ("/admin/v1/budgets/{account}", || get(budgets::show)),
    ("/admin/v1/credentials", || get(credentials::list).post(credentials::create)),
    ("/admin/v1/credentials/{name}", || get(credentials::show).patch(credentials::update).delete(credentials::remove)),
    ("/admin/v1/prompts", || get(prompts::list)),
    ("/admin/v1/prompts/{name}", || get(prompts::show).put(prompts::write).delete(prompts::remove)),
    ("/admin/v1/prompts/{name}/publish", || post(prompts::publish)),
    ("/admin/v1/prompts/{name}/deprecate", || post(prompts::deprecate)),
    ("/admin/v1/prompts/{name}/retire", || post(prompts::retire)),
    ("/admin/v1/prompts/{name}/examples", || get(examples::list)),
    ("/admin/v1/prompts/{name}/diff", || get(examples::diff)),
    ("/admin/v1/partials", || get(partials::list)),
    ("/admin/v1/partials/{name}", || get(partials::show).put(partials::write)),
    ("/admin/v1/services", || get(services::list)),
    ("/admin/v1/services/{name}", || get(services::show).put(services::write).delete(services::remove)),
    ("/admin/v1/services/{name}/publish", || post(services::publish)),
    ("/admin/v1/services/{name}/deprecate", || post(services::deprecate)),
    ("/admin/v1/services/{name}/retire", || post(services::retire)),
    ("/admin/v1/services/{name}/diff", || get(services::diff)),
    ("/admin/v1/services/{name}/subscriptions", || get(services::subscriptions)),
    ("/admin/v1/services/{name}/subscriptions/{key}/approve", || post(services::approve)),
    ("/admin/v1/services/{name}/subscriptions/{key}/deny", || post(services::deny)),
    ("/admin/v1/usage", || get(usage::show)),
    ("/admin/v1/usage/export", || get(usage::export)),
    ("/admin/v1/audit", || get(audit::list)),
    ("/admin/v1/audit/verification", || get(audit::verification)),
    ("/admin/v1/leaks", || post(leaks::report)),
];
/// Signed by a scanner of secrets, instead of carrying a key.
const SCANNER: Resource = ("/admin/v1/leaks/github", || post(github::report));
/// What makes no change wait: what is signed instead of carrying a key, before its signature is proven; and what changes nothing.
const BESIDE: [Resource; 2] = [SCANNER, ("/admin/v1/keys/explain", || post(explain::serve))];
/// What changes nothing, and costs something: no change waits for it, and it may name itself.
const RUNS: [Resource; 1] = [("/admin/v1/prompts/{name}/test", || post(examples::test))];

/// Whether a path is beside those whose requests may name themselves.
fn is_beside(path: &str) -> bool {
    BESIDE.iter().any(|(beside, _)| *beside == path)
}

/// A path, and what answers there.
type Resource = (&'static str, fn() -> axum::routing::MethodRouter<Arc<Gateway>>);

/// Where a scanner reports: it comes from outside, so that a listener which is management's alone is out of its reach.
pub fn scanner_routes(gateway: &Arc<Gateway>) -> axum::Router<Arc<Gateway>> {
    logged(routed(&[SCANNER]), gateway)
}

/// The management API.
pub fn routes(gateway: &Arc<Gateway>) -> axum::Router<Arc<Gateway>> {
    let changes = middleware::from_fn_with_state(Arc::clone(gateway), once::changes);
    let runs = middleware::from_fn_with_state(Arc::clone(gateway), once::runs);
    let named = routed(&RESOURCES).layer(changes).merge(routed(&RUNS).layer(runs));
    let patient = middleware::map_request_with_state(Arc::clone(gateway), patient);
    logged(named.merge(routed(&BESIDE)).layer(patient).route("/admin/v1/openapi.json", get(openapi::show)), gateway)
}

fn logged(routes: axum::Router<Arc<Gateway>>, gateway: &Arc<Gateway>) -> axum::Router<Arc<Gateway>> {
    routes.layer(middleware::from_fn_with_state(Arc::clone(gateway), line::written))
}

async fn patient(State(gateway): State<Arc<Gateway>>, request: Request) -> Request {
    request.map(|body| crate::surface::body::patient(body, gateway.config.limits.clone()))
}

fn routed(resources: &[Resource]) -> axum::Router<Arc<Gateway>> {
    resources.iter().fold(axum::Router::new(), |router, (path, methods)| router.route(path, methods()))
}
