//! Lists of keys, page by page, newest first.

use jiff::Timestamp;

use super::{KeyError, KeyView};
use crate::admin::change::Wrong;
use crate::key::{KeyId, KeyRecord};
use crate::store::{KeyFilter, KeyStore};

/// Which keys to list.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Whose, and of which project.
    pub filter: KeyFilter,
    /// `active`, or the code of why a key would be refused.
    pub state: Option<String>,
    /// Go on after the key with this id.
    pub after: Option<KeyId>,
}

/// What a key's state can be, as lists name it.
pub const STATES: [&str; 8] =
    ["active", "key_disabled", "key_owner_disabled", GROUP_DISABLED, "key_expired", "key_not_yet_valid", "key_revoked", "key_rotated"];

/// As [`Reason::GroupDisabled`](crate::key::Reason::GroupDisabled) has it, without the group.
const GROUP_DISABLED: &str = "key_group_disabled";

/// So many keys are read from the store at a time.
const CHUNK: u32 = 500;

/// Up to `most` keys, and whether there are more.
pub async fn page(store: &dyn KeyStore, query: &ListQuery, most: usize) -> Result<(Vec<KeyView>, bool), KeyError> {
    // A state depends on the time, so it is no column: what does not fit is passed over here.
    let state = query.state.as_deref().map(full_name).transpose()?;
    let (now, mut found, mut after) = (Timestamp::now(), Vec::new(), query.after);
    loop {
        let chunk = store.keys_page(&query.filter, after, CHUNK).await?;
        for record in &chunk {
            if state.is_some_and(|state| state != state_of(record, now)) {
                continue;
            }
            if found.len() == most {
                return Ok((found, true));
            }
            found.push(KeyView::of(record));
        }
        after = chunk.last().map(|record| record.id);
        if chunk.len() < CHUNK as usize {
            return Ok((found, false));
        }
    }
}

/// `active`, or the code of why a key would be refused.
pub(super) fn state_of(record: &KeyRecord, now: Timestamp) -> &'static str {
    match record.state(|| now) {
        Err(reason) => reason.code(),
        Ok(()) if record.group_disabled => GROUP_DISABLED,
        Ok(()) => "active",
    }
}

/// A state by its code, or by the code without `key_`.
fn full_name(state: &str) -> Result<&'static str, KeyError> {
    let known = STATES.into_iter().find(|known| *known == state || known.strip_prefix("key_") == Some(state));
    known.ok_or_else(|| {
        KeyError::Wrong(Wrong { field: "state", message: format!("'{state}' is no state: it is one of {}", STATES.join(", ")) })
    })
}
