//! `/admin/v1/partials`: the texts that prompts share, each a file `_NAME.prompt`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::files::{noted, of_prompts};
use super::page::{self, Asked, Page, PageQuery};
use super::prompts::PromptSource;
use super::tag::{IfMatch, tagged};
use super::{Admin, Json, Problem, Viewer};
use crate::gateway::Gateway;
use crate::problem::FieldError;
use crate::prompt::Prompts;
use crate::prompt::edit;
use crate::steps::EditError;
use crate::surface::Segment;

/// A text that prompts share.
#[derive(Debug, Serialize, ToSchema)]
pub struct Partial {
    /// What `{{> name}}` calls it by.
    name: String,
    /// The file's text.
    source: String,
    /// The prompts that use it, as `name@version`; a published one goes on with the text that it was published with.
    used_by: Vec<String>,
}

/// All of them, by name.
#[utoipa::path(get, path = "/admin/v1/partials", tag = "prompts", params(PageQuery), responses((status = 200, body = Page<Partial>), (status = "4XX", body = Problem)))]
pub async fn list(_: Viewer, State(gateway): State<Arc<Gateway>>, Asked(query): Asked<PageQuery>) -> Result<Response<Body>, Problem> {
    let folder = gateway.config.prompts.folder.clone();
    let all = of_prompts(move || Ok(all(&Prompts::read(&folder)))).await?;
    Ok(axum::Json::<Page<Partial>>(page::of(all, &query, |partial| partial.name.clone())?).into_response())
}

/// One of them.
#[utoipa::path(get, path = "/admin/v1/partials/{name}", tag = "prompts", params(("name" = String, Path)), responses((status = 200, body = Partial), (status = "4XX", body = Problem)))]
pub async fn show(_: Viewer, State(gateway): State<Arc<Gateway>>, Segment(name): Segment<3>) -> Result<Response<Body>, Problem> {
    Ok(tagged(&found(&gateway, name).await?))
}

/// Writes one, new or in the place of what it was; what would make a prompt wrong is refused.
#[utoipa::path(put, path = "/admin/v1/partials/{name}", tag = "prompts", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), request_body = PromptSource, responses((status = 200, body = Partial), (status = "4XX", body = Problem)))]
pub async fn write(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    if_match: IfMatch,
    Json(body): Json<PromptSource>,
) -> Result<Response<Body>, Problem> {
    let detail = "has to be the partial's text, in the Dotprompt format".to_owned();
    let text = body.source.ok_or_else(|| Problem::fields(vec![FieldError { pointer: "/source".to_owned(), detail }]))?;
    let (folder, shelf, named) = (gateway.config.prompts.folder.clone(), Arc::clone(&gateway.prompts), name.clone());
    let plan = of_prompts(move || edit::write_partial(&folder, &named, &text)).await?;
    if !if_match.meant.is_any() {
        if_match.meant.check(&found(&gateway, name.clone()).await?)?;
    }
    let what = ("partial.write", plan.label().to_owned());
    noted(&admin, &gateway, what, of_prompts(move || plan.make().inspect(|source| shelf.take(&[&source.path])))).await?;
    Ok(tagged(&found(&gateway, name).await?))
}

async fn found(gateway: &Gateway, name: String) -> Result<Partial, Problem> {
    let folder = gateway.config.prompts.folder.clone();
    let found = of_prompts(move || {
        let one = all(&Prompts::read(&folder)).into_iter().find(|partial| partial.name == name);
        one.ok_or_else(|| EditError::NotFound(format!("there is no partial '{name}': it would be the file _{name}.prompt")))
    });
    found.await
}

fn all(prompts: &Prompts) -> Vec<Partial> {
    let of = |(name, source): (&str, &str)| {
        let users = prompts.all().filter(|prompt| prompt.partials.contains_key(name));
        Partial { name: name.to_owned(), source: source.to_owned(), used_by: users.map(|prompt| prompt.label()).collect() }
    };
    let mut all: Vec<Partial> = prompts.partials().map(of).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}
