//! What is counted, in OpenMetrics' text format or in Prometheus' own before it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
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

/// All counters.
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    refused: Family<Refused, Counter>,
    tokens: Family<Tokens, Counter>,
    cost: Family<Model, Counter<f64, AtomicU64>>,
    seconds: Family<Model, Histogram, fn() -> Histogram>,
    first_byte: Family<Model, Histogram, fn() -> Histogram>,
    ledger_waiting: Gauge,
    /// What callers send, as far as it is kept.
    bodies: Gauge,
    uploads: Gauge,
    ledger_damaged_lines: Counter,
    credential_resting: Family<Line, Gauge>,
    credential_unusable: Family<Line, Gauge>,
    /// By provider and model.
    prepared: RwLock<HashMap<String, HashMap<String, Arc<Prepared>>>>,
}

/// One model's counters, found by one look-up and not by one for each; what has not been counted yet is not there, and not shown.
struct Prepared {
    labels: Model,
    requests: RwLock<Vec<(Way, Counter)>>,
    tokens: [OnceLock<Counter>; KINDS.len()],
    cost: OnceLock<Counter<f64, AtomicU64>>,
    seconds: Histogram,
    first_byte: OnceLock<Histogram>,
}

/// How counters are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>, for whoever asks for it.
    OpenMetrics,
    /// Prometheus' text format, version 0.0.4, which everything that scrapes can read.
    Text,
}

/// A request that has ended, as it is counted.
#[derive(Debug)]
pub struct Ended<'a> {
    /// `chat`, `embeddings`, …
    pub operation: &'static str,
    /// Who served it, or was to, and which model; `None` where it did not come so far.
    pub by: Option<(&'a str, &'a str)>,
    /// The status that the caller saw.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// The code that it was refused with; empty where it was not.
    pub refused: &'static str,
    /// What it took.
    pub usage: Usage,
    /// What it cost, where that is known.
    pub cost: Option<Usd>,
    /// From its head to the first byte of its answer.
    pub first_byte: Option<Duration>,
    /// From its head to its end.
    pub total: Duration,
}

/// What requests are told apart by: operation, status, outcome.
type Way = (&'static str, u16, &'static str);
/// A model that is in no list: callers choose such names, and as labels they would be without end.
pub const UNLISTED: &str = "unlisted";

/// Kinds of tokens.
const KINDS: [&str; 4] = ["input", "cached", "output", "reasoning"];

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
struct Line {
    provider: String,
    credential: String,
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
            bodies: Gauge::default(),
            uploads: Gauge::default(),
            ledger_damaged_lines: Counter::default(),
            credential_resting: Family::default(),
            credential_unusable: Family::default(),
            prepared: RwLock::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("requests", "Requests that reached a model's provider or were to", metrics.requests.clone());
        registry.register("refused", "Requests refused by the gateway, by code", metrics.refused.clone());
        registry.register("tokens", "Tokens by kind: input, cached, output, reasoning", metrics.tokens.clone());
        registry.register("cost_usd", "What they cost, in USD", metrics.cost.clone());
        registry.register_with_unit("request_duration", "From head to last byte", Unit::Seconds, metrics.seconds.clone());
        registry.register_with_unit("first_byte", "From head to the answer's first byte", Unit::Seconds, metrics.first_byte.clone());
        let damaged = "Ledger lines that were torn or damaged and are passed over, since the start";
        registry.register("ledger_damaged_lines", damaged, metrics.ledger_damaged_lines.clone());
        registry.register_with_unit("ledger_waiting", "Ledger records not in the store yet", Unit::Bytes, metrics.ledger_waiting.clone());
        registry.register_with_unit("bodies", "Bodies of requests that are kept in memory", Unit::Bytes, metrics.bodies.clone());
        registry.register_with_unit("uploads", "Forms that are put aside until their model is known", Unit::Bytes, metrics.uploads.clone());
        registry.register(
            "credential_resting",
            "1 from when a provider refused a credential until it takes it again",
            metrics.credential_resting.clone(),
        );
        let unusable = "1 for a credential that is kept and cannot be used, as for one under another master key";
        registry.register("credential_unusable", unusable, metrics.credential_unusable.clone());
        metrics
    }

    /// A request was refused before anything else was known of it.
    pub fn refused(&self, code: &'static str) {
        self.refused.get_or_create(&Refused { code }).inc();
    }

    /// A request has ended.
    pub fn ended(&self, ended: &Ended<'_>) {
        // What its provider could not do, the gateway has not refused.
        if !ended.refused.is_empty() && ended.outcome == Outcome::Refused {
            self.refused(ended.refused);
        }
        let Some((provider, model)) = ended.by else { return };
        let (prepared, usage) = (self.prepared(provider, model), &ended.usage);
        self.count(&prepared, (ended.operation, ended.status, ended.outcome.as_str()));
        let counts = [usage.input, usage.cached, usage.output, usage.reasoning];
        for ((kind, counter), count) in KINDS.into_iter().zip(&prepared.tokens).zip(counts).filter(|(_, count)| *count > 0) {
            let new = || {
                let Model { provider, model } = prepared.labels.clone();
                self.tokens.get_or_create_owned(&Tokens { provider, model, kind })
            };
            counter.get_or_init(new).inc_by(count);
        }
        if let Some(cost) = ended.cost {
            prepared.cost.get_or_init(|| self.cost.get_or_create_owned(&prepared.labels)).inc_by(cost.as_f64());
        }
        prepared.seconds.observe(ended.total.as_secs_f64());
        if let Some(first_byte) = ended.first_byte {
            prepared.first_byte.get_or_init(|| self.first_byte.get_or_create_owned(&prepared.labels)).observe(first_byte.as_secs_f64());
        }
    }

    fn prepared(&self, provider: &str, model: &str) -> Arc<Prepared> {
        let known = self.prepared.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = known.get(provider).and_then(|models| models.get(model)) {
            return Arc::clone(prepared);
        }
        drop(known);
        let labels = Model { provider: provider.to_owned(), model: model.to_owned() };
        let new = || {
            Arc::new(Prepared {
                requests: RwLock::default(),
                tokens: Default::default(),
                cost: OnceLock::new(),
                seconds: self.seconds.get_or_create_owned(&labels),
                first_byte: OnceLock::new(),
                labels: labels.clone(),
            })
        };
        let mut all = self.prepared.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(provider.to_owned()).or_default().entry(model.to_owned()).or_insert_with(new))
    }

    fn count(&self, prepared: &Prepared, way: Way) {
        let find = |known: &[(Way, Counter)]| known.iter().find(|(known, _)| *known == way).map(|(_, counter)| counter.inc());
        if find(&prepared.requests.read().unwrap_or_else(PoisonError::into_inner)).is_some() {
            return;
        }
        let (operation, status, outcome) = way;
        let Model { provider, model } = prepared.labels.clone();
        let counter = self.requests.get_or_create_owned(&Request { operation, provider, model, status, outcome });
        counter.inc();
        // Twice at worst, where two requests are the first to end so: both lead to the same counter.
        prepared.requests.write().unwrap_or_else(PoisonError::into_inner).push((way, counter));
    }

    /// Everything as text; gauges are read now.
    pub fn render(&self, gateway: &Gateway, format: Format) -> String {
        self.ledger_damaged_lines.inner().store(gateway.drain.status().damaged_lines(), Ordering::Relaxed);
        self.ledger_waiting.set(i64::try_from(gateway.drain.status().lag_bytes()).unwrap_or(i64::MAX));
        for (gauge, shares) in [(&self.bodies, &gateway.bodies), (&self.uploads, &gateway.forms)] {
            gauge.set(i64::try_from(shares.taken()).unwrap_or(i64::MAX));
        }
        let router = gateway.router();
        // One that was mended is not shown any more.
        self.credential_unusable.clear();
        for unusable in router.unusable() {
            let labels = Line { provider: unusable.provider.clone(), credential: unusable.credential.clone() };
            self.credential_unusable.get_or_create(&labels).set(1);
        }
        self.credential_resting.clear();
        for provider in router.lines() {
            if let Some(credential) = &provider.credential {
                let labels = Line { provider: provider.id.clone(), credential: provider.line.clone() };
                self.credential_resting.get_or_create(&labels).set(i64::from(credential.refused_for_s().is_some()));
            }
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        match format {
            Format::OpenMetrics => text,
            Format::Text => as_text(&text),
        }
    }
}

// === impl Format ===

impl Format {
    /// How an answer names it.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
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

/// The same in Prometheus' text format, where a counter's comments have its samples' name, and nothing tells units or the end.
fn as_text(openmetrics: &str) -> String {
    let counters: HashSet<&str> = openmetrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF") {
        let name = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).and_then(|rest| rest.split(' ').next());
        match name.filter(|name| counters.contains(name)) {
            // Both words and the spaces around them are seven letters long.
            Some(name) => text.extend([&line[..7 + name.len()], "_total", &line[7 + name.len()..], "\n"]),
            None => text.extend([line, "\n"]),
        }
    }
    text
}
