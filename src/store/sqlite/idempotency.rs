//! The table of requests that are done once however often they are sent.

use jiff::Timestamp;
use sqlx::Row;

use super::{Sqlite, micros, timestamp};
use crate::store::{Answer, Claim, IdempotencyStore};

const FORGET: &str = "DELETE FROM idempotency WHERE at < ?";

impl IdempotencyStore for Sqlite {
    fn claim<'a>(&'a self, scope: &'a str, name: &'a str, request: &'a [u8], oldest: Timestamp) -> Answer<'a, Claim> {
        Box::pin(async move {
            let mut transaction = self.change().await?;
            sqlx::query(FORGET).bind(micros(oldest)).execute(&mut *transaction).await?;
            let row = sqlx::query("SELECT request, answer, at FROM idempotency WHERE scope = ? AND name = ?");
            let row = row.bind(scope).bind(name).fetch_optional(&mut *transaction).await?;
            let claim = match row {
                Some(row) if row.try_get::<&[u8], _>("request")? != request => Claim::Another,
                Some(row) => {
                    let taken = timestamp(row.try_get("at")?);
                    row.try_get::<Option<Vec<u8>>, _>("answer")?.map_or(Claim::InDoubt, |answer| Claim::Done(answer, taken))
                }
                None => {
                    sqlx::query("INSERT INTO idempotency (scope, name, request, at) VALUES (?, ?, ?, ?)")
                        .bind(scope)
                        .bind(name)
                        .bind(request)
                        .bind(micros(Timestamp::now()))
                        .execute(&mut *transaction)
                        .await?;
                    Claim::First
                }
            };
            transaction.commit().await?;
            Ok(claim)
        })
    }

    fn forget_answers(&self, before: Timestamp) -> Answer<'_, ()> {
        Box::pin(async move {
            sqlx::query(FORGET).bind(micros(before)).execute(&self.changes).await?;
            Ok(())
        })
    }

    fn answered<'a>(&'a self, scope: &'a str, name: &'a str, answer: Option<&'a [u8]>) -> Answer<'a, ()> {
        Box::pin(async move {
            let statement = match answer {
                Some(_) => "UPDATE idempotency SET answer = ?3 WHERE scope = ?1 AND name = ?2",
                None => "DELETE FROM idempotency WHERE scope = ?1 AND name = ?2 AND ?3 IS NULL",
            };
            sqlx::query(statement).bind(scope).bind(name).bind(answer).execute(&self.changes).await?;
            Ok(())
        })
    }
}
