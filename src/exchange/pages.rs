//! Google's lists of what a key made: a provider's page with what other keys made left out, and its own way to the page after it.

use std::collections::HashSet;

use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::value::RawValue;

use super::errand::{Reply, file_of, held_by};
use super::list::{note_file, read_page};
use crate::dialect::members::Members;
use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::held::Kind;
use crate::key::keyring::Caller;
use crate::route::Target;
use crate::upstream::{Errand, Failure, Who};

/// Pages that are looked through for one with something of the key's.
const MOST_PAGES: usize = 50;
/// The parameter with the token of the page that is wanted.
const WANTED: &str = "pageToken";
/// The member with that of the page after it.
const NEXT: &str = "nextPageToken";

/// What of a page is the key's.
struct Page {
    found: Vec<Box<RawValue>>,
    next: Option<String>,
}

/// A page as the provider gives it (`files.list`, `batches.list`), with the key's own entries alone; or the provider's error.
///
/// Some of Google's SDKs take an empty page for the end, and others fail at it: the way on leads to a page with something of the key's.
pub(super) async fn page(gateway: &Gateway, caller: &Caller, kind: Kind, mut errand: Errand, targets: &[Target]) -> Result<Reply, Refusal> {
    let here = targets[0].provider.holder();
    let held = held_by(gateway, caller, kind).await?.into_iter().filter(|held| held.provider == here);
    let own: HashSet<String> = held.map(|held| held.id).collect();
    let entries = if kind == Kind::Batch { "operations" } else { "files" };
    let is_first = errand.query.iter().all(|(name, _)| name != WANTED);
    let mut told: Option<(http::response::Parts, Page)> = None;
    for pages in 1.. {
        let mut answer = gateway.client.run(&errand, targets).await.map_err(Failure::refusal)?;
        if !answer.head.status.is_success() {
            match told {
                // What fails may be asked for again.
                Some((head, page)) => return Ok(list(head, entries, &page)),
                None => return Ok(Reply::Answer(answer)),
            }
        }
        let whole = read_page(gateway, &mut answer, &targets[0]).await?;
        let page = Page::of(&whole, entries, &own).map_err(|e| {
            let why = format!("its list is broken ({e})");
            Failure::BadAnswer { provider: Who::of(&targets[0].provider), why }.refusal()
        })?;
        let next = page.next.clone().filter(|_| !own.is_empty());
        match &mut told {
            // It is as before: its way on leads here.
            Some((head, page_told)) if !page.found.is_empty() => return Ok(list(head.clone(), entries, page_told)),
            Some((_, page_told)) => page_told.next.clone_from(&next),
            None if page.found.is_empty() && next.is_some() && pages < MOST_PAGES => {}
            None => {
                for file in page.found.iter().filter(|_| kind == Kind::Batch).filter_map(|raw| file_of(raw.get().as_bytes())) {
                    note_file(gateway, caller, &file, &targets[0]).await?;
                }
                let has_all = is_first && page.found.len() == own.len();
                told = Some((answer.head, Page { next: next.clone().filter(|_| !has_all), ..page }));
            }
        }
        let is_over = told.as_ref().is_some_and(|(_, page)| page.next.is_none()) || pages >= MOST_PAGES;
        if let Some((head, page)) = told.take_if(|_| is_over) {
            return Ok(list(head, entries, &page));
        }
        errand.query.retain(|(name, _)| name != WANTED);
        errand.query.extend(next.map(|next| (WANTED.to_owned(), next)));
    }
    // Never: the last page that is looked at has been told.
    Err(Failure::NoTarget.refusal())
}

fn list(mut head: http::response::Parts, entries: &str, page: &Page) -> Reply {
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Reply::List(head, page.written(entries))
}

// === impl Page ===

impl Page {
    fn of(json: &[u8], entries: &str, own: &HashSet<String>) -> Result<Page, serde_json::Error> {
        let members = Members::read(json)?;
        let mut found: Vec<Box<RawValue>> = members.get(entries).map_or(Ok(Vec::new()), |member| serde_json::from_str(member.raw))?;
        let name =
            |raw: &RawValue| Members::read(raw.get().as_bytes()).ok().and_then(|entry| serde_json::from_str(entry.get("name")?.raw).ok());
        found.retain(|raw| name(raw).is_some_and(|name: String| own.contains(&name)));
        let next: Option<String> = members.get(NEXT).map(|member| serde_json::from_str(member.raw)).transpose()?;
        Ok(Page { found, next: next.filter(|next| !next.is_empty()) })
    }

    fn written(&self, entries: &str) -> Bytes {
        let found: Vec<&str> = self.found.iter().map(|raw| raw.get()).collect();
        let next = self.next.as_ref().map_or_else(String::new, |next| format!(",\"{NEXT}\":{}", serde_json::Value::from(next.as_str())));
        format!("{{\"{entries}\":[{}]{next}}}", found.join(",")).into()
    }
}
