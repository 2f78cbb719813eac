//! Tells whoever runs the gateway that a budget is half spent, nearly spent, spent: once each in a period, by a signed webhook.
//!
//! The call is one of the Standard Webhooks (<https://www.standardwebhooks.com>): `webhook-id`, `webhook-timestamp`, and in
//! `webhook-signature` the HMAC-SHA-256 of both and the body, so that any of their libraries can verify it.

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
/// Those that were not taken at first, and are told again for a while; of more the store tells after a restart.
const INSISTED_ON: usize = 256;
const LAST_MOMENT: Duration = Duration::from_secs(2);
const ATTEMPTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
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
    (AlertSender(sender), Alerts { queue, store, webhook: webhook.map(Arc::new) })
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
    /// the first time in their order, beside all others'; one that is not taken keeps no other waiting, and is told again, also after a restart.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut waiting = VecDeque::from(self.left().await);
        let (mut calling, mut insisting, mut busy) = (JoinSet::new(), JoinSet::new(), HashSet::new());
        loop {
            while let Some(webhook) = self.webhook.clone().filter(|_| calling.len() < AT_ONCE)
                && let Some(call) = next(&mut waiting, &busy)
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
                    if let (Some(why), Some(webhook)) = (refused, self.webhook.clone().filter(|_| insisting.len() < INSISTED_ON)) {
                        let store = Arc::clone(&self.store);
                        insisting.spawn(async move { webhook.insist(&call, &*store, why).await });
                    }
                    continue;
                }
                Some(_) = insisting.join_next() => continue,
                _ = shutdown.wait_for(|stop| *stop) => break,
            };
            let Some(alert) = alert else { break };
            waiting.extend(self.written_down(alert).await);
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

    /// What the last run left untold.
    async fn left(&self) -> Vec<Call> {
        if self.webhook.is_none() {
            return Vec::new();
        }
        let left = self.store.waiting_alerts().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "alerts that waited when the gateway stopped cannot be read");
            Vec::new()
        });
        left.into_iter().map(|(name, body)| Call::of(name, body)).collect()
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

/// What waits for longest of an account of which nothing is being told.
fn next(waiting: &mut VecDeque<Call>, busy: &HashSet<String>) -> Option<Call> {
    let at = waiting.iter().position(|call| !busy.contains(call.account()))?;
    waiting.remove(at)
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

    /// Calls it until it takes an alert that it did not take at first, a few times.
    async fn insist(&self, call: &Call, store: &dyn GroupStore, mut why: String) {
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            tracing::warn!(error = why, retry_s = pause.as_secs(), "the alert webhook did not take an alert");
            tokio::time::sleep(pause).await;
            pause *= 2;
            match self.call(call).await {
                Ok(()) => return call.taken(store).await,
                Err(again) => why = again,
            }
        }
        tracing::error!(alert = call.name, error = why, "the alert webhook took no alert after {ATTEMPTS} attempts: check alerts.webhook");
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
