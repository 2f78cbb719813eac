//! What is known of one request while it runs; however it ends, it is settled, counted and logged exactly once.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;

use crate::catalog::Operation;
use crate::dialect::Reading;
use crate::error::{Billed, Refusal};
use crate::exchange::estimate::Estimate;
use crate::gateway::Gateway;
use crate::key::diagnose::{is_escaped_secret, is_secret};
use crate::key::{Caller, KeyId};
use crate::ledger::common::{Common, Facts};
use crate::ledger::record::{Begin, Charged, MOST_COST, Of, Outcome, Settle, Source, Usage};
use crate::money::Usd;
use crate::prompt::Prompt;
use crate::quota::{AccountId, Permit, Used, limits};
use crate::route::Target;
use crate::server::Peer;
use crate::surface::REQUEST_ID;
use crate::telemetry::{Ended, RequestLine, UNLISTED};
use crate::upstream::Failed;

/// One request, from its head to the last byte of its answer.
pub struct Ticket {
    gateway: Arc<Gateway>,
    started: Instant,
    /// Unique for good: the ledger's key.
    pub id: Arc<str>,
    /// What the caller calls the request, or its id.
    pub request_id: HeaderValue,
    /// What was asked for.
    pub operation: Operation,
    /// The caller's key, once it is proven.
    pub key: Option<KeyId>,
    /// The address that the request came from.
    from: Option<IpAddr>,
    /// The key's project and its team, as the ledger names them.
    groups: [Option<Arc<str>>; 2],
    /// When the key ends, where that is soon.
    pub ends_soon: Option<Timestamp>,
    /// The model as the caller names it, once it is read.
    pub model: String,
    /// The prompt that is called.
    pub prompt: Option<Arc<Prompt>>,
    /// Who answers, once that is known.
    pub target: Option<Target>,
    /// What is called in the place of a model.
    beside: Option<Beside>,
    first_byte: Option<Duration>,
    status: u16,
    code: &'static str,
    /// What it was taken to need, for where nothing is reported.
    estimate: Estimate,
    /// Its provider works on it after it has answered.
    goes_on_unseen: bool,
    /// It is held against a hard budget: what it may have cost unseen is taken to be what was reserved.
    is_budgeted: bool,
    /// Its right to run, and what is written down of its beginning.
    begun: Option<(Permit, Arc<Begin>)>,
    /// It is written down, and goes to its provider.
    is_under_way: bool,
    is_settled: bool,
}

/// What is called in the place of a model, and what a call of it costs.
struct Beside {
    /// What the ledger names as its provider.
    provider: &'static str,
    /// `server/tool` or `service@version/operation`.
    name: Arc<str>,
    price: Usd,
}

/// What the ledger names as the provider of MCP tools.
pub const MCP: &str = "mcp";
/// The same of operations of REST services.
pub const SERVICE: &str = "service";
/// Characters of a model's name in the log.
const LONGEST_NAME: usize = 200;

// === impl Ticket ===

impl Ticket {
    /// A request that just came in.
    pub fn new(gateway: &Arc<Gateway>, operation: Operation, headers: &HeaderMap, extensions: &Extensions) -> Ticket {
        let id = next_id();
        let request_id = request_id(headers, &id);
        let mut ticket = Ticket::blank(gateway, operation, id, request_id);
        ticket.from = extensions.get::<Peer>().map(|peer| peer.address);
        ticket
    }

    /// An attempt of this request that another follows: one that ends by itself, of the same caller.
    pub fn attempt(&self) -> Ticket {
        let mut attempt = Ticket::blank(&self.gateway, self.operation, next_id(), self.request_id.clone());
        (attempt.started, attempt.from, attempt.key) = (self.started, self.from, self.key);
        (attempt.groups, attempt.model, attempt.prompt) = (self.groups.clone(), self.model.clone(), self.prompt.clone());
        attempt.is_budgeted = self.is_budgeted;
        attempt
    }

    fn blank(gateway: &Arc<Gateway>, operation: Operation, id: Arc<str>, request_id: HeaderValue) -> Ticket {
        Ticket {
            gateway: Arc::clone(gateway),
            started: Instant::now(),
            id,
            request_id,
            operation,
            key: None,
            from: None,
            groups: Default::default(),
            ends_soon: None,
            model: String::new(),
            prompt: None,
            target: None,
            beside: None,
            first_byte: None,
            status: 0,
            code: "",
            estimate: Estimate::default(),
            goes_on_unseen: false,
            is_budgeted: false,
            begun: None,
            is_under_way: false,
            is_settled: false,
        }
    }

    /// Whether a limit's glob names the prompt that is called.
    pub fn prompt_is_named_by(&self, glob: &str) -> bool {
        self.prompt.as_ref().is_some_and(|prompt| prompt.is_named_by(glob))
    }

    /// The caller has named a model; of a long name the log gets the beginning, and of a key put in its place nothing.
    pub fn called_model(&mut self, name: &str) {
        if is_secret(name) {
            return self.model.push_str("(a key)");
        }
        // Most are short, which is known without counting.
        let end = Some(name).filter(|name| name.len() > LONGEST_NAME).and_then(|name| name.char_indices().nth(LONGEST_NAME));
        self.model.push_str(end.map_or(name, |(end, _)| &name[..end]));
    }

    /// Its caller is known.
    pub fn called_by(&mut self, caller: &Caller) {
        self.key = Some(caller.id());
        self.groups = Default::default();
        for account in caller.chain().iter() {
            match account.id() {
                AccountId::Project(id) => self.groups[0] = Some(Arc::clone(id)),
                AccountId::Team(id) => self.groups[1] = Some(Arc::clone(id)),
                AccountId::Key(_) | AccountId::Gateway | AccountId::Service(_) => {}
            }
        }
        self.is_budgeted = caller.has_hard_budget();
        self.ends_soon = caller.ends_soon();
    }

    /// Its provider may work on it after it has answered: what that costs is then taken to be what was reserved.
    pub fn goes_on_unseen(&mut self, it_does: bool) {
        self.goes_on_unseen = it_does;
    }

    /// Writes the request down before its provider is called; the permit is held until it is settled.
    pub async fn begin(&mut self, target: &Target, permit: Permit, estimate: &Estimate) -> std::io::Result<()> {
        self.estimate = *estimate;
        self.target = Some(target.clone());
        self.write_begin(&target.provider.id, &target.model, estimate.worst.ok(), permit).await
    }

    /// The same for an MCP tool, by its name `server/tool`.
    pub async fn begin_tool(&mut self, tool: Arc<str>, permit: Permit) -> std::io::Result<()> {
        self.begin_beside(Beside { provider: MCP, name: tool, price: Usd::default() }, permit).await
    }

    /// The same for an operation of a REST service, by its name `service@version/operation`, which costs so much.
    pub async fn begin_service(&mut self, operation: Arc<str>, price: Usd, permit: Permit) -> std::io::Result<()> {
        self.begin_beside(Beside { provider: SERVICE, name: operation, price }, permit).await
    }

    async fn begin_beside(&mut self, beside: Beside, permit: Permit) -> std::io::Result<()> {
        let (provider, name, price) = (beside.provider, Arc::clone(&beside.name), beside.price);
        self.beside = Some(beside);
        self.write_begin(provider, &name, Some(price), permit).await
    }

    /// A REST service has answered; what it has not done costs nothing.
    pub fn service_answering(&mut self, status: StatusCode) {
        self.first_byte = Some(self.started.elapsed());
        self.status = status.as_u16();
        if let Some(beside) = self.beside.as_mut().filter(|_| !status.is_success()) {
            beside.price = Usd::default();
        }
    }

    /// An MCP tool has been called.
    pub fn tool_ended(&mut self, status: StatusCode, outcome: Outcome) {
        self.status = status.as_u16();
        self.settle(outcome, None);
    }

    async fn write_begin(&mut self, provider: &str, model: &str, reserved: Option<Usd>, permit: Permit) -> std::io::Result<()> {
        let [project, team] = self.groups.each_ref().map(|group| group.as_deref().unwrap_or_default());
        let prompt = self.prompt.as_ref().map(|prompt| prompt.label());
        let common = Common::of(&Facts {
            key: self.key.as_ref().map_or("", KeyId::as_str),
            project,
            team,
            prompt: prompt.as_deref().unwrap_or_default(),
            operation: self.operation.as_str().into(),
            provider,
            model,
            from: self.from,
        });
        let begin = Arc::new(Begin { id: Arc::clone(&self.id), at: permit.began(), common, reserved });
        // From here on its line may be written, also where its caller hangs up while it waits.
        self.begun = Some((permit, Arc::clone(&begin)));
        let written = self.gateway.ledger.begin(begin).await;
        self.is_under_way = written.is_ok();
        if written.is_err() {
            self.begun = None;
        }
        written
    }

    /// What it may have cost, now that it is known who was asked for it.
    pub fn may_have_cost(&mut self, estimate: Estimate) {
        self.estimate = estimate;
    }

    /// The answer's head is there.
    pub fn answering(&mut self, status: StatusCode, target: &Target) {
        self.first_byte = Some(self.started.elapsed());
        self.status = status.as_u16();
        self.goes_to(target);
    }

    /// No target has answered: it is the last one's fault, and to be paid to it.
    pub fn failed(&mut self, failed: Failed, targets: &[Target]) -> Refusal {
        if let Some(target) = targets.get(failed.target) {
            self.goes_to(target);
        }
        failed.refusal()
    }

    fn goes_to(&mut self, target: &Target) {
        // Mostly the first one answers, and what all workers count is left alone.
        if !self.target.as_ref().is_some_and(|first| first.is(target)) {
            self.target = Some(target.clone());
        }
    }

    /// The permit's `x-ratelimit-*` headers.
    pub fn write_limits(&self, headers: &mut HeaderMap) {
        if let Some((permit, _)) = &self.begun {
            permit.write_headers(headers);
        }
    }

    /// Why a request that was being answered does not go on: for the log, with the status that its caller has seen already.
    pub fn cut_short(&mut self, code: &'static str) {
        self.code = code;
        // Half an answer of a service is none.
        self.beside.iter_mut().for_each(|beside| beside.price = Usd::default());
    }

    /// Its key has ended while it was called: what that has done by then is charged, as where its caller hangs up.
    pub fn ended(&mut self, refusal: &Refusal) {
        self.status = if self.status == 0 { refusal.status.as_u16() } else { self.status };
        self.code = refusal.code;
        self.settle(Outcome::Abandoned, None);
    }

    /// The request is refused.
    pub fn refused(&mut self, refusal: &Refusal) {
        self.key = self.key.or(refusal.key);
        self.status = refusal.status.as_u16();
        self.code = refusal.code;
        let outcome = if refusal.provider.is_some() { Outcome::Failed } else { Outcome::Refused };
        // No answer came that could be charged for.
        self.beside.iter_mut().for_each(|beside| beside.price = Usd::default());
        let is_charged = match refusal.billed {
            Billed::Not => false,
            Billed::Perhaps => self.is_budgeted,
            Billed::InPart => true,
        };
        self.settle(outcome, (is_charged && self.begun.is_some()).then(Reading::default));
    }

    /// The request has ended: from here on the ticket does nothing more.
    pub fn settle(&mut self, outcome: Outcome, reading: Option<Reading>) {
        if std::mem::replace(&mut self.is_settled, true) {
            return;
        }
        // The provider may bill more than was seen: what was on its way to a caller who hung up, what it thought, what it does not count.
        self.goes_on_unseen |= self.is_budgeted;
        let (told, source) = self.used(outcome, reading);
        let usage = told.credible();
        let priced = self.cost(&usage, source, reading.and_then(|reading| reading.usage.or(reading.so_far)));
        let cost = priced.map(|cost| cost.min(MOST_COST));
        if (usage, cost) != (told, priced) && source == Source::Reported {
            self.warn_of(&told);
        }
        let (at, total) = (Timestamp::now(), self.started.elapsed());
        if let Some((permit, begin)) = self.begun.take() {
            // Before anything is given back: who begins by that is written behind it.
            self.write_down(Arc::clone(&begin), at, outcome, (usage, source, cost), total);
            let is_named = |glob: &str| self.full_name().is_some_and(|name| limits::names(glob, &name)) || self.prompt_is_named_by(glob);
            let began = |glob: &str| limits::names(glob, &begin.common.full_name()) || self.prompt_is_named_by(glob);
            permit.settle_moved(&self.used_in_all(&usage, cost), &is_named, &began);
        }
        self.gateway.metrics.ended(&Ended {
            operation: self.operation.as_str(),
            by: self.counted_as(),
            status: self.status,
            outcome,
            refused: self.code,
            usage,
            cost,
            first_byte: self.first_byte,
            total,
        });
        self.log(at, outcome, &usage, cost, total);
    }

    /// A provider's count that nobody can believe is written down as the most that a request takes.
    fn warn_of(&self, told: &Usage) {
        let (provider, model) = (self.provider(), self.target.as_ref().map(|target| &*target.model));
        tracing::warn!(
            id = &*self.id,
            provider,
            model,
            input_tokens = told.input,
            output_tokens = told.output,
            "a provider counts or charges more than a request can take: it is charged the most that is believed, and its provider has to be asked"
        );
    }

    fn used_in_all(&self, usage: &Usage, cost: Option<Usd>) -> Used {
        Used { requests: 1, input: usage.input, output: usage.output, cost: cost.unwrap_or_default() }
    }

    fn used(&self, outcome: Outcome, reading: Option<Reading>) -> (Usage, Source) {
        let is_told = |reading: &Reading| outcome == Outcome::Answered || reading.is_final(self.estimate.answers);
        match reading.map(|reading| self.believed(reading)) {
            _ if self.operation.is_free() || self.beside.is_some() => (Usage::default(), Source::None),
            Some(reading @ Reading { usage: Some(usage), .. }) if is_told(&reading) => (usage, Source::Reported),
            Some(_) if self.operation.is_media() || self.operation.has_no_output() => {
                (Usage { input: self.estimate.input, ..Usage::default() }, Source::Estimated)
            }
            Some(Reading { usage, so_far, estimated_output, .. }) => {
                // What was reported on the way is the least of it.
                let so_far = usage.or(so_far).unwrap_or(Usage { input: self.estimate.input, ..Usage::default() });
                let output = if self.goes_on_unseen { self.estimate.output.max(estimated_output) } else { estimated_output };
                (Usage { output: so_far.output.max(output), ..so_far }, Source::Estimated)
            }
            None => (Usage::default(), Source::None),
        }
    }

    /// What counts no token tells nothing of an answer that says something, nor does what counts none that were said; where the cost is told beside, or
    /// a response in a session may have been stopped before it began, it is believed.
    fn believed(&self, reading: Reading) -> Reading {
        let tells_cost = self.target.as_ref().is_some_and(|target| target.provider.tells_cost);
        let is_charged = |usage: &Usage| match usage.charged {
            Some(Charged::Cost(_)) => tells_cost,
            Some(Charged::Tokens { .. }) => true,
            None => false,
        };
        // A completion may repeat what was sent, and be asked for nothing more.
        let is_talk = self.operation == Operation::Chat || (self.operation == Operation::Completions && !self.estimate.asks_for_none);
        let tells = |usage: &Usage| match reading.said.filter(|_| is_talk && usage.output == 0) {
            _ if is_charged(usage) || self.operation == Operation::Realtime => true,
            Some(said) => !said,
            None => usage.counts(),
        };
        let so_far = reading.so_far.filter(|usage| usage.counts() || is_charged(usage));
        Reading { usage: reading.usage.filter(tells), so_far, ..reading }
    }

    /// What the usage costs; `None` where there is no price, or where sound and pictures were not counted, which no length tells.
    fn cost(&self, usage: &Usage, source: Source, reported: Option<Usage>) -> Option<Usd> {
        if let Some(beside) = &self.beside {
            return Some(beside.price);
        }
        if self.operation.is_free() {
            return Some(Usd::default());
        }
        let is_estimated = source == Source::Estimated;
        let is_unknown = self.operation.is_media() && is_estimated;
        let facts = self.target.as_ref().and_then(Target::facts);
        let tells_cost = self.target.as_ref().is_some_and(|target| target.provider.tells_cost);
        let priced = |usage: &Usage| match usage.charged {
            Some(Charged::Cost(cost)) if tells_cost => Some(cost),
            Some(Charged::Tokens { input, output }) => facts?.cost(&Usage { input, output, ..Usage::default() }),
            _ => facts?.cost(usage),
        };
        match self.goes_on_unseen && is_estimated {
            // Bytes are no tokens: what was reported on the way alone may be more than what was reserved.
            true => {
                let told = reported.and_then(|usage| priced(&usage)).unwrap_or_default();
                self.estimate.worst.ok().map(|worst| worst.max(told))
            }
            false => Some(usage).filter(|_| !is_unknown).and_then(priced),
        }
    }

    fn write_down(&self, begin: Arc<Begin>, at: Timestamp, outcome: Outcome, used: (Usage, Source, Option<Usd>), total: Duration) {
        let (usage, source, cost) = used;
        let answered_by = self.target.as_ref().map(|target| (target.provider.id.as_str(), &target.model));
        let by = answered_by.filter(|(provider, model)| !begin.common.is_by(provider, model));
        let record = Settle {
            at,
            by: by.map(|(provider, model)| (provider.into(), Arc::clone(model))),
            of: Of::Begun(begin),
            outcome,
            status: self.status,
            usage,
            source,
            cost,
            first_byte_ms: self.first_byte.map(|time| time.as_millis() as u64),
            total_ms: total.as_millis() as u64,
        };
        if let Err(e) = self.gateway.ledger.settle(record) {
            tracing::error!(id = &*self.id, error = %e, "a request's end could not be written down yet; it will be as soon as the disk takes it");
        }
    }

    /// What globs of limits are matched with; made only where one asks.
    fn full_name(&self) -> Option<String> {
        self.target.as_ref().map(Target::full_name).or_else(|| self.beside().map(|(provider, name)| format!("{provider}/{name}")))
    }

    /// What is called in the place of a model, once it is begun: its provider's name in the ledger, and its own.
    fn beside(&self) -> Option<(&'static str, &str)> {
        self.beside.as_ref().map(|beside| (beside.provider, &*beside.name))
    }

    fn counted_as(&self) -> Option<(&str, &str)> {
        match &self.target {
            Some(target) => Some((&target.provider.id, target.facts().map_or(UNLISTED, |_| &*target.model))),
            None => self.beside(),
        }
    }

    fn provider(&self) -> Option<&str> {
        self.target.as_ref().map(|target| target.provider.id.as_str()).or(self.beside().map(|(provider, _)| provider))
    }

    fn log(&self, at: Timestamp, outcome: Outcome, usage: &Usage, cost: Option<Usd>, total: Duration) {
        let prompt = self.prompt.as_ref().map(|prompt| prompt.label());
        RequestLine {
            at,
            id: &self.id,
            request_id: self.request_id.to_str().ok().filter(|theirs| *theirs != &*self.id),
            key: self.key.as_ref().map(KeyId::as_str),
            operation: self.operation.as_str(),
            model: Some(self.model.as_str()).filter(|model| !model.is_empty()),
            prompt: prompt.as_deref(),
            provider: self.provider(),
            status: self.status,
            outcome: outcome.as_str(),
            refused: Some(self.code).filter(|code| !code.is_empty()),
            from: self.from.filter(|_| outcome == Outcome::Refused),
            input_tokens: usage.input,
            output_tokens: usage.output,
            cost_usd: cost.map(Usd::as_f64),
            first_byte_ms: self.first_byte.map(|time| time.as_millis() as u64),
            total_ms: total.as_millis() as u64,
        }
        .write();
    }
}

impl Drop for Ticket {
    /// Whoever drops a ticket before its end has lost its caller.
    fn drop(&mut self) {
        if !self.is_settled {
            // 499 is nginx's name for it: the caller hung up before there was a status.
            self.status = if self.status == 0 { 499 } else { self.status };
            let reading = (self.begun.is_some() && self.is_under_way).then(Reading::default);
            self.settle(Outcome::Abandoned, reading);
        }
    }
}

/// What the caller calls its request, or `own` where it gives no name of up to 128 characters, or one that is a key.
pub fn request_id(headers: &HeaderMap, own: &str) -> HeaderValue {
    let is_name = |text: &str| !text.is_empty() && !is_escaped_secret(text);
    let theirs = headers.get(REQUEST_ID).filter(|value| value.len() <= 128 && value.to_str().is_ok_and(is_name));
    theirs.cloned().or_else(|| HeaderValue::try_from(own).ok()).unwrap_or(HeaderValue::from_static("unnamed"))
}

/// `req_<of this start><counter>`: unique without asking anyone.
pub fn next_id() -> Arc<str> {
    static START: LazyLock<[u8; 10]> = LazyLock::new(|| crate::key::format::random_base62().unwrap_or(*b"norandom00"));
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut id = [0; 4 + 10 + 16];
    id[..4].copy_from_slice(b"req_");
    id[4..14].copy_from_slice(&*START);
    let digits = (16 - count.leading_zeros() as usize / 4).max(8);
    for (place, digit) in id[14..14 + digits].iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(count >> (4 * (digits - 1 - place)) & 0xf) as usize];
    }
    // All of it is ASCII.
    std::str::from_utf8(&id[..14 + digits]).unwrap_or_default().into()
}
