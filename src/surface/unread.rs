//! A body that is dropped before its end is read to it for a moment more, so that its sender gets the answer and not a reset.
//!
//! A connection that is closed while bytes wait unread is reset, and a reset takes with it what the other side has not read yet:
//! an early refusal would be lost to every client that writes its whole request before it reads.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

/// Of a body that nobody reads, so many bytes more at the most.
const MOST_BYTES: usize = 64 << 20;
/// And for so long at the most.
const LONGEST: Duration = Duration::from_secs(5);
/// And no longer than this where it stops coming.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A request's body; what is left of it when it is dropped is read and forgotten.
pub struct Unread<B: Body<Data = Bytes> + Send + Unpin + 'static>(Option<B>, Before);

/// What asking for the first byte means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing: it is on its way, or was asked for.
    Sent,
    /// It is sent only once it is asked for (RFC 9110, section 10.1.1).
    Asked,
    /// The protocol can refuse a body by itself (RFC 9113, section 8.1).
    Refusable,
}

/// The same request with its body watched.
pub fn watch<B: Body<Data = Bytes> + Send + Unpin + 'static>(request: Request<B>) -> Request<Unread<B>> {
    let before = match request.version() {
        Version::HTTP_2 | Version::HTTP_3 => Before::Refusable,
        _ if request.headers().contains_key(header::EXPECT) => Before::Asked,
        _ => Before::Sent,
    };
    request.map(|body| Unread(Some(body), before))
}

/// Reads what comes within the bounds.
async fn let_out<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let mut left = MOST_BYTES;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(LONGEST_PAUSE, body.frame()).await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

// === impl Unread ===

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Body for Unread<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.1 == Before::Asked {
            self.1 = Before::Sent;
        }
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), B::size_hint)
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Drop for Unread<B> {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| self.1 == Before::Sent && !body.is_end_stream()) else { return };
        // Without a runtime there is no connection left to be kind to.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async {
                let _ = tokio::time::timeout(LONGEST, let_out(body)).await;
            });
        }
    }
}
