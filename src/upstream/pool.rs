//! A worker's own connections to providers: HTTP/1.1, driven by the very task that waits for the answer.
//!
//! Why not the general client here: it drives each connection by a task of its own, so that a request wakes other tasks, mostly on
//! other threads, for its head, its answer and every piece of it; that was the largest part of a request's cost. It stays the client
//! of all that is not this hot path: proxies, HTTP/2, users in URLs, and whoever calls from outside of a worker.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::http1::{Fault, Http1, write_post};
use super::tls;
use crate::route::Address;

/// How long a connection is kept that nobody needs.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// What was sent and is neither acknowledged nor taken for so long went to nobody: a way that has died without a word holds no request for longer.
pub(super) const UNHEARD_FOR: Duration = Duration::from_secs(120);
/// A connection that was closed as a request was under way ends within this.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How often those are looked through that nobody needs, also for those that their provider has closed.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

thread_local! {
    /// This worker's connections by origin; `None` on threads that are no worker.
    static POOL: RefCell<Option<HashMap<Arc<str>, Origin>>> = const { RefCell::new(None) };
}

/// What is known of a provider's server.
#[derive(Default)]
struct Origin {
    /// Newest last: the newest is taken first, so that the others can go.
    idle: Vec<Idle>,
    /// It is to be asked by the general client: it speaks HTTP/2 alone, or is behind a proxy.
    is_elsewhere: bool,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

type Connection = Http1<TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>>;

/// Opens connections, and sends requests over those that are there.
pub struct Connector {
    connect: HttpsConnector<HttpConnector>,
    proxies: Matcher,
    timeout: Duration,
}

/// Why a request was not answered.
pub enum SendError {
    /// There is no connection.
    Connect(Box<dyn Error + Send + Sync>),
    /// It broke off, or what came back is not HTTP.
    Http(Fault),
    /// Nothing was sent: the general client has to.
    Elsewhere,
}

/// An answer's body; at its end the connection goes back to where it was taken from.
pub struct PooledBody {
    /// Until the end.
    connection: Option<Box<Connection>>,
    origin: Arc<str>,
}

/// Gives this thread connections of its own; its runtime has to be one that runs on this thread alone.
pub fn keep() {
    POOL.set(Some(HashMap::new()));
    tokio::spawn(async {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            sweep(Instant::now());
        }
    });
}

/// Closes this thread's connections.
pub fn close() {
    POOL.set(None);
}

/// Closes what nobody has needed for long, or its provider has closed.
fn sweep(now: Instant) {
    POOL.with_borrow_mut(|pool| {
        for origin in pool.iter_mut().flat_map(HashMap::values_mut) {
            origin.idle.retain_mut(|idle| now.duration_since(idle.since) < KEPT_FOR && idle.connection.is_reusable());
        }
    });
}

// === impl Connector ===

impl Connector {
    /// One with that deadline for a connection.
    pub fn new(timeout: Duration) -> Result<Connector, Box<dyn Error + Send + Sync>> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        tcp.set_connect_timeout(Some(timeout));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UNHEARD_FOR));
        // A connection of HTTP/2 would be shared: callers who read nothing, and a provider's limit of streams, would stop all others.
        let connect = HttpsConnector::from((tcp, tls::config(tls::HTTP1)?));
        Ok(Connector { connect, proxies: Matcher::from_system(), timeout })
    }

    /// Posts a request. It is sent again only if it was not sent, or, once and over a new connection, if one that was used before ends at once
    /// without a word in answer: its provider closed it as the request was under way. curl does the same.
    pub async fn post(&self, address: &Address, headers: &HeaderMap, body: &[Bytes]) -> Result<Response<PooledBody>, SendError> {
        self.check(address)?;
        let path = address.path.path_and_query().map_or("/", |path| path.as_str());
        let head = write_post(path, &address.host, headers, body.iter().map(|piece| piece.len() as u64).sum());
        while let Some(mut connection) = take(&address.origin) {
            let sent = Instant::now();
            match connection.exchange(head.clone(), body).await {
                Ok(parts) => return Ok(answer(parts, connection, address)),
                Err(Fault::Unsent) => {}
                // Whoever thinks first may have done it, and may break off again.
                Err(Fault::Silent) if sent.elapsed() < AT_ONCE => break,
                Err(fault) => return Err(SendError::Http(fault)),
            }
        }
        let mut connection = Box::pin(self.connect(address)).await?;
        let parts = connection.exchange(head, body).await.map_err(SendError::Http)?;
        Ok(answer(parts, connection, address))
    }

    fn check(&self, address: &Address) -> Result<(), SendError> {
        POOL.with_borrow_mut(|pool| {
            let pool = pool.as_mut().ok_or(SendError::Elsewhere)?;
            if !pool.contains_key(&address.origin) {
                let is_elsewhere = self.proxies.intercept(&address.server).is_some();
                pool.insert(Arc::clone(&address.origin), Origin { is_elsewhere, ..Origin::default() });
            }
            match pool.get(&address.origin) {
                Some(Origin { is_elsewhere: false, .. }) => Ok(()),
                _ => Err(SendError::Elsewhere),
            }
        })
    }

    async fn connect(&self, address: &Address) -> Result<Box<Connection>, SendError> {
        let mut connect = self.connect.clone();
        let connecting = async {
            poll_fn(|context| connect.poll_ready(context)).await?;
            connect.call(address.server.clone()).await
        };
        let io = match tokio::time::timeout(self.timeout, connecting).await {
            Ok(Ok(io)) => io,
            Ok(Err(e)) if tls::takes_no_http1(&*e) => {
                POOL.with_borrow_mut(|pool| {
                    if let Some(origin) = pool.as_mut().and_then(|pool| pool.get_mut(&address.origin)) {
                        origin.is_elsewhere = true;
                    }
                });
                return Err(SendError::Elsewhere);
            }
            Ok(Err(e)) => return Err(SendError::Connect(e)),
            Err(elapsed) => return Err(SendError::Connect(elapsed.into())),
        };
        Ok(Box::new(Http1::new(TokioIo::new(io))))
    }
}

/// The newest connection that nobody uses.
fn take(origin: &Arc<str>) -> Option<Box<Connection>> {
    POOL.with_borrow_mut(|pool| Some(pool.as_mut()?.get_mut(origin)?.idle.pop()?.connection))
}

fn answer(parts: http::response::Parts, connection: Box<Connection>, address: &Address) -> Response<PooledBody> {
    let mut body = PooledBody { connection: Some(connection), origin: Arc::clone(&address.origin) };
    body.give_back_at_end();
    Response::from_parts(parts, body)
}

// === impl PooledBody ===

impl PooledBody {
    fn give_back_at_end(&mut self) {
        let Some(mut connection) = self.connection.take_if(|connection| connection.has_ended()) else { return };
        if connection.is_reusable() {
            connection.rest();
            POOL.with_borrow_mut(|pool| {
                if let Some(origin) = pool.as_mut().and_then(|pool| pool.get_mut(&self.origin)) {
                    origin.idle.push(Idle { connection, since: Instant::now() });
                }
            });
        }
    }
}

impl Body for PooledBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        let polled = connection.poll_data(context);
        match &polled {
            Poll::Ready(Some(Err(_))) => self.connection = None,
            Poll::Ready(_) => self.give_back_at_end(),
            Poll::Pending => {}
        }
        polled.map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }
}
