//! Anthropic's batches of messages: each request is sent as the provider names its model, and the results are fetched from here.

use std::collections::HashMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Served, not_served};
use crate::catalog::Dialect;
use crate::dialect::ask::{Edit, json_string, splice};
use crate::dialect::members::Members;
use crate::error::Refusal;
use crate::exchange::keeping::provider_of;
use crate::exchange::may_use_all;
use crate::gateway::Gateway;
use crate::key::caller::Caller;
use crate::prompt::chat;
use crate::route::Target;
use crate::upstream::Load;

/// `POST /v1/messages/batches`, as far as it is read.
#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    requests: Vec<Request<'a>>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    params: Params<'a>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
}

const NEED: &str = "'requests' has to be a list of {\"custom_id\": …, \"params\": {\"model\": …, …}}, with at least one of them";

/// The provider that serves every request of a batch, the one that keeps what they name, and the batch with the names that it has for their models.
pub(super) fn aim(
    gateway: &Gateway,
    served: &Served,
    caller: &Caller,
    keeper: Option<&str>,
    load: &mut Load,
) -> Result<Vec<Target>, Refusal> {
    let Load::Json(body, _) = load else { return Err(invalid(NEED.to_owned())) };
    let batch: Batch<'_> = serde_json::from_slice(body).map_err(|e| invalid(format!("{NEED} ({e}).")))?;
    let mut named: HashMap<String, Target> = HashMap::new();
    let mut edits = Vec::with_capacity(batch.requests.len());
    let mut first: Option<Target> = None;
    for (index, request) in batch.requests.iter().enumerate() {
        let raw = request.params.model.get();
        let name: String = serde_json::from_str(raw).map_err(|_| {
            invalid(format!("'requests.{index}.params.model' has to be a string, such as \"anthropic/claude-sonnet-4-5\"."))
        })?;
        let target = match named.get(&name) {
            Some(target) => target.clone(),
            None => {
                let holder = first.as_ref().map(|first: &Target| first.provider.holder());
                let holder = holder.as_deref().or(keeper);
                let target = target(gateway, served, caller, &name, holder).map_err(|refusal| refusal.with_param("requests"))?;
                named.insert(name, target.clone());
                target
            }
        };
        edits.push(Edit::of(raw, body, &target.model));
        first.get_or_insert(target);
    }
    let first = first.ok_or_else(|| invalid(format!("{NEED}.")))?;
    *load = Load::Json(splice(body, edits).concat().into(), None);
    Ok(vec![first])
}

/// A batch as the provider tells it, with its results at the gateway's own path: a relative one, which every SDK takes below its base URL.
pub(in crate::exchange) fn with_results_here(json: &[u8]) -> Option<Bytes> {
    let members = Members::read(json).ok()?;
    let results = members.given("results_url")?;
    let id: String = serde_json::from_str(members.get("id")?.raw).ok()?;
    let path = json_string(&format!("/v1/messages/batches/{id}/results"));
    Some([&json[..results.range.start], &path, &json[results.range.end..]].concat().into())
}

/// Who serves one of its requests: the provider of those before it, or of what they name, where there is one.
pub(super) fn target(gateway: &Gateway, served: &Served, caller: &Caller, name: &str, holder: Option<&str>) -> Result<Target, Refusal> {
    chat::check_operation(name, served.operation, served.dialect)?;
    let router = gateway.router();
    let mut targets = router.resolve_for(name, holder)?;
    may_use_all(caller, name, &targets, false).map_err(|reason| reason.refusal(Some(caller.id())))?;
    let is_served = |target: &Target| target.endpoint(served.operation, served.dialect).is_ok();
    let works = targets.iter().position(|target| is_served(target) && !target.rests());
    match (works.or(targets.iter().position(is_served)), holder) {
        (Some(index), _) => Ok(targets.swap_remove(index)),
        (None, Some(holder)) => Err(invalid(format!(
            "A batch goes to one provider, and '{name}' is not at '{}', where the requests before it are, or a file that they name: make a batch for each provider.",
            provider_of(holder)
        ))),
        (None, None) => {
            let (whose, dialect) = (if served.dialect == Dialect::Gemini { "Google" } else { "Anthropic" }, served.dialect.as_str());
            let message =
                format!("'{name}' is at no provider that takes {whose}'s batches: choose a model of one that does, and speaks {dialect}.");
            Err(not_served(message))
        }
    }
}

fn invalid(message: String) -> Refusal {
    Refusal::invalid("invalid_value", message).with_param("requests")
}
