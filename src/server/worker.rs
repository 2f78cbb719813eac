//! A worker: a thread with a runtime of its own that serves its connections, and keeps its own connections to providers.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Either, ready};
use http::{Request, header};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{mpsc, oneshot, watch};

use super::patient::Patient;
use super::unreadable::{self, Unreadable};
use super::{Lasting, Peer, Proxied};
use crate::admin;
use crate::config::RequestLimits;
use crate::ledger::together;
use crate::quota::network::Network;
use crate::surface::unread;
use crate::upstream;

/// The most headers of a request, in bytes.
pub(super) const HEAD_BYTES: usize = 64 << 10;
/// Over HTTP/2 more are read, so that somebody can say that they are too many: what has even more is refused by a bare status.
const HEAD_BYTES_READ: u32 = 1 << 20;

/// A running worker.
pub(super) struct Worker {
    /// Closed to say that no more will come.
    inbox: mpsc::UnboundedSender<(TcpStream, Open)>,
    open: Arc<AtomicUsize>,
    drained: oneshot::Receiver<bool>,
    end: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

/// A worker without connections, whose tasks go on: an answer on another worker's connection may come from them, as those of a session do.
pub(super) struct Drained {
    /// Whether all its answers ended in time.
    pub(super) in_time: bool,
    end: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

/// How connections are served.
#[derive(Clone)]
pub(super) struct Connections {
    app: TowerToHyperService<axum::Router>,
    limits: RequestLimits,
    trusted: Arc<[Network]>,
}

/// Counts a connection for as long as it lives.
pub(super) struct Open(Arc<AtomicUsize>);

// === impl Worker ===

impl Worker {
    pub(super) fn start(index: usize, connections: Connections) -> std::io::Result<Worker> {
        let (inbox, to_serve) = mpsc::unbounded_channel();
        let ((tell_drained, drained), (end, ending), (tell_ended, ended)) = (oneshot::channel(), oneshot::channel(), oneshot::channel());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            runtime.block_on(async {
                // Nobody waits any more where the whole process is about to end: then it ends here.
                let _ = tell_drained.send(connections.serve_all(to_serve).await);
                let _ = ending.await;
                upstream::pool::close();
            });
            // What is cut off is settled before the end is told; a look-up of a name that hangs is not waited for.
            runtime.shutdown_timeout(Duration::from_millis(100));
            together::flush();
            let _ = tell_ended.send(());
        })?;
        Ok(Worker { inbox, open: Arc::default(), drained, end, ended })
    }

    /// Gives it a connection to serve.
    pub(super) fn hand(&self, stream: TcpStream) {
        self.open.fetch_add(1, Ordering::Relaxed);
        // A worker that is gone has panicked outside of any connection: the stream is closed, and its caller tries again.
        if self.inbox.send((stream, Open(Arc::clone(&self.open)))).is_err() {
            tracing::error!("a worker is gone: its connections are refused");
        }
    }

    /// Its connections.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Lets its answers end.
    pub(super) async fn drain(self) -> Drained {
        drop(self.inbox);
        Drained { in_time: self.drained.await.unwrap_or(false), end: self.end, ended: self.ended }
    }
}

// === impl Drained ===

impl Drained {
    /// Ends its thread, with all that still runs on it.
    pub(super) async fn end(self) {
        // One that has panicked has ended.
        let _ = self.end.send(());
        let _ = self.ended.await;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Connections ===

impl Connections {
    pub(super) fn new(router: axum::Router, limits: &RequestLimits, trusted: Arc<[Network]>) -> Connections {
        Connections { app: TowerToHyperService::new(router), limits: limits.clone(), trusted }
    }

    /// Serves what comes until nothing more will, then drains.
    async fn serve_all(self, mut inbox: mpsc::UnboundedReceiver<(TcpStream, Open)>) -> bool {
        upstream::pool::keep();
        together::gather();
        let (graceful, stop) = (GracefulShutdown::new(), watch::Sender::new(false));
        let builder = self.builder();
        while let Some((stream, open)) = inbox.recv().await {
            match tokio::net::TcpStream::from_std(stream) {
                Ok(stream) => self.serve(&builder, &graceful, &stop, stream, open),
                Err(e) => tracing::error!(error = %e, "a connection could not be taken over by its worker"),
            }
        }
        stop.send_replace(true);
        let all_ended = async { tokio::join!(graceful.shutdown(), stop.closed()) };
        tokio::time::timeout(self.limits.drain_timeout, all_ended).await.is_ok()
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        let http1 = &mut builder.http1();
        // One write an answer, as `pipeline_flush` has it too: but that keeps back the 400 or 431 that hyper makes of a head it cannot take.
        http1.timer(TokioTimer::new()).header_read_timeout(self.limits.header_timeout).max_buf_size(HEAD_BYTES).writev(false);
        builder.http2().timer(TokioTimer::new()).max_header_list_size(HEAD_BYTES_READ);
        builder
    }

    fn serve(
        &self,
        builder: &auto::Builder<TokioExecutor>,
        graceful: &GracefulShutdown,
        stop: &watch::Sender<bool>,
        stream: tokio::net::TcpStream,
        open: Open,
    ) {
        // One that is gone already has no address, and asks for nothing.
        let (peer, trusted) = (stream.peer_addr().ok(), Arc::clone(&self.trusted));
        let (app, has_asked) = (self.app.clone(), Arc::new(AtomicBool::new(false)));
        let (asked, stop, open) = (Arc::clone(&has_asked), stop.clone(), Arc::new(open));
        let service = service_fn(move |mut request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            if let Some(refused) = unreadable::too_large(&request) {
                return Either::Left(ready(Ok(refused)));
            }
            if let Some(peer) = peer {
                if trusted.iter().any(|network| network.contains(peer.ip().to_canonical())) {
                    request.extensions_mut().insert(Proxied);
                }
                let peer = Peer::of(peer.ip(), request.headers(), &trusted);
                request.extensions_mut().insert(peer);
            }
            if request.headers().contains_key(header::UPGRADE) || admin::owns(request.uri().path()) {
                request.extensions_mut().insert(Lasting { stop: stop.subscribe(), _open: Arc::clone(&open) });
            }
            Either::Right(app.call(unread::watch(request)))
        });
        let io = Unreadable::new(Patient::new(TokioIo::new(stream), self.limits.send_timeout));
        let connection = graceful.watch(builder.serve_connection_with_upgrades(io, service).into_owned());
        let patience = self.limits.header_timeout;
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(e) = ended {
                    tracing::debug!(error = %e, "a connection ended with an error");
                },
                () = in_vain(has_asked, patience) => tracing::debug!("a connection that asked for nothing is closed"),
            }
        });
    }
}

/// Resolves if nothing was asked in time: hyper's own deadline begins only when it knows which version of HTTP it is reading.
async fn in_vain(has_asked: Arc<AtomicBool>, patience: Duration) {
    tokio::time::sleep(patience).await;
    if has_asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
