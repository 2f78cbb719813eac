//! Teams, projects and the gateway itself: making, changing and showing what keys belong to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::change::{self, LimitsChange, Wrong, given};
use super::keys::difference;
use super::meant::{ChangedMeanwhile, Meant};
use crate::quota::account::is_slug;
use crate::quota::{AccountId, Limits};
use crate::store::audit::{Actor, Note};
use crate::store::{self, Group, GroupStore, StoreError};

/// What is to be different of a group; what is absent stays as it is.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct GroupChange {
    /// What people call it.
    #[schema(nullable = false)]
    pub name: Option<String>,
    /// Of a project: the team that it belongs to, by its id; null for none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub team: Option<Option<String>>,
    /// None of its keys works for now.
    #[schema(nullable = false)]
    pub disabled: Option<bool>,
    /// What all of its keys together may do.
    #[serde(flatten)]
    pub limits: LimitsChange,
}

/// What is shown of a group.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GroupView {
    /// Its id: the name that keys and projects refer to it by; `gateway` for the whole.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Of a project: its team.
    pub team: Option<String>,
    /// None of its keys works for now.
    pub disabled: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// What all of its keys together may do.
    #[serde(flatten)]
    pub limits: Limits,
}

/// Why a group could not be made or changed.
#[derive(Debug)]
pub enum GroupError {
    /// There is none.
    NotFound(Wrong),
    /// There is one already.
    Exists(AccountId),
    /// What it is to be cannot be.
    Wrong(Wrong),
    /// It is not as its caller has read it.
    Changed(ChangedMeanwhile),
    /// The store did not do it.
    Store(StoreError),
}

/// Longest name, in bytes.
const LONGEST: usize = 200;

/// Makes a team or a project.
pub async fn create(store: &dyn GroupStore, id: &AccountId, change: GroupChange, by: &Actor) -> Result<GroupView, GroupError> {
    let (kind, name) = change::split(id);
    if !is_slug(&name) {
        let message = format!("a {kind}'s id has 1 to 63 lower-case letters, digits, '-' and '_'");
        return Err(GroupError::Wrong(Wrong { field: "id", message }));
    }
    if let Some(why) = change::key_in_reference(&name) {
        return Err(GroupError::Wrong(Wrong { field: "id", message: why.to_owned() }));
    }
    if store.group(id).await?.is_some() {
        return Err(GroupError::Exists(id.clone()));
    }
    let mut group = Group::new(id.clone(), &name);
    change.apply(&mut group);
    check(store, &group, &Limits::default()).await?;
    let view = GroupView::of(&group);
    match store.put_group(&group, None, &note(by, id, "create", json!(view))).await? {
        true => Ok(view),
        false => Err(GroupError::Exists(id.clone())),
    }
}

/// Changes a team, a project or the gateway.
pub async fn update(
    store: &dyn GroupStore,
    (id, meant): (&AccountId, &Meant),
    change: GroupChange,
    by: &Actor,
) -> Result<GroupView, GroupError> {
    // Where another process has changed it in between, it is changed as it is now, if the change is meant for that.
    loop {
        let old = find(store, id).await?;
        meant.check(&GroupView::of(&old)).map_err(GroupError::Changed)?;
        let mut new = old.clone();
        change.clone().apply(&mut new);
        // What an earlier version took, and this one would not, can be switched off all the same.
        if (Group { disabled: old.disabled, ..new.clone() }) != old || *id == AccountId::Gateway {
            check(store, &new, &old.limits).await?;
        }
        if new == old {
            return Ok(GroupView::of(&new));
        }
        let is_written = old.created != Timestamp::UNIX_EPOCH;
        if !is_written {
            new.created = store::now();
        }
        let detail = difference(&json!(GroupView::of(&old)), &json!(GroupView::of(&new)));
        if store.put_group(&new, is_written.then_some(&old), &note(by, id, "update", detail)).await? {
            return Ok(GroupView::of(&new));
        }
    }
}

/// One team or project, or the gateway (which has no limits until somebody sets some).
pub async fn show(store: &dyn GroupStore, id: &AccountId) -> Result<GroupView, GroupError> {
    find(store, id).await.map(|group| GroupView::of(&group))
}

/// All groups of a kind (`team`, `project`), by id.
pub async fn list(store: &dyn GroupStore, kind: &str) -> Result<Vec<GroupView>, GroupError> {
    let all = store.groups().await?;
    Ok(all.iter().filter(|group| change::split(&group.id).0 == kind).map(GroupView::of).collect())
}

async fn find(store: &dyn GroupStore, id: &AccountId) -> Result<Group, GroupError> {
    if *id == AccountId::Gateway {
        // While it is nowhere written down it looks the same however often it is shown.
        let unwritten = || Group { created: Timestamp::UNIX_EPOCH, ..Group::new(AccountId::Gateway, "gateway") };
        return Ok(store.group(id).await?.unwrap_or_else(unwritten));
    }
    change::existing(store, id, "id").await?.map_err(GroupError::NotFound)
}

async fn check(store: &dyn GroupStore, group: &Group, were: &Limits) -> Result<(), GroupError> {
    let wrong = |field, message: &str| Err(GroupError::Wrong(Wrong { field, message: message.to_owned() }));
    if group.name.is_empty() || group.name.len() > LONGEST {
        return wrong("name", "a name has 1 to 200 bytes");
    }
    // One that was given no other name is called by its id, which is judged as what names other things.
    let is_own = matches!(&group.id, AccountId::Team(id) | AccountId::Project(id) if **id == *group.name);
    if let Some(why) = if is_own { change::key_in_reference(&group.name) } else { change::key_in_name(&group.name) } {
        return wrong("name", why);
    }
    if group.disabled && group.id == AccountId::Gateway {
        return wrong("disabled", "the gateway itself is not switched off here: stop its process");
    }
    change::check(&group.limits, were).map_err(GroupError::Wrong)?;
    match (&group.team, &group.id) {
        (None, _) => Ok(()),
        (Some(team), AccountId::Project(_)) => {
            let team = AccountId::Team(team.as_str().into());
            change::existing(store, &team, "team").await?.map(|_| ()).map_err(GroupError::Wrong)
        }
        (Some(_), _) => wrong("team", "only a project belongs to a team: leave it out"),
    }
}

fn note(by: &Actor, id: &AccountId, what: &str, detail: serde_json::Value) -> Note {
    let action = match (id, what) {
        (AccountId::Team(_), "create") => "team.create",
        (AccountId::Team(_), _) => "team.update",
        (AccountId::Project(_), "create") => "project.create",
        (AccountId::Project(_), _) => "project.update",
        _ => "limits.update",
    };
    Note { actor: by.clone(), action, subject: id.to_string(), detail }
}

// === impl GroupChange ===

impl GroupChange {
    /// The names of its fields beside those of its limits.
    pub const FIELDS: [&str; 3] = ["name", "team", "disabled"];

    fn apply(self, group: &mut Group) {
        group.name = self.name.unwrap_or_else(|| std::mem::take(&mut group.name));
        group.team = self.team.unwrap_or_else(|| group.team.take());
        group.disabled = self.disabled.unwrap_or(group.disabled);
        self.limits.apply(&mut group.limits);
    }
}

// === impl GroupView ===

impl GroupView {
    fn of(group: &Group) -> GroupView {
        let (kind, name) = change::split(&group.id);
        GroupView {
            id: if name.is_empty() { kind.to_owned() } else { name },
            name: group.name.clone(),
            team: group.team.clone(),
            disabled: group.disabled,
            created: group.created,
            limits: group.limits.clone(),
        }
    }
}

// === impl GroupError ===

impl From<StoreError> for GroupError {
    fn from(e: StoreError) -> GroupError {
        GroupError::Store(e)
    }
}

impl std::fmt::Display for GroupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            GroupError::NotFound(wrong) => f.write_str(&wrong.message),
            GroupError::Exists(id) => write!(f, "{id} is there already: change it with 'update', or choose another id"),
            GroupError::Wrong(wrong) => wrong.fmt(f),
            GroupError::Changed(why) => why.fmt(f),
            GroupError::Store(e) => write!(f, "the store did not do it: {e}"),
        }
    }
}

impl std::error::Error for GroupError {}
