//! What `keyward keys` prints.

use jiff::Timestamp;
use serde::Serialize;

use crate::admin::explain::Explanation;
use crate::admin::keys::{Created, KeyView, Replaced};
use crate::catalog::Environment;
use crate::cli::limits::warn;
use crate::cli::{CliError, output};
use crate::config::Config;
use crate::key::Kind;
use crate::money::Usd;
use crate::quota::{Exceeded, Standing};

const HEAD: [&str; 7] = ["ID", "NAME", "OWNER", "KIND", "STATE", "MODELS", "ENDS"];

fn row(view: &KeyView) -> Vec<String> {
    let models = if view.limits.models.is_empty() { "all".to_owned() } else { view.limits.models.join(",") };
    // One that was replaced works for its grace period, and no longer.
    let ends = view.works_until.or(view.expires).map_or_else(|| "never".to_owned(), |time| time.to_string());
    vec![view.id.clone(), view.name.clone(), view.owner.clone(), view.kind.to_owned(), view.state.clone(), models, ends]
}

/// Prints a key as a table, or as JSON.
pub fn show(view: &KeyView, json: bool) -> Result<(), CliError> {
    if json { output::json(view) } else { output::table(&HEAD, &[row(view)]) }
}

/// The same of several.
pub fn show_all(views: &[KeyView], json: bool) -> Result<(), CliError> {
    if json { output::json(&views) } else { output::table(&HEAD, &views.iter().map(row).collect::<Vec<_>>()) }
}

/// Shows a key's text, which nobody can see later: a reader that has gone away is an error here.
pub fn show_created<T: Serialize>(told: &T, created: &Created, json: bool) -> Result<(), CliError> {
    let text = match json {
        true => output::as_json(told)?,
        false => format!(
            "{}\n\nThis key is shown once and kept nowhere: put it where it belongs now. Its id is {}.\n",
            created.key, created.view.id
        ),
    };
    output::show(&text).map_err(|e| format!("as standard output takes nothing ({e})").into())
}

/// How long a key that was replaced still works, and how to end it at once.
pub fn left_of(Replaced { id, works_until }: &Replaced) -> String {
    match *works_until > Timestamp::now() {
        true => format!("{id} works until {works_until}; end it now with 'keyward keys revoke {id}'"),
        false => format!("{id} works no more"),
    }
}

/// Says on standard error what is odd about a key that was just made.
pub async fn warn_of(view: &KeyView, config: &Config, env: &Environment) -> Result<(), CliError> {
    warn(&view.limits, Kind::from_name(view.kind), config, env).await?;
    let KeyView { id, state, .. } = view;
    match state.as_str() {
        "active" => {}
        "key_disabled" => {
            eprintln!("warning: it is disabled, as the key was whose place it takes: 'keyward keys enable {id}' lets it in")
        }
        _ => eprintln!("warning: it cannot be used as things are ({state}): 'keyward keys explain {id}' tells why"),
    }
    Ok(())
}

/// What to do about a successor that nobody has seen.
pub fn successor_not_shown(id: &str, old: &Replaced, why: &CliError) -> String {
    let ends = match old.works_until {
        until if until > Timestamp::now() => format!("ends at {until}"),
        _ => "has ended".to_owned(),
    };
    format!(
        "the key {id} was made and not shown, {why}, and {}, which it takes the place of, {ends}: replace it by 'keyward keys rotate {id} \
         --grace 0s', or end it with 'keyward keys revoke {id}'",
        old.id
    )
}

/// Prints what a key is, and whether it would be refused.
pub fn tell(explanation: &Explanation) -> Result<(), CliError> {
    output::say(&explanation.message)?;
    explanation.hint.iter().try_for_each(|hint| output::say(hint))?;
    let Some(view) = &explanation.key else { return Ok(()) };
    show(view, false)?;
    explanation.limits.iter().try_for_each(|standing| output::say(&stands(standing)))?;
    match (&explanation.last_use, &explanation.last_change) {
        (_, Some(last)) => output::say(&format!(
            "It made a change last at {}: {} of {} (entry {} of 'keyward audit'). What it reads has its lines in the gateway's log alone.",
            last.at, last.action, last.subject, last.number
        )),
        (None, None) if view.kind == Kind::Admin.as_str() => {
            output::say("It has changed nothing, as far as the audit list tells. What it reads has its lines in the gateway's log alone.")
        }
        (Some(last), None) => {
            let from = last.from.as_deref().unwrap_or("an address that was not written down");
            let what = format!("{} for {} ({}, {} {})", last.at, last.model, last.operation, last.status, last.outcome);
            output::say(&format!("Last used: {what}, from {from}."))
        }
        (None, None) => output::say("Last used: never, as far as the ledger goes back."),
    }
}

/// How a limit stands that the ledger tells of.
fn stands(standing: &Standing) -> String {
    let Standing { account, limit, most, left, room_in_seconds, .. } = standing;
    let amount = |amount: u64| match standing.limit() {
        Exceeded::Budget { .. } => Usd::of_nanos(amount).to_string(),
        _ => amount.to_string(),
    };
    let room = match room_in_seconds {
        Some(seconds) if *left == 0 && *seconds > 0.0 => format!(", and there is room again in {:.0} s", seconds.ceil()),
        _ => String::new(),
    };
    format!("Limit {limit} of {account}: {} of {} left{room}.", amount(*left), amount(*most))
}
