//! Fetches media that a caller names by URL for providers that take it only inline: https, within limits, and never from inside our network.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt, TryStreamExt};
use http::{StatusCode, header};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use tokio::sync::Semaphore;

use super::failure::root_cause;
use super::tls;
use crate::config;
use crate::dialect::Codec;
use crate::dialect::ir::{Block, Content, Media, MediaSource, Request};
use crate::error::{Kind, Refusal};

/// Fetches media.
pub struct Fetcher {
    http: reqwest::Client,
    settings: config::Fetch,
    /// Fetches that may run at once, of all requests together.
    slots: Semaphore,
}

/// What was fetched for one request, by URL: another attempt, or another target, needs it again.
#[derive(Debug, Default)]
pub struct Fetched(Mutex<HashMap<String, Inline>>);

/// Media as it stands in a request.
#[derive(Clone, Debug)]
struct Inline {
    base64: String,
    media_type: Option<String>,
}

/// Resolves names to public addresses alone, so that what is checked is what is connected to.
struct PublicOnly;

/// Why media was not fetched.
#[derive(Debug)]
enum Unfetched {
    Scheme,
    Private,
    TooLarge(usize),
    TooLargeTogether,
    Status(StatusCode),
    Broken(String),
}

/// Different URLs of one request.
const MOST: usize = 32;
/// Redirects that are followed.
const REDIRECTS: usize = 3;
/// All media of one request, in bytes.
const TOGETHER: usize = 64 << 20;
/// Fetches at once: of one request, and of all.
const AT_ONCE: usize = 4;
const AT_ONCE_OF_ALL: usize = 32;

// === impl Fetcher ===

impl Fetcher {
    /// One with these limits.
    pub fn new(settings: &config::Fetch) -> Result<Fetcher, reqwest::Error> {
        let private = settings.private_addresses;
        let mut builder = tls::client(tls::BOTH)
            .timeout(settings.timeout)
            .no_proxy()
            .redirect(Policy::custom(move |attempt| follow(attempt, private)))
            .user_agent(concat!("keyward/", env!("CARGO_PKG_VERSION")));
        if !private {
            builder = builder.dns_resolver(Arc::new(PublicOnly));
        }
        Ok(Fetcher { http: builder.build()?, settings: settings.clone(), slots: Semaphore::new(AT_ONCE_OF_ALL) })
    }

    /// The request with everything inline that a provider of that dialect does not fetch by itself; `None` where nothing was to be fetched.
    pub async fn inline(&self, request: &Request, codec: &dyn Codec, fetched: &Fetched) -> Result<Option<Request>, Refusal> {
        let is_wanted = |media: &Media| matches!(&media.source, MediaSource::Url(url) if !codec.takes_url(media.kind, url));
        let mut urls: Vec<String> = Vec::new();
        for media in media_of(request).filter(|media| is_wanted(media)) {
            if let MediaSource::Url(url) = &media.source
                && urls.len() <= MOST
                && !urls.contains(url)
            {
                urls.push(url.clone());
            }
        }
        if urls.is_empty() {
            return Ok(None);
        }
        if urls.len() > MOST {
            return Err(too_many());
        }
        self.fetch_all(&urls, fetched).await?;
        let known = fetched.lock();
        let mut request = request.clone();
        for block in request.messages.iter_mut().flat_map(|message| &mut message.content) {
            for_each_media(block, &mut |media| {
                let MediaSource::Url(url) = &media.source else { return };
                let Some(inline) = known.get(url).filter(|_| !codec.takes_url(media.kind, url)) else { return };
                media.media_type = media.media_type.take().or_else(|| inline.media_type.clone());
                media.source = MediaSource::Base64(inline.base64.clone());
            });
        }
        Ok(Some(request))
    }

    /// Fetches what is not there yet, a few at a time.
    async fn fetch_all(&self, urls: &[String], fetched: &Fetched) -> Result<(), Refusal> {
        let (missing, known): (Vec<&String>, usize) = {
            let known = fetched.lock();
            let size = known.values().map(|inline| inline.base64.len() / 4 * 3).sum();
            (urls.iter().filter(|url| !known.contains_key(*url)).collect(), size)
        };
        let left = AtomicUsize::new(TOGETHER.saturating_sub(known));
        let one = |url: &String| {
            let (url, left) = (url.clone(), &left);
            async move {
                let inline = self.fetch(&url, left).await.map_err(|why| why.refusal(&url))?;
                fetched.lock().insert(url, inline);
                Ok(())
            }
        };
        futures_util::stream::iter(missing.into_iter().map(one)).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Fetches one; what it holds is taken from what is `left` of the request's bytes.
    async fn fetch(&self, url: &str, left: &AtomicUsize) -> Result<Inline, Unfetched> {
        // The semaphore is never closed.
        let _slot = self.slots.acquire().await.map_err(|e| Unfetched::Broken(e.to_string()))?;
        let url = Url::parse(url).map_err(|e| Unfetched::Broken(e.to_string()))?;
        check(&url, self.settings.private_addresses)?;
        let broken = |e: reqwest::Error| Unfetched::Broken(root_cause(&e.without_url()));
        let response = self.http.get(url).send().await.map_err(broken)?;
        if !response.status().is_success() {
            return Err(Unfetched::Status(response.status()));
        }
        let limit = self.settings.media_mib << 20;
        let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.and_then(|text| text.split(';').next()).map(|text| text.trim().to_ascii_lowercase());
        let mut data = Vec::new();
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(broken)?;
            let take = |left: usize| left.checked_sub(piece.len());
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map_err(|_| Unfetched::TooLargeTogether)?;
            data.extend_from_slice(&piece);
            if data.len() > limit {
                return Err(Unfetched::TooLarge(self.settings.media_mib));
            }
        }
        let media_type = media_type.filter(|text| !text.is_empty() && text != "application/octet-stream");
        Ok(Inline { base64: STANDARD.encode(data), media_type })
    }
}

// === impl Fetched ===

impl Fetched {
    /// What is known; whoever panicked while holding it left it whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Inline>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl PublicOnly ===

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.filter(|address| is_public(address.ip())).collect();
            match found.is_empty() {
                true => Err("the name has no public address".into()),
                false => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

// === impl Unfetched ===

impl Unfetched {
    fn refusal(self, url: &str) -> Refusal {
        // Without its query, which may hold a signature.
        let shown: String = url.split(['?', '#']).next().unwrap_or_default().chars().take(200).collect();
        let why = match self {
            Unfetched::Scheme => "only https:// is fetched".to_owned(),
            Unfetched::Private => "its address is not public, and this gateway fetches nothing from inside its own network".to_owned(),
            Unfetched::TooLarge(limit) => format!("it is larger than the {limit} MiB that are fetched (fetch.media_mib)"),
            Unfetched::TooLargeTogether => format!("the request's media are larger than {} MiB together", TOGETHER >> 20),
            Unfetched::Status(status) => format!("its server answered with status {}", status.as_u16()),
            Unfetched::Broken(why) => why,
        };
        let message = format!(
            "This model's provider takes media only inside the request, and '{shown}' could not be fetched for it: {why}. Send it as a data: URL."
        );
        Refusal::new(StatusCode::BAD_REQUEST, Kind::Invalid, "media_not_fetched", message).with_param("messages")
    }
}

fn too_many() -> Refusal {
    let message = format!(
        "This model's provider takes media only inside the request, and more than {MOST} are named by URL: send the others as data: URLs."
    );
    Refusal::invalid("too_many_urls", message).with_param("messages")
}

/// All media of a request's messages, those in tools' results too.
pub fn media_of(request: &Request) -> impl Iterator<Item = &Media> {
    request.messages.iter().flat_map(|message| &message.content).flat_map(media_in)
}

fn media_in(block: &Block) -> Box<dyn Iterator<Item = &Media> + '_> {
    match &block.content {
        Content::Media(media) => Box::new(std::iter::once(media)),
        Content::ToolResult(result) => Box::new(result.content.iter().flat_map(media_in)),
        _ => Box::new(std::iter::empty()),
    }
}

fn for_each_media(block: &mut Block, change: &mut impl FnMut(&mut Media)) {
    match &mut block.content {
        Content::Media(media) => change(media),
        Content::ToolResult(result) => result.content.iter_mut().for_each(|block| for_each_media(block, change)),
        _ => {}
    }
}

fn follow(attempt: Attempt<'_>, private: bool) -> reqwest::redirect::Action {
    if attempt.previous().len() > REDIRECTS {
        return attempt.error("it redirects too often");
    }
    match check(attempt.url(), private) {
        Ok(()) => attempt.follow(),
        Err(_) => attempt.error("it redirects to an address that is not fetched"),
    }
}

/// Names are checked when they are resolved; an address that stands in the URL itself, here.
fn check(url: &Url, private: bool) -> Result<(), Unfetched> {
    if private {
        return Ok(());
    }
    if url.scheme() != "https" {
        return Err(Unfetched::Scheme);
    }
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(ip) if !is_public(ip) => Err(Unfetched::Private),
        _ => Ok(()),
    }
}

/// Whether an address is one of the Internet's (IANA's special-purpose registries, RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped().or_else(|| embedded_v4(ip)) {
            Some(inner) => is_public_v4(inner),
            None => {
                (ip.segments()[0] & 0xe000) == 0x2000
                    && !(ip.segments()[0] == 0x2001 && (ip.segments()[1] < 0x200 || ip.segments()[1] == 0xdb8))
            }
        },
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_special = a == 0
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 198 && (b == 18 || b == 19 || (b == 51 && c == 100)))
        || (a == 203 && b == 0 && c == 113);
    !(is_special || ip.is_private() || ip.is_loopback() || ip.is_link_local())
}

/// The address inside one of NAT64 (RFC 6052) or 6to4 (RFC 3056).
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let words = ip.segments();
    let pair = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match words {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(pair(high, low)),
        [0x2002, high, low, ..] => Some(pair(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
