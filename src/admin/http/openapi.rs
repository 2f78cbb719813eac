//! `GET /admin/v1/openapi.json`: the management API's description, in OpenAPI 3.1; anyone may read it.

use axum::Json;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{audit, budgets, credentials, github, groups, keys, leaks, prompts, services};
use crate::admin::{explain, usage};

#[derive(OpenApi)]
#[openapi(
    info(title = "Keyward management API", description = "Keys, teams, projects, limits, budgets, credentials, prompts, services, usage and audit of a Keyward gateway."),
    paths(
        keys::list, keys::create, keys::show, keys::update, keys::rotate, keys::revoke, keys::disable, keys::enable,
        keys::revoke_all, keys::disable_all, keys::enable_all,
        groups::teams, groups::create_team, groups::team, groups::update_team,
        groups::projects, groups::create_project, groups::project, groups::update_project,
        groups::limits, groups::update_limits,
        budgets::list, budgets::show,
        credentials::list, credentials::create, credentials::show, credentials::update, credentials::remove,
        prompts::list, prompts::show, prompts::write, prompts::publish, prompts::deprecate, prompts::retire,
        services::list, services::show, services::publish, services::deprecate, services::retire,
        services::subscriptions, services::approve, services::deny,
        usage::show, usage::export, explain::serve, audit::list, audit::verification, leaks::report, github::report,
    ),
    security(("admin_key" = [])),
    modifiers(&AdminKey, &OperationIds),
)]
pub(super) struct Description;

/// How an admin key is shown.
struct AdminKey;

impl Modify for AdminKey {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        description.components.get_or_insert_default().add_security_scheme("admin_key", scheme);
    }
}

/// Names each operation by its method and path, so that no two have one name.
struct OperationIds;

impl Modify for OperationIds {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut description.paths.paths {
            let path = path.trim_start_matches("/admin/v1/").replace(['{', '}'], "").replace('/', "_");
            let methods = [
                ("get", &mut item.get),
                ("post", &mut item.post),
                ("put", &mut item.put),
                ("patch", &mut item.patch),
                ("delete", &mut item.delete),
            ];
            for (method, operation) in methods {
                if let Some(operation) = operation {
                    operation.operation_id = Some(format!("{method}_{path}"));
                }
            }
        }
    }
}

/// The description itself.
pub async fn show() -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}
