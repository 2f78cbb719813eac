//! Who a request beside chat goes to: whoever serves its model, keeps what it names, or is the only one that could be meant.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;

use super::{Deed, PROVIDER, Served, batch, google, not_served};
use crate::catalog::Dialect;
use crate::dialect::members::Members;
use crate::error::{Kind, Refusal};
use crate::exchange::keeping::{store_down, targets_with};
use crate::exchange::naming::files_named;
use crate::gateway::Gateway;
use crate::held::{self, Held};
use crate::key::keyring::Caller;
use crate::route::{LiveProvider, Target};
use crate::upstream::Load;

/// The targets, in order; the key may use all of them.
pub(super) async fn targets(
    gateway: &Gateway,
    served: &Served,
    caller: &Caller,
    head: &Parts,
    load: &mut Load,
    model: Option<&str>,
    id: &str,
) -> Result<Vec<Target>, Refusal> {
    let wanted = head.headers.get(PROVIDER).map(|value| value.to_str().unwrap_or_default());
    match (served.deed, model) {
        (Deed::Use(kind) | Deed::Delete(kind), _) => holder(gateway, caller, kind, id).await,
        (Deed::List(kind), _) => {
            let mut holders: Vec<String> = held_by(gateway, caller, kind).await?.into_iter().map(|held| held.provider).collect();
            holders.sort();
            holders.dedup();
            match (wanted, holders.as_slice()) {
                (None, [one]) => at(gateway, one).map(|target| vec![target]),
                (None, [_, _, ..]) => Err(ambiguous(&format!("list each '{}' by its provider", kind.as_str()), &holders)),
                _ => choose(gateway, served, wanted),
            }
        }
        (Deed::Make(held::Kind::Batch), _) if served.dialect == Dialect::AnthropicMessages => batch::aim(gateway, served, caller, load),
        (Deed::Make(held::Kind::Batch), Some(model)) if served.dialect == Dialect::Gemini => {
            google::aim(gateway, served, caller, load, model).await
        }
        (Deed::Make(held::Kind::Batch), _) => {
            let input = match load {
                Load::Json(body, _) => {
                    Members::read(body).ok().and_then(|members| serde_json::from_str(members.get("input_file_id")?.raw).ok())
                }
                _ => None,
            };
            let need = "'input_file_id' has to be the id of a file that was uploaded with the purpose 'batch'.";
            let input: String = input.ok_or_else(|| Refusal::invalid("invalid_value", need).with_param("input_file_id"))?;
            let targets = holder(gateway, caller, held::Kind::File, &input).await?;
            // The file names its models by itself: whoever may send it may use any.
            may_use_any(caller, &targets[0].provider)?;
            Ok(targets)
        }
        (_, Some(model)) => {
            let kept = match load {
                Load::Json(body, _) if served.dialect == Dialect::Gemini => files_named(body)?,
                _ => Vec::new(),
            };
            let targets = targets_with(gateway, model, caller.id(), &kept).await?;
            for target in &targets {
                let full_name = || target.full_name();
                caller.may_use(model, full_name, target.provider.is_simulator()).map_err(|reason| reason.refusal(Some(caller.id())))?;
            }
            Ok(targets)
        }
        (deed, None) => {
            let targets = choose(gateway, served, wanted)?;
            match deed {
                Deed::Call => may_use_any(caller, &targets[0].provider)?,
                _ => may_use_some(caller, &targets[0].provider)?,
            }
            Ok(targets)
        }
    }
}

/// Whether the key may use one of the provider's models at least.
pub(super) fn may_use_some(caller: &Caller, provider: &LiveProvider) -> Result<(), Refusal> {
    let may_use = |model: &String| caller.may_use(&format!("{}/{model}", provider.id), String::new, false).is_ok();
    if provider.models.keys().any(may_use) { Ok(()) } else { may_use_any(caller, provider) }
}

/// Whether the key may use whatever model of the provider's.
pub(super) fn may_use_any(caller: &Caller, provider: &LiveProvider) -> Result<(), Refusal> {
    let any = format!("{}/*", provider.id);
    caller.may_use(&any, String::new, provider.is_simulator()).map_err(|reason| reason.refusal(Some(caller.id())))
}

pub(super) async fn holder(gateway: &Gateway, caller: &Caller, kind: held::Kind, id: &str) -> Result<Vec<Target>, Refusal> {
    let found = gateway.held.holder(caller.id(), kind, id).await.map_err(|e| store_down(&e))?;
    let provider = found.ok_or_else(|| kind.not_found(id))?;
    at(gateway, &provider).map(|target| vec![target])
}

/// All of a kind that the key made.
pub(in crate::exchange) async fn held_by(gateway: &Gateway, caller: &Caller, kind: held::Kind) -> Result<Vec<Held>, Refusal> {
    gateway.held.all(caller.id(), kind).await.map_err(|e| store_down(&e))
}

/// A provider as a target, with no model.
pub(super) fn at(gateway: &Gateway, id: &str) -> Result<Target, Refusal> {
    let shown: String = id.chars().take(60).collect();
    let message = format!("There is no live provider '{shown}': GET /v1/models lists those that are live, before the '/' of each model.");
    let provider = gateway.router().provider(id).cloned();
    let provider = provider.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "provider_not_live", message))?;
    Ok(Target { provider, model: Arc::from("") })
}

/// The provider for a request that names no model: the one wanted, or the only one.
fn choose(gateway: &Gateway, served: &Served, wanted: Option<&str>) -> Result<Vec<Target>, Refusal> {
    if let Some(wanted) = wanted {
        return at(gateway, wanted).map(|target| vec![target]);
    }
    let serves = |provider: &&Arc<LiveProvider>| provider.endpoint(None, served.operation, served.dialect).is_ok();
    let router = gateway.router();
    let providers: Vec<&Arc<LiveProvider>> = router.live().filter(serves).collect();
    let name = served.operation.as_str();
    match providers.as_slice() {
        [one] => Ok(vec![Target { provider: Arc::clone(one), model: Arc::from("") }]),
        [] => Err(not_served(format!("No live provider serves '{name}': it needs one that speaks {}.", served.dialect.as_str()))),
        several => {
            let ids: Vec<String> = several.iter().map(|provider| provider.id.clone()).collect();
            Err(ambiguous(&format!("for '{name}' without a model"), &ids))
        }
    }
}

fn ambiguous(what: &str, ids: &[String]) -> Refusal {
    let message = format!("Several providers could be meant; {what}, say which with the header 'keyward-provider': {}.", ids.join(", "));
    Refusal::invalid("provider_ambiguous", message)
}
