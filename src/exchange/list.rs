//! A list of what a key made, put together of a provider's pages: what other keys made is left out.

use std::collections::HashSet;

use bytes::Bytes;
use http::{HeaderValue, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::errand::{Reply, held_by, with_results_here};
use super::keeping::store_down;
use super::paying::Holding;
use crate::catalog::Dialect;
use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::held::{Held, Kind};
use crate::key::caller::Caller;
use crate::route::Target;
use crate::upstream::{self, Answer, Errand, Failed, Failure, Partial, Who};

/// A page as OpenAI's and Anthropic's lists are (`GET /v1/files`, `GET /v1/batches`, `GET /v1/messages/batches`).
#[derive(Deserialize)]
struct Page {
    data: Vec<Box<RawValue>>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Serialize)]
struct List<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'static str>,
    data: Vec<&'a RawValue>,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
    has_more: bool,
}

/// Ids that an entry names.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    id: String,
    output_file_id: Option<String>,
    error_file_id: Option<String>,
}

/// How a list is asked for, page by page.
struct Paging {
    /// The parameter with the last id of the page before.
    after: &'static str,
    /// What a whole list says it is.
    object: Option<&'static str>,
    /// Entries where its caller names no number: the provider's own default.
    default: usize,
    /// The most entries that a page has.
    page: usize,
}

/// A list on its way.
struct Listing<'a> {
    holding: &'a Holding<'a>,
    caller: &'a Caller,
    kind: Kind,
    /// How a page is asked for, without where it begins.
    errand: Errand,
    paging: Paging,
    limit: usize,
    found: Vec<(String, Box<RawValue>)>,
    /// There may be more than was looked through.
    is_cut: bool,
}

/// Who keeps some of what is listed.
struct Keeper<'a> {
    /// Whom to ask: one, or whichever answers where none keeps anything.
    targets: &'a [Target],
    /// The place of the first of them among all.
    index: usize,
    /// What it keeps of the key's.
    own: HashSet<&'a str>,
}

/// Pages that are looked through for one list.
const MOST_PAGES: usize = 50;
/// Entries of a list at the most, as many as OpenAI gives of files.
const MOST: usize = 10_000;
/// Of a page so much is read at the most.
const LONGEST_PAGE: usize = 16 << 20;

// === impl Paging ===

impl Paging {
    fn of(dialect: Dialect, kind: Kind) -> Paging {
        match (dialect, kind) {
            (Dialect::AnthropicMessages, _) => Paging { after: "after_id", object: None, default: 20, page: 1_000 },
            (_, Kind::File) => Paging { after: "after", object: Some("list"), default: MOST, page: 1_000 },
            _ => Paging { after: "after", object: Some("list"), default: 20, page: 100 },
        }
    }
}

/// The list, or the provider's own answer where that is an error; of several credentials what each keeps, one after the other.
pub(super) async fn list(
    holding: &Holding<'_>,
    caller: &Caller,
    kind: Kind,
    mut errand: Errand,
    targets: &[Target],
) -> Result<Reply, Refusal> {
    let held = held_by(holding.gateway, caller, kind).await?;
    let parameter = |name: &str| errand.query.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
    let paging = Paging::of(errand.dialect, kind);
    let limit = parameter("limit").and_then(|limit| limit.parse().ok()).unwrap_or(paging.default).clamp(1, MOST);
    if parameter("before_id").is_some() {
        return Err(Refusal::invalid("unsupported_parameter", "'before_id' is not served here: page forward, with 'after_id'."));
    }
    let keepers = Keeper::all(&held, targets);
    let after = parameter(paging.after);
    // What comes after an entry begins where that is kept.
    let first = match &after {
        Some(after) => keepers.iter().position(|keeper| keeper.own.contains(after.as_str())).ok_or_else(|| kind.not_found(after))?,
        None => 0,
    };
    errand.query.retain(|(name, _)| name != "limit" && name != paging.after);
    let mut listing = Listing { holding, caller, kind, errand, paging, limit, found: Vec::new(), is_cut: false };
    let (mut after, mut last) = (after, None);
    for keeper in &keepers[first..] {
        match listing.read(keeper, after.take()).await? {
            Reply::Answer(answer) => return Ok(Reply::Answer(Answer { target: keeper.index + answer.target, ..answer })),
            Reply::List(head, _) => last = Some(head),
        }
        if listing.found.len() > limit || listing.is_cut {
            break;
        }
    }
    let Listing { mut found, is_cut, paging, .. } = listing;
    let has_more = found.len() > limit || is_cut;
    found.truncate(limit);
    let mut head = last.ok_or(Failure::NoTarget).map_err(Failure::refusal)?;
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(Reply::List(head, written(&found, has_more, &paging)))
}

// === impl Keeper ===

impl<'a> Keeper<'a> {
    /// Each target by which the key made something; where it made nothing, all of them together, each the others' stand-in.
    fn all(held: &'a [Held], targets: &'a [Target]) -> Vec<Keeper<'a>> {
        let of = |(index, target): (usize, &'a Target)| {
            let holder = target.provider.holder();
            let own: HashSet<&str> = held.iter().filter(|held| held.provider == holder).map(|held| held.id.as_str()).collect();
            (!own.is_empty()).then_some(Keeper { targets: &targets[index..=index], index, own })
        };
        let keepers: Vec<Keeper<'a>> = targets.iter().enumerate().filter_map(of).collect();
        if keepers.is_empty() { vec![Keeper { targets, index: 0, own: HashSet::new() }] } else { keepers }
    }
}

// === impl Listing ===

impl Listing<'_> {
    /// Adds what one keeper has, page by page; the provider's own answer where that is an error.
    async fn read(&mut self, keeper: &Keeper<'_>, mut after: Option<String>) -> Result<Reply, Refusal> {
        let (gateway, others, target) = (self.holding.gateway, self.errand.query.clone(), &keeper.targets[0]);
        let mut pages = 0;
        loop {
            pages += 1;
            self.errand.query.clone_from(&others);
            self.errand.query.push(("limit".to_owned(), self.paging.page.to_string()));
            self.errand.query.extend(after.iter().map(|after| (self.paging.after.to_owned(), after.clone())));
            self.holding.judge().await?;
            let answer = gateway.client.run(&self.errand, keeper.targets, self.holding).await;
            self.errand.query.clone_from(&others);
            let mut answer = answer.map_err(Failed::refusal)?;
            if !answer.head.status.is_success() {
                return Ok(Reply::Answer(answer));
            }
            let page = read(gateway, &mut answer, target).await?;
            let entries: Vec<(Entry, Box<RawValue>)> =
                page.data.into_iter().filter_map(|raw| Some((serde_json::from_str(raw.get()).ok()?, raw))).collect();
            let last = entries.last().map(|(entry, _)| entry.id.clone());
            // A provider that gives the same page again has no pages.
            let is_last_page = !page.has_more || last.is_none() || last == after;
            self.is_cut = !is_last_page && pages == MOST_PAGES;
            for (entry, raw) in entries {
                if keeper.own.contains(entry.id.as_str()) {
                    note_files(gateway, self.caller, self.kind, &entry, target).await?;
                    self.found.push((entry.id, as_told(raw, self.errand.dialect, self.kind)));
                }
            }
            after = last;
            if self.found.len() > self.limit || is_last_page || self.is_cut {
                return Ok(Reply::List(answer.head, Bytes::new()));
            }
        }
    }
}

/// An entry as its caller is told it.
fn as_told(raw: Box<RawValue>, dialect: Dialect, kind: Kind) -> Box<RawValue> {
    let told = match (dialect, kind) {
        (Dialect::AnthropicMessages, Kind::Batch) => with_results_here(raw.get().as_bytes()),
        _ => None,
    };
    told.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or(raw)
}

fn written(found: &[(String, Box<RawValue>)], has_more: bool, paging: &Paging) -> Bytes {
    let list = List {
        object: paging.object,
        data: found.iter().map(|(_, raw)| &**raw).collect(),
        first_id: found.first().map(|(id, _)| id.as_str()),
        last_id: found.last().map(|(id, _)| id.as_str()),
        has_more,
    };
    // Texts, ids and JSON that was parsed: there is nothing in it that cannot be written.
    serde_json::to_vec(&list).map(Bytes::from).unwrap_or_default()
}

/// The files that a batch's answer names: its provider made them for whoever made the batch.
pub(super) fn files_of(batch: &[u8]) -> Vec<String> {
    let entry: Option<Entry> = serde_json::from_slice(batch).ok();
    entry.into_iter().flat_map(|entry| [entry.output_file_id, entry.error_file_id]).flatten().collect()
}

async fn note_files(gateway: &Gateway, caller: &Caller, kind: Kind, entry: &Entry, target: &Target) -> Result<(), Refusal> {
    for id in [&entry.output_file_id, &entry.error_file_id].into_iter().flatten().filter(|_| kind == Kind::Batch) {
        note_file(gateway, caller, id, target).await?;
    }
    Ok(())
}

/// Notes a file that a batch of the key's has made, unless it is known.
pub(super) async fn note_file(gateway: &Gateway, caller: &Caller, id: &str, target: &Target) -> Result<(), Refusal> {
    let is_known = gateway.held.holder(caller.id(), Kind::File, id).await.map_err(|e| store_down(&e))?.is_some();
    if !is_known {
        let (key, provider) = (caller.id(), target.provider.holder());
        let held = Held { kind: Kind::File, id: id.to_owned(), key, provider, created: Timestamp::now() };
        gateway.held.keep(held);
    }
    Ok(())
}

async fn read(gateway: &Gateway, answer: &mut Answer, target: &Target) -> Result<Page, Refusal> {
    let body = read_page(gateway, answer, target).await?;
    let bad = |why| Failure::bad_answer(&target.provider, why).refusal();
    serde_json::from_slice(&body).map_err(|e| bad(format!("its list is broken ({e})")))
}

/// A page of a list, as it came.
pub(super) async fn read_page(gateway: &Gateway, answer: &mut Answer, target: &Target) -> Result<Bytes, Refusal> {
    let provider = Who::of(&target.provider);
    let bad = |why: String| Failure::BadAnswer { provider: provider.clone(), why }.refusal();
    let idle = gateway.client.idle_timeout();
    match upstream::read_up_to(&mut answer.body, LONGEST_PAGE, idle).await {
        Ok(body) => Ok(body),
        Err(Partial::TooLong(_)) => Err(bad("its list is too long".to_owned())),
        Err(Partial::BrokeOff) => Err(Failure::BrokeOff { provider, why: "in the middle of its answer".to_owned() }.refusal()),
        Err(Partial::TimedOut) => Err(Failure::TimedOut { provider, after: idle }.refusal()),
    }
}
