//! Changing a key: who it belongs to is its own, what it may do is its whole family's (what it replaced, and what replaced it).

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{KeyError, KeyView, NewKeyOrder, find, meant_one, note};
use crate::admin::change::{self, LimitsChange, Wrong, given};
use crate::admin::meant::Meant;
use crate::key::diagnose::without_keys;
use crate::key::{KeyRecord, Kind, Role};
use crate::quota::account::is_slug;
use crate::quota::{AccountId, Limits};
use crate::store::audit::{Actor, Note};
use crate::store::{GroupStore, KeyStore};

/// What is to be different of a key; what is absent stays as it is.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct KeyChange {
    /// What people call it.
    #[schema(nullable = false)]
    pub name: Option<String>,
    /// Whose it is; free text.
    #[schema(nullable = false)]
    pub owner: Option<String>,
    /// The project that it belongs to, by its id; null for none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub project: Option<Option<String>>,
    /// Of an admin key: viewer, admin or owner.
    #[schema(nullable = false)]
    pub role: Option<Role>,
    /// When it begins to be valid; null for at once.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub not_before: Option<Option<Timestamp>>,
    /// When it ends by itself; null for never.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Option<Timestamp>>,
    /// Switched off for now.
    #[schema(nullable = false)]
    pub disabled: Option<bool>,
    /// What it may do.
    #[serde(flatten)]
    pub limits: LimitsChange,
}

/// Longest name and owner, in bytes: more would only fill lists.
const LONGEST: usize = 200;

/// Changes a key; its limits are those of its whole family.
pub async fn update(
    store: &dyn KeyStore,
    groups: &dyn GroupStore,
    (id, meant): (&str, &Meant),
    change: KeyChange,
    by: &Actor,
) -> Result<KeyView, KeyError> {
    // Where another process has changed one of them in between, they are changed as they are now, if the change is meant for that.
    while !tried(store, groups, (id, meant), change.clone(), by).await? {}
    Ok(KeyView::of(&find(store, id).await?))
}

async fn tried(
    store: &dyn KeyStore,
    groups: &dyn GroupStore,
    (id, meant): (&str, &Meant),
    change: KeyChange,
    by: &Actor,
) -> Result<bool, KeyError> {
    let old = meant_one(store, id, meant).await?;
    if old.revoked.is_some() {
        return Err(KeyError::Revoked(old.id));
    }
    let mut new = old.clone();
    change.apply(&mut new);
    let detail = difference(&json!(KeyView::of(&old)), &json!(KeyView::of(&new)));
    let changed_fields: Vec<String> = detail.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default();
    // What an earlier version took, and this one would not, can be switched off all the same.
    if changed_fields.iter().any(|name| name != "disabled") {
        check(&new, &old.limits, groups).await?;
    }
    let mut changed: Vec<(KeyRecord, Note)> = Vec::new();
    if (&new.limits, &new.project, new.role) != (&old.limits, &old.project, old.role) {
        for mut relative in store.family(old.family).await? {
            if relative.id != new.id {
                (relative.limits, relative.project, relative.role) = (new.limits.clone(), new.project.clone(), new.role);
                let note = note(by, "key.update", &relative, json!({ "with": new.id.to_string() }));
                changed.push((relative, note));
            }
        }
    }
    if !changed_fields.is_empty() {
        let action = match (old.disabled, new.disabled) {
            (false, true) => "key.disable",
            (true, false) => "key.enable",
            _ => "key.update",
        };
        let note = note(by, action, &new, detail);
        changed.push((new, note));
        return Ok(store.put_keys(&changed).await?);
    }
    Ok(true)
}

/// Switches a key off for now; a second time changes nothing.
pub async fn disable(store: &dyn KeyStore, groups: &dyn GroupStore, which: (&str, &Meant), by: &Actor) -> Result<KeyView, KeyError> {
    update(store, groups, which, KeyChange { disabled: Some(true), ..KeyChange::default() }, by).await
}

/// Switches a key on again.
pub async fn enable(store: &dyn KeyStore, groups: &dyn GroupStore, which: (&str, &Meant), by: &Actor) -> Result<KeyView, KeyError> {
    update(store, groups, which, KeyChange { disabled: Some(false), ..KeyChange::default() }, by).await
}

/// Switches all keys of an owner off, those made later too, or on again; each that is disabled by itself stays so. Tells of all that are not revoked.
/// Whom nobody has switched off, and no key ever had, was mistyped where he is to be switched on.
pub async fn switch_owner(store: &dyn KeyStore, owner: &str, disabled: bool, by: &Actor) -> Result<Vec<KeyView>, KeyError> {
    if owner.is_empty() || owner.len() > LONGEST {
        return Err(KeyError::Wrong(Wrong { field: "owner", message: "say whose keys, in 1 to 200 bytes".to_owned() }));
    }
    if let Some(why) = change::key_in_name(owner).filter(|_| disabled) {
        return Err(KeyError::Wrong(Wrong { field: "owner", message: why.to_owned() }));
    }
    let action = if disabled { "owner.disable" } else { "owner.enable" };
    let note = Note { actor: by.clone(), action, subject: owner.to_owned(), detail: json!({}) };
    let is_changed = store.switch_owner(owner, disabled, &note).await?;
    let keys = match is_changed || disabled {
        true => super::of_owner(store, owner).await?,
        false => super::of_known_owner(store, owner).await?,
    };
    Ok(keys.iter().map(KeyView::of).collect())
}

/// What is said of an owner who is switched off and has no key.
pub fn unknown_owner(owner: &str) -> String {
    let owner = without_keys(owner.to_owned());
    format!("no key has this owner now; what is made for '{owner}' later is off too, until all keys of that owner are enabled")
}

/// Says what a key cannot be whose limits `were` others before.
pub(in crate::admin) async fn check(record: &KeyRecord, were: &Limits, groups: &dyn GroupStore) -> Result<(), KeyError> {
    let wrong = |field, message: &str| Err(KeyError::Wrong(Wrong { field, message: message.to_owned() }));
    if record.name.is_empty() || record.name.len() > LONGEST {
        return wrong("name", "a name has 1 to 200 bytes");
    }
    if record.owner.len() > LONGEST {
        return wrong("owner", "an owner has at most 200 bytes");
    }
    for (field, text) in [("name", &record.name), ("owner", &record.owner)] {
        if let Some(why) = change::key_in_name(text) {
            return wrong(field, why);
        }
    }
    if record.role.is_some() && record.kind != Kind::Admin {
        return wrong("role", "only admin keys have a role: leave it out");
    }
    if record.project.is_some() && record.kind == Kind::Admin {
        return wrong("project", "admin keys manage the whole gateway and belong to no project: leave it out");
    }
    if let Some(field) = unbinding(&record.limits).filter(|_| record.kind == Kind::Admin) {
        return wrong(
            field,
            "admin keys call no model, and management counts nothing: leave it out, or clear it; addresses and paths bind them",
        );
    }
    if let (Some(begins), Some(ends)) = (record.not_before, record.expires)
        && ends <= begins
    {
        return wrong("expires", "the key would end before it begins to be valid");
    }
    change::check(&record.limits, were).map_err(KeyError::Wrong)?;
    match &record.project {
        Some(id) if !is_slug(id) => wrong("project", "a project's id has up to 63 lower-case letters, digits, '-' and '_'"),
        Some(id) => {
            let project = AccountId::Project(id.as_str().into());
            change::existing(groups, &project, "project").await?.map(|_| ()).map_err(KeyError::Wrong)
        }
        None => Ok(()),
    }
}

/// The first of some limits that bind nobody who manages.
fn unbinding(limits: &Limits) -> Option<&'static str> {
    let Limits { models, addresses: _, paths: _, tools, rates, parallel, parallel_by_model, budgets } = limits;
    let given = [
        ("models", !models.is_empty()),
        ("tools", !tools.is_empty()),
        ("rates", !rates.is_empty()),
        ("parallel", parallel.is_some()),
        ("parallel_by_model", !parallel_by_model.is_empty()),
        ("budgets", !budgets.is_empty()),
    ];
    given.into_iter().find(|(_, is_given)| *is_given).map(|(field, _)| field)
}

/// The new values of the fields that differ.
pub(in crate::admin) fn difference(old: &Value, new: &Value) -> Value {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return Value::Null };
    let changed = new.iter().filter(|(name, value)| old.get(*name) != Some(value) && *name != "state");
    Value::Object(changed.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
}

// === impl KeyChange ===

impl KeyChange {
    /// The names of its fields beside those of its limits.
    pub const FIELDS: [&str; 7] = ["name", "owner", "project", "role", "not_before", "expires", "disabled"];

    /// The same for a key that is to be made.
    pub fn fill(self, order: &mut NewKeyOrder) {
        order.name = self.name.unwrap_or_else(|| std::mem::take(&mut order.name));
        order.owner = self.owner.unwrap_or_else(|| std::mem::take(&mut order.owner));
        order.project = self.project.unwrap_or_else(|| order.project.take());
        order.role = self.role.or(order.role);
        order.not_before = self.not_before.unwrap_or(order.not_before);
        order.expires = self.expires.unwrap_or(order.expires);
        order.disabled = self.disabled.unwrap_or(order.disabled);
        self.limits.apply(&mut order.limits);
    }

    fn apply(self, record: &mut KeyRecord) {
        record.name = self.name.unwrap_or_else(|| std::mem::take(&mut record.name));
        record.owner = self.owner.unwrap_or_else(|| std::mem::take(&mut record.owner));
        record.project = self.project.unwrap_or_else(|| record.project.take());
        record.role = self.role.or(record.role);
        record.not_before = self.not_before.unwrap_or(record.not_before);
        record.expires = self.expires.unwrap_or(record.expires);
        record.disabled = self.disabled.unwrap_or(record.disabled);
        self.limits.apply(&mut record.limits);
    }
}
