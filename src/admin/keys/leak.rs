//! Ending many keys at once: all of an owner, or those that leaked.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{KeyError, KeyView, note};
use crate::key::{KeyId, KeyRecord, KeyText, Pepper, presented};
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
    let filter = KeyFilter { owner: Some(owner.to_owned()), ..KeyFilter::default() };
    let mut keys = store.keys_page(&filter, None, u32::MAX).await?;
    keys.retain(|record| record.revoked.is_none());
    Ok(keys)
}

/// Ends keys for good, all or none.
pub async fn revoke_all(store: &dyn KeyStore, keys: Vec<KeyRecord>, why: &str, by: &Actor) -> Result<Vec<KeyView>, KeyError> {
    let now = Timestamp::now();
    let revoked: Vec<(KeyRecord, Note)> = keys
        .into_iter()
        .map(|record| {
            let note = note(by, "key.revoke", &record, json!({ "why": why }));
            (KeyRecord { revoked: Some(now), ..record }, note)
        })
        .collect();
    store.update_keys(&revoked).await?;
    Ok(revoked.iter().map(|(record, _)| KeyView::of(record)).collect())
}

/// Ends keys that leaked, each given by its text (which has to be right to the last character) or its id.
pub async fn leaked(
    store: &dyn KeyStore,
    pepper: &Pepper,
    texts: &[String],
    source: &str,
    action: LeakAction,
    by: &Actor,
) -> Result<Vec<Leak>, KeyError> {
    let mut leaks = Vec::with_capacity(texts.len());
    for text in texts {
        leaks.push(leak(store, pepper, text.trim(), source, action, by).await?);
    }
    Ok(leaks)
}

async fn leak(store: &dyn KeyStore, pepper: &Pepper, text: &str, source: &str, action: LeakAction, by: &Actor) -> Result<Leak, KeyError> {
    let unknown = Leak { id: None, outcome: "unknown" };
    let Some(mut record) = proven(store, pepper, text).await? else { return Ok(unknown) };
    let id = Some(record.id.to_string());
    if record.revoked.is_some() {
        return Ok(Leak { id, outcome: "was_revoked" });
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
    let note = note(by, "key.leak", &record, json!({ "outcome": outcome, "source": source.chars().take(500).collect::<String>() }));
    store.update_key(&record, &note).await?;
    Ok(Leak { id, outcome })
}

async fn proven(store: &dyn KeyStore, pepper: &Pepper, text: &str) -> Result<Option<KeyRecord>, KeyError> {
    if let Some(id) = KeyId::parse(text) {
        return Ok(store.key(id).await?);
    }
    let Ok(parsed): Result<KeyText<'_>, _> = presented::judge(text) else { return Ok(None) };
    let record = store.key(parsed.id()).await?;
    Ok(record.filter(|record| pepper.hash(parsed.expose()).matches(&record.hash)))
}
