//! A gateway without its door, for `bench/run`: whatever Keyward does with a chat request and its answer, metrics and log line included, but
//! for key, quota, budget and ledger. What all checks cost together is what Keyward costs beside it.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use futures_util::future::{BoxFuture, ready};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use jiff::Timestamp;
use keyward::catalog::{Catalog, Dialect, Environment, Operation};
use keyward::config::Config;
use keyward::dialect::members::Members;
use keyward::dialect::{Ask, Called, Meter, wire};
use keyward::error::{Kind, Refusal};
use keyward::key::KeyId;
use keyward::key::diagnose::is_secret;
use keyward::ledger::record::{Outcome, Usage};
use keyward::money::Usd;
use keyward::route::{self, Router, Stored, Target};
use keyward::surface::openai::{self, OpenAi};
use keyward::surface::shares::Shares;
use keyward::surface::{REQUEST_ID, Surface as _, body};
use keyward::telemetry::{self, Ended, Metrics, RequestLine, UNLISTED};
use keyward::upstream::{self, Client, Failed, Failure, Payer, is_of};
use keyward::{server, ticket};
use tokio::net::TcpListener;

/// A whole answer up to this size is read before it is passed on, as Keyward does.
const READ_WHOLE: usize = 1 << 20;

struct Open {
    config: Config,
    /// As a gateway has it, whose credentials may change.
    router: ArcSwap<Router>,
    client: Client,
    metrics: Metrics,
    bodies: Shares,
    /// Whoever asks.
    anybody: KeyId,
}

/// What is told of a request when it has ended.
struct Told {
    status: StatusCode,
    usage: Usage,
    cost: Option<Usd>,
    first_byte: Duration,
}

/// Nobody whose key could end, and who would have to pay.
struct Nobody;

impl Payer for Nobody {
    fn goes_on(&self) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(ready(Ok(())))
    }

    fn pays<'a>(&'a self, _: &'a Failure, _: &'a Target) -> BoxFuture<'a, bool> {
        Box::pin(ready(true))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let env = Environment::of_process();
    let config = Config::load(None, &env)?;
    let _log = telemetry::start(&config.log)?;
    let listener = TcpListener::bind(config.listen).await?;
    let client = Client::new(&config.upstream, &config.fetch)?;
    let router = Router::new(&Catalog::load(config.providers.as_deref())?, &config, &env, &Stored::default(), None);
    let (limits, trusted) = (config.limits.clone(), Arc::from([]));
    let bodies = Shares::new(limits.bodies(), "limits.bodies_mib");
    let anybody = KeyId::parse("abcdefgh2345").ok_or("no id")?;
    let open = Arc::new(Open { config, router: ArcSwap::from_pointee(router), client, metrics: Metrics::new(), bodies, anybody });
    let paths = axum::Router::new().route("/v1/chat/completions", post(serve)).with_state(open);
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    server::serve_paths(listener, paths, available_parallelism()?.get(), &limits, trusted, std::future::pending()).await?;
    Ok(())
}

async fn serve(State(open): State<Arc<Open>>, request: Request<Body>) -> Response<Body> {
    let id = ticket::next_id();
    let request_id = ticket::request_id(request.headers(), &id);
    let mut response = pass(&open, &id, request).await.unwrap_or_else(|refusal| openai::refuse(&refusal));
    response.headers_mut().insert(REQUEST_ID, request_id);
    response
}

async fn pass(open: &Open, id: &str, request: Request<Body>) -> Result<Response<Body>, Refusal> {
    let started = Instant::now();
    let (head, body) = request.into_parts();
    OpenAi.check_head(&head)?;
    let came = body::read(body, &head.headers, &open.config.limits, open.bodies.of(open.anybody)).await?;
    let ask = Ask::read(Called::new(Operation::Chat, Dialect::OpenaiChat), came.bytes)?;
    let (operation, dialect) = (ask.called.operation, ask.called.dialect);
    let targets = route::serving(open.router.load().resolve(&ask.model)?, operation, dialect)?;
    if !targets.iter().all(|target| target.endpoint(operation, dialect).is_ok_and(|endpoint| endpoint.dialect == dialect)) {
        return Err(bad("It speaks another dialect."));
    }
    let headers = upstream::headers_to_forward(dialect, &head.headers);
    let mut answer = open.client.call(&ask, None, &targets, &headers, &Nobody).await.map_err(Failed::refusal)?;
    let (first_byte, target, status) = (started.elapsed(), &targets[answer.target], answer.head.status);
    let facts = wire(answer.dialect);
    let is = |media_type| is_of(&answer.head.headers, media_type);
    if Failure::encoded(&target.provider, &answer.head.headers).is_some() || is(facts.stream_type) || !is("application/json") {
        return Err(bad("It is no JSON."));
    }
    let whole = upstream::read_up_to(&mut answer.body, READ_WHOLE, open.client.idle_timeout()).await.map_err(|_| bad("It broke off."))?;
    let members = Members::read(&whole).map_err(|e| bad(&e.to_string()))?;
    if !facts.answers.iter().any(|name| members.get(name).is_some()) {
        return Err(bad("It is no answer."));
    }
    let usage = Meter::read_whole(facts.tells, &members, &whole).usage.unwrap_or_default();
    let mut response = Response::new(Body::from(upstream::without_secret(whole, &target.provider)));
    *response.status_mut() = status;
    write_headers(response.headers_mut(), &answer.head.headers, target);
    let cost = target.facts().and_then(|facts| facts.cost(&usage));
    tell(open, id, &ask.model, target, &Told { status, usage, cost, first_byte }, started.elapsed());
    Ok(response)
}

fn bad(message: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_GATEWAY, Kind::Upstream, "provider_bad_answer", message)
}

fn write_headers(to: &mut HeaderMap, from: &HeaderMap, target: &Target) {
    for (name, value) in from.iter().filter(|(name, _)| wire(Dialect::OpenaiChat).returned.contains(&name.as_str())) {
        to.entry(name).or_insert_with(|| value.clone());
    }
    let json = HeaderValue::from_static("application/json");
    to.insert(header::CONTENT_TYPE, from.get(header::CONTENT_TYPE).cloned().unwrap_or(json));
    to.extend(HeaderValue::try_from(&target.provider.id).map(|id| (HeaderName::from_static("keyward-provider"), id)).ok());
}

fn tell(open: &Open, id: &str, model: &str, target: &Target, told: &Told, total: Duration) {
    let Told { status, usage, cost, first_byte } = *told;
    open.metrics.ended(&Ended {
        operation: Operation::Chat.as_str(),
        by: Some((&target.provider.id, target.facts().map_or(UNLISTED, |_| &*target.model))),
        status: status.as_u16(),
        outcome: Outcome::Answered,
        refused: "",
        usage,
        cost,
        first_byte: Some(first_byte),
        total,
    });
    RequestLine {
        at: Timestamp::now(),
        id,
        request_id: None,
        key: None,
        operation: Operation::Chat.as_str(),
        // A key in a model's place is kept out of the log.
        model: Some(model).filter(|model| !is_secret(model)),
        prompt: None,
        provider: Some(&target.provider.id),
        status: status.as_u16(),
        outcome: "Answered",
        refused: None,
        from: None,
        input_tokens: usage.input,
        output_tokens: usage.output,
        cost_usd: cost.map(Usd::as_f64),
        first_byte_ms: Some(first_byte.as_millis() as u64),
        total_ms: total.as_millis() as u64,
    }
    .write();
}
