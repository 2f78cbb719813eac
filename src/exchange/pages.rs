//! Google's lists of what a key made: a provider's page with what other keys made left out, and its own way to the page after it.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::errand::{Reply, file_of, held_by};
use super::list::{note_file, read_page};
use super::paying::Holding;
use crate::dialect::members::Members;
use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::held::{Held, Kind};
use crate::key::caller::Caller;
use crate::route::{Target, Vault};
use crate::upstream::{Answer, Errand, Failed, Failure};

/// Pages that are looked through for one with something of the key's.
const MOST_PAGES: usize = 50;
/// The parameter with the token of the page that is wanted.
const WANTED: &str = "pageToken";
/// The member with that of the page after it.
const NEXT: &str = "nextPageToken";

/// What a token of ours is sealed for.
const SEALED_FOR: &str = "page";

/// What of a page is the key's.
struct Page {
    found: Vec<Box<RawValue>>,
    next: Option<Next>,
}

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Next {
    /// Who has that page: a provider by one of its credentials.
    holder: String,
    /// The provider's own token, which that credential alone can use; its first page where there is none.
    token: Option<String>,
}

/// Who keeps some of what is listed.
struct Keeper<'a> {
    /// Whom to ask: one, or whichever answers where none keeps anything.
    targets: &'a [Target],
    /// The place of the first of them among all.
    index: usize,
    /// What it keeps of the key's.
    own: HashSet<String>,
}

/// A page as the provider gives it (`files.list`, `batches.list`), with the key's own entries alone; or the provider's error. Of several
/// credentials it is what each keeps, one after the other.
///
/// Some of Google's SDKs take an empty page for the end, and others fail at it: the way on leads to a page with something of the key's.
pub(super) async fn page(
    holding: &Holding<'_>,
    caller: &Caller,
    kind: Kind,
    mut errand: Errand,
    targets: &[Target],
) -> Result<Reply, Refusal> {
    let gateway = holding.gateway;
    let held = held_by(gateway, caller, kind).await?;
    let keepers = Keeper::all(&held, targets);
    let entries = if kind == Kind::Batch { "operations" } else { "files" };
    let wanted = errand.query.iter().find(|(name, _)| name == WANTED).map(|(_, token)| token.clone());
    let (mut at, mut token) = match wanted.filter(|token| !token.is_empty()) {
        None => (0, None),
        Some(token) => place_of(&gateway.uploads, &keepers, token)?,
    };
    let mut told: Option<(http::response::Parts, Page)> = None;
    for pages in 1.. {
        let keeper = &keepers[at];
        let is_first = token.is_none();
        errand.query.retain(|(name, _)| name != WANTED);
        errand.query.extend(token.take().map(|token| (WANTED.to_owned(), token)));
        holding.judge().await?;
        let mut answer = gateway.client.run(&errand, keeper.targets, holding).await.map_err(Failed::refusal)?;
        if !answer.head.status.is_success() {
            match told {
                // What fails may be asked for again.
                Some((head, page)) => return list(gateway, head, entries, &page),
                None => return Ok(Reply::Answer(Answer { target: keeper.index + answer.target, ..answer })),
            }
        }
        let target = &keeper.targets[0];
        let whole = read_page(gateway, &mut answer, target).await?;
        let (found, next) = Page::read(&whole, entries, &keeper.own).map_err(|e| {
            let why = format!("its list is broken ({e})");
            Failure::bad_answer(&target.provider, why).refusal()
        })?;
        let has_all = keeper.own.is_empty() || (is_first && found.len() == keeper.own.len());
        let here = next.filter(|_| !has_all).map(|token| (at, Some(token)));
        let next = here.or_else(|| (at + 1 < keepers.len()).then_some((at + 1, None)));
        let as_told = next.clone().map(|(at, token)| Next { holder: keepers[at].targets[0].provider.holder(), token });
        match &mut told {
            // It is as before: its way on leads here.
            Some((head, page_told)) if !found.is_empty() => return list(gateway, head.clone(), entries, page_told),
            Some((_, page_told)) => page_told.next = as_told,
            None if found.is_empty() && next.is_some() && pages < MOST_PAGES => {}
            None => {
                for file in found.iter().filter(|_| kind == Kind::Batch).filter_map(|raw| file_of(raw.get().as_bytes())) {
                    note_file(gateway, caller, &file, target).await?;
                }
                told = Some((answer.head, Page { found, next: as_told }));
            }
        }
        let is_over = told.as_ref().is_some_and(|(_, page)| page.next.is_none()) || pages >= MOST_PAGES;
        if let Some((head, page)) = told.take_if(|_| is_over) {
            return list(gateway, head, entries, &page);
        }
        // Where there is no next page, the one that was read has been told.
        (at, token) = next.unwrap_or_default();
    }
    // Never: the last page that is looked at has been told.
    Err(Failure::NoTarget.refusal())
}

/// Whose page a token leads to, by its place among the keepers, and that one's own token.
fn place_of(vault: &Vault, keepers: &[Keeper<'_>], token: String) -> Result<(usize, Option<String>), Refusal> {
    let unknown = || {
        let message = "The pageToken is none that this gateway gave, or what keeps its page is gone: list from the beginning, without one.";
        Refusal::invalid("invalid_page_token", message)
    };
    let sealed = URL_SAFE_NO_PAD.decode(&token).ok().and_then(|sealed| vault.open_bytes(SEALED_FOR, &sealed).ok());
    match sealed.and_then(|json| serde_json::from_slice::<Next>(&json).ok()) {
        Some(next) => {
            let at = keepers.iter().position(|keeper| keeper.targets[0].provider.holder() == next.holder);
            Ok((at.ok_or_else(unknown)?, next.token))
        }
        // A provider's own can only be that of the one who keeps anything.
        None if keepers.len() == 1 => Ok((0, Some(token))),
        None => Err(unknown()),
    }
}

fn list(gateway: &Gateway, mut head: http::response::Parts, entries: &str, page: &Page) -> Result<Reply, Refusal> {
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let next = page.next.as_ref().map(|next| next.sealed(&gateway.uploads)).transpose().map_err(|e| {
        tracing::error!(error = e, "the way on in a list cannot be sealed");
        Failure::NoTarget.refusal()
    })?;
    Ok(Reply::List(head, page.written(entries, next.as_deref())))
}

// === impl Keeper ===

impl<'a> Keeper<'a> {
    /// Each target by which the key made something; where it made nothing, all of them together, each the others' stand-in.
    fn all(held: &[Held], targets: &'a [Target]) -> Vec<Keeper<'a>> {
        let of = |(index, target): (usize, &'a Target)| {
            let holder = target.provider.holder();
            let own: HashSet<String> = held.iter().filter(|held| held.provider == holder).map(|held| held.id.clone()).collect();
            (!own.is_empty()).then_some(Keeper { targets: &targets[index..=index], index, own })
        };
        let keepers: Vec<Keeper<'a>> = targets.iter().enumerate().filter_map(of).collect();
        if keepers.is_empty() { vec![Keeper { targets, index: 0, own: HashSet::new() }] } else { keepers }
    }
}

// === impl Next ===

impl Next {
    /// As the caller is told it.
    fn sealed(&self, vault: &Vault) -> Result<String, String> {
        let json = serde_json::to_vec(self).map_err(|e| e.to_string())?;
        vault.seal_bytes(SEALED_FOR, json).map(|sealed| URL_SAFE_NO_PAD.encode(sealed))
    }
}

// === impl Page ===

impl Page {
    /// The key's own entries of a page, and the provider's token of the page after it.
    fn read(json: &[u8], entries: &str, own: &HashSet<String>) -> Result<(Vec<Box<RawValue>>, Option<String>), serde_json::Error> {
        let members = Members::read(json)?;
        let mut found: Vec<Box<RawValue>> = members.get(entries).map_or(Ok(Vec::new()), |member| serde_json::from_str(member.raw))?;
        let name =
            |raw: &RawValue| Members::read(raw.get().as_bytes()).ok().and_then(|entry| serde_json::from_str(entry.get("name")?.raw).ok());
        found.retain(|raw| name(raw).is_some_and(|name: String| own.contains(&name)));
        let next: Option<String> = members.get(NEXT).map(|member| serde_json::from_str(member.raw)).transpose()?;
        Ok((found, next.filter(|next| !next.is_empty())))
    }

    fn written(&self, entries: &str, next: Option<&str>) -> Bytes {
        let found: Vec<&str> = self.found.iter().map(|raw| raw.get()).collect();
        let next = next.map_or_else(String::new, |next| format!(",\"{NEXT}\":{}", serde_json::Value::from(next)));
        format!("{{\"{entries}\":[{}]{next}}}", found.join(",")).into()
    }
}
