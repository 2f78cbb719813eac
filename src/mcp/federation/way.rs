//! How a server is reached: by Streamable HTTP under a credential that the gateway holds, or as a program on standard input and output.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use http::{HeaderName, HeaderValue};
use rmcp::model::ClientJsonRpcMessage;
use rmcp::service::{ClientInitializeError, ClientLifecycleMode, ClientServiceExt as _, RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError, StreamableHttpPostResponse,
    StreamableHttpResponseLimits,
};
use tokio::process::{Child, Command};

use super::Relay;
use crate::catalog::Environment;
use crate::config::McpServer;
use crate::route::Secret;
use crate::upstream::sign::{Client, Source, Tokens};

/// One of both.
#[derive(Debug)]
pub enum Way {
    /// Streamable HTTP.
    Http(Http),
    /// A program.
    Program(Program),
}

/// Where, and with what.
#[derive(Debug)]
pub struct Http {
    client: reqwest::Client,
    url: Secret,
    headers: HashMap<HeaderName, HeaderValue>,
    token: Option<Token>,
}

/// What is started.
#[derive(Debug)]
pub struct Program {
    command: String,
    args: Vec<String>,
    env: Vec<(String, Secret)>,
}

/// What `authorization` holds.
#[derive(Clone, Debug)]
enum Token {
    Fixed(Secret),
    Granted(Arc<Tokens>),
}

/// Adds the token to each request, which may be another than a moment ago.
#[derive(Clone)]
struct Authorized {
    client: reqwest::Client,
    token: Option<Token>,
}

type Error = StreamableHttpError<reqwest::Error>;
type Headers = HashMap<HeaderName, HeaderValue>;
/// A connection to a server, with its program where it is one: that ends with it.
pub type Connection = (RunningService<RoleClient, Relay>, Option<Child>);

/// What of the gateway's environment a program needs to run at all; the rest may hold secrets that are none of its business.
const INHERITED: [&str; 6] = ["PATH", "HOME", "LANG", "TMPDIR", "USER", "SYSTEMROOT"];
const CONNECT: Duration = Duration::from_secs(10);
/// Characters of an error.
const MOST_TOLD: usize = 500;

// === impl Way ===

impl Way {
    /// As the settings say; the error says which variable is not set, or what is no URL or header.
    pub fn new(settings: &McpServer, env: &Environment) -> Result<Way, String> {
        let expand = |text: &str| env.expand(text).map_err(|unset| format!("{} is not set", unset.0));
        if let Some(command) = &settings.command {
            let env = settings.env.iter().map(|(name, value)| Ok((name.clone(), Secret::new(expand(value)?))));
            let env = env.collect::<Result<_, String>>()?;
            return Ok(Way::Program(Program { command: command.clone(), args: settings.args.clone(), env }));
        }
        let url = expand(settings.url.as_deref().unwrap_or_default())?;
        let is_http = reqwest::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !is_http {
            return Err("'url' is no http:// or https:// URL".to_owned());
        }
        let mut headers = HashMap::new();
        for (name, value) in &settings.headers {
            let wrong = || format!("'headers' has no header '{name}' that could be sent");
            let (name, mut value) =
                (HeaderName::try_from(name.as_str()).map_err(|_| wrong())?, HeaderValue::try_from(expand(value)?).map_err(|_| wrong())?);
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let secret = |variable: &String| env.get(variable).map(Secret::new).ok_or_else(|| format!("{variable} is not set"));
        let token = match (&settings.credential, &settings.token_url, &settings.client_id, &settings.client_secret) {
            (Some(variable), ..) => Some(Token::Fixed(secret(variable)?)),
            (None, Some(token_url), Some(id), Some(variable)) => {
                let (token_url, id, secret) = (expand(token_url)?, expand(id)?, secret(variable)?);
                Some(Token::Granted(Tokens::new(Source::Client(Client { token_url, id, secret, scope: settings.scope.clone() }))))
            }
            _ => None,
        };
        let builder = reqwest::Client::builder().connect_timeout(CONNECT).redirect(reqwest::redirect::Policy::none());
        let client = builder.build().map_err(|e| format!("no client can be made ({e})"))?;
        Ok(Way::Http(Http { client, url: Secret::new(url), headers, token }))
    }

    /// Connects, in the way that `lifecycle` says.
    pub async fn connect(&self, relay: Relay, lifecycle: ClientLifecycleMode) -> Result<Connection, String> {
        let connected = match self {
            Way::Http(http) => relay.serve_with_lifecycle(http.transport(), lifecycle).await.map(|service| (service, None)),
            Way::Program(program) => {
                let (mut child, why) = (program.start()?, "it has no standard input and output");
                let streams = child.stdout.take().zip(child.stdin.take()).ok_or(why)?;
                relay.serve_with_lifecycle(streams, lifecycle).await.map(|service| (service, Some(child)))
            }
        };
        connected.map_err(|error| self.told(&error))
    }

    /// What went wrong, with nothing of where the server is and of its credential.
    fn told(&self, error: &ClientInitializeError) -> String {
        let first: &dyn std::error::Error = match error {
            // What it is wrapped in only names types.
            ClientInitializeError::TransportError { error, .. } => error.error.as_ref(),
            other => other,
        };
        let chain = std::iter::successors(Some(first), |error| error.source()).map(ToString::to_string);
        // Most say what they are caused by themselves.
        let told = chain.fold(String::new(), |told, more| match told.contains(&more) {
            true => told,
            false if told.is_empty() => more,
            false => format!("{told}: {more}"),
        });
        match self {
            Way::Http(http) => told.replace(http.url.expose(), "its URL").chars().take(MOST_TOLD).collect(),
            Way::Program(_) => told.chars().take(MOST_TOLD).collect(),
        }
    }
}

// === impl Http ===

impl Http {
    fn transport(&self) -> StreamableHttpClientTransport<Authorized> {
        let config = StreamableHttpClientTransportConfig::with_uri(self.url.expose()).custom_headers(self.headers.clone());
        StreamableHttpClientTransport::with_client(Authorized { client: self.client.clone(), token: self.token.clone() }, config)
    }
}

// === impl Program ===

impl Program {
    fn start(&self) -> Result<Child, String> {
        let inherited = INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
        Command::new(&self.command)
            .args(&self.args)
            .env_clear()
            .envs(inherited)
            .envs(self.env.iter().map(|(name, value)| (name, value.expose())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| format!("'{}' cannot be started: {e}", self.command))
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
                Ok(header.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")).map(str::to_owned))
            }
        }
    }

    /// A token that was refused is not used again.
    fn refused<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        if let (Err(Error::AuthRequired(_)), Some(Token::Granted(tokens))) = (&answer, &self.token) {
            tokens.forget();
        }
        answer
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
        let token = self.token().await?;
        self.refused(self.client.post_message(uri, message, session, token, headers).await)
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
        let token = self.token().await?;
        self.refused(self.client.post_message_with_response_limits(uri, message, session, token, headers, limits).await)
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
        self.refused(self.client.get_stream(uri, session, last_event, token, headers).await)
    }
}
