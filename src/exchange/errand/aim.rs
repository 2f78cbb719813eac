//! Who a request beside chat goes to: whoever serves its model, keeps what it names, or is the only one that could be meant.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;

use super::{Deed, PROVIDER, Served, batch, google, not_served};
use crate::catalog::Dialect;
use crate::dialect::ask::earlier;
use crate::dialect::members::Members;
use crate::error::{Kind, Refusal};
use crate::exchange::keeping::{self, provider_of, store_down};
use crate::exchange::may_use_all;
use crate::exchange::naming::{file_ids, files_named};
use crate::gateway::Gateway;
use crate::held::{self, Held};
use crate::key::caller::Caller;
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
    let kept = kept(served, load)?;
    // What others made is nobody else's to name, wherever it stands.
    let keeper = keeping::holder(gateway, caller.id(), &kept).await?;
    let targets = match (served.deed, model) {
        (Deed::Use(kind) | Deed::Delete(kind), _) => holder(gateway, caller, kind, id).await,
        (Deed::List(kind), _) => keepers(gateway, served, caller, kind, wanted).await,
        (Deed::Make(held::Kind::Batch), _) if served.dialect == Dialect::AnthropicMessages => {
            batch::aim(gateway, served, caller, keeper.as_deref(), load)
        }
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
            let targets = gateway.router().resolve_for(model, keeper.as_deref())?;
            may_use_all(caller, model, &targets, false).map_err(|reason| reason.refusal(Some(caller.id())))?;
            Ok(targets)
        }
        (deed, None) => {
            let mut targets = choose(gateway, served, wanted.or(keeper.as_deref()))?;
            if let Deed::Make(kind) = deed {
                beside_others(gateway, caller, kind, &mut targets).await?;
            }
            if deed == Deed::Begin {
                beside_others(gateway, caller, held::Kind::File, &mut targets).await?;
            }
            match deed {
                Deed::Call => may_use_any(caller, &targets[0].provider)?,
                _ => may_use_some(caller, &targets[0].provider)?,
            }
            Ok(targets)
        }
    }?;
    let (Some((kind, id)), Some(keeper)) = (kept.first(), keeper) else { return Ok(targets) };
    let mut there = targets;
    there.retain(|target| target.provider.holder() == *keeper);
    if there.is_empty() { Err(keeping::not_there(gateway, *kind, id, &keeper)) } else { Ok(there) }
}

/// What a body names of what providers keep: files, and what a response goes on with.
fn kept(served: &Served, load: &Load) -> Result<Vec<(held::Kind, String)>, Refusal> {
    let Load::Json(body, _) = load else { return Ok(Vec::new()) };
    if served.dialect == Dialect::Gemini {
        return files_named(body);
    }
    // What is no object its provider refuses.
    let Ok(members) = Members::read(body) else { return Ok(Vec::new()) };
    let mut kept = earlier(&members)?;
    if members.may_name_files() {
        kept.extend(file_ids(body)?);
    }
    Ok(kept)
}

/// Who keeps what is to be listed: all the credentials of one provider by which the key made something, or whoever could.
async fn keepers(
    gateway: &Gateway,
    served: &Served,
    caller: &Caller,
    kind: held::Kind,
    wanted: Option<&str>,
) -> Result<Vec<Target>, Refusal> {
    let provider = |holder: &str| provider_of(holder).to_owned();
    let mut holders: Vec<String> = held_by(gateway, caller, kind).await?.into_iter().map(|held| held.provider).collect();
    holders.retain(|holder| wanted.is_none_or(|wanted| wanted == holder || wanted == provider(holder)));
    holders.sort();
    holders.dedup();
    let is_of_one = holders.windows(2).all(|two| provider(&two[0]) == provider(&two[1]));
    match holders.as_slice() {
        [] => {
            let targets = choose(gateway, served, wanted)?;
            may_use_some(caller, &targets[0].provider)?;
            Ok(targets)
        }
        [_, _, ..] if !is_of_one => Err(ambiguous(&format!("list each '{}' by its provider", kind.as_str()), &holders)),
        [first, ..] => {
            let targets: Vec<Target> = holders.iter().filter_map(|holder| at(gateway, holder).ok()).collect();
            if targets.is_empty() { at(gateway, first).map(|target| vec![target]) } else { Ok(targets) }
        }
    }
}

/// What a key makes goes where it has made others of its kind, so that they can be used together, as long as that works; the first goes
/// to the credential whose turn it is.
async fn beside_others(gateway: &Gateway, caller: &Caller, kind: held::Kind, targets: &mut [Target]) -> Result<(), Refusal> {
    if targets.len() < 2 {
        return Ok(());
    }
    let held = held_by(gateway, caller, kind).await?;
    let mut last = held.iter().filter_map(|held| targets.iter().position(|target| target.provider.holder() == held.provider));
    if let Some(index) = last.find(|index| !targets[*index].rests()) {
        targets[..=index].rotate_right(1);
    }
    Ok(())
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

/// Who keeps something as a target, with no model.
pub(super) fn at(gateway: &Gateway, holder: &str) -> Result<Target, Refusal> {
    let provider = gateway.router().provider(holder).cloned().ok_or_else(|| keeping::out_of_use(gateway, holder))?;
    Ok(Target { provider, model: Arc::from("") })
}

fn not_live(id: &str) -> Refusal {
    let shown: String = id.chars().take(60).collect();
    let message = format!("There is no live provider '{shown}': GET /v1/models lists those that are live, before the '/' of each model.");
    Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "provider_not_live", message)
}

/// The provider for a request that names no model: the one wanted, or the only one, by each of its credentials in turn.
fn choose(gateway: &Gateway, served: &Served, wanted: Option<&str>) -> Result<Vec<Target>, Refusal> {
    let router = gateway.router();
    if let Some(wanted) = wanted {
        let targets = router.targets_at(wanted);
        return if targets.is_empty() { Err(not_live(wanted)) } else { Ok(targets) };
    }
    let serves = |provider: &&Arc<LiveProvider>| provider.endpoint(None, served.operation, served.dialect).is_ok();
    let providers: Vec<&Arc<LiveProvider>> = router.live().filter(serves).collect();
    let name = served.operation.as_str();
    match providers.as_slice() {
        [one] => Ok(router.targets_at(&one.id)),
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
