//! Requests beside chat, by the general client: with no body, with JSON, or with a form or a piece of a file that is sent as it comes.

use std::io;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::pieces::PiecesBody;
use super::{Answer, Client, Failed, Failure, IDENTITY, Partial, Payer, Source, Who, headers_to_forward, read_up_to};
use crate::catalog::{Dialect, Operation};
use crate::dialect::ask::json_string;
use crate::dialect::ir::Dropped;
use crate::error::Refusal;
use crate::route::{LiveProvider, Place, Target};
use crate::surface::upload::Upload;
use crate::surface::upload::piece::Piece;

/// A request beside chat.
pub struct Errand {
    /// What is wanted.
    pub operation: Operation,
    /// In which dialect.
    pub dialect: Dialect,
    /// How.
    pub method: Method,
    /// What stands after the operation's own path.
    pub rest: String,
    /// The query's parameters.
    pub query: Vec<(String, String)>,
    /// The caller's headers that mean something to the provider.
    pub headers: HeaderMap,
    /// Its body.
    pub load: Load,
    /// It begins an upload, which has a place of its own.
    pub begins_upload: bool,
}

/// What is sent with an errand.
pub enum Load {
    /// Nothing.
    Nothing,
    /// JSON, and where the model's name stands in it.
    Json(Bytes, Option<Range<usize>>),
    /// A form.
    Form(Box<Upload>),
}

/// A form on its way out.
struct FormBody {
    pieces: mpsc::Receiver<Option<Bytes>>,
    /// What is left of a length that is known.
    left: Option<u64>,
    is_over: bool,
}

/// Pieces of a form that wait to be sent.
const WAITING: usize = 4;
/// Of an error that comes before a form's end so much is read at the most.
const LONGEST_ERROR: usize = 256 << 10;

// === impl Errand ===

impl Errand {
    /// The headers of its caller's that mean something to a provider of its dialect, and what its body is.
    pub fn headers(dialect: Dialect, from: &HeaderMap, load: &Load) -> HeaderMap {
        let mut headers = headers_to_forward(dialect, from);
        let content_type = match load {
            Load::Nothing => None,
            Load::Json(..) => Some(HeaderValue::from_static("application/json")),
            Load::Form(upload) => Some(upload.content_type.clone()),
        };
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, content_type);
        }
        headers
    }
}

// === impl Load ===

impl Load {
    /// Whether it can be sent more than once.
    pub fn is_repeatable(&self) -> bool {
        match self {
            Load::Nothing | Load::Json(..) => true,
            Load::Form(upload) => upload.is_whole(),
        }
    }
}

// === impl Client ===

impl Client {
    /// Runs an errand at the first target that takes it; what cannot be sent again goes to one alone, whose credential does not rest.
    pub async fn run(&self, errand: &Errand, targets: &[Target], payer: &dyn Payer) -> Result<Answer, Failed> {
        if !errand.load.is_repeatable() {
            let index = targets.iter().position(|target| !target.rests()).unwrap_or(0);
            let failed = |failure| Failed { failure, target: index };
            let target = targets.get(index).ok_or(Failure::NoTarget).map_err(failed)?;
            return self.run_at(errand, target).await.map(|answer| Answer { target: index, ..answer }).map_err(failed);
        }
        let attempts = targets.len().max(self.settings.attempts as usize);
        self.in_turn(targets, attempts, payer, |index| self.run_at(errand, &targets[index])).await
    }

    async fn run_at(&self, errand: &Errand, target: &Target) -> Result<Answer, Failure> {
        let provider = &*target.provider;
        let endpoint = target.endpoint(errand.operation, errand.dialect).map_err(Failure::Unserved)?;
        let attempt = super::attempt_by(target)?;
        let place = match errand.begins_upload {
            true => endpoint.uploading(&errand.rest, &errand.query),
            false => endpoint.below(&target.model, &errand.rest, &errand.query),
        };
        let place = place.map_err(|why| Failure::bad_answer(provider, why))?;
        let mut headers = endpoint.headers.clone();
        headers.extend(errand.headers.clone());
        let pieces = match &errand.load {
            Load::Json(body, model_at) => with_model(body, model_at.as_ref(), &target.model),
            Load::Nothing | Load::Form(_) => Vec::new(),
        };
        if let Some(signer) = &endpoint.signer {
            let signed = signer.sign(&place.url, &pieces, &mut headers).await;
            signed.map_err(|why| super::unsigned(why, provider, attempt.as_ref()))?;
        }
        let request = |place: Place, headers| {
            let mut request = reqwest::Request::new(errand.method.clone(), place.url);
            *request.headers_mut() = headers;
            request
        };
        let said = pieces.clone();
        // What a form holds nobody has read.
        let sent = |text: &str| matches!(errand.load, Load::Form(_)) || said.iter().any(|piece| super::blame::may_have(piece, text));
        let response = match &errand.load {
            Load::Form(upload) => self.send_form(request(place, headers), upload, target).await?,
            // As a chat is sent, whose connections are known to be closed by providers now and then.
            Load::Json(..) if errand.method == Method::POST => self.send(&place, headers, pieces, provider).await?,
            Load::Json(..) => {
                let mut request = request(place, headers);
                *request.body_mut() = Some(reqwest::Body::wrap(PiecesBody::new(&pieces)));
                self.execute(request, provider, self.settings.first_byte_timeout).await?
            }
            Load::Nothing => self.execute(request(place, headers), provider, self.settings.first_byte_timeout).await?,
        };
        let (mut head, body) = response.into_parts();
        let idle = self.idle_timeout();
        let (status, body) = super::judge_credential(head.status, body, endpoint, provider, attempt.as_ref(), idle, &sent).await?;
        head.status = status;
        Ok(Answer { head, body, target: 0, dialect: errand.dialect, dropped: Dropped::default() })
    }

    /// Sends a piece of an upload to the address that its provider gave for it, which is all that it wants to know: no credential is shown.
    pub async fn add(&self, address: &str, headers: HeaderMap, piece: Piece, provider: &LiveProvider) -> Result<Answer, Failure> {
        let why = || "the address that it gave for an upload is no URL".to_owned();
        let url = reqwest::Url::parse(address).map_err(|_| Failure::bad_answer(provider, why()))?;
        let mut request = reqwest::Request::new(Method::POST, url);
        *request.headers_mut() = headers;
        let (sink, pieces) = mpsc::channel(WAITING);
        let body = FormBody { pieces, left: piece.length(), is_over: false };
        let patience = piece.patience();
        let (head, body) = self.send_flowing(request, body, piece.send(&sink), patience, provider).await?.into_parts();
        Ok(Answer { head, body, target: 0, dialect: Dialect::Gemini, dropped: Dropped::default() })
    }

    async fn send_form(&self, request: reqwest::Request, upload: &Upload, target: &Target) -> Result<Response<Source>, Failure> {
        let (sink, pieces) = mpsc::channel(WAITING);
        let body = FormBody { pieces, left: upload.length_with(&target.model), is_over: false };
        self.send_flowing(request, body, upload.send(&target.model, &sink), upload.patience(), &target.provider).await
    }

    /// The body is read and sent by turns; an error that comes before its end is an answer too.
    async fn send_flowing(
        &self,
        mut request: reqwest::Request,
        body: FormBody,
        sending: impl Future<Output = Result<(), Refusal>>,
        patience: Duration,
        provider: &LiveProvider,
    ) -> Result<Response<Source>, Failure> {
        *request.body_mut() = Some(reqwest::Body::wrap(body));
        let mut sending = pin!(sending);
        // How long its caller may take is measured where it is read.
        let deadline = self.settings.first_byte_timeout + patience;
        let mut answering = pin!(self.execute(request, provider, deadline));
        let refused = |refusal| Failure::Upload(Box::new(refusal));
        let answer = tokio::select! {
            biased;
            answer = &mut answering => answer?,
            sent = &mut sending => {
                sent.map_err(refused)?;
                return answering.await;
            }
        };
        if answer.status().is_success() {
            sending.await.map_err(refused)?;
            return Ok(answer);
        }
        // Were the form broken off now, the connection would be too, and the error lost with it.
        let (head, mut body) = answer.into_parts();
        let mut reading = pin!(read_up_to(&mut body, LONGEST_ERROR, self.settings.idle_timeout));
        let text = tokio::select! {
            text = &mut reading => text,
            _ = &mut sending => reading.await,
        };
        Ok(Response::from_parts(head, Source::Ready(Some(text.unwrap_or_else(Partial::read)))))
    }

    async fn execute(
        &self,
        mut request: reqwest::Request,
        provider: &LiveProvider,
        deadline: Duration,
    ) -> Result<Response<Source>, Failure> {
        request.headers_mut().insert(header::ACCEPT_ENCODING, IDENTITY);
        match tokio::time::timeout(deadline, self.http.execute(request)).await {
            Err(_) => Err(Failure::TimedOut { provider: Who::of(provider), after: deadline }),
            Ok(Ok(response)) => Ok(Response::from(response).map(Source::Network)),
            Ok(Err(e)) if e.is_connect() => Err(Failure::of_connecting(&Who::of(provider), &e.without_url())),
            Ok(Err(e)) => Err(Failure::of_sending(&Who::of(provider), &e.without_url())),
        }
    }
}

// === impl FormBody ===

impl Body for FormBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let piece = std::task::ready!(self.pieces.poll_recv(context));
        self.is_over = !matches!(piece, Some(Some(_)));
        Poll::Ready(match piece {
            Some(Some(piece)) => {
                self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
                Some(Ok(Frame::data(piece)))
            }
            Some(None) => None,
            // Its provider must not take half a form for a whole one.
            None => Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the upload was cut off"))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn with_model(body: &Bytes, at: Option<&Range<usize>>, model: &str) -> Vec<Bytes> {
    match at {
        None => vec![body.clone()],
        Some(at) => vec![body.slice(..at.start), json_string(model), body.slice(at.end..)],
    }
}
