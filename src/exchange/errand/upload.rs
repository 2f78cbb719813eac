//! Google's uploads in pieces: the provider's address for one stays here, sealed into one of the gateway's own that its key alone is good for.
//!
//! Source: Google's resumable protocol, as the Gemini API's "Media upload" and Google's SDKs speak it (`X-Goog-Upload-*`).

use std::sync::Arc;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Reply, Served, Walked, aim, give};
use crate::config::RequestLimits;
use crate::error::{Kind, Refusal};
use crate::exchange::estimate::{self, Estimate, Input};
use crate::exchange::{ledger_down, name_request};
use crate::gateway::Gateway;
use crate::key::KeyId;
use crate::route::Vault;
use crate::server::Proxied;
use crate::surface::Surface;
use crate::surface::upload::check_size;
use crate::surface::upload::piece::Piece;
use crate::ticket::Ticket;
use crate::upstream::Failure;

/// What an upload's address says, sealed.
#[derive(Serialize, Deserialize)]
struct Permission {
    /// Whose it is.
    key: String,
    /// Who keeps the file.
    provider: String,
    /// Where the provider takes it.
    address: String,
    /// When it ends, in seconds of Unix time.
    ends: i64,
}

/// The parameter that a permission stands in.
const ID: &str = "upload_id";
/// What it is sealed for.
const SEALED_FOR: &str = "upload";
/// As long as the provider's own are mostly good.
const GOOD_FOR: SignedDuration = SignedDuration::from_hours(24);

const COMMAND: HeaderName = HeaderName::from_static("x-goog-upload-command");
const OFFSET: HeaderName = HeaderName::from_static("x-goog-upload-offset");
const PROTOCOL: HeaderName = HeaderName::from_static("x-goog-upload-protocol");
const STATUS: HeaderName = HeaderName::from_static("x-goog-upload-status");
/// Where the pieces go.
pub(super) const ADDRESS: HeaderName = HeaderName::from_static("x-goog-upload-url");
const WHOLE_LENGTH: HeaderName = HeaderName::from_static("x-goog-upload-header-content-length");
/// What a beginning tells its provider.
const OF_A_BEGINNING: [HeaderName; 5] = [
    PROTOCOL,
    COMMAND,
    WHOLE_LENGTH,
    HeaderName::from_static("x-goog-upload-header-content-type"),
    HeaderName::from_static("x-goog-upload-file-name"),
];
/// What a piece tells its provider.
const OF_A_PIECE: [HeaderName; 3] = [COMMAND, OFFSET, header::CONTENT_TYPE];
/// What a provider tells of an upload.
const TOLD: [HeaderName; 3] =
    [STATUS, HeaderName::from_static("x-goog-upload-chunk-granularity"), HeaderName::from_static("x-goog-upload-size-received")];
/// A part of an address that is shorter says nothing.
const SHORTEST_SECRET: usize = 8;
/// What can be done at an upload's address.
const COMMANDS: [&str; 5] = ["upload", "upload, finalize", "finalize", "query", "cancel"];

// The beginning.

/// What a beginning tells its provider; only an upload in pieces can be begun.
pub(super) fn beginning(head: &Parts, limits: &RequestLimits) -> Result<HeaderMap, Refusal> {
    if text(&head.headers, &PROTOCOL) != Some("resumable") || text(&head.headers, &COMMAND) != Some("start") {
        let message = "A file is uploaded in pieces: begin with the headers 'X-Goog-Upload-Protocol: resumable' and 'X-Goog-Upload-Command: start', as Google's SDKs do.";
        return Err(Refusal::invalid("upload_protocol", message));
    }
    check_size(number(&head.headers, &WHOLE_LENGTH)?.unwrap_or(0), limits)?;
    Ok(only(&OF_A_BEGINNING, &head.headers))
}

/// The address at which the gateway itself was asked, as its caller sees it.
pub(super) fn own_address(head: &Parts) -> Result<String, Refusal> {
    let host = text(&head.headers, &header::HOST).or_else(|| head.uri.authority().map(Authority::as_str));
    let host = host.and_then(|host| Authority::try_from(host).ok()).filter(|host| !host.as_str().contains('@'));
    let host = host.ok_or_else(|| Refusal::invalid("host_missing", "The header 'Host' has to name this gateway."))?;
    let proto = text(&head.headers, &HeaderName::from_static("x-forwarded-proto")).filter(|_| head.extensions.get::<Proxied>().is_some());
    let scheme = if proto.is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https")) { "https" } else { "http" };
    Ok(format!("{scheme}://{host}{}", head.uri.path()))
}

/// Where the pieces go: the gateway's own address, with the provider's sealed in it.
pub(super) fn address(gateway: &Gateway, gone: &give::Gone<'_>, here: &str) -> Result<HeaderValue, Refusal> {
    let bad = |why: &str| Failure::bad_answer(gone.provider, why.to_owned()).refusal();
    let given = text(&gone.head.headers, &ADDRESS).ok_or_else(|| bad("it began an upload and did not say where it goes on"))?;
    let permission = Permission {
        key: gone.key.as_str().to_owned(),
        provider: gone.provider.holder(),
        address: given.to_owned(),
        ends: (Timestamp::now() + GOOD_FOR).as_second(),
    };
    let sealed = seal(&gateway.uploads, &permission).map_err(|e| {
        tracing::error!(error = e, "an upload's address cannot be sealed");
        bad("its address for an upload cannot be sealed")
    })?;
    let own = format!("{here}?{ID}={sealed}&upload_protocol=resumable");
    HeaderValue::try_from(own).map_err(|_| bad("its address for an upload is too long"))
}

// A piece.

/// Whether a request goes on with an upload: what its address says.
pub fn of_piece(head: &Request<Body>) -> Option<String> {
    let query = head.uri().query()?;
    url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == ID).map(|(_, sealed)| sealed.into())
}

/// Passes a piece on, or what else is done at an upload's address.
pub async fn serve_piece(
    gateway: Arc<Gateway>,
    surface: &'static dyn Surface,
    served: &'static Served,
    sealed: &str,
    request: Request<Body>,
) -> Response<Body> {
    let mut ticket = Ticket::new(&gateway, served.operation, request.headers(), request.extensions());
    let request_id = ticket.request_id.clone();
    let walked = walk(&gateway, served, sealed, &mut ticket, request).await;
    let ends_soon = ticket.ends_soon;
    let mut response = match walked {
        Ok(walked) => give::hand_over(&gateway, surface, served, ticket, walked).await,
        Err(refusal) => {
            ticket.refused(&refusal);
            let mut response = surface.refuse(&refusal);
            let is_over = refusal.status.is_client_error() && !matches!(refusal.status.as_u16(), 408 | 429);
            if is_over {
                // Google's SDKs try again for as long as they are not told that it is of no use.
                response.headers_mut().insert(STATUS, HeaderValue::from_static("cancelled"));
            }
            response
        }
    };
    name_request(surface, &mut response, request_id, ends_soon);
    response
}

async fn walk(
    gateway: &Arc<Gateway>,
    served: &'static Served,
    sealed: &str,
    ticket: &mut Ticket,
    request: Request<Body>,
) -> Result<Walked, Refusal> {
    let (head, body) = request.into_parts();
    let permission = open(&gateway.uploads, sealed)?;
    let key = KeyId::parse(&permission.key).ok_or_else(unknown)?;
    let caller = gateway.keys.check_by_id(key, &head).await?;
    ticket.called_by(&caller);
    let target = aim::at(gateway, &permission.provider)?;
    aim::may_use_some(&caller, &target.provider)?;
    let command = text(&head.headers, &COMMAND).unwrap_or_default();
    if !COMMANDS.contains(&command) {
        let message = format!("The header 'X-Goog-Upload-Command' has to be one of: {}.", COMMANDS.join("; "));
        return Err(Refusal::invalid("upload_command", message));
    }
    let piece = Piece::new(body, &head.headers, number(&head.headers, &OFFSET)?.unwrap_or(0), &gateway.config.limits)?;
    let targets = [target];
    let estimate = Estimate::new(served.operation, &targets, Input::text(0), None, 1);
    let permit = caller.admit(&estimate.need(&|glob: &str| estimate::touches(&targets, glob)))?;
    let [target] = targets;
    ticket.begin(&target, permit, &estimate).await.map_err(|e| ledger_down(&e))?;
    let headers = only(&OF_A_PIECE, &head.headers);
    let answer = gateway.client.add(&permission.address, headers, piece, &target.provider).await.map_err(Failure::refusal)?;
    ticket.answering(answer.head.status, &target);
    Ok(Walked { key, target, answer: Reply::Answer(answer), id: String::new(), address: Some(permission.address) })
}

fn seal(vault: &Vault, permission: &Permission) -> Result<String, String> {
    let bytes = serde_json::to_vec(permission).map_err(|e| e.to_string())?;
    vault.seal_bytes(SEALED_FOR, bytes).map(|sealed| URL_SAFE_NO_PAD.encode(sealed))
}

fn open(vault: &Vault, sealed: &str) -> Result<Permission, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| unknown())?;
    let opened = vault.open_bytes(SEALED_FOR, &bytes).map_err(|_| unknown())?;
    let permission: Permission = serde_json::from_slice(&opened).map_err(|_| unknown())?;
    match permission.ends > Timestamp::now().as_second() {
        true => Ok(permission),
        false => Err(Refusal::new(
            StatusCode::GONE,
            Kind::NotFound,
            "upload_expired",
            "The address of this upload was good for a day, which is over: begin the upload again.",
        )),
    }
}

fn unknown() -> Refusal {
    let message = "This is not the address of an upload that was begun at this gateway: begin one, and send its pieces to the address in 'x-goog-upload-url' as it is.";
    Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "upload_not_found", message)
}

// The answer.

/// Copies what a provider tells of an upload.
pub(super) fn write_told(to: &mut HeaderMap, head: &http::response::Parts) {
    to.extend(only(&TOLD, &head.headers));
}

/// Whether the whole of a file is there.
pub(super) fn is_final(head: &http::response::Parts) -> bool {
    text(&head.headers, &STATUS) == Some("final")
}

/// A provider's words without where it takes an upload, whole or in parts.
pub(super) fn without_address(text: &str, address: Option<&str>) -> String {
    let Some(url) = address.and_then(|address| Url::parse(address).ok()) else { return text.to_owned() };
    let values = url.query_pairs().map(|(_, value)| value.into_owned());
    let secrets = values.chain([url.path().to_owned()]).filter(|part| part.len() >= SHORTEST_SECRET);
    secrets.fold(text.to_owned(), |text, secret| text.replace(&secret, "…"))
}

fn only(names: &[HeaderName], from: &HeaderMap) -> HeaderMap {
    names.iter().filter_map(|name| Some((name.clone(), from.get(name)?.clone()))).collect()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Refusal> {
    let Some(text) = text(headers, name) else { return Ok(None) };
    let wrong = || Refusal::invalid("invalid_value", format!("The header '{name}' has to be a number of bytes."));
    text.parse().map(Some).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::key::Pepper;

    #[test]
    fn an_address_is_good_for_a_day_and_where_it_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let pepper = Pepper::load_or_create(&folder.path().join("server.secret")).unwrap();
        let (vault, other) = (Vault::derived(&pepper, "a"), Vault::derived(&pepper, "b"));
        let permission = |ends: i64| {
            let ends = Timestamp::now().as_second() + ends;
            Permission { key: "k".to_owned(), provider: "p".to_owned(), address: "https://p.example/secret".to_owned(), ends }
        };
        let sealed = seal(&vault, &permission(60)).unwrap();
        assert!(!sealed.contains("secret"));
        assert_eq!(open(&vault, &sealed).unwrap().address, "https://p.example/secret");
        let code = |opened: Result<Permission, Refusal>| opened.err().map(|refusal| refusal.code);
        assert_eq!(code(open(&vault, &seal(&vault, &permission(0)).unwrap())), Some("upload_expired"));
        let elsewhere = vault.seal_bytes("credential", b"{}".to_vec()).map(|sealed| URL_SAFE_NO_PAD.encode(sealed)).unwrap();
        for forged in ["", "%", "AAAA", &sealed[1..], &sealed[..sealed.len() - 1], &elsewhere] {
            assert_eq!(code(open(&vault, forged)), Some("upload_not_found"), "{forged}");
        }
        assert_eq!(code(open(&other, &sealed)), Some("upload_not_found"));
    }

    #[test]
    fn the_gateways_own_address_is_as_its_caller_sees_it() {
        let head = |headers: &[(&str, &str)], is_proxied: bool| {
            let mut request = Request::post("/upload/v1beta/files?x=1");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let mut head = request.body(()).unwrap().into_parts().0;
            if is_proxied {
                head.extensions.insert(Proxied);
            }
            own_address(&head).map_err(|refusal| refusal.code)
        };
        let secure = [("host", "ai.example:8443"), ("x-forwarded-proto", "https")];
        assert_eq!(head(&secure, true).unwrap(), "https://ai.example:8443/upload/v1beta/files");
        assert_eq!(head(&secure, false).unwrap(), "http://ai.example:8443/upload/v1beta/files");
        assert_eq!(head(&[], false), Err("host_missing"));
        assert_eq!(head(&[("host", "evil@ai.example")], false), Err("host_missing"));
        assert_eq!(head(&[("host", "ai.example/x")], false), Err("host_missing"));
    }
}
