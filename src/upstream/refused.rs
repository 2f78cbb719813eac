//! A provider's error, read: what becomes of our credential by it, and what of it may be told.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use super::blame::{Blame, blame, is_named_credential};
use super::sign::Unsigned;
use super::{Failure, Partial, Source, Who, read_up_to};
use crate::route::{Attempt, Cause, Endpoint, LiveProvider, Refused, Target, Trace, changed_by_each};

/// Of a provider's error so much is read at the most.
pub const READ_ERROR: usize = 256 << 10;
/// What comes with these has many causes, of which a credential or its credit may be one: what is said tells which.
const AMBIGUOUS: [StatusCode; 6] = [
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::PAYMENT_REQUIRED,
    StatusCode::FORBIDDEN,
    StatusCode::PRECONDITION_FAILED,
    StatusCode::TOO_MANY_REQUESTS,
];

/// So much is told of a model's name.
const LONGEST_NAME: usize = 200;

/// That a request is sent by our credential; one that was refused lately is not shown yet.
pub(super) fn attempt_by(target: &Target) -> Result<Option<Attempt<'_>>, Failure> {
    let attempt = target.provider.credential.as_ref().map(|credential| credential.attempt(&target.model)).transpose();
    attempt.map_err(|refused| refused_for(&target.provider, refused))
}

/// What an answer says of our credential: a failure where that is refused; where not, the status that its caller is to see, and what is to be
/// read of it; `sent` says whether a text in small letters may stand in what was sent.
pub(super) async fn judge_credential(
    status: StatusCode,
    mut body: Source,
    endpoint: &Endpoint,
    provider: &LiveProvider,
    attempt: Option<&Attempt<'_>>,
    idle: Duration,
    sent: &(dyn Fn(&str) -> bool + Sync),
) -> Result<(StatusCode, Source), Failure> {
    let Some(attempt) = attempt else {
        // To the caller it would read as trouble with their own key.
        let why = "it wants a credential, and none is set for it here (status 401)".to_owned();
        return if status == StatusCode::UNAUTHORIZED { Err(Failure::bad_answer(provider, why)) } else { Ok((status, body)) };
    };
    if AMBIGUOUS.contains(&status) {
        let text = read_up_to(&mut body, READ_ERROR, idle).await.unwrap_or_else(Partial::read);
        let refused = match blame(status, &String::from_utf8_lossy(&text), sent) {
            Blame::Credential => attempt.refused(Cause::Credential),
            // Beside models, as for files, there is none that could rest.
            Blame::Model if !attempt.model().is_empty() => attempt.refused(Cause::Model),
            Blame::Unsaid => attempt.refused(Cause::Unsaid),
            Blame::Size => return Err(too_little_credit(status, provider)),
            Blame::Right => return Err(without_right(status, provider, attempt)),
            // It may fare better in a moment, and no caller is to read it as a budget of their own.
            Blame::Pace => return Ok((StatusCode::TOO_MANY_REQUESTS, Source::Ready(Some(text)))),
            // A 401 would read as trouble with the caller's own key.
            Blame::Request if status == StatusCode::UNAUTHORIZED => return Ok((StatusCode::FORBIDDEN, Source::Ready(Some(text)))),
            Blame::Model | Blame::Request => return Ok((status, Source::Ready(Some(text)))),
        };
        endpoint.signer.iter().for_each(|signer| signer.refused());
        tell(status, provider, attempt, refused);
        return Err(refused_for(provider, refused));
    }
    if status.is_success() {
        attempt.accepted();
    }
    Ok((status, body))
}

/// What becomes of a request that could not be made ours: where the token server refused our credential, that rests as by the provider's word.
pub(super) fn unsigned(why: Unsigned, provider: &LiveProvider, attempt: Option<&Attempt<'_>>) -> Failure {
    match attempt.filter(|_| why.is_refused).map(|attempt| attempt.refused(Cause::Credential)) {
        Some(refused) => refused_for(provider, refused),
        None => Failure::Unsigned { provider: Who::of(provider), why: why.told },
    }
}

/// For those who run the gateway.
fn tell(status: StatusCode, provider: &LiveProvider, attempt: &Attempt<'_>, refused: Refused) {
    let variable = provider.credential.as_ref().map(|credential| credential.variable.as_str());
    let (provider, status, rest_s) = (&provider.id, status.as_u16(), refused.rest.as_secs());
    match refused.is_alone {
        true => {
            tracing::warn!(
                provider,
                variable,
                model = shortened(attempt.model()),
                status,
                rest_s,
                "the provider refused our credential for a model"
            )
        }
        false => tracing::warn!(provider, variable, status, rest_s, "the provider refused our credential"),
    }
}

/// The text of a provider's error, with nothing of our credential in it; a failure where it is none of the caller's business.
pub fn error_text(status: StatusCode, text: &[u8], provider: &LiveProvider) -> Result<String, Failure> {
    if status.is_redirection() || status.is_informational() {
        return Err(Failure::redirected(provider, status));
    }
    let text = String::from_utf8_lossy(text);
    match &provider.credential {
        // One that came as a success was not judged before.
        Some(credential) if status == StatusCode::BAD_GATEWAY && is_named_credential(status, &text) => {
            Err(refused_for(provider, credential.refused()))
        }
        // A text in the place of a text leaves text.
        _ => Ok(without_traces(&text, provider)),
    }
}

/// A text with nothing in it by which we ask its provider.
pub fn without_traces(text: &str, provider: &LiveProvider) -> String {
    // A text in the place of a text leaves text.
    let replaced = concealed(text.as_bytes(), provider, |trace, bytes| trace.replaced(bytes, HIDDEN));
    replaced.and_then(|text| String::from_utf8(text).ok()).unwrap_or_else(|| text.to_owned())
}

/// Bytes in which each secret by which we ask their provider is changed; `None` where there is none.
pub(super) fn concealed(bytes: &[u8], provider: &LiveProvider, change: impl Fn(&Trace, &[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    changed_by_each(traces_of(provider), bytes, |trace, bytes| change(&trace, bytes))
}

/// Whether bytes repeat one of them.
pub fn repeats_secret(bytes: &[u8], provider: &LiveProvider) -> bool {
    traces_of(provider).any(|trace| trace.is_in(bytes))
}

/// Stands for a credential that a provider repeats.
pub(super) const HIDDEN: &str = "…";

/// What is to be kept out of a provider's answers, which some repeat: our credential, and what it is sent besides.
pub(super) fn traces_of(provider: &LiveProvider) -> impl Iterator<Item = Cow<'_, Trace>> {
    let of_credential = provider.credential.as_ref().and_then(|credential| credential.trace.as_ref());
    of_credential.into_iter().map(Cow::Borrowed).chain(provider.tokens().map(Cow::Owned))
}

/// The credential is good, and what its account has left is less than the request may cost: nothing rests, since a smaller one may be served.
fn too_little_credit(status: StatusCode, provider: &LiveProvider) -> Failure {
    let (variable, status) = (variable_of(provider), status.as_u16());
    tracing::warn!(provider = provider.id, variable, status, "the provider has too little credit of ours for a request of that size");
    Failure::CreditTooLow { provider: Who::of(provider), variable }
}

/// The credential is good for others: nothing rests, since who else is asked for something else may be served.
fn without_right(status: StatusCode, provider: &LiveProvider, attempt: &Attempt<'_>) -> Failure {
    let (variable, model, status) = (variable_of(provider), shortened(attempt.model()), status.as_u16());
    tracing::warn!(provider = provider.id, variable, model, status, "the provider does not let our credential do what was asked for");
    Failure::WithoutRight { provider: Who::of(provider), variable }
}

/// A model's name, which may be anything that a caller sends, as far as a line has room for it.
fn shortened(model: &str) -> String {
    model.chars().take(LONGEST_NAME).collect()
}

fn refused_for(provider: &LiveProvider, Refused { rest, is_alone }: Refused) -> Failure {
    Failure::CredentialRefused { provider: Who::of(provider), variable: variable_of(provider), rest, is_alone }
}

fn variable_of(provider: &LiveProvider) -> String {
    provider.credential.as_ref().map(|credential| credential.variable.clone()).unwrap_or_default()
}
