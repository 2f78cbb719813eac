//! The table of keys, and the numbers that tell what changed in it.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Sqlite, micros, timestamp};
use crate::key::record::{Role, Rotation};
use crate::key::{KeyHash, KeyId, KeyRecord, Kind};
use crate::quota::{AccountId, Limits};
use crate::store::audit::Note;
use crate::store::{Answer, Changes, KeyFilter, KeyStore, StoreError};

const INSERT: &str = "INSERT INTO keys
    (id, hash, kind, name, owner, limits, created, not_before, expires, revoked, disabled, successor, grace_ends, changed, project, role, family)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
const PAGE: &str = "SELECT * FROM owned_keys
    WHERE (?1 IS NULL OR owner = ?1) AND (?2 IS NULL OR project = ?2)
        AND (?3 IS NULL OR (-created, id) > (SELECT -created, id FROM keys WHERE id = ?3))
    ORDER BY created DESC, id LIMIT ?4";
/// Accounts whose limits are counted, groups as well as the newest key of each family; its condition is that of the index `limited_keys`.
pub(super) const LIMITED: &str = r#"SELECT id, limits FROM groups
    WHERE (?1 IS NULL OR id > ?1) AND (limits LIKE '%"rates":[{%' OR limits LIKE '%"budgets":[{%' OR limits LIKE '%"parallel_by_model":[{%'
            OR (limits LIKE '%"parallel":%' AND limits NOT LIKE '%"parallel":null%'))
    UNION ALL
    SELECT family, limits FROM keys
    WHERE (?1 IS NULL OR family > ?1) AND (limits LIKE '%"rates":[{%' OR limits LIKE '%"budgets":[{%' OR limits LIKE '%"parallel_by_model":[{%'
            OR (limits LIKE '%"parallel":%' AND limits NOT LIKE '%"parallel":null%'))
        AND NOT EXISTS (SELECT 1 FROM keys AS newer WHERE newer.family = keys.family AND (newer.created, newer.id) > (keys.created, keys.id))
    ORDER BY 1 LIMIT ?2"#;
/// What a key is (hash, kind, when it was made) stays as it is; one that another process has changed since it was read is left alone.
const UPDATE: &str = "UPDATE keys SET name = ?4, owner = ?5, limits = ?6, not_before = ?8, expires = ?9, revoked = ?10, disabled = ?11,
    successor = ?12, grace_ends = ?13, changed = ?14, project = ?15, role = ?16 WHERE id = ?1 AND changed = ?18";

impl KeyStore for Sqlite {
    fn key(&self, id: KeyId) -> Answer<'_, Option<KeyRecord>> {
        Box::pin(async move {
            self.is_there()?;
            let row = sqlx::query("SELECT * FROM owned_keys WHERE id = ?").bind(id.to_string()).fetch_optional(&self.reads).await?;
            row.as_ref().map(record).transpose()
        })
    }

    fn keys(&self) -> Answer<'_, Vec<KeyRecord>> {
        Box::pin(async move {
            let rows = sqlx::query("SELECT * FROM owned_keys ORDER BY created DESC, id").fetch_all(&self.reads).await?;
            rows.iter().map(record).collect()
        })
    }

    fn keys_page<'a>(&'a self, filter: &'a KeyFilter, after: Option<KeyId>, most: u32) -> Answer<'a, Vec<KeyRecord>> {
        Box::pin(async move {
            let page = sqlx::query(PAGE).bind(&filter.owner).bind(&filter.project).bind(after.map(|id| id.to_string())).bind(most);
            page.fetch_all(&self.reads).await?.iter().map(record).collect()
        })
    }

    fn limited<'a>(&'a self, after: Option<&'a str>, most: u32) -> Answer<'a, Vec<(AccountId, Limits)>> {
        Box::pin(async move {
            let rows: Vec<(String, String)> = sqlx::query_as(LIMITED).bind(after).bind(most).fetch_all(&self.reads).await?;
            let broken = |id: &str| StoreError(format!("the stored account {id} has broken limits: mend its row"));
            let account = |(id, limits): (String, String)| {
                let account = AccountId::parse(&id).zip(serde_json::from_str(&limits).ok());
                account.ok_or_else(|| broken(&id))
            };
            rows.into_iter().map(account).collect()
        })
    }

    fn family(&self, family: KeyId) -> Answer<'_, Vec<KeyRecord>> {
        Box::pin(async move {
            let rows = sqlx::query("SELECT * FROM owned_keys WHERE family = ?").bind(family.to_string()).fetch_all(&self.reads).await?;
            rows.iter().map(record).collect()
        })
    }

    fn put_keys<'a>(&'a self, records: &'a [(KeyRecord, Note)]) -> Answer<'a, bool> {
        Box::pin(async move {
            // A write lock from the start: two writers then wait for each other instead of failing half-way.
            let mut transaction = self.change().await?;
            for (record, note) in records {
                if !write(self, &mut transaction, record, note).await? {
                    return Ok(false);
                }
            }
            transaction.commit().await?;
            Ok(true)
        })
    }

    fn switch_owner<'a>(&'a self, owner: &'a str, disabled: bool, note: &'a Note) -> Answer<'a, bool> {
        Box::pin(async move {
            let mut transaction = self.change().await?;
            let switched = match disabled {
                true => "INSERT OR IGNORE INTO disabled_owners (owner) VALUES (?)",
                false => "DELETE FROM disabled_owners WHERE owner = ?",
            };
            if sqlx::query(switched).bind(owner).execute(&mut *transaction).await?.rows_affected() == 0 {
                return Ok(false);
            }
            let changed = next_change(&mut transaction).await?;
            sqlx::query("UPDATE keys SET changed = ? WHERE owner = ?").bind(changed).bind(owner).execute(&mut *transaction).await?;
            self.append(&mut transaction, note).await?;
            transaction.commit().await?;
            Ok(true)
        })
    }

    fn changes(&self, since: i64) -> Answer<'_, Changes> {
        Box::pin(async move {
            self.is_there()?;
            let newest: i64 = sqlx::query_scalar("SELECT newest FROM changes").fetch_one(&self.reads).await?;
            if newest <= since {
                return Ok(Changes { newest, ..Changes::default() });
            }
            let keys = "SELECT id FROM keys WHERE changed > ? ORDER BY changed";
            let keys: Vec<String> = sqlx::query_scalar(keys).bind(since).fetch_all(&self.reads).await?;
            let groups = "SELECT id FROM groups WHERE changed > ? ORDER BY changed";
            let groups: Vec<String> = sqlx::query_scalar(groups).bind(since).fetch_all(&self.reads).await?;
            let credentials = "SELECT EXISTS (SELECT 1 FROM credentials WHERE changed > ?)";
            let credentials: bool = sqlx::query_scalar(credentials).bind(since).fetch_one(&self.reads).await?;
            Ok(Changes {
                newest,
                credentials,
                keys: keys.iter().filter_map(|id| KeyId::parse(id)).collect(),
                groups: groups.iter().filter_map(|id| AccountId::parse(id)).collect(),
            })
        })
    }
}

async fn write(store: &Sqlite, connection: &mut SqliteConnection, record: &KeyRecord, note: &Note) -> Result<bool, StoreError> {
    let changed = next_change(&mut *connection).await?;
    let limits = serde_json::to_string(&record.limits).map_err(|e| StoreError(e.to_string()))?;
    let statement = if record.changed.is_some() { UPDATE } else { INSERT };
    let query = sqlx::query(statement)
        .bind(record.id.to_string())
        .bind(record.hash.as_bytes().to_vec())
        .bind(record.kind.as_str())
        .bind(&record.name)
        .bind(&record.owner)
        .bind(limits)
        .bind(micros(record.created))
        .bind(record.not_before.map(micros))
        .bind(record.expires.map(micros))
        .bind(record.revoked.map(micros))
        .bind(record.disabled)
        .bind(record.rotated.as_ref().map(|rotation| rotation.successor.to_string()))
        .bind(record.rotated.as_ref().map(|rotation| micros(rotation.until)))
        .bind(changed)
        .bind(&record.project)
        .bind(record.role.map(Role::as_str))
        .bind(record.family.to_string());
    let query = if let Some(was) = record.changed { query.bind(was) } else { query };
    if query.execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(false);
    }
    store.append(connection, note).await?;
    Ok(true)
}

pub(super) async fn next_change(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("UPDATE changes SET newest = newest + 1 RETURNING newest").fetch_one(connection).await?)
}

fn record(row: &SqliteRow) -> Result<KeyRecord, StoreError> {
    let id: &str = row.try_get("id")?;
    let broken = |what: &str| StoreError(format!("the stored key {id} has a broken {what}, so it is not used: mend or delete its row"));
    let time = |column: &str| row.try_get::<Option<i64>, _>(column).map(|time| time.map(timestamp));
    let rotated = match (row.try_get::<Option<&str>, _>("successor")?, time("grace_ends")?) {
        (None, None) => None,
        (Some(successor), Some(until)) => Some(Rotation { successor: KeyId::parse(successor).ok_or_else(|| broken("successor"))?, until }),
        _ => return Err(broken("rotation")),
    };
    Ok(KeyRecord {
        id: KeyId::parse(id).ok_or_else(|| broken("id"))?,
        hash: KeyHash::from_stored(row.try_get("hash")?).ok_or_else(|| broken("hash"))?,
        kind: Kind::from_name(row.try_get("kind")?).ok_or_else(|| broken("kind"))?,
        name: row.try_get("name")?,
        owner: row.try_get("owner")?,
        limits: serde_json::from_str(row.try_get("limits")?).map_err(|_| broken("set of limits"))?,
        created: timestamp(row.try_get("created")?),
        not_before: time("not_before")?,
        expires: time("expires")?,
        revoked: time("revoked")?,
        disabled: row.try_get("disabled")?,
        owner_disabled: row.try_get("owner_disabled")?,
        group_disabled: row.try_get("group_disabled")?,
        rotated,
        project: row.try_get("project")?,
        role: row.try_get::<Option<&str>, _>("role")?.map(|name| Role::from_name(name).ok_or_else(|| broken("role"))).transpose()?,
        family: KeyId::parse(row.try_get("family")?).ok_or_else(|| broken("family"))?,
        changed: Some(row.try_get("changed")?),
    })
}
