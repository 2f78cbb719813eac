//! What management's functions fail with, as problems.

use http::StatusCode;

use crate::admin::change::Wrong;
use crate::admin::credentials::CredentialError;
use crate::admin::groups::GroupError;
use crate::admin::keys::KeyError;
use crate::problem::{FieldError, Problem};
use crate::prompt::edit::EditError;
use crate::store::StoreError;

impl From<StoreError> for Problem {
    fn from(e: StoreError) -> Problem {
        tracing::error!(error = %e, "the store did not do what the management API asked for");
        let detail = "The store cannot be asked right now: look whether it was done, and try again in a moment.";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", detail)
    }
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Problem {
        Problem::fields(vec![FieldError { pointer: format!("/{}", wrong.field), detail: wrong.message }])
    }
}

impl From<KeyError> for Problem {
    fn from(e: KeyError) -> Problem {
        let detail = e.to_string();
        match e {
            KeyError::NotFound(_) => Problem::new(StatusCode::NOT_FOUND, "key_not_found", detail),
            KeyError::Revoked(_) => Problem::new(StatusCode::CONFLICT, "key_revoked", detail),
            KeyError::Wrong(wrong) => wrong.into(),
            KeyError::Store(e) => e.into(),
            KeyError::NoRandomness => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_randomness", detail),
        }
    }
}

impl From<GroupError> for Problem {
    fn from(e: GroupError) -> Problem {
        let detail = e.to_string();
        match e {
            GroupError::NotFound(_) => Problem::new(StatusCode::NOT_FOUND, "not_found", detail),
            GroupError::Exists(_) => Problem::new(StatusCode::CONFLICT, "exists", detail),
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
            CredentialError::Wrong(wrong) => wrong.into(),
            CredentialError::Catalog(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "providers_unreadable", detail),
            CredentialError::Store(e) => e.into(),
        }
    }
}

impl From<EditError> for Problem {
    fn from(e: EditError) -> Problem {
        let (status, code) = match e {
            EditError::NotFound(_) => (StatusCode::NOT_FOUND, "prompt_not_found"),
            EditError::Exists(_) => (StatusCode::CONFLICT, "exists"),
            EditError::Wrong(_) => (StatusCode::UNPROCESSABLE_ENTITY, "prompt_invalid"),
            EditError::Disk(_) => (StatusCode::SERVICE_UNAVAILABLE, "prompts_not_writable"),
        };
        Problem::new(status, code, e.to_string())
    }
}
