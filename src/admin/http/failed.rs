//! What management's functions fail with, as problems.

use std::time::Duration;

use http::StatusCode;

use crate::admin::change::Wrong;
use crate::admin::credentials::CredentialError;
use crate::admin::groups::GroupError;
use crate::admin::keys::KeyError;
use crate::admin::meant::ChangedMeanwhile;
use crate::admin::services::SubscriptionError;
use crate::problem::{FieldError, Problem};
use crate::steps::EditError;
use crate::store::StoreError;

/// The code of what a locked store did not do.
pub const LOCKED: &str = "store_locked";
/// The same where there is no room for it.
pub const FULL: &str = "store_full";
/// The same of a folder that another program holds.
pub const FOLDER_LOCKED: &str = "folder_locked";
/// Of what nobody could make up.
pub const NO_RANDOMNESS: &str = "no_randomness";

impl From<StoreError> for Problem {
    fn from(e: StoreError) -> Problem {
        tracing::error!(error = %e, "the store did not do what the management API asked for");
        if e.is_locked() {
            return locked();
        }
        if e.is_full() {
            let detail = "The disk that the store is on is full, and what was asked for was not done: make room, and try again.";
            return Problem::new(StatusCode::SERVICE_UNAVAILABLE, FULL, detail);
        }
        let detail = "The store cannot be asked right now: look whether it was done, and try again in a moment.";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", detail)
    }
}

/// Another program holds the store's lock.
pub fn locked() -> Problem {
    let detail = "The store is locked by another program, such as a backup or a shell that has a transaction open on it: what was asked for was not done. Try again when that has ended.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, LOCKED, detail).with_retry_after(Duration::from_secs(1))
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Problem {
        Problem::fields(vec![FieldError { pointer: format!("/{}", wrong.field), detail: wrong.message }])
    }
}

impl From<ChangedMeanwhile> for Problem {
    fn from(_: ChangedMeanwhile) -> Problem {
        let detail = "It was changed since you read it: read it again, and change that.";
        Problem::new(StatusCode::PRECONDITION_FAILED, "changed_meanwhile", detail)
    }
}

impl From<KeyError> for Problem {
    fn from(e: KeyError) -> Problem {
        let detail = e.to_string();
        match e {
            KeyError::NoneOf(_) => Problem::new(StatusCode::NOT_FOUND, "owner_not_found", detail),
            KeyError::NotFound(_) => Problem::new(StatusCode::NOT_FOUND, "key_not_found", detail),
            KeyError::Rotated(..) => Problem::new(StatusCode::CONFLICT, "key_rotated", detail),
            KeyError::Revoked(_) => Problem::new(StatusCode::CONFLICT, "key_revoked", detail),
            KeyError::Changed(changed) => changed.into(),
            KeyError::Wrong(wrong) => wrong.into(),
            KeyError::Store(e) => e.into(),
            KeyError::NoRandomness => Problem::new(StatusCode::SERVICE_UNAVAILABLE, NO_RANDOMNESS, detail),
        }
    }
}

impl From<GroupError> for Problem {
    fn from(e: GroupError) -> Problem {
        let detail = e.to_string();
        match e {
            GroupError::NotFound(_) => Problem::new(StatusCode::NOT_FOUND, "not_found", detail),
            GroupError::Exists(_) => Problem::new(StatusCode::CONFLICT, "exists", detail),
            GroupError::Changed(changed) => changed.into(),
            GroupError::Wrong(wrong) => wrong.into(),
            GroupError::Store(e) => e.into(),
        }
    }
}

impl From<CredentialError> for Problem {
    fn from(e: CredentialError) -> Problem {
        let detail = e.to_string();
        match e {
            CredentialError::NotFound(_) => Problem::new(StatusCode::NOT_FOUND, "credential_not_found", detail),
            CredentialError::Exists(_) => Problem::new(StatusCode::CONFLICT, "exists", detail),
            CredentialError::Changed(changed) => changed.into(),
            CredentialError::Wrong(wrong) => wrong.into(),
            CredentialError::Catalog(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "providers_unreadable", detail),
            CredentialError::Store(e) => e.into(),
        }
    }
}

impl From<SubscriptionError> for Problem {
    fn from(e: SubscriptionError) -> Problem {
        let detail = e.to_string();
        match e {
            SubscriptionError::NoService(_) => Problem::new(StatusCode::NOT_FOUND, "service_not_found", detail),
            SubscriptionError::NoKey(_) => Problem::new(StatusCode::NOT_FOUND, "key_not_found", detail),
            SubscriptionError::Store(e) => e.into(),
        }
    }
}

impl From<EditError> for Problem {
    fn from(e: EditError) -> Problem {
        edited(&e, ["prompt_not_found", "prompt_invalid", "prompts_not_writable"])
    }
}

/// The same of a service's file.
pub fn of_service(e: &EditError) -> Problem {
    edited(e, ["service_not_found", "service_invalid", "services_not_writable"])
}

fn edited(e: &EditError, [not_found, invalid, not_writable]: [&'static str; 3]) -> Problem {
    let (status, code) = match e {
        EditError::NotFound(_) => (StatusCode::NOT_FOUND, not_found),
        EditError::Exists(_) => (StatusCode::CONFLICT, "exists"),
        EditError::Wrong(_) | EditError::Named(_) => (StatusCode::UNPROCESSABLE_ENTITY, invalid),
        EditError::Disk(_) => (StatusCode::SERVICE_UNAVAILABLE, not_writable),
    };
    let problem = Problem::new(status, code, e.to_string());
    match e {
        EditError::Named(why) => problem.blaming(vec![FieldError { pointer: "/name".to_owned(), detail: (*why).to_owned() }]),
        _ => problem,
    }
}
