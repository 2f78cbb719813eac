//! TLS towards others: the system's certificates are read once, however many clients there are.

use std::error::Error;
use std::io;
use std::sync::OnceLock;

use rustls::crypto::ring;
use rustls::{AlertDescription, ClientConfig};
use rustls_platform_verifier::BuilderVerifierExt;

/// What a client may agree on by ALPN (RFC 7301): HTTP/2 or 1.1.
pub const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
/// The same of one that upgrades its connections, which HTTP/2 cannot.
pub const HTTP1: &[&[u8]] = &[b"http/1.1"];

/// A configuration that trusts what the system trusts.
pub fn config(protocols: &[&[u8]]) -> Result<ClientConfig, rustls::Error> {
    static SHARED: OnceLock<ClientConfig> = OnceLock::new();
    let shared = match SHARED.get() {
        Some(shared) => shared,
        None => {
            let builder = ClientConfig::builder_with_provider(ring::default_provider().into()).with_safe_default_protocol_versions()?;
            let made = builder.with_platform_verifier()?.with_no_client_auth();
            SHARED.get_or_init(|| made)
        }
    };
    let mut config = shared.clone();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// Whether a connection failed because its server takes HTTP/2 alone.
pub fn takes_no_http1(error: &(dyn Error + 'static)) -> bool {
    let alert = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<rustls::Error>() == Some(&alert) {
            return true;
        }
        // An I/O error names what it holds as no source of its own.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match held {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    false
}

/// The beginning of every client but the hot path's.
pub fn client(protocols: &[&[u8]]) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder();
    match config(protocols) {
        Ok(config) => builder.tls_backend_preconfigured(config),
        // It will say itself, when it is built, that it cannot have any.
        Err(_) => builder,
    }
}
