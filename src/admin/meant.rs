//! What a change is meant for: whatever is there, or what its caller has read, by its entity tag (RFC 9110, section 8.8.3).

use ring::digest::{SHA256, digest};
use serde::Serialize;

use crate::hex::hex;

/// The tags that a change is meant for; none where it is meant for whatever is there.
#[derive(Clone, Debug, Default)]
pub struct Meant(Option<String>);

/// What is there is not what the caller has read.
#[derive(Debug)]
pub struct ChangedMeanwhile;

// === impl Meant ===

impl Meant {
    /// Meant for whatever is there.
    pub const ANY: Meant = Meant(None);

    /// Meant for what has one of these tags, as `If-Match` lists them.
    pub fn for_tags(tags: String) -> Meant {
        Meant(Some(tags))
    }

    /// Whether it is meant for whatever is there.
    pub fn is_any(&self) -> bool {
        self.0.is_none()
    }

    /// Whether what is there is what the caller has read. Whoever writes asks each time that they have read, so that nothing comes in between.
    pub fn check<T: Serialize>(&self, there: &T) -> Result<(), ChangedMeanwhile> {
        let Some(wanted) = &self.0 else { return Ok(()) };
        let tag = tag_of(there);
        match wanted.split(',').map(str::trim).any(|wanted| wanted == "*" || wanted == tag) {
            true => Ok(()),
            false => Err(ChangedMeanwhile),
        }
    }
}

/// The tag of what is shown: the same for the same content.
pub fn tag_of<T: Serialize>(shown: &T) -> String {
    // It is made of texts and numbers: that cannot fail.
    let digest = digest(&SHA256, &serde_json::to_vec(shown).unwrap_or_default());
    format!("\"{}\"", hex(&digest.as_ref()[..12]))
}

impl std::fmt::Display for ChangedMeanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it was changed since you read it: read it again, and change that")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::admin::change::LimitsChange;
    use crate::admin::credentials::{CredentialChange, CredentialError, Given, Safe};
    use crate::admin::groups::{self, GroupChange, GroupError};
    use crate::admin::keys::{self, KeyChange, KeyError, NewKeyOrder};
    use crate::catalog::{Catalog, Environment};
    use crate::key::{Kind, Pepper};
    use crate::quota::AccountId;
    use crate::route::{Secret, Vault};
    use crate::store::audit::Actor;
    use crate::store::sqlite::Sqlite;

    /// How often two go at it together: now and then both have read before either writes.
    const ROUNDS: u32 = 20;

    async fn installed(folder: &Path) -> (Sqlite, Pepper) {
        let pepper = Pepper::load_or_create(&folder.join("server.secret")).unwrap();
        (Sqlite::open(&folder.join("keyward.db")).await.unwrap(), pepper)
    }

    fn read<T: Serialize>(shown: &T) -> Meant {
        Meant::for_tags(tag_of(shown))
    }

    fn at_once(parallel: u32) -> LimitsChange {
        LimitsChange { parallel: Some(std::num::NonZeroU32::new(parallel)), ..LimitsChange::default() }
    }

    #[tokio::test]
    async fn of_changes_of_what_two_have_read_one_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let (store, pepper) = installed(folder.path()).await;
        let (by, team) = (Actor::Gateway, AccountId::Team("t".into()));
        let id = keys::create(&store, &store, &pepper, NewKeyOrder::new("n", Kind::Live), &by).await.unwrap().view.id;
        groups::create(&store, &team, GroupChange::default(), &by).await.unwrap();
        for round in 1..=ROUNDS {
            let meant = read(&keys::show(&store, &id).await.unwrap());
            let change = |most| KeyChange { limits: at_once(most), ..KeyChange::default() };
            let (one, other) = tokio::join!(
                keys::update(&store, &store, (&id, &meant), change(round * 2), &by),
                keys::update(&store, &store, (&id, &meant), change(round * 2 + 1), &by)
            );
            let lost = [one, other].into_iter().filter_map(Result::err).collect::<Vec<_>>();
            assert!(matches!(lost[..], [KeyError::Changed(_)]), "{lost:?}");

            let meant = read(&groups::show(&store, &team).await.unwrap());
            let change = |most| GroupChange { limits: at_once(most), ..GroupChange::default() };
            let (one, other) = tokio::join!(
                groups::update(&store, (&team, &meant), change(round * 2), &by),
                groups::update(&store, (&team, &meant), change(round * 2 + 1), &by)
            );
            let lost = [one, other].into_iter().filter_map(Result::err).collect::<Vec<_>>();
            assert!(matches!(lost[..], [GroupError::Changed(_)]), "{lost:?}");
        }
    }

    #[tokio::test]
    async fn a_key_is_rotated_revoked_or_switched_off_as_it_was_read_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let (store, pepper) = installed(folder.path()).await;
        let by = Actor::Gateway;
        let id = keys::create(&store, &store, &pepper, NewKeyOrder::new("n", Kind::Live), &by).await.unwrap().view.id;
        let stale = read(&keys::show(&store, &id).await.unwrap());
        let renamed = KeyChange { name: Some("m".to_owned()), ..KeyChange::default() };
        let now = read(&keys::update(&store, &store, (&id, &stale), renamed, &by).await.unwrap());
        assert!(matches!(keys::rotate(&store, &pepper, (&id, &stale), Duration::ZERO, &by).await, Err(KeyError::Changed(_))));
        assert!(matches!(keys::disable(&store, &store, (&id, &stale), &by).await, Err(KeyError::Changed(_))));
        assert!(matches!(keys::enable(&store, &store, (&id, &stale), &by).await, Err(KeyError::Changed(_))));
        assert!(matches!(keys::revoke(&store, (&id, &stale), &by).await, Err(KeyError::Changed(_))));
        assert!(keys::revoke(&store, (&id, &now), &by).await.unwrap().revoked.is_some());
    }

    #[tokio::test]
    async fn a_new_secret_is_another_tag_so_that_none_is_replaced_or_removed_unseen() {
        let folder = tempfile::tempdir().unwrap();
        let (store, pepper) = installed(folder.path()).await;
        let (env, by) = (Environment::default(), Actor::Gateway);
        let (vault, catalog) = (Vault::open(&env, &pepper).unwrap(), Catalog::load(None).unwrap());
        let safe = Safe { store: &store, vault: &vault, catalog: Ok(&catalog), env: &env, takes_files: false };
        let secret = |text: &str| Given::Value(Secret::new(text));
        let replaced = |text: &str| CredentialChange { secret: Some(secret(text)), ..CredentialChange::default() };
        let stale = read(&safe.add("c", "openai", 1, secret("sk-one"), &by).await.unwrap().tagged());
        let view = safe.change(("c", &stale), replaced("sk-two"), &by).await.unwrap();
        assert!(!serde_json::to_string(&view).unwrap().contains("sealed"), "what is kept is shown to nobody");
        let late = safe.change(("c", &stale), replaced("sk-three"), &by).await;
        assert!(matches!(late, Err(CredentialError::Changed(_))), "{late:?}");
        assert!(matches!(safe.remove(("c", &stale), &by).await, Err(CredentialError::Changed(_))));
        let now = read(&safe.show("c").await.unwrap().tagged());
        safe.remove(("c", &now), &by).await.unwrap();
    }
}
