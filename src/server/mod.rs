//! Listens, hands each connection to a worker, and ends well: no new requests, running answers to their end.

mod patient;
#[cfg(test)]
mod tests;
mod unreadable;
mod worker;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderMap, HeaderName};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::config::RequestLimits;
use crate::gateway::Gateway;
use crate::quota::network::Network;
use crate::surface;
use worker::{Connections, Drained, Open, Worker};

/// All workers: each serves its connections on a thread of its own, so that no request crosses threads.
struct Workers(Vec<Worker>);

/// What goes on when its connection does not, in the extensions of a request that asks for another protocol or for a change: its worker waits
/// for its end.
#[derive(Clone)]
pub struct Lasting {
    stop: watch::Receiver<bool>,
    _open: Arc<Open>,
}

/// The address that a request comes from, in its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The last that is known.
    pub address: IpAddr,
    /// That is the caller's, and not the one of a proxy which does not say in so many words whom it asks for.
    pub is_callers: bool,
}

/// In the extensions of requests that a trusted proxy passes on: what it says of them holds.
#[derive(Clone, Copy, Debug)]
pub struct Proxied;

// === impl Peer ===

impl Peer {
    /// Who asks: whoever the connection is from, or for whom a trusted proxy at its other end asks.
    ///
    /// `x-forwarded-for` grows on the right: from there, the first address that is no trusted proxy is the caller's. What stands further to the
    /// left may be anybody's words, in any bytes.
    pub fn of(connection: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> Peer {
        let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(*address));
        let mut peer = connection.to_canonical();
        if trusted.is_empty() || !is_trusted(&peer) {
            return Peer { address: peer, is_callers: true };
        }
        let hops: Vec<&[u8]> = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .collect();
        for hop in hops.iter().rev() {
            let Some(address) = std::str::from_utf8(hop).ok().and_then(address) else {
                return Peer { address: peer, is_callers: false };
            };
            peer = address.to_canonical();
            if !is_trusted(&peer) {
                break;
            }
        }
        // A proxy that tells nothing asks for somebody all the same.
        Peer { address: peer, is_callers: !hops.is_empty() }
    }
}

/// An address as proxies write it: bare, or with a port as some do, and then with brackets where it is one of IPv6.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|hop| hop.ip())).or_else(bare)
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// So many workers serve the gateway's paths: one for each core that this process may use.
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Serves until `shutdown` resolves, then drains for as long as the configuration allows.
pub async fn serve(listener: TcpListener, gateway: Arc<Gateway>, shutdown: impl Future<Output = ()>) -> std::io::Result<()> {
    let limits = gateway.config.limits.clone();
    let trusted = gateway.config.trusted_proxies.clone().into();
    serve_paths(listener, surface::router(gateway), workers(), &limits, trusted, shutdown).await
}

/// The same for the management API on a listener of its own, by one worker.
pub async fn serve_admin(listener: TcpListener, gateway: Arc<Gateway>, shutdown: impl Future<Output = ()>) -> std::io::Result<()> {
    let limits = gateway.config.limits.clone();
    let trusted = gateway.config.trusted_proxies.clone().into();
    serve_paths(listener, surface::admin_router(gateway), 1, &limits, trusted, shutdown).await
}

/// Serves `paths` by so many workers until `shutdown` resolves.
pub async fn serve_paths(
    listener: TcpListener,
    paths: axum::Router,
    count: usize,
    limits: &RequestLimits,
    trusted: Arc<[Network]>,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let connections = Connections::new(paths, limits, trusted);
    let workers = Workers::start(count, &connections)?;
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            stream = accept(&listener) => workers.hand(stream),
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    tracing::info!(connections = workers.open(), timeout_s = limits.drain_timeout.as_secs(), "stopping: running answers may end");
    if !workers.drain().await {
        tracing::warn!("some answers did not end in time and are cut off");
    }
    Ok(())
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // A small event has to leave at once; where this fails, it leaves a little later.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(e) => {
                // Out of file descriptors, mostly: connections that end make room.
                tracing::error!(error = %e, "no connection can be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

// === impl Lasting ===

impl Lasting {
    /// Resolves when the server stops: what lasts has to come to its end.
    pub async fn stopping(&mut self) {
        // A sender that is gone has stopped for good.
        let _ = self.stop.wait_for(|stop| *stop).await;
    }
}

// === impl Workers ===

impl Workers {
    fn start(count: usize, connections: &Connections) -> std::io::Result<Workers> {
        (0..count).map(|index| Worker::start(index, connections.clone())).collect::<std::io::Result<_>>().map(Workers)
    }

    /// To the worker with the fewest connections: the kernel's own spreading leaves cores idle while there are few of them.
    fn hand(&self, stream: TcpStream) {
        // Out of the listener's runtime: its new worker's is to wait for it.
        match stream.into_std() {
            Ok(stream) => {
                if let Some(worker) = self.0.iter().min_by_key(|worker| worker.open()) {
                    worker.hand(stream);
                }
            }
            Err(e) => tracing::error!(error = %e, "a connection could not be handed to a worker"),
        }
    }

    /// Connections that are open now.
    fn open(&self) -> usize {
        self.0.iter().map(Worker::open).sum()
    }

    /// Lets running answers end; tells whether all did in time.
    async fn drain(self) -> bool {
        let drained = join_all(self.0.into_iter().map(Worker::drain)).await;
        let in_time = drained.iter().all(|worker| worker.in_time);
        // None before all are drained.
        join_all(drained.into_iter().map(Drained::end)).await;
        in_time
    }
}
