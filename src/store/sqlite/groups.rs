//! The tables of teams and projects, and of the alerts that were given.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Sqlite, keys, micros, timestamp};
use crate::quota::AccountId;
use crate::store::audit::Note;
use crate::store::{Answer, Group, GroupStore, StoreError};

/// When a group was made stays as it is.
const PUT: &str = "INSERT INTO groups (id, name, team, limits, disabled, created, changed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT (id) DO UPDATE SET name = ?2, team = ?3, limits = ?4, disabled = ?5, changed = ?7";

const ONE: &str = "SELECT * FROM groups WHERE id = ?";

impl GroupStore for Sqlite {
    fn group<'a>(&'a self, id: &'a AccountId) -> Answer<'a, Option<Group>> {
        Box::pin(async move {
            let row = sqlx::query(ONE).bind(id.to_string()).fetch_optional(&self.reads).await?;
            row.as_ref().map(group).transpose()
        })
    }

    fn groups(&self) -> Answer<'_, Vec<Group>> {
        Box::pin(async move {
            let rows = sqlx::query("SELECT * FROM groups ORDER BY id").fetch_all(&self.reads).await?;
            rows.iter().map(group).collect()
        })
    }

    fn put_group<'a>(&'a self, group: &'a Group, was: Option<&'a Group>, note: &'a Note) -> Answer<'a, bool> {
        Box::pin(async move {
            let mut transaction = self.change().await?;
            let stored = sqlx::query(ONE).bind(group.id.to_string()).fetch_optional(&mut *transaction).await?;
            if stored.as_ref().map(self::group).transpose()?.as_ref() != was {
                return Ok(false);
            }
            let changed = keys::next_change(&mut transaction).await?;
            sqlx::query(PUT)
                .bind(group.id.to_string())
                .bind(&group.name)
                .bind(&group.team)
                .bind(serde_json::to_string(&group.limits).map_err(|e| StoreError(e.to_string()))?)
                .bind(group.disabled)
                .bind(micros(group.created))
                .bind(changed)
                .execute(&mut *transaction)
                .await?;
            self.append(&mut transaction, note).await?;
            transaction.commit().await?;
            Ok(true)
        })
    }

    fn first_alert<'a>(&'a self, name: &'a str, at: Timestamp, body: Option<&'a str>) -> Answer<'a, bool> {
        Box::pin(async move {
            let added = sqlx::query("INSERT OR IGNORE INTO alerts (name, at, waiting) VALUES (?, ?, ?)");
            Ok(added.bind(name).bind(micros(at)).bind(body).execute(&self.writes).await?.rows_affected() == 1)
        })
    }

    fn waiting_alerts(&self, most: u32) -> Answer<'_, Vec<(String, String)>> {
        Box::pin(async move {
            let waiting = sqlx::query_as("SELECT name, waiting FROM alerts WHERE waiting IS NOT NULL ORDER BY at, name LIMIT ?");
            Ok(waiting.bind(most).fetch_all(&self.reads).await?)
        })
    }

    fn alert_taken<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            sqlx::query("UPDATE alerts SET waiting = NULL WHERE name = ?").bind(name).execute(&self.writes).await?;
            Ok(())
        })
    }
}

fn group(row: &SqliteRow) -> Result<Group, StoreError> {
    let id: &str = row.try_get("id")?;
    let broken = |what: &str| StoreError(format!("the stored group {id} has a broken {what}: mend its row"));
    Ok(Group {
        id: AccountId::parse(id).ok_or_else(|| broken("id"))?,
        name: row.try_get("name")?,
        team: row.try_get("team")?,
        limits: serde_json::from_str(row.try_get("limits")?).map_err(|_| broken("set of limits"))?,
        disabled: row.try_get("disabled")?,
        created: timestamp(row.try_get("created")?),
    })
}
