//! Hands messages through, each side as fast as the other takes them, until one of them, the key or the gateway ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::ending::{End, Ending};
use super::meter;
use crate::dialect::Reading;
use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::key::Reason;
use crate::key::keyring::Plane;
use crate::ledger::record::{Outcome, Usage};
use crate::route::Target;
use crate::server::Lasting;
use crate::ticket::Ticket;
use crate::upstream::Who;

/// How often a session's key and its silence are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long both sides may take to close once one has, and a last message to get out.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// One session.
pub struct Relay {
    /// For the key.
    pub gateway: Arc<Gateway>,
    /// The caller's request: its key is looked at again and again.
    pub head: Parts,
    /// What it is charged to.
    pub account: Account,
    /// Who answers.
    pub target: Target,
    /// The model as the caller names it.
    pub model: String,
}

/// What a session used, settled once however it ends.
pub struct Account {
    ticket: Ticket,
    used: Option<Usage>,
}

/// When a session last said something: milliseconds after its start.
struct Silence {
    start: Instant,
    last: AtomicU64,
}

// === impl Relay ===

impl Relay {
    /// Runs the session to its end.
    pub async fn run<C, P>(mut self, caller: WebSocketStream<C>, provider: WebSocketStream<P>, mut lasting: Option<Lasting>)
    where
        C: AsyncRead + AsyncWrite + Unpin,
        P: AsyncRead + AsyncWrite + Unpin,
    {
        let who = Who::of(&self.target.provider);
        let silence = Silence { start: Instant::now(), last: AtomicU64::new(0) };
        let (mut to_caller, mut from_caller) = caller.split();
        let (mut to_provider, mut from_provider) = provider.split();
        let end = tokio::select! {
            end = up(&mut from_caller, &mut to_provider, &silence) => end,
            end = down(&mut from_provider, &mut to_caller, &silence, &mut self.account) => end,
            end = look(&self.gateway, &self.head, &self.model, &self.target, &silence) => end,
            () = stopping(&mut lasting) => End::Stopping,
        };
        let Ending { outcome, code, event, to_caller: caller_frame, to_provider: provider_frame } = end.ending(&who);
        code.into_iter().for_each(|code| self.account.ticket.cut_short(code));
        let account = &mut self.account;
        let caller_side = async {
            if let Some(event) = event {
                to_caller.send(Message::text(event)).await?;
            }
            shut(&mut to_caller, &mut from_caller, caller_frame, |_| {}).await
        };
        let provider_side = shut(&mut to_provider, &mut from_provider, provider_frame, |text| {
            // What ended before the close arrived was used all the same; there is nobody left to be refused.
            let _ = account.charge(text);
        });
        // A side that is gone already has nothing to be told.
        let both = async { tokio::join!(caller_side, provider_side) };
        let _ = tokio::time::timeout(CLOSE_WITHIN, both).await;
        self.account.settle(outcome);
    }
}

/// From the caller to the provider.
async fn up<C, P>(from: &mut SplitStream<WebSocketStream<C>>, to: &mut SplitSink<WebSocketStream<P>, Message>, silence: &Silence) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
    P: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let message = match from.next().await {
            Some(Ok(Message::Close(frame))) => return End::Caller(frame),
            Some(Ok(message)) => message,
            Some(Err(e)) => return End::CallerBroke(e),
            None => return End::CallerBroke(Error::ConnectionClosed),
        };
        silence.broken();
        if let Err(e) = pass(message, to).await {
            return End::ProviderBroke(e);
        }
    }
}

/// From the provider to the caller; what a response used is charged before its event is passed on.
async fn down<C, P>(
    from: &mut SplitStream<WebSocketStream<P>>,
    to: &mut SplitSink<WebSocketStream<C>, Message>,
    silence: &Silence,
    account: &mut Account,
) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
    P: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let message = match from.next().await {
            Some(Ok(Message::Close(frame))) => return End::Provider(frame),
            Some(Ok(message)) => message,
            Some(Err(e)) => return End::ProviderBroke(e),
            None => return End::ProviderBroke(Error::ConnectionClosed),
        };
        silence.broken();
        let charged = match &message {
            Message::Text(text) => account.charge(text),
            _ => Ok(()),
        };
        if let Err(e) = pass(message, to).await {
            return End::CallerBroke(e);
        }
        if let Err(refusal) = charged {
            return End::Refused(refusal);
        }
    }
}

/// A ping is answered here and passed on, so that the far side sees life; the pong to that has been given already.
async fn pass<S>(message: Message, to: &mut SplitSink<WebSocketStream<S>, Message>) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match message {
        Message::Pong(_) => Ok(()),
        message => to.send(message).await,
    }
}

/// Watches the key, and the silence of both sides; resolves where the session must not go on.
async fn look(gateway: &Gateway, head: &Parts, model: &str, target: &Target, silence: &Silence) -> End {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if silence.lasts() > gateway.client.idle_timeout() {
            return End::Idle;
        }
        let judged = gateway.keys.check(head, Plane::Data).await.map_err(|rejected| (rejected.reason, rejected.key)).and_then(|caller| {
            let may_use = caller.may_use(model, || target.full_name(), target.provider.is_simulator());
            may_use.map_err(|reason| (reason, Some(caller.id())))
        });
        match judged {
            // A store that is down says nothing about the key.
            Ok(()) | Err((Reason::StoreDown, _)) => {}
            Err((reason, key)) => return End::Refused(reason.refusal(key)),
        }
    }
}

async fn stopping(lasting: &mut Option<Lasting>) {
    match lasting {
        Some(lasting) => lasting.stopping().await,
        None => std::future::pending().await,
    }
}

/// Closes one side and reads it to its end; a side that has sent its own close only gets the answer to it out.
async fn shut<S>(
    to: &mut SplitSink<WebSocketStream<S>, Message>,
    from: &mut SplitStream<WebSocketStream<S>>,
    frame: Option<CloseFrame>,
    mut read: impl FnMut(&str),
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // One that is closing already says so by an error, and is read to its end all the same.
    let _ = to.send(Message::Close(frame)).await;
    while let Some(message) = from.next().await {
        if let Message::Text(text) = message? {
            read(&text);
        }
    }
    Ok(())
}

// === impl Account ===

impl Account {
    /// Nothing is used yet.
    pub fn new(ticket: Ticket) -> Account {
        Account { ticket, used: None }
    }

    /// Adds what an event reports; a refusal once the key has no tokens left.
    fn charge(&mut self, event: &str) -> Result<(), Refusal> {
        let Some(usage) = meter::read(event) else { return Ok(()) };
        self.used = Some(meter::sum(self.used.unwrap_or_default(), usage));
        self.ticket.charge(&usage)
    }

    /// The session has ended.
    pub fn settle(&mut self, outcome: Outcome) {
        let reading = self.used.map(|usage| Reading { usage: Some(usage), ..Reading::default() });
        self.ticket.settle(outcome, reading);
    }
}

impl Drop for Account {
    /// Cut off in the middle: what was reported until then still counts.
    fn drop(&mut self) {
        self.settle(Outcome::Abandoned);
    }
}

// === impl Silence ===

impl Silence {
    fn broken(&self) {
        self.last.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn lasts(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}
