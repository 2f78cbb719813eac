//! `/admin/v1/credentials`: what is presented to providers; secrets go in, and never come out.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Response, StatusCode};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::body::Fields;
use super::page::{self, Asked, Page, PageQuery};
use super::tag::{IfMatch, with_tag};
use super::{Admin, Json, Problem, Viewer};
use crate::admin::change::Wrong;
use crate::admin::credentials::{CredentialChange, CredentialView, Given, Safe};
use crate::gateway::Gateway;
use crate::route::{Secret, Variables};
use crate::surface::Segment;

/// A credential that is to be kept.
#[derive(Default, Deserialize, ToSchema)]
pub struct NewCredential {
    /// 1 to 63 lower-case letters, digits, `-` and `_`.
    #[schema(value_type = String, required, min_length = 1, max_length = 63, pattern = "^[a-z0-9_-]+$")]
    name: Option<String>,
    /// The provider's id.
    #[schema(value_type = String, required)]
    provider: Option<String>,
    #[serde(flatten)]
    rest: Changed,
}

/// What is to be different of a credential; what is absent stays as it is.
#[derive(Default, Deserialize, ToSchema)]
pub struct Changed {
    /// Its share of the provider's requests, from 1 to 1000 [default: 1].
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000, nullable = false)]
    weight: Option<NonZeroU32>,
    /// Whether it is switched off for now.
    #[schema(nullable = false)]
    disabled: Option<bool>,
    /// The secret, where the provider takes a single one; it is written, and never read again.
    #[serde(default, deserialize_with = "secret")]
    #[schema(value_type = Option<String>, write_only, nullable = false)]
    value: Option<Secret>,
    /// Several variables with their values, instead of `value`.
    #[serde(default, deserialize_with = "secrets")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>, write_only, nullable = false)]
    variables: Option<Variables>,
}

/// A credential, and how it fares with its provider.
#[derive(Debug, Serialize, ToSchema)]
pub struct CredentialAnswer {
    #[serde(flatten)]
    view: CredentialView,
    /// Seconds until it is tried again, where the provider refused it; 0 where the next request does so.
    refused_for_s: Option<u64>,
}

impl Fields for NewCredential {
    fn names() -> Vec<&'static str> {
        ["name", "provider"].into_iter().chain(Changed::names()).collect()
    }

    fn clearable() -> Option<&'static [&'static str]> {
        Changed::clearable()
    }
}

impl Fields for Changed {
    fn names() -> Vec<&'static str> {
        vec!["weight", "disabled", "value", "variables"]
    }

    fn clearable() -> Option<&'static [&'static str]> {
        Some(&[])
    }
}

/// A text; what is none is not repeated.
fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(Secret::new(text))),
        _ => Err(D::Error::custom("it is a text")),
    }
}

fn secrets<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Variables>, D::Error> {
    let pair = |(name, value)| match value {
        Value::String(text) => Ok((name, Secret::new(text))),
        _ => Err(D::Error::custom("each value is a text")),
    };
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::Object(pairs) => pairs.into_iter().map(pair).collect::<Result<_, _>>().map(Some),
        _ => Err(D::Error::custom("it is an object of texts")),
    }
}

/// Credentials, by name.
#[utoipa::path(get, path = "/admin/v1/credentials", tag = "credentials", params(PageQuery), responses((status = 200, body = Page<CredentialAnswer>), (status = "4XX", body = Problem)))]
pub async fn list(_: Viewer, State(gateway): State<Arc<Gateway>>, Asked(query): Asked<PageQuery>) -> Result<Response<Body>, Problem> {
    let mut all = Safe::of(&gateway.switchboard).list().await?;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let Page { data, next } = page::of(all, &query, |view| view.name.clone())?;
    let data = data.into_iter().map(|view| CredentialAnswer::of(&gateway, view)).collect();
    Ok(axum::Json(Page { data, next }).into_response())
}

/// Keeps a credential, sealed; it is used from now on.
#[utoipa::path(post, path = "/admin/v1/credentials", tag = "credentials", params(("Idempotency-Key" = Option<String>, Header)), request_body = NewCredential, responses((status = 201, body = CredentialAnswer), (status = "4XX", body = Problem)))]
pub async fn create(admin: Admin, State(gateway): State<Arc<Gateway>>, Json(new): Json<NewCredential>) -> Result<Response<Body>, Problem> {
    let NewCredential { name, provider, rest } = new;
    let name = name.ok_or(Wrong { field: "name", message: "is missing: say what to call it".to_owned() })?;
    let provider = provider.ok_or(Wrong { field: "provider", message: "is missing: say whose it is".to_owned() })?;
    if rest.disabled.is_some() {
        return Err(Wrong { field: "disabled", message: "a new credential is in use: leave it out".to_owned() }.into());
    }
    let CredentialChange { weight, secret, .. } = rest.change()?;
    let secret = secret.ok_or(Wrong { field: "value", message: "is missing: send the secret".to_owned() })?;
    let view = Safe::of(&gateway.switchboard).add(&name, &provider, weight.unwrap_or(1), secret, &admin.actor()).await?;
    let mut response = holds(&gateway, view).await;
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// One credential.
#[utoipa::path(get, path = "/admin/v1/credentials/{name}", tag = "credentials", params(("name" = String, Path)), responses((status = 200, body = CredentialAnswer), (status = "4XX", body = Problem)))]
pub async fn show(_: Viewer, State(gateway): State<Arc<Gateway>>, Segment(name): Segment<3>) -> Result<Response<Body>, Problem> {
    Ok(answer(&gateway, Safe::of(&gateway.switchboard).show(&name).await?))
}

/// Changes how much a credential is used, or puts a new secret in the place of the one that it had.
#[utoipa::path(patch, path = "/admin/v1/credentials/{name}", tag = "credentials", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), request_body = Changed, responses((status = 200, body = CredentialAnswer), (status = "4XX", body = Problem)))]
pub async fn update(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    if_match: IfMatch,
    Json(changed): Json<Changed>,
) -> Result<Response<Body>, Problem> {
    let safe = Safe::of(&gateway.switchboard);
    let view = safe.change((&name, &if_match.meant), changed.change()?, &admin.actor()).await?;
    Ok(holds(&gateway, view).await)
}

/// Takes a credential out; its secret is erased.
#[utoipa::path(delete, path = "/admin/v1/credentials/{name}", tag = "credentials", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 204), (status = "4XX", body = Problem)))]
pub async fn remove(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    Safe::of(&gateway.switchboard).remove((&name, &if_match.meant), &admin.actor()).await?;
    gateway.switchboard.renew().await;
    Ok(StatusCode::NO_CONTENT)
}

/// The answer to a change, once it holds.
async fn holds(gateway: &Gateway, view: CredentialView) -> Response<Body> {
    gateway.switchboard.renew().await;
    answer(gateway, view)
}

fn answer(gateway: &Gateway, view: CredentialView) -> Response<Body> {
    let answer = CredentialAnswer::of(gateway, view);
    with_tag(&answer.view.tagged(), &answer)
}

// === impl Changed ===

impl Changed {
    fn change(self) -> Result<CredentialChange, Problem> {
        let secret = match (self.value, self.variables) {
            (Some(_), Some(_)) => {
                return Err(Wrong { field: "variables", message: "there is a 'value' too: send one of them".to_owned() }.into());
            }
            (Some(value), None) => Some(Given::Value(value)),
            (None, variables) => variables.map(Given::Variables),
        };
        Ok(CredentialChange { weight: self.weight.map(NonZeroU32::get), disabled: self.disabled, secret })
    }
}

// === impl CredentialAnswer ===

impl CredentialAnswer {
    fn of(gateway: &Gateway, view: CredentialView) -> CredentialAnswer {
        let router = gateway.router();
        let line = router.provider(&format!("{}#{}", view.provider, view.name));
        let refused_for_s = line.and_then(|line| line.credential.as_ref()?.refused_for_s());
        CredentialAnswer { view, refused_for_s }
    }
}
