//! A gateway without its door, for `bench/run`: the same server, peek, route and client as Keyward, and no key, quota, budget, ledger,
//! metric or log line. What all of these cost together is what Keyward costs beside it.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::thread::available_parallelism;

use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use keyward::catalog::{Catalog, Dialect, Environment, Operation};
use keyward::config::Config;
use keyward::dialect::{Ask, Called};
use keyward::error::Refusal;
use keyward::route::{Router, Stored};
use keyward::surface::body;
use keyward::upstream::{self, Client, Failure};
use keyward::{server, surface};
use tokio::net::TcpListener;

/// A whole answer up to this size is read before it is passed on, as Keyward does.
const READ_WHOLE: usize = 1 << 20;

struct Open {
    config: Config,
    router: Router,
    client: Client,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let env = Environment::of_process();
    let config = Config::load(None, &env)?;
    let listener = TcpListener::bind(config.listen).await?;
    let client = Client::new(&config.upstream, &config.fetch)?;
    let router = Router::new(Catalog::load(config.providers.as_deref())?, &config, &env, &Stored::default(), None);
    let (limits, trusted) = (config.limits.clone(), Arc::from([]));
    let paths = axum::Router::new().route("/v1/chat/completions", post(serve)).with_state(Arc::new(Open { config, router, client }));
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    server::serve_paths(listener, paths, available_parallelism()?.get(), &limits, trusted, std::future::pending()).await?;
    Ok(())
}

async fn serve(State(open): State<Arc<Open>>, request: Request<Body>) -> Response<Body> {
    pass(&open, request).await.unwrap_or_else(|refusal| surface::openai::refuse(&refusal))
}

async fn pass(open: &Open, request: Request<Body>) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    let body = body::read(body, &head.headers, &open.config.limits).await?;
    let ask = Ask::read(Called::new(Operation::Chat, Dialect::OpenaiChat), body)?;
    let targets = open.router.resolve(&ask.model)?;
    let headers = upstream::headers_to_forward(ask.called.dialect, &head.headers);
    let mut answer = open.client.call(&ask, None, &targets, &headers).await.map_err(Failure::refusal)?;
    let whole = upstream::read_up_to(&mut answer.body, READ_WHOLE, open.client.idle_timeout()).await;
    let whole = whole.map_err(|_| Refusal::new(StatusCode::BAD_GATEWAY, keyward::error::Kind::Upstream, "broken", "It broke off."))?;
    let mut response = Response::new(Body::from(whole));
    *response.status_mut() = answer.head.status;
    *response.headers_mut() = content_type(&answer.head.headers);
    Ok(response)
}

fn content_type(of: &HeaderMap) -> HeaderMap {
    let json = HeaderValue::from_static("application/json");
    HeaderMap::from_iter([(header::CONTENT_TYPE, of.get(header::CONTENT_TYPE).cloned().unwrap_or(json))])
}
