//! What is counted, in the OpenMetrics text format.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::gateway::Gateway;
use crate::ledger::record::{Outcome, Usage};
use crate::money::Usd;
use crate::ticket::Ticket;

/// All counters; each is added to without a lock but for the look-up of its labels.
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    refused: Family<Refused, Counter>,
    tokens: Family<Tokens, Counter>,
    cost: Family<Model, Counter<f64, AtomicU64>>,
    seconds: Family<Model, Histogram, fn() -> Histogram>,
    first_byte: Family<Model, Histogram, fn() -> Histogram>,
    ledger_waiting: Gauge,
    credential_resting: Family<Provider, Gauge>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    operation: &'static str,
    provider: String,
    model: String,
    status: u16,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Refused {
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Tokens {
    provider: String,
    model: String,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Model {
    provider: String,
    model: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Provider {
    provider: String,
}

// === impl Metrics ===

impl Metrics {
    /// All at zero.
    pub fn new() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("keyward"),
            requests: Family::default(),
            refused: Family::default(),
            tokens: Family::default(),
            cost: Family::default(),
            seconds: Family::new_with_constructor(durations),
            first_byte: Family::new_with_constructor(durations),
            ledger_waiting: Gauge::default(),
            credential_resting: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("requests", "Requests that reached a model's provider or were to", metrics.requests.clone());
        registry.register("refused", "Requests refused by the gateway, by code", metrics.refused.clone());
        registry.register("tokens", "Tokens by kind: input, cached, output, reasoning", metrics.tokens.clone());
        registry.register("cost_usd", "What they cost, in USD", metrics.cost.clone());
        registry.register_with_unit("request_duration", "From head to last byte", Unit::Seconds, metrics.seconds.clone());
        registry.register_with_unit("first_byte", "From head to the answer's first byte", Unit::Seconds, metrics.first_byte.clone());
        registry.register_with_unit("ledger_waiting", "Ledger records not in the store yet", Unit::Bytes, metrics.ledger_waiting.clone());
        registry.register("credential_resting", "1 while a provider's credential is refused", metrics.credential_resting.clone());
        metrics
    }

    /// A request has ended.
    pub fn settled(&self, ticket: &Ticket, outcome: Outcome, usage: &Usage, cost: Option<Usd>, total: Duration) {
        if !ticket.code().is_empty() {
            self.refused.get_or_create(&Refused { code: ticket.code() }).inc();
        }
        let Some(target) = &ticket.target else { return };
        let provider = target.provider.id.clone();
        // Callers choose the names of unlisted models: as labels they would be without end.
        let model = if target.facts().is_some() { target.model.clone() } else { "unlisted".to_owned() };
        let outcome = match outcome {
            Outcome::Answered => "answered",
            Outcome::ProviderError => "provider_error",
            Outcome::Failed => "failed",
            Outcome::Abandoned => "abandoned",
            Outcome::Assumed => "assumed",
        };
        let operation = ticket.operation.as_str();
        let request = Request { operation, provider: provider.clone(), model: model.clone(), status: ticket.status(), outcome };
        self.requests.get_or_create(&request).inc();
        let kinds = [("input", usage.input), ("cached", usage.cached), ("output", usage.output), ("reasoning", usage.reasoning)];
        for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
            self.tokens.get_or_create(&Tokens { provider: provider.clone(), model: model.clone(), kind }).inc_by(count);
        }
        let labels = Model { provider, model };
        if let Some(cost) = cost {
            self.cost.get_or_create(&labels).inc_by(cost.as_f64());
        }
        self.seconds.get_or_create(&labels).observe(total.as_secs_f64());
        if let Some(first_byte) = ticket.first_byte() {
            self.first_byte.get_or_create(&labels).observe(first_byte.as_secs_f64());
        }
    }

    /// Everything as text; gauges are read now.
    pub fn render(&self, gateway: &Gateway) -> String {
        self.ledger_waiting.set(i64::try_from(gateway.drain.status().lag_bytes()).unwrap_or(i64::MAX));
        for provider in gateway.router.live() {
            if let Some(credential) = &provider.credential {
                let labels = Provider { provider: provider.id.clone() };
                self.credential_resting.get_or_create(&labels).set(i64::from(credential.rests_for().is_some()));
            }
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

fn durations() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0])
}
