//! Hands messages through, each side as fast as the other takes them, until one of them, the key or the gateway ends it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::ending::{self, End, Ending};
use super::turns::{Turns, Verdict};
use crate::exchange::may_use_all;
use crate::gateway::LOOK_EVERY;
use crate::key::Reason;
use crate::server::Lasting;
use crate::ticket::Ticket;
use crate::upstream::{Who, repeats_secret, without_traces};

/// How long both sides may take to close once one has, and a last message to get out.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Refused events that wait to be told to their caller.
const WAITING: usize = 16;

/// One session.
pub struct Relay {
    /// Written down as one of its key's requests, which costs nothing by itself.
    pub ticket: Ticket,
    /// What it is charged to.
    pub turns: Turns,
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
        let (turns, who) = (&self.turns, Who::of(&self.turns.target.provider));
        let (told, refused) = mpsc::channel(WAITING);
        let silence = Silence { start: Instant::now(), last: AtomicU64::new(0) };
        let (mut to_caller, mut from_caller) = caller.split();
        let (mut to_provider, mut from_provider) = provider.split();
        let end = tokio::select! {
            end = up(&mut from_caller, &mut to_provider, &silence, turns, &told) => end,
            end = down(&mut from_provider, &mut to_caller, &silence, turns, refused) => end,
            end = look(turns, &silence) => end,
            () = stopping(&mut lasting) => End::Stopping,
        };
        let Ending { outcome, code, event, to_caller: caller_frame, to_provider: provider_frame } = end.ending(&who);
        code.into_iter().for_each(|code| self.ticket.cut_short(code));
        let caller_side = async {
            if let Some(event) = event {
                to_caller.send(Message::text(event)).await?;
            }
            shut(&mut to_caller, &mut from_caller, caller_frame, None).await
        };
        // What ended before the close arrived was used all the same.
        let provider_side = shut(&mut to_provider, &mut from_provider, provider_frame, Some(turns));
        // A side that is gone already has nothing to be told.
        let both = async { tokio::join!(caller_side, provider_side) };
        let _ = tokio::time::timeout(CLOSE_WITHIN, both).await;
        turns.end(outcome);
        self.ticket.settle(outcome, None);
    }
}

/// From the caller to the provider; what a response may take is reserved before the event that brings it about is sent on.
async fn up<C, P>(
    from: &mut SplitStream<WebSocketStream<C>>,
    to: &mut SplitSink<WebSocketStream<P>, Message>,
    silence: &Silence,
    turns: &Turns,
    told: &mpsc::Sender<String>,
) -> End
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
        let verdict = match &message {
            Message::Text(text) => turns.asked(text.as_bytes(), true).await,
            Message::Binary(bytes) => turns.asked(bytes, false).await,
            _ => Verdict::Pass,
        };
        let message = match verdict {
            Verdict::Pass => message,
            Verdict::Rename(event) if message.is_text() => Message::text(String::from_utf8_lossy(&event).into_owned()),
            Verdict::Rename(event) => Message::binary(event),
            Verdict::Refuse(refusal, about) => {
                // Whoever takes them is gone only where the session has ended.
                let _ = told.send(ending::event(&refusal, about.as_deref())).await;
                continue;
            }
            Verdict::End(refusal) => return End::Refused(refusal),
        };
        if let Err(e) = pass(message, to).await {
            return End::ProviderBroke(e);
        }
    }
}

/// From the provider to the caller, and what the caller is told from here; what a response used is charged before its event is passed on.
async fn down<C, P>(
    from: &mut SplitStream<WebSocketStream<P>>,
    to: &mut SplitSink<WebSocketStream<C>, Message>,
    silence: &Silence,
    turns: &Turns,
    mut refused: mpsc::Receiver<String>,
) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
    P: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let next = tokio::select! {
            Some(event) = refused.recv() => match to.send(Message::text(event)).await {
                Ok(()) => continue,
                Err(e) => return End::CallerBroke(e),
            },
            next = from.next() => next,
        };
        let message = match next {
            Some(Ok(Message::Close(frame))) => return End::Provider(frame.map(|frame| told(frame, turns))),
            Some(Ok(message)) => message,
            Some(Err(e)) => return End::ProviderBroke(e),
            None => return End::ProviderBroke(Error::ConnectionClosed),
        };
        silence.broken();
        let charged = match &message {
            Message::Text(text) => turns.told(text).await,
            _ => Ok(()),
        };
        let message = match message {
            Message::Text(text) => {
                let text = turns.in_callers_words(&text).map_or(text, Utf8Bytes::from);
                Message::Text(concealed(text, turns))
            }
            other => other,
        };
        if let Err(e) = pass(message, to).await {
            return End::CallerBroke(e);
        }
        if let Err(refusal) = charged {
            return End::Refused(refusal);
        }
    }
}

/// An event of the provider's without anything in it by which we ask it.
fn concealed(text: Utf8Bytes, turns: &Turns) -> Utf8Bytes {
    let provider = &turns.target.provider;
    if repeats_secret(text.as_bytes(), provider) { without_traces(&text, provider).into() } else { text }
}

/// The same of how it closes.
fn told(frame: CloseFrame, turns: &Turns) -> CloseFrame {
    CloseFrame { reason: concealed(frame.reason, turns), ..frame }
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
async fn look(turns: &Turns, silence: &Silence) -> End {
    let Turns { gateway, head, model, target, .. } = turns;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if silence.lasts() > gateway.client.idle_timeout() {
            return End::Idle;
        }
        // By its id: its secret was proven when the session began.
        let judged =
            gateway.keys.check_by_id(turns.key(), head).await.map_err(|rejected| (rejected.reason, rejected.key)).and_then(|caller| {
                let may_use = may_use_all(&caller, model, std::slice::from_ref(target), false);
                may_use.map_err(|reason| (reason, Some(caller.id()))).map(|()| turns.called_by(caller))
            });
        match judged {
            Ok(()) => {}
            // A store that is down says nothing about the key, but where it is down for long nothing new may begin.
            Err((reason @ Reason::StoreDown, key)) => turns.doubt(reason.refusal(key)),
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

/// Closes one side and reads it to its end, of which a provider's still counts; a side that has sent its own close only gets the answer to it out.
async fn shut<S>(
    to: &mut SplitSink<WebSocketStream<S>, Message>,
    from: &mut SplitStream<WebSocketStream<S>>,
    frame: Option<CloseFrame>,
    turns: Option<&Turns>,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // One that is closing already says so by an error, and is read to its end all the same.
    let _ = to.send(Message::Close(frame)).await;
    while let Some(message) = from.next().await {
        if let (Message::Text(text), Some(turns)) = (message?, turns) {
            turns.told_late(&text).await;
        }
    }
    Ok(())
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
