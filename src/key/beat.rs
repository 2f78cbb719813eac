//! Answers that leave at a moment of their own: how long a look-up took before cannot be told from when they do.
//!
//! Timers of a worker count whole milliseconds from when it last had something to do, which is when the look-up ended.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Longer than a look-up takes; one that takes longer all the same is told at a later beat.
const BEAT: Duration = Duration::from_millis(5);

/// A moment, and who waits for it.
type Waiting = (Instant, oneshot::Sender<()>);

/// Waits for the next beat after what began then.
pub async fn after(began: Instant) {
    let beats = began.elapsed().as_nanos() / BEAT.as_nanos() + 1;
    let until = began + BEAT * u32::try_from(beats).unwrap_or(u32::MAX);
    let (tell, told) = oneshot::channel();
    let is_asked = to_sleeper().is_some_and(|sleeper| sleeper.send((until, tell)).is_ok());
    if !is_asked || told.await.is_err() {
        tokio::time::sleep_until(until.into()).await;
    }
}

/// Whoever waits is told by a thread that does nothing else; none where no thread is to be had.
fn to_sleeper() -> Option<Sender<Waiting>> {
    static SLEEPER: LazyLock<Option<Sender<Waiting>>> = LazyLock::new(|| {
        let (sleeper, waiting) = mpsc::channel();
        std::thread::Builder::new().name("beat".to_owned()).spawn(move || wake_all(&waiting)).ok().map(|_| sleeper)
    });
    SLEEPER.clone()
}

fn wake_all(coming: &Receiver<Waiting>) {
    let mut all: BTreeMap<Instant, Vec<oneshot::Sender<()>>> = BTreeMap::new();
    loop {
        let came = match all.first_key_value() {
            None => coming.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some((until, _)) => coming.recv_timeout(until.saturating_duration_since(Instant::now())),
        };
        match came {
            Ok((until, tell)) => all.entry(until).or_default().push(tell),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        while let Some(first) = all.first_entry().filter(|first| *first.key() <= Instant::now()) {
            for tell in first.remove() {
                // Whoever hung up waits no more.
                let _ = tell.send(());
            }
        }
    }
}
