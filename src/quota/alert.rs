//! Tells whoever runs the gateway that a budget is half spent, nearly spent, spent: once each in a period, by a signed webhook.
//!
//! The call is one of the Standard Webhooks (<https://www.standardwebhooks.com>): `webhook-id`, `webhook-timestamp`, and in
//! `webhook-signature` the HMAC-SHA-256 of both and the body, so that any of their libraries can verify it.

#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use ring::hmac;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::account::AccountId;
use super::limits::Budget;
use super::window::Window;
use crate::hex::hex;
use crate::money::Usd;
use crate::route::Secret;
use crate::shown_url::shown;
use crate::store::{GroupStore, StoreError};
use crate::upstream::tls;

/// Per cent of a budget at which somebody is told.
pub const THRESHOLDS: [u8; 3] = [50, 80, 100];

/// Under way at the most: each of another account.
const AT_ONCE: usize = 16;
/// Those that are in memory until they are told for the first time, and those that were not taken then and are told again until they are: more
/// wait in the store alone.
const WAITING: usize = 1024;
const INSISTED_ON: usize = 256;
const LAST_MOMENT: Duration = Duration::from_secs(2);
/// Between two attempts: twice as long each time, up to the longest, which is also how often it is looked for what waits in the store alone.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(300)];
const PATIENCE: Duration = Duration::from_secs(10);

/// A budget passed a threshold.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Whose budget.
    pub account: AccountId,
    /// Which.
    pub budget: Budget,
    /// Which threshold.
    pub percent: u8,
    /// Spent so far.
    pub spent: Usd,
    /// The period that runs.
    pub window: Window,
    /// When it was passed.
    pub at: Timestamp,
}

/// An alert on its way to a webhook.
struct Call {
    name: String,
    id: String,
    body: String,
}

/// Where alerts are handed in; never waits, and loses none: of a budget there are three in a period, and three more where its amount is changed.
#[derive(Clone, Debug)]
pub struct AlertSender(mpsc::UnboundedSender<Alert>);

/// Delivers alerts in the background.
pub struct Alerts {
    queue: mpsc::UnboundedReceiver<Alert>,
    store: Arc<dyn GroupStore>,
    webhook: Option<Arc<Webhook>>,
    pauses: [Duration; 2],
}

/// What is in memory to be told for the first time, and the names of all that is in memory to be told.
#[derive(Default)]
struct Waiting {
    calls: VecDeque<Call>,
    known: HashSet<String>,
    /// More may wait in the store alone.
    is_more: bool,
}

/// Where alerts go.
pub struct Webhook {
    url: reqwest::Url,
    key: hmac::Key,
    http: reqwest::Client,
}

/// A sender, and who delivers what it is given.
pub fn channel(store: Arc<dyn GroupStore>, webhook: Option<Webhook>) -> (AlertSender, Alerts) {
    let (sender, queue) = mpsc::unbounded_channel();
    (AlertSender(sender), Alerts { queue, store, webhook: webhook.map(Arc::new), pauses: PAUSES })
}

// === impl AlertSender ===

impl AlertSender {
    /// Hands an alert in.
    pub fn tell(&self, alert: Alert) {
        if let Err(e) = self.0.send(alert) {
            tracing::warn!(error = %e, "an alert cannot be delivered");
        }
    }
}

// === impl Alerts ===

impl Alerts {
    /// What was handed in so far.
    #[cfg(test)]
    pub(super) fn waiting(&mut self) -> Vec<Alert> {
        std::iter::from_fn(|| self.queue.try_recv().ok()).collect()
    }

    /// Delivers until shutdown, and then for a moment what is under way. Each is written down before it is told. Each account's are told for
    /// the first time in their order, beside all others'; one that is not taken keeps no other waiting, and is told again until it is, also
    /// after a restart.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let (mut waiting, mut is_time_to_look) = (Waiting::default(), true);
        let mut look = interval_at(Instant::now() + self.pauses[1], self.pauses[1]);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut calling, mut insisting, mut busy) = (JoinSet::new(), JoinSet::new(), HashSet::new());
        loop {
            if std::mem::take(&mut is_time_to_look) {
                self.take_in(&mut waiting).await;
            }
            while let Some(webhook) = self.webhook.clone().filter(|_| calling.len() < AT_ONCE)
                && let Some(call) = waiting.next(&busy)
            {
                busy.insert(call.account().to_owned());
                let store = Arc::clone(&self.store);
                calling.spawn(async move { webhook.tell(call, &*store).await });
            }
            let alert = tokio::select! {
                alert = self.queue.recv() => alert,
                Some(told) = calling.join_next() => {
                    // A call that panicked has no account any more; there is nothing in one that could.
                    let Ok((call, refused)) = told else { continue };
                    busy.remove(call.account());
                    match (refused, self.webhook.clone().filter(|_| insisting.len() < INSISTED_ON)) {
                        (None, _) => waiting.told(&call.name),
                        (Some(why), Some(webhook)) => {
                            let (store, pauses) = (Arc::clone(&self.store), self.pauses);
                            insisting.spawn(async move { webhook.insist(call, &*store, why, pauses).await });
                        }
                        (Some(_), None) => waiting.left(&call.name),
                    }
                    continue;
                }
                Some(told) = insisting.join_next() => {
                    told.iter().for_each(|name| waiting.told(name));
                    continue;
                }
                _ = look.tick(), if waiting.is_more => {
                    is_time_to_look = true;
                    continue;
                }
                _ = shutdown.wait_for(|stop| *stop) => break,
            };
            let Some(alert) = alert else { break };
            if let Some(call) = self.written_down(alert).await {
                waiting.add(call);
            }
        }
        // What is not taken by then waits in the store.
        let last = async {
            while let Ok(alert) = self.queue.try_recv() {
                self.written_down(alert).await;
            }
            while calling.join_next().await.is_some() {}
        };
        let _ = tokio::time::timeout(LAST_MOMENT, last).await;
    }

    /// Takes in what waits in the store alone, as after a start, as far as there is room.
    async fn take_in(&self, waiting: &mut Waiting) {
        if self.webhook.is_none() {
            return;
        }
        // Of so many, at least as many as there is room for are not in memory.
        let most = WAITING + INSISTED_ON + AT_ONCE + WAITING;
        match self.store.waiting_alerts(u32::try_from(most).unwrap_or(u32::MAX)).await {
            Ok(left) => {
                waiting.is_more = left.len() == most;
                left.into_iter().for_each(|(name, body)| waiting.add(Call::of(name, body)));
            }
            Err(error) => {
                tracing::warn!(%error, "alerts that wait cannot be read, and will be later");
                waiting.is_more = true;
            }
        }
    }

    /// The next alert that waits.
    #[cfg(test)]
    pub(super) fn try_next(&mut self) -> Option<Alert> {
        self.queue.try_recv().ok()
    }

    /// What is to be told of an alert; nothing where another node, or an earlier run of this one, has told of it.
    async fn written_down(&self, alert: Alert) -> Option<Call> {
        let call = Call::of(alert.name(), alert.body());
        let body = self.webhook.is_some().then_some(call.body.as_str());
        let told: Result<bool, StoreError> = self.store.first_alert(&call.name, alert.at, body).await;
        // Told twice is better than never.
        if !told.unwrap_or(true) {
            return None;
        }
        let Alert { account, budget, percent, spent, .. } = &alert;
        tracing::warn!(account = %account, budget = %budget, percent, spent = %spent, "a budget passed a threshold");
        self.webhook.is_some().then_some(call)
    }
}

// === impl Waiting ===

impl Waiting {
    /// One more, if there is room for it; else it waits in the store, where those that come later may be told before it.
    fn add(&mut self, call: Call) {
        if self.calls.len() >= WAITING {
            self.is_more = true;
        } else if self.known.insert(call.name.clone()) {
            self.calls.push_back(call);
        }
    }

    /// What waits for longest of an account of which nothing is being told.
    fn next(&mut self, busy: &HashSet<String>) -> Option<Call> {
        let at = self.calls.iter().position(|call| !busy.contains(call.account()))?;
        self.calls.remove(at)
    }

    /// It was taken.
    fn told(&mut self, name: &str) {
        self.known.remove(name);
    }

    /// It was not, and waits in the store alone.
    fn left(&mut self, name: &str) {
        self.known.remove(name);
        self.is_more = true;
    }
}

// === impl Call ===

impl Call {
    /// Its id is the same for the same name, and has no full stop in it, which separates it from what is signed with it.
    fn of(name: String, body: String) -> Call {
        let id = format!("alert_{}", hex(&digest(&SHA256, name.as_bytes()).as_ref()[..16]));
        Call { name, id, body }
    }

    /// Whose budget it tells of, as its name begins.
    fn account(&self) -> &str {
        self.name.split_once('|').map_or(self.name.as_str(), |(account, _)| account)
    }

    async fn taken(&self, store: &dyn GroupStore) {
        if let Err(error) = store.alert_taken(&self.name).await {
            tracing::warn!(%error, "an alert was taken, and will be told again after a restart: the store does not answer");
        }
    }
}

// === impl Webhook ===

impl Webhook {
    /// A webhook at `url`; `secret` is `whsec_` and base64, or any text of at least 16 characters.
    pub fn new(url: &str, secret: &Secret) -> Result<Webhook, String> {
        let is_web = |parsed: &reqwest::Url| matches!(parsed.scheme(), "http" | "https");
        let parsed = url.parse().ok().filter(is_web);
        let url = parsed.ok_or_else(|| format!("alerts.webhook '{}' is no http:// or https:// URL", shown(url)))?;
        let text = secret.expose();
        let bytes = match text.strip_prefix("whsec_") {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| "the alert secret is no base64 after 'whsec_'".to_owned())?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.len() < 16 {
            return Err(
                "the alert secret is shorter than 16 bytes: make one with 'openssl rand -base64 24' and put 'whsec_' before it".to_owned()
            );
        }
        let http = tls::client(tls::BOTH).timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build();
        Ok(Webhook { url, key: hmac::Key::new(hmac::HMAC_SHA256, &bytes), http: http.map_err(|e| e.to_string())? })
    }

    /// Calls it once; why it did not take the alert, where it did not.
    async fn tell(&self, call: Call, store: &dyn GroupStore) -> (Call, Option<String>) {
        let refused = self.call(&call).await.err();
        if refused.is_none() {
            call.taken(store).await;
        }
        (call, refused)
    }

    /// Calls it until it takes an alert that it did not take at first, and tells its name.
    async fn insist(&self, call: Call, store: &dyn GroupStore, mut why: String, [mut pause, longest]: [Duration; 2]) -> String {
        loop {
            let (alert, retry_s) = (&call.name, pause.as_secs());
            if pause < longest {
                tracing::warn!(alert, error = why, retry_s, "the alert webhook did not take an alert");
            } else {
                tracing::error!(alert, error = why, retry_s, "the alert webhook does not take an alert: check alerts.webhook");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
            match self.call(&call).await {
                Ok(()) => break,
                Err(again) => why = again,
            }
        }
        call.taken(store).await;
        call.name
    }

    async fn call(&self, Call { id, body, .. }: &Call) -> Result<(), String> {
        let seconds = Timestamp::now().as_second().to_string();
        let signed = hmac::sign(&self.key, format!("{id}.{seconds}.{body}").as_bytes());
        let request = self.http.post(self.url.clone()).header("content-type", "application/json").header("webhook-id", id);
        let request = request.header("webhook-timestamp", seconds).header("webhook-signature", format!("v1,{}", STANDARD.encode(signed)));
        let answer = request.body(body.clone()).send().await.map_err(|e| e.without_url().to_string())?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("it answered with status {status}")),
        }
    }
}

// === impl Alert ===

impl Alert {
    /// The same for the same threshold of the same budget in the same period.
    pub fn name(&self) -> String {
        let begins = if self.window.has_end() { self.window.begins.to_string() } else { "ever".to_owned() };
        format!("{}|{}|{}|{begins}", self.account, self.budget, self.percent)
    }

    fn body(&self) -> String {
        let kind = if self.percent >= 100 { "budget.spent" } else { "budget.threshold" };
        json!({
            "type": kind,
            "timestamp": self.at,
            "data": {
                "account": self.account.to_string(),
                "budget": self.budget.to_string(),
                "percent": self.percent,
                "spent_nano_usd": self.spent.0,
                "limit_nano_usd": self.budget.nano_usd.0,
                "hard": !self.budget.soft,
                "resets": self.window.has_end().then_some(self.window.ends),
            },
        })
        .to_string()
    }
}
