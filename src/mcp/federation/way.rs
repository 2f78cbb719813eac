//! How a server is reached: by Streamable HTTP under a credential that the gateway holds, or as a program on standard input and output.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use rmcp::ClientHandler as _;
use rmcp::model::ProtocolVersion;
use rmcp::service::{ClientInitializeError, ClientLifecycleMode, ClientServiceExt as _, RoleClient, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::{AuthRequiredError, StreamableHttpClientTransportConfig, StreamableHttpError};

use super::Relay;
use super::authorized::{Authorized, Token, UNAUTHORIZED};
use super::mended::{Mended, PROBE};
use super::program::{Program, Running};
use super::secrets::{MOST_TOLD, Secrets, is_secret};
use crate::catalog::Environment;
use crate::catalog::env::variables;
use crate::config::McpServer;
use crate::route::Secret;
use crate::upstream::sign::{Client, Source, Tokens, Whose};
use crate::upstream::tls;

/// How, and what must not be told of it.
#[derive(Debug)]
pub struct Way {
    means: Means,
    secrets: Arc<Secrets>,
}

#[derive(Debug)]
enum Means {
    Http(Http),
    Program(Program),
}

/// How a connection begins.
#[derive(Clone, Copy, Debug)]
pub enum Opening {
    /// By asking shortly whether the server knows the newest revision.
    Probe,
    /// As the newest revision has it, by a server that knows it.
    Discover,
    /// As older revisions have it.
    Handshake,
}

/// Where, and with what.
#[derive(Debug)]
struct Http {
    authorized: Authorized,
    url: Secret,
    headers: HashMap<HeaderName, HeaderValue>,
}

/// A connection to a server, with its program where it is one: that ends with it.
pub type Connection = (RunningService<RoleClient, Relay>, Option<Running>);

const CONNECT: Duration = Duration::from_secs(10);

// === impl Way ===

impl Way {
    /// As the settings say; the error says which variable is not set, or what is no URL or header.
    pub fn new(settings: &McpServer, env: &Environment) -> Result<Way, String> {
        let expand = |text: &str| env.expand(text).map_err(|unset| format!("{} is not set", unset.0));
        if let Some(command) = &settings.command {
            let env = settings.env.iter().map(|(name, value)| Ok((name.clone(), Secret::new(expand(value)?))));
            let env = env.collect::<Result<Vec<_>, String>>()?;
            let is_filled_in = |name, value: &str| settings.env.get(name).is_some_and(|text| text != value);
            let kept = env.iter().map(|(name, value)| (name, value.expose()));
            let kept = kept.filter(|(name, value)| is_filled_in(*name, value) || is_secret(name, value));
            let secrets = Secrets::of(kept.map(|(_, value)| value.to_owned()));
            let program = Program { command: command.clone(), args: settings.args.clone(), env };
            return Ok(Way { means: Means::Program(program), secrets: Arc::new(secrets) });
        }
        let url = expand(settings.url.as_deref().unwrap_or_default())?;
        let parsed = reqwest::Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let parsed = parsed.ok_or("'url' is no http:// or https:// URL")?;
        let written = settings.url.as_deref().unwrap_or_default();
        let kept = parsed.query_pairs().filter(|(name, value)| !written.contains(&**value) || is_secret(name, value));
        let mut secrets: Vec<String> = kept.map(|(_, value)| value.into_owned()).collect();
        if let Some(password) = parsed.password() {
            // It is sent as `Basic`, decoded, and so may come back.
            let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
            secrets.extend([password.to_owned(), plain(password), format!("{}:{}", plain(parsed.username()), plain(password))]);
        }
        // Where it is served is no secret, but much that stands in a path is.
        let is_address =
            |value: &str| value.contains("://") || parsed.host_str().is_some_and(|host| host.contains(value) || value.starts_with(host));
        let filled_in = variables(written).filter_map(|(name, _)| env.get(name)).filter(|value| !is_address(value));
        secrets.extend(filled_in.map(str::to_owned));
        let mut headers = HashMap::new();
        for (name, text) in &settings.headers {
            let wrong = || format!("'headers' has no header '{name}' that could be sent");
            let filled_in = expand(text)?;
            let (header, mut value) =
                (HeaderName::try_from(name.as_str()).map_err(|_| wrong())?, HeaderValue::try_from(&filled_in).map_err(|_| wrong())?);
            value.set_sensitive(true);
            headers.insert(header, value);
            if filled_in != *text || is_secret(name, &filled_in) {
                secrets.extend(filled_in.strip_prefix("Bearer ").map(str::to_owned));
                secrets.push(filled_in);
            }
        }
        let mut secret = |variable: &String| {
            let text = env.get(variable).ok_or_else(|| format!("{variable} is not set"))?;
            secrets.push(text.to_owned());
            Ok::<Secret, String>(Secret::new(text))
        };
        let token = match (&settings.credential, &settings.token_url, &settings.client_id, &settings.client_secret) {
            (Some(variable), ..) => Some(Token::Fixed(secret(variable)?)),
            (None, Some(token_url), Some(id), Some(variable)) => {
                let (token_url, id, secret) = (expand(token_url)?, expand(id)?, secret(variable)?);
                let is_url = reqwest::Url::parse(&token_url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
                is_url.then_some(()).ok_or("'token_url' is no http:// or https:// URL")?;
                let (scope, resource) = (settings.scope.clone(), resource(&url));
                let whose = Whose { provider: None, credential: variable.clone() };
                Some(Token::Granted(Tokens::new(Source::Client(Client { token_url, id, secret, scope, resource }), whose)))
            }
            _ => None,
        };
        let builder = tls::client(tls::BOTH).connect_timeout(CONNECT).redirect(reqwest::redirect::Policy::none());
        let client = builder.build().map_err(|e| format!("no client can be made ({e})"))?;
        let secrets = Arc::new(Secrets::of(secrets));
        let authorized = Authorized { client, token, secrets: Arc::clone(&secrets), has_expired: Arc::default(), listens: Arc::default() };
        Ok(Way { means: Means::Http(Http { authorized, url: Secret::new(url), headers }), secrets })
    }

    /// Connects, in the way that `opening` says.
    pub async fn connect(&self, relay: Relay, opening: Opening) -> Result<Connection, String> {
        let (server, legacy) = (Arc::clone(relay.server()), relay.get_info().protocol_version);
        let left_out = relay.left_out();
        let modern = || vec![ProtocolVersion::V_2026_07_28];
        let lifecycle = match opening {
            Opening::Probe => ClientLifecycleMode::Auto { preferred_versions: modern(), legacy_version: Some(legacy) },
            Opening::Discover => ClientLifecycleMode::Discover { preferred_versions: modern() },
            Opening::Handshake => ClientLifecycleMode::Initialize,
        };
        let patience = matches!(opening, Opening::Probe).then_some(PROBE);
        let connected = match &self.means {
            Means::Http(http) => {
                // The next attempt costs a request, and no program that starts anew: there is no reason to wait for long.
                let transport = http.transport(relay.has_expired());
                let serving = relay.serve_with_lifecycle(Mended::new(transport, None, left_out), lifecycle);
                match tokio::time::timeout(patience.unwrap_or(Duration::MAX), serving).await {
                    Ok(served) => served.map(|service| (service, None)),
                    Err(_) => return Err("it does not answer".to_owned()),
                }
            }
            Means::Program(program) => {
                let (running, lines) = program.start(&server, &self.secrets)?;
                relay.serve_with_lifecycle(Mended::new(lines, patience, left_out), lifecycle).await.map(|service| (service, Some(running)))
            }
        };
        connected.map_err(|error| self.told(&error))
    }

    /// Whether it is a program.
    pub fn is_program(&self) -> bool {
        matches!(self.means, Means::Program(_))
    }

    /// What went wrong, with nothing of where the server is and of its credential.
    fn told(&self, error: &ClientInitializeError) -> String {
        let first: &dyn std::error::Error = match error {
            // What it is wrapped in only names types.
            ClientInitializeError::TransportError { error, .. } => error.error.as_ref(),
            other => other,
        };
        self.caused(first)
    }

    /// What went wrong in a call, in the same way.
    pub fn broken(&self, error: &ServiceError) -> String {
        match error {
            ServiceError::TransportSend(error) => self.caused(error.error.as_ref()),
            ServiceError::TransportClosed => "its connection ended".to_owned(),
            other => self.caused(other),
        }
    }

    /// An error with its causes, or what there is to do about it.
    fn caused(&self, first: &(dyn std::error::Error + 'static)) -> String {
        let causes = || std::iter::successors(Some(first), |error| cause(*error));
        let is_unauthorized = |text: String| text.contains(UNAUTHORIZED);
        // What a program says of a server of its own is no answer to what is set here.
        let is_http = matches!(self.means, Means::Http(_));
        if is_http && causes().any(|error| error.is::<AuthRequiredError>() || is_unauthorized(error.to_string())) {
            return self.means.unauthorized().to_owned();
        }
        let chain = causes().map(ToString::to_string);
        // Most say what they are caused by themselves.
        let told = chain.fold(String::new(), |told, more| match told.contains(&more) {
            true => told,
            false if told.is_empty() => more,
            false => format!("{told}: {more}"),
        });
        self.masked(&told).chars().take(MOST_TOLD).collect()
    }

    /// What must not be told of it.
    pub fn secrets(&self) -> &Arc<Secrets> {
        &self.secrets
    }

    /// A text without the server's address and credential.
    pub fn masked(&self, text: &str) -> String {
        match &self.means {
            Means::Http(http) => self.secrets.masked(&text.replace(http.url.expose(), "its URL")),
            Means::Program(_) => self.secrets.masked(text),
        }
    }
}

/// What an error was caused by: the protocol's library does not tell that of its HTTP client's.
fn cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
    match error.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
        Some(StreamableHttpError::Client(inner)) => Some(inner),
        _ => error.source(),
    }
}

// === impl Means ===

impl Means {
    /// What whoever runs the gateway does where a server wants authorization, or another one.
    fn unauthorized(&self) -> &'static str {
        match self {
            Means::Http(Http { authorized: Authorized { token: Some(Token::Fixed(_)), .. }, .. }) => {
                "it refuses the token that the variable of 'credential' holds (401): set that to one which is good"
            }
            Means::Http(Http { authorized: Authorized { token: Some(Token::Granted(_)), .. }, .. }) => {
                "it refuses the token that 'token_url' granted (401): see whether 'client_id' may use it, and whether it wants a 'scope'"
            }
            Means::Http(_) | Means::Program(_) => {
                "it wants authorization (401), and no person can give it in a browser here: set 'credential' to the variable that holds its \
                 bearer token, or 'token_url', 'client_id' and 'client_secret' for OAuth client credentials"
            }
        }
    }
}

// === impl Http ===

impl Http {
    fn transport(&self, has_expired: Arc<AtomicBool>) -> StreamableHttpClientTransport<Authorized> {
        let config = StreamableHttpClientTransportConfig::with_uri(self.url.expose()).custom_headers(self.headers.clone());
        StreamableHttpClientTransport::with_client(Authorized { has_expired, listens: Arc::default(), ..self.authorized.clone() }, config)
    }
}

/// A server's own name as one that tokens are for: its address without what is a query or a part of a page.
fn resource(url: &str) -> Option<String> {
    let mut url = reqwest::Url::parse(url).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    let _ = (url.set_username(""), url.set_password(None));
    Some(url.to_string())
}
