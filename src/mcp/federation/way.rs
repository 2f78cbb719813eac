//! How a server is reached: by Streamable HTTP under a credential that the gateway holds, or as a program on standard input and output.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use http::{HeaderName, HeaderValue};
use rmcp::ClientHandler as _;
use rmcp::model::{ClientJsonRpcMessage, ProtocolVersion};
use rmcp::service::{ClientInitializeError, ClientLifecycleMode, ClientServiceExt as _, RoleClient, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError, StreamableHttpPostResponse,
    StreamableHttpResponseLimits,
};

use super::Relay;
use super::mended::{Mended, PROBE};
use super::program::{Program, Running};
use super::secrets::{MOST_TOLD, Secrets};
use crate::catalog::Environment;
use crate::config::McpServer;
use crate::route::Secret;
use crate::upstream::sign::{Client, Source, Tokens};
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

/// What `authorization` holds.
#[derive(Clone, Debug)]
enum Token {
    Fixed(Secret),
    Granted(Arc<Tokens>),
}

/// Adds the token to each request, which may be another than a moment ago.
#[derive(Clone, Debug)]
struct Authorized {
    client: reqwest::Client,
    token: Option<Token>,
    secrets: Arc<Secrets>,
}

type Error = StreamableHttpError<reqwest::Error>;
type Headers = HashMap<HeaderName, HeaderValue>;
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
            // What stands in the settings themselves is no secret.
            let filled_in = env.iter().filter(|(name, value)| settings.env.get(name).is_some_and(|text| text != value.expose()));
            let secrets = Secrets::of(filled_in.map(|(_, value)| value.expose().to_owned()));
            let program = Program { command: command.clone(), args: settings.args.clone(), env };
            return Ok(Way { means: Means::Program(program), secrets: Arc::new(secrets) });
        }
        let url = expand(settings.url.as_deref().unwrap_or_default())?;
        let parsed = reqwest::Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let parsed = parsed.ok_or("'url' is no http:// or https:// URL")?;
        let mut secrets: Vec<String> = parsed.query_pairs().map(|(_, value)| value.into_owned()).collect();
        secrets.extend(parsed.password().map(str::to_owned));
        let mut headers = HashMap::new();
        for (name, text) in &settings.headers {
            let wrong = || format!("'headers' has no header '{name}' that could be sent");
            let filled_in = expand(text)?;
            let (name, mut value) =
                (HeaderName::try_from(name.as_str()).map_err(|_| wrong())?, HeaderValue::try_from(&filled_in).map_err(|_| wrong())?);
            value.set_sensitive(true);
            headers.insert(name, value);
            if filled_in != *text {
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
                Some(Token::Granted(Tokens::new(Source::Client(Client { token_url, id, secret, scope: settings.scope.clone() }))))
            }
            _ => None,
        };
        let builder = tls::client(tls::BOTH).connect_timeout(CONNECT).redirect(reqwest::redirect::Policy::none());
        let client = builder.build().map_err(|e| format!("no client can be made ({e})"))?;
        let secrets = Arc::new(Secrets::of(secrets));
        let authorized = Authorized { client, token, secrets: Arc::clone(&secrets) };
        Ok(Way { means: Means::Http(Http { authorized, url: Secret::new(url), headers }), secrets })
    }

    /// Connects, in the way that `opening` says.
    pub async fn connect(&self, relay: Relay, opening: Opening) -> Result<Connection, String> {
        let (server, legacy) = (Arc::clone(relay.server()), relay.get_info().protocol_version);
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
                let serving = relay.serve_with_lifecycle(Mended::new(&server, http.transport(), None), lifecycle);
                match tokio::time::timeout(patience.unwrap_or(Duration::MAX), serving).await {
                    Ok(served) => served.map(|service| (service, None)),
                    Err(_) => return Err("it does not answer".to_owned()),
                }
            }
            Means::Program(program) => {
                let (running, lines) = program.start(&server, &self.secrets)?;
                relay.serve_with_lifecycle(Mended::new(&server, lines, patience), lifecycle).await.map(|service| (service, Some(running)))
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

    /// An error with its causes.
    fn caused(&self, first: &(dyn std::error::Error + 'static)) -> String {
        let chain = std::iter::successors(Some(first), |error| error.source()).map(ToString::to_string);
        // Most say what they are caused by themselves.
        let told = chain.fold(String::new(), |told, more| match told.contains(&more) {
            true => told,
            false if told.is_empty() => more,
            false => format!("{told}: {more}"),
        });
        self.masked(&told).chars().take(MOST_TOLD).collect()
    }

    /// What must not be told of it.
    pub fn secrets(&self) -> &Secrets {
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

// === impl Http ===

impl Http {
    fn transport(&self) -> StreamableHttpClientTransport<Authorized> {
        let config = StreamableHttpClientTransportConfig::with_uri(self.url.expose()).custom_headers(self.headers.clone());
        StreamableHttpClientTransport::with_client(self.authorized.clone(), config)
    }
}

// === impl Authorized ===

impl Authorized {
    /// The token without its scheme, as the transport wants it.
    async fn token(&self) -> Result<Option<String>, Error> {
        match &self.token {
            None => Ok(None),
            Some(Token::Fixed(secret)) => Ok(Some(secret.expose().to_owned())),
            Some(Token::Granted(tokens)) => {
                let header = tokens.get().await.map_err(|why| Error::Io(std::io::Error::other(why)))?;
                let token = header.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
                Ok(token.inspect(|token| self.secrets.granted(token)).map(str::to_owned))
            }
        }
    }

    /// Posts under the token; one may have been withdrawn before its time, so a new one is asked for once.
    async fn under_token<T, F: Future<Output = Result<T, Error>>>(&self, post: impl Fn(Option<String>) -> F) -> Result<T, Error> {
        let answer = post(self.token().await?).await;
        if self.may_renew(&answer) { post(self.token().await?).await } else { answer }
    }

    /// Whether a token was refused that can be fetched anew; it is not used again.
    fn may_renew<T>(&self, answer: &Result<T, Error>) -> bool {
        let is_refused = match answer {
            Err(Error::AuthRequired(_)) => true,
            Err(Error::UnexpectedServerResponse(said)) => said.starts_with("HTTP 401"),
            _ => false,
        };
        match &self.token {
            Some(Token::Granted(tokens)) if is_refused => {
                tokens.forget();
                true
            }
            _ => false,
        }
    }
}

impl StreamableHttpClient for Authorized {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Error> {
        let post = |token| self.client.post_message(Arc::clone(&uri), message.clone(), session.clone(), token, headers.clone());
        self.under_token(post).await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Error> {
        let post = |token| {
            let (uri, message, session, headers) = (Arc::clone(&uri), message.clone(), session.clone(), headers.clone());
            self.client.post_message_with_response_limits(uri, message, session, token, headers, limits)
        };
        self.under_token(post).await
    }

    async fn delete_session(&self, uri: Arc<str>, session: Arc<str>, _: Option<String>, headers: Headers) -> Result<(), Error> {
        let token = self.token().await?;
        self.client.delete_session(uri, session, token, headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        _: Option<String>,
        headers: Headers,
    ) -> Result<BoxStream<'static, Result<sse_stream::Sse, sse_stream::Error>>, Error> {
        let token = self.token().await?;
        let stream = self.client.get_stream(uri, session, last_event, token, headers).await;
        self.may_renew(&stream);
        stream
    }
}
