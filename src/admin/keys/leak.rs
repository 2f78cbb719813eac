//! Ending many keys at once: all of an owner, or those that leaked.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{KeyError, KeyView, fingerprint, note};
use crate::key::diagnose::{holds_foreign_key, keys_within, without_keys};
use crate::key::{KeyRecord, KeyText, Pepper};
use crate::store::audit::{Actor, Note};
use crate::store::{KeyFilter, KeyStore};

/// What is done with a key that leaked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeakAction {
    /// Ended for good.
    #[default]
    Revoke,
    /// Switched off until somebody has looked.
    Disable,
}

/// What became of one text that was reported.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Leak {
    /// The key's id, where it is ours.
    pub id: Option<String>,
    /// `revoked`, `disabled`, `was_revoked` (it had ended before), or `unknown` (no key of ours: nothing was done).
    pub outcome: &'static str,
}

/// All keys of an owner that are not revoked.
pub async fn of_owner(store: &dyn KeyStore, owner: &str) -> Result<Vec<KeyRecord>, KeyError> {
    match of_known_owner(store, owner).await {
        Err(KeyError::NoneOf(_)) => Ok(Vec::new()),
        keys => keys,
    }
}

/// The same to be ended; an owner whom no key ever had was mistyped.
pub async fn of_known_owner(store: &dyn KeyStore, owner: &str) -> Result<Vec<KeyRecord>, KeyError> {
    let filter = KeyFilter { owner: Some(owner.to_owned()), ..KeyFilter::default() };
    let mut keys = store.keys_page(&filter, None, u32::MAX).await?;
    if keys.is_empty() {
        return Err(KeyError::NoneOf(owner.to_owned()));
    }
    keys.retain(|record| record.revoked.is_none());
    Ok(keys)
}

/// Ends keys for good, all or none.
pub async fn revoke_all(store: &dyn KeyStore, keys: Vec<KeyRecord>, why: &str, by: &Actor) -> Result<Vec<KeyView>, KeyError> {
    let (mut keys, now) = (keys, Timestamp::now());
    loop {
        let revoked: Vec<(KeyRecord, Note)> = keys
            .iter()
            .map(|record| {
                let note = note(by, "key.revoke", record, json!({ "why": why }));
                (KeyRecord { revoked: Some(now), ..record.clone() }, note)
            })
            .collect();
        if store.put_keys(&revoked).await? {
            return Ok(revoked.iter().map(|(record, _)| KeyView::of(record)).collect());
        }
        // Another process has changed one of them: they are ended as they are now.
        let mut now_are = Vec::with_capacity(keys.len());
        for known in &keys {
            now_are.extend(store.key(known.id).await?.filter(|record| record.revoked.is_none()));
        }
        keys = now_are;
    }
}

/// Ends keys that leaked, each given by its id or its text (which has to be right to the last character), or by a line with such texts in it;
/// a scanner of secrets has to have found the text.
pub async fn leaked(
    store: &dyn KeyStore,
    pepper: &Pepper,
    texts: &[String],
    source: &str,
    action: LeakAction,
    by: &Actor,
) -> Result<Vec<Leak>, KeyError> {
    // All or none; where another process has changed one in between, they are ended as they are now.
    loop {
        let (mut leaks, mut ended): (Vec<Leak>, Vec<(KeyRecord, Note)>) = Default::default();
        let mut seen = HashSet::new();
        for text in texts.iter().flat_map(|text| reported(text)) {
            let (leak, change) = leak(store, pepper, text, source, action, by).await?;
            // A key may be reported twice.
            if let Some(change) = change.filter(|(record, _)| seen.insert(record.id)) {
                ended.push(change);
            }
            leaks.push(leak);
        }
        if ended.is_empty() || store.put_keys(&ended).await? {
            return Ok(leaks);
        }
    }
}

/// What becomes of a key, and what is changed for that.
async fn leak(
    store: &dyn KeyStore,
    pepper: &Pepper,
    text: &str,
    source: &str,
    action: LeakAction,
    by: &Actor,
) -> Result<(Leak, Option<(KeyRecord, Note)>), KeyError> {
    let Some(mut record) = proven(store, pepper, text, by).await? else { return Ok((Leak { id: None, outcome: "unknown" }, None)) };
    let id = Some(record.id.to_string());
    if record.revoked.is_some() {
        return Ok((Leak { id, outcome: "was_revoked" }, None));
    }
    let outcome = match action {
        LeakAction::Revoke => {
            record.revoked = Some(Timestamp::now());
            "revoked"
        }
        LeakAction::Disable => {
            record.disabled = true;
            "disabled"
        }
    };
    let source = match holds_foreign_key(source) {
        true => "a text with a key of another service in it".to_owned(),
        false => without_keys(source.chars().take(500).collect()),
    };
    let note = note(by, "key.leak", &record, json!({ "outcome": outcome, "source": source }));
    Ok((Leak { id, outcome }, Some((record, note))))
}

/// What a line reports: the keys that stand in it, or else itself.
pub fn reported(line: &str) -> Vec<&str> {
    let keys: Vec<&str> = keys_within(line).map(|key| key.expose()).collect();
    if keys.is_empty() { vec![line.trim()] } else { keys }
}

async fn proven(store: &dyn KeyStore, pepper: &Pepper, text: &str, by: &Actor) -> Result<Option<KeyRecord>, KeyError> {
    // An id is no secret: whoever finds one in public has found no key, and a report with one proves nothing.
    if let Some(id) = fingerprint(text).filter(|_| !matches!(by, Actor::Scanner(_))) {
        return Ok(store.key(id).await?);
    }
    let Ok(parsed) = KeyText::parse(text) else { return Ok(None) };
    let record = store.key(parsed.id()).await?;
    Ok(record.filter(|record| pepper.hash(parsed.expose()).matches(&record.hash)))
}
