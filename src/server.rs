//! Listens, serves connections, and ends well: no new requests, running answers to their end, the ledger drained.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use crate::gateway::Gateway;
use crate::surface::{self, unread};

/// The most headers of a request, in bytes.
const HEAD_BYTES: usize = 64 << 10;

/// Serves until `shutdown` resolves, then drains for as long as the configuration allows.
pub async fn serve(listener: TcpListener, gateway: Arc<Gateway>, shutdown: impl Future<Output = ()>) {
    let limits = gateway.config.limits.clone();
    let app = TowerToHyperService::new(surface::router(gateway));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(HEAD_BYTES).pipeline_flush(true);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(HEAD_BYTES as u32);
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = &mut shutdown => break,
        };
        let (app, has_asked) = (app.clone(), Arc::new(AtomicBool::new(false)));
        let asked = Arc::clone(&has_asked);
        let service = service_fn(move |request| {
            asked.store(true, Ordering::Relaxed);
            app.call(unread::watch(request))
        });
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
        let patience = limits.header_timeout;
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(e) = ended {
                    tracing::debug!(error = %e, "a connection ended with an error");
                },
                () = in_vain(has_asked, patience) => tracing::debug!("a connection that asked for nothing is closed"),
            }
        });
    }
    drop(listener);
    tracing::info!(connections = graceful.count(), timeout_s = limits.drain_timeout.as_secs(), "stopping: running answers may end");
    if tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("some answers did not end in time and are cut off");
    }
}

/// Resolves if nothing was asked in time: hyper's own deadline begins only when it knows which version of HTTP it is reading.
async fn in_vain(has_asked: Arc<AtomicBool>, patience: Duration) {
    tokio::time::sleep(patience).await;
    if has_asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
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
