//! Changes of files: looked at and made on threads for blocking work, and noted before they are made.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use super::failed::{FOLDER_LOCKED, of_service};
use super::{Admin, Problem};
use crate::gateway::Gateway;
use crate::steps::EditError;
use crate::store::audit::Note;

/// Reads or writes files of prompts.
pub async fn of_prompts<T: Send + 'static>(edit: impl FnOnce() -> Result<T, EditError> + Send + 'static) -> Result<T, Problem> {
    edited("prompt", Problem::from, edit).await
}

/// Reads or writes files of services.
pub async fn of_services<T: Send + 'static>(edit: impl FnOnce() -> Result<T, EditError> + Send + 'static) -> Result<T, Problem> {
    edited("service", |e| of_service(&e), edit).await
}

/// Notes a change and then makes it.
pub async fn noted<T>(
    admin: &Admin,
    gateway: &Gateway,
    (action, subject): (&'static str, String),
    change: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let note = Note { actor: admin.actor(), action, subject, detail: json!({}) };
    note.around(&*gateway.audit_store, change, |problem: &Problem| problem.detail().to_owned()).await
}

async fn edited<T: Send + 'static>(
    whose: &str,
    problem: fn(EditError) -> Problem,
    edit: impl FnOnce() -> Result<T, EditError> + Send + 'static,
) -> Result<T, Problem> {
    let not_done = || {
        let told = format!("The {whose}'s file was not looked at: try again.");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", told)
    };
    let done = tokio::task::spawn_blocking(edit).await.map_err(|_| not_done())?;
    done.map_err(|e| match e.is_locked() {
        true => Problem::new(StatusCode::SERVICE_UNAVAILABLE, FOLDER_LOCKED, e.to_string()).with_retry_after(Duration::from_secs(1)),
        false => problem(e),
    })
}
