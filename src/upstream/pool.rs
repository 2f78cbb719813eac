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
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use tokio::net::TcpStream;
use tower_service::Service;

use super::pieces::PiecesBody;
use crate::route::Address;

/// How long a connection is kept that nobody needs.
const KEPT_FOR: Duration = Duration::from_secs(60);
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
    /// It is to be asked by the general client: it speaks HTTP/2, or is behind a proxy.
    is_elsewhere: bool,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

struct Connection {
    sender: http1::SendRequest<PiecesBody>,
    /// Dropped when it is over: a request that it had not begun is given back by that, and would be waited for without end otherwise.
    driver: Option<http1::Connection<MaybeHttpsStream<TokioIo<TcpStream>>, PiecesBody>>,
}

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
    Http(hyper::Error),
    /// Nothing was sent: the general client has to.
    Elsewhere,
}

/// An answer's body; at its end the connection goes back to where it was taken from.
pub struct PooledBody {
    incoming: Incoming,
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
        let tls = HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(ring::default_provider())?
            .https_or_http()
            .enable_all_versions();
        Ok(Connector { connect: tls.wrap_connector(tcp), proxies: Matcher::from_system(), timeout })
    }

    /// Sends a request; `make` is called anew where a kept connection turns out to be closed.
    ///
    /// It is sent again only if it was not sent, or if a connection that was used before ends without a word in answer: its provider
    /// closed it as the request was under way. curl does the same.
    pub async fn send(&self, address: &Address, make: impl Fn() -> Request<PiecesBody>) -> Result<Response<PooledBody>, SendError> {
        self.check(address)?;
        let mut request = make();
        while let Some(mut connection) = take(&address.origin) {
            match connection.exchange(request).await {
                Ok(response) => return Ok(with_connection(response, connection, address)),
                Err(mut e) => match e.take_message() {
                    Some(unsent) => request = unsent,
                    None if closed_in_silence(e.error()) => request = make(),
                    None => return Err(SendError::Http(e.into_error())),
                },
            }
        }
        let mut connection = Box::pin(self.connect(address)).await?;
        let answer = connection.exchange(request).await;
        answer.map(|response| with_connection(response, connection, address)).map_err(|e| SendError::Http(e.into_error()))
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
            Ok(connected) => connected.map_err(SendError::Connect)?,
            Err(elapsed) => return Err(SendError::Connect(elapsed.into())),
        };
        if io.connected().is_negotiated_h2() {
            POOL.with_borrow_mut(|pool| {
                if let Some(origin) = pool.as_mut().and_then(|pool| pool.get_mut(&address.origin)) {
                    origin.is_elsewhere = true;
                }
            });
            return Err(SendError::Elsewhere);
        }
        let (sender, driver) = http1::handshake(io).await.map_err(SendError::Http)?;
        Ok(Box::new(Connection { sender, driver: Some(driver) }))
    }
}

/// The newest connection that nobody uses.
fn take(origin: &Arc<str>) -> Option<Box<Connection>> {
    POOL.with_borrow_mut(|pool| Some(pool.as_mut()?.get_mut(origin)?.idle.pop()?.connection))
}

fn with_connection(response: Response<Incoming>, connection: Box<Connection>, address: &Address) -> Response<PooledBody> {
    response.map(|incoming| PooledBody { incoming, connection: Some(connection), origin: Arc::clone(&address.origin) })
}

/// Whether it ended before the head of an answer, as a provider ends a connection that it thinks nobody needs.
fn closed_in_silence(error: &hyper::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let io = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    error.is_incomplete_message()
        || error.is_canceled()
        || io.is_some_and(|e| matches!(e.kind(), BrokenPipe | ConnectionAborted | ConnectionReset))
}

// === impl Connection ===

impl Connection {
    async fn exchange(&mut self, request: Request<PiecesBody>) -> Result<Response<Incoming>, TrySendError<Request<PiecesBody>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|context| {
            self.turn(context);
            answer.as_mut().poll(context)
        })
        .await
    }

    /// Reads and writes what can be; errors reach whoever waits for the answer or reads its body.
    fn turn(&mut self, context: &mut Context<'_>) {
        if self.driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(context).is_ready()) {
            self.driver = None;
        }
    }

    /// Whether another request can be sent; one turn lets it see that the last answer, or all of it, has ended.
    fn is_reusable(&mut self) -> bool {
        self.turn(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }
}

// === impl PooledBody ===

impl PooledBody {
    fn give_back(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if connection.is_reusable() {
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
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let mut polled = Pin::new(&mut this.incoming).poll_frame(context);
        if polled.is_pending()
            && let Some(connection) = &mut this.connection
        {
            connection.turn(context);
            polled = Pin::new(&mut this.incoming).poll_frame(context);
        }
        if matches!(polled, Poll::Ready(None)) || (this.incoming.is_end_stream() && matches!(polled, Poll::Ready(Some(Ok(_))))) {
            this.give_back();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }
}
