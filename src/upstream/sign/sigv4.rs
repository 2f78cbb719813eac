//! AWS Signature Version 4 for POSTs of JSON.
//!
//! Source: "Create a signed AWS API request" in the AWS Identity and Access Management user guide.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;
use reqwest::Url;
use ring::{digest, hmac};

use super::needed;
use crate::catalog::Environment;
use crate::hex::hex;
use crate::route::{Credential, Secret, Trace};

/// AWS keys, and what they sign for.
#[derive(Debug)]
pub struct Keys {
    pub(super) id: Secret,
    pub(super) secret: Secret,
    /// Of temporary credentials, and what finds it where it is repeated.
    pub(super) session: Option<Secret>,
    pub(super) trace: Option<Trace>,
    pub(super) region: String,
    pub(super) service: &'static str,
}

/// The variables that are read beside the credential's own.
pub const VARIABLES: [&str; 4] = [SECRET_KEY, SESSION_TOKEN, REGION, DEFAULT_REGION];
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
const REGION: &str = "AWS_REGION";
const DEFAULT_REGION: &str = "AWS_DEFAULT_REGION";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SESSION: HeaderName = HeaderName::from_static("x-amz-security-token");
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

// === impl Keys ===

impl Keys {
    /// From the variables that the AWS SDKs read; the credential is the access key's id.
    pub fn of(credential: &Credential, env: &Environment) -> Result<Keys, String> {
        let session = env.get(SESSION_TOKEN).map(Secret::new);
        let region = env.get(REGION).or(env.get(DEFAULT_REGION));
        Ok(Keys {
            id: credential.secret.clone(),
            secret: Secret::new(needed(env, SECRET_KEY)?),
            trace: session.as_ref().and_then(Trace::of),
            session,
            region: region.ok_or("AWS_REGION is not set, which its signatures need")?.to_owned(),
            service: "bedrock",
        })
    }

    /// Adds the date, the session's token and the signature over these, the host, the content type and the body.
    pub fn sign(&self, at: Timestamp, url: &Url, body: &[Bytes], headers: &mut HeaderMap) -> Result<(), String> {
        let date = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        let host = match (url.host_str().unwrap_or_default(), url.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        let mut signed = vec![("content-type", "application/json"), ("host", host.as_str()), ("x-amz-date", date.as_str())];
        signed.extend(self.session.as_ref().map(|session| ("x-amz-security-token", session.expose())));
        let authorization = self.authorization(&date, "POST", url, &signed, body);
        let value =
            |text: &str| HeaderValue::try_from(text).map_err(|_| "its credential holds characters that no header can carry".to_owned());
        headers.insert(DATE, value(&date)?);
        if let Some(session) = &self.session {
            let mut token = value(session.expose())?;
            token.set_sensitive(true);
            headers.insert(SESSION, token);
        }
        let mut authorization = value(&authorization)?;
        authorization.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, authorization);
        Ok(())
    }

    /// The header `authorization`; `signed` are headers in the order of their names, which are in lower case.
    pub(super) fn authorization(&self, date: &str, method: &str, url: &Url, signed: &[(&str, &str)], body: &[Bytes]) -> String {
        let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String = signed.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let request = format!("{method}\n{}\n{}\n{lines}\n{names}\n{}", path(url), query(url), hex(body_digest(body).as_ref()));
        let day = date.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let hashed = hex(digest::digest(&digest::SHA256, request.as_bytes()).as_ref());
        let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{hashed}");
        let signature = hex(mac(self.key(day).as_ref(), to_sign.as_bytes()).as_ref());
        format!("{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", self.id.expose())
    }

    fn key(&self, day: &str) -> hmac::Tag {
        let first = mac(format!("AWS4{}", self.secret.expose()).as_bytes(), day.as_bytes());
        [self.region.as_str(), self.service, "aws4_request"].iter().fold(first, |key, part| mac(key.as_ref(), part.as_bytes()))
    }
}

fn mac(key: &[u8], text: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text)
}

fn body_digest(body: &[Bytes]) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    body.iter().for_each(|piece| context.update(piece));
    context.finish()
}

/// The path as it is sent, encoded once more.
fn path(url: &Url) -> String {
    let mut out = String::with_capacity(url.path().len() + 16);
    for byte in url.path().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The query's pairs in order.
fn query(url: &Url) -> String {
    let mut pairs: Vec<String> = url
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") })
        .collect();
    pairs.sort();
    pairs.join("&")
}
