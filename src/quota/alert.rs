//! Tells whoever runs the gateway that a budget is half spent, nearly spent, spent: once each in a period, by a signed webhook.
//!
//! The call is one of the Standard Webhooks (<https://www.standardwebhooks.com>): `webhook-id`, `webhook-timestamp`, and in
//! `webhook-signature` the HMAC-SHA-256 of both and the body, so that any of their libraries can verify it.

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
use crate::store::{GroupStore, StoreError};
use crate::upstream::tls;

/// Per cent of a budget at which somebody is told.
pub const THRESHOLDS: [u8; 3] = [50, 80, 100];

/// Waiting to be told at the most; more would be of no use to anybody.
const WAITING: usize = 1024;
/// Under way at the most.
const AT_ONCE: usize = 16;
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

/// Where alerts are handed in; never waits.
#[derive(Clone, Debug)]
pub struct AlertSender(mpsc::Sender<Alert>);

/// Delivers alerts in the background.
pub struct Alerts {
    queue: mpsc::Receiver<Alert>,
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
    let (sender, queue) = mpsc::channel(WAITING);
    (AlertSender(sender), Alerts { queue, store, webhook: webhook.map(Arc::new) })
}

// === impl AlertSender ===

impl AlertSender {
    /// Hands an alert in; where too many wait it is only logged.
    pub fn tell(&self, alert: Alert) {
        if let Err(e) = self.0.try_send(alert) {
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

    /// Delivers until shutdown, and then for a moment what is under way: one that is not taken keeps no other waiting, and is told
    /// again after a restart.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut delivering = JoinSet::new();
        for (name, body) in self.left().await {
            if let Some(webhook) = self.webhook.clone() {
                let (call, store) = (Call::of(name, body), Arc::clone(&self.store));
                delivering.spawn(async move { webhook.deliver(&call, &*store, "the gateway was stopped".to_owned()).await });
            }
        }
        loop {
            let alert = tokio::select! {
                alert = self.queue.recv(), if delivering.len() < AT_ONCE => alert,
                Some(_) = delivering.join_next() => continue,
                _ = shutdown.wait_for(|stop| *stop) => break,
            };
            let Some(alert) = alert else { break };
            let call = Call::of(alert.name(), alert.body());
            if !self.is_first(&alert, &call).await {
                continue;
            }
            let Alert { account, budget, percent, spent, .. } = &alert;
            tracing::warn!(account = %account, budget = %budget, percent, spent = %spent, "a budget passed a threshold");
            // In their order, where the webhook takes them.
            let Some(webhook) = self.webhook.clone() else { continue };
            let taken = tokio::select! {
                taken = webhook.call(&call) => taken,
                _ = shutdown.wait_for(|stop| *stop) => break,
            };
            let store = Arc::clone(&self.store);
            match taken {
                Ok(()) => call.taken(&*store).await,
                Err(why) => drop(delivering.spawn(async move { webhook.deliver(&call, &*store, why).await })),
            }
        }
        // What is not taken by then waits in the store.
        let _ = tokio::time::timeout(LAST_MOMENT, async { while delivering.join_next().await.is_some() {} }).await;
    }

    /// What the last run left untold.
    async fn left(&self) -> Vec<(String, String)> {
        if self.webhook.is_none() {
            return Vec::new();
        }
        self.store.waiting_alerts().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "alerts that waited when the gateway stopped cannot be read");
            Vec::new()
        })
    }

    /// The next alert that waits.
    #[cfg(test)]
    pub(super) fn try_next(&mut self) -> Option<Alert> {
        self.queue.try_recv().ok()
    }

    /// Whether no other node, and no earlier run of this one, told of it.
    async fn is_first(&self, alert: &Alert, call: &Call) -> bool {
        let body = self.webhook.is_some().then_some(call.body.as_str());
        let told: Result<bool, StoreError> = self.store.first_alert(&call.name, alert.at, body).await;
        // Told twice is better than never.
        told.unwrap_or(true)
    }
}

// === impl Call ===

impl Call {
    /// Its id is the same for the same name, and has no full stop in it, which separates it from what is signed with it.
    fn of(name: String, body: String) -> Call {
        let id = format!("alert_{}", hex(&digest(&SHA256, name.as_bytes()).as_ref()[..16]));
        Call { name, id, body }
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
        let url: reqwest::Url = url.parse().map_err(|e| format!("alerts.webhook '{url}' is no URL: {e}"))?;
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

    /// Calls it until it takes an alert that it did not take at first, a few times.
    async fn deliver(&self, call: &Call, store: &dyn GroupStore, mut why: String) {
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
