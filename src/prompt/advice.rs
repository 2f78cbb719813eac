//! What in prompts is right by itself and hardly meant: told to those who write them, and never to callers.

use jiff::Timestamp;

use super::{Prompt, Prompts, State};
use crate::error::Refusal;
use crate::route::Router;

/// So many prompts are named in one line.
const MOST_NAMED: usize = 8;
/// Another process may have other variables than the gateway.
const JUDGED: &str =
    "models are judged by the variables and stored credentials that this command has: a gateway that runs with others may answer by those";

/// All of it, one line each; `default` is the model of prompts that name none.
pub fn of(prompts: &Prompts, router: &Router, default: &str, now: Timestamp) -> Vec<String> {
    let living: Vec<&Prompt> = prompts.all().map(AsRef::as_ref).filter(|prompt: &&Prompt| prompt.state_at(now) != State::Retired).collect();
    let of_files = living.iter().flat_map(|prompt| unknown(prompt).chain(unfillable(prompt))).chain(prompts.warnings(now));
    let unreachable = living.iter().filter_map(|prompt| unreachable(prompt, router, default));
    let mut of_models: Vec<String> = unreachable.chain(simulated(prompts, router, default, now)).collect();
    if !of_models.is_empty() {
        of_models.push(JUDGED.to_owned());
    }
    of_files.chain(of_models).collect()
}

/// Which prompts a simulator answers that callers take for real.
pub fn simulated(prompts: &Prompts, router: &Router, default: &str, now: Timestamp) -> Option<String> {
    let is_simulated = |prompt: &&Prompt| {
        let targets = router.resolve(prompt.front.model.as_deref().unwrap_or(default)).unwrap_or_default();
        targets.first().is_some_and(|target| target.provider.is_simulator())
    };
    let labels: Vec<String> = prompts
        .all()
        .map(AsRef::as_ref)
        .filter(|prompt: &&Prompt| matches!(prompt.state_at(now), State::Published | State::Deprecated))
        .filter(is_simulated)
        .map(Prompt::label)
        .collect();
    let named = labels.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = labels.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!labels.is_empty()).then(|| {
        format!(
            "the simulator answers {named}{more}: set KEYWARD_PROMPTS_MODEL (prompts.model) to a model for those that name none, such as openai/gpt-4o-mini"
        )
    })
}

fn unknown(prompt: &Prompt) -> impl Iterator<Item = String> {
    let (label, names) = (prompt.label(), prompt.unknown_variables());
    names
        .into_iter()
        .map(move |name| format!("{label} names the variable '{name}', which its input's schema does not have: it stays empty"))
}

/// A schema of variables that none fit, since they are an object.
fn unfillable(prompt: &Prompt) -> Option<String> {
    let kind = prompt.front.input.as_ref()?.get("type")?;
    let is_object = kind.as_array().map_or_else(|| kind == "object", |kinds| kinds.iter().any(|kind| kind == "object"));
    let label = prompt.label();
    (!is_object).then(|| format!("{label} can be called by nobody: its input's schema has the type {kind}, and variables are an object"))
}

fn unreachable(prompt: &Prompt, router: &Router, default: &str) -> Option<String> {
    let model = prompt.front.model.as_deref().unwrap_or(default);
    let why = match router.resolve(model) {
        Err(no_route) => Refusal::from(no_route).message,
        Ok(targets) => {
            let is_unlisted = |target: &crate::route::Target| target.facts().is_none() && !target.provider.models.is_empty();
            let unlisted = !targets.is_empty() && targets.iter().all(is_unlisted);
            unlisted.then(|| format!("'{model}' is no model that its provider is known to have"))?
        }
    };
    Some(format!("{} cannot be answered: {why}", prompt.label()))
}
