//! One service: its file and its OpenAPI description, checked whole.

mod written;

use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use serde::{Deserialize, Serialize};

pub use self::written::line_of;
use self::written::{Written, WrittenCredential, check_base};
use super::offer::{self, Offer};
use super::{Description, Masking};
use crate::catalog::Environment;
use crate::catalog::env::variables;
use crate::config::hint;
use crate::life::{Life, State, time};
use crate::money::Usd;
use crate::prompt::dotprompt::Fault;
use crate::quota::Limits;
use crate::route::{Secret, forms};
use crate::versions::Versioned;

/// An API that can be called.
#[derive(Debug)]
pub struct Service {
    /// What callers name it.
    pub name: String,
    /// Which version, from 1 on.
    pub version: u32,
    /// What people call it.
    pub title: String,
    /// What it does.
    pub summary: Option<String>,
    /// Where it stands in its life; its successor is `name` or `name@version`.
    pub life: Life,
    /// Its share of the calls that name no version, beside the other published versions.
    pub weight: Option<u32>,
    /// Who may call it.
    pub access: Access,
    /// What all callers together may do.
    pub limits: Limits,
    /// What a call costs.
    pub price: Usd,
    /// How long it may take until its answer begins.
    pub timeout: Duration,
    /// The largest body, in MiB, where it is smaller than the gateway's.
    pub body_mib: Option<usize>,
    /// What must not change once it is published.
    pub offer: Offer,
    /// The name of the file that describes it.
    pub openapi: String,
    /// What was read.
    pub texts: Texts,
    /// What it has.
    pub description: Description,
    /// Where it is; none where the variables of its file were not filled in.
    pub upstream: Option<Upstream>,
}

/// Who may call a service, among the keys whose scope allows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Any.
    #[default]
    Open,
    /// Those that have asked, and were approved.
    Approval,
}

/// Where a service is, and what it is shown.
#[derive(Debug)]
pub struct Upstream {
    /// What paths stand below.
    pub base: Url,
    /// What the gateway shows.
    pub credential: Option<Credential>,
    secrets: Vec<Secret>,
}

/// What the gateway shows to a service.
#[derive(Debug)]
pub enum Credential {
    /// In a header.
    Header(HeaderName, HeaderValue),
    /// In the query, by this name.
    Query(String, Secret),
}

/// The texts of a service's two files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Texts {
    /// Of its own.
    pub file: String,
    /// Of its description.
    pub openapi: String,
}

/// Why it is not known where a service is.
enum Unfilled {
    /// A variable is not set.
    Unset(String),
    /// It cannot be meant.
    Wrong(String),
}

/// Something wrong in one of a service's two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Faulty {
    /// The description is there and cannot be read: another time it may be, though no file changes.
    Unread(Fault),
    /// In its own.
    File(Fault),
    /// In the description, by its name.
    Description(String, Fault),
}

// === impl Service ===

impl Versioned for Service {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn life(&self) -> &Life {
        &self.life
    }

    fn weight(&self) -> Option<u32> {
        self.weight
    }
}

impl Service {
    /// Reads a file of this name and version; `describe` gives the text of the description that it names. Without `env` no variable is filled in.
    pub fn read(
        (name, version): (&str, u32),
        source: &str,
        describe: impl FnOnce(&str) -> std::io::Result<String>,
        env: Option<&Environment>,
    ) -> Result<Service, Faulty> {
        let written: Written = toml::from_str(source).map_err(|e| {
            let line = e.span().and_then(|span| source.get(..span.start)).map_or(1, |before| before.matches('\n').count() + 1);
            Faulty::File(Fault::at(line, hint::with_nearest(e.message())))
        })?;
        let at = |field: &'static str| move |message: String| Faulty::File(Fault::at(line_of(source, field), message));
        let state = written.state.as_deref().map_or(Ok(State::Draft), State::from_name).map_err(at("state"))?;
        let moment = |value: &Option<toml::Value>| {
            let text = |value: &toml::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            value.as_ref().map(|value| time(&text(value))).transpose()
        };
        let (deprecated, sunset) = (moment(&written.deprecated).map_err(at("deprecated"))?, moment(&written.sunset).map_err(at("sunset"))?);
        let price = written.price.as_deref().map_or(Some(Usd(0)), Usd::parse);
        let price = price.ok_or_else(|| at("price")("'price' is USD a call, as \"0.002\"".to_owned()))?;
        let (credential, ours) = written.credential.as_ref().map(WrittenCredential::check).transpose().map_err(at("value"))?.unzip();
        let limits = written.limits.read().map_err(at("limits"))?;
        let life = Life { state, deprecated, sunset, successor: written.successor };
        // What is called no more needs no variable of what it was called with.
        let is_over = life.state_at(Timestamp::now()) == State::Retired;
        let fill = |env: &Environment| Upstream::fill(&written.upstream, credential, env);
        let upstream = match env.map(fill) {
            Some(Err((_, Unfilled::Unset(_)))) if is_over => None,
            filled => filled.transpose().map_err(|(field, why)| at(field)(why.to_string()))?,
        };
        if upstream.is_none() {
            check_base(&written.upstream).map_err(at("upstream"))?;
        }
        let file = &written.openapi;
        if file.contains(['/', '\\']) {
            return Err(at("openapi")(format!("'{file}' has to be the name of a file beside this one")));
        }
        let text = describe(file).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => at("openapi")(format!("'{file}' is not there: the description is a file beside this one")),
            _ => Faulty::Unread(Fault::at(line_of(source, "openapi"), format!("'{file}' cannot be read: {e}"))),
        })?;
        let ours: Vec<String> = ours.into_iter().collect();
        let is_json = !(file.ends_with(".yaml") || file.ends_with(".yml"));
        let mut description = Description::read(&text, is_json, &ours).map_err(|fault| Faulty::Description(file.clone(), fault))?;
        // Without variables it may be known all the same where it is.
        if let Some(base) = upstream.as_ref().map(|upstream| upstream.base.clone()).or_else(|| Url::parse(&written.upstream).ok()) {
            description.keep_at(&base);
        }
        if description.operations.is_empty() {
            let message = "all its operations are on other servers than 'upstream', where the gateway's credential must not go".to_owned();
            return Err(Faulty::Description(file.clone(), Fault::at(1, message)));
        }
        let title = written.title.or_else(|| description.info("title").map(str::to_owned)).unwrap_or_else(|| name.to_owned());
        let summary = written.description.or_else(|| description.info("description").map(str::to_owned));
        Ok(Service {
            name: name.to_owned(),
            version,
            offer: Offer {
                title: title.clone(),
                description: summary.clone(),
                subscription: written.subscription,
                price,
                openapi: offer::hash(&description.document),
            },
            title,
            summary,
            weight: written.weight,
            life,
            access: written.subscription,
            limits,
            price,
            timeout: written.timeout,
            body_mib: written.body_mib,
            openapi: written.openapi,
            texts: Texts { file: source.to_owned(), openapi: text },
            description,
            upstream,
        })
    }

    /// An operation's name in scopes, whatever the version: `service/operation`.
    pub fn scope(&self, operation: &str) -> String {
        format!("{}/{operation}", self.name)
    }

    /// An operation's name in this version, in scopes and in the ledger: `service@version/operation`.
    pub fn pinned_scope(&self, operation: &str) -> String {
        format!("{}/{operation}", self.label())
    }
}

// === impl Access ===

impl Access {
    /// `open` or `approval`.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Open => "open",
            Access::Approval => "approval",
        }
    }
}

// === impl Upstream ===

impl Upstream {
    /// What variables make of what is written; the error names the field.
    fn fill(base: &str, credential: Option<&WrittenCredential>, env: &Environment) -> Result<Upstream, (&'static str, Unfilled)> {
        let at = |field: &'static str| move |why: String| (field, Unfilled::Wrong(why));
        let expanded = env.expand(base).map_err(|unset| ("upstream", Unfilled::Unset(unset.0)))?;
        check_base(&expanded).map_err(at("upstream"))?;
        let base = Url::parse(&expanded).map_err(|e| at("upstream")(format!("'upstream' is no URL ({e})")))?;
        let Some(written) = credential else { return Ok(Upstream { base, credential: None, secrets: Vec::new() }) };
        let value = variables(&written.value).try_fold(written.value.clone(), |value, (name, _)| {
            let own = env.get(name).ok_or_else(|| ("value", Unfilled::Unset(name.to_owned())))?;
            Ok::<_, (&str, Unfilled)>(value.replace(&format!("${{{name}}}"), own))
        })?;
        let parts = variables(&written.value).filter_map(|(name, _)| env.get(name)).map(str::to_owned);
        let mut secrets: Vec<String> = parts.chain([value.clone()]).flat_map(|secret| forms::of(&secret)).collect();
        // The longer ones first: of a form with another one in it nothing is left.
        secrets.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        secrets.dedup();
        let credential = written.credential(&value).map_err(at("value"))?;
        Ok(Upstream { base, credential: Some(credential), secrets: secrets.into_iter().map(Secret::new).collect() })
    }

    /// The URL for a path, as it came in, and a query; none where it would lead elsewhere than below the base, or below its `own` path there.
    pub fn url(&self, own: Option<&str>, path: &str, query: &str) -> Option<Url> {
        let below = own.unwrap_or_else(|| self.base.path().trim_end_matches('/'));
        let mut url = self.base.join(&format!("{below}{path}")).ok()?;
        let is_below = url.path().strip_prefix(below).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if !is_below || url.origin() != self.base.origin() {
            return None;
        }
        let mut query = self.others(query);
        if let Some(Credential::Query(name, secret)) = &self.credential {
            let own = url::form_urlencoded::Serializer::new(String::new()).append_pair(name, secret.expose()).finish();
            query = if query.is_empty() { own } else { format!("{query}&{own}") };
        }
        url.set_query((!query.is_empty()).then_some(query.as_str()));
        Some(url)
    }

    /// A query without what goes by the name of the credential: of two, nobody knows which one an API takes.
    pub fn others(&self, query: &str) -> String {
        let Some(Credential::Query(own, _)) = &self.credential else { return query.to_owned() };
        let name = |pair: &str| {
            let written = pair.split('=').next().unwrap_or_default().replace('+', " ");
            let name = percent_decode_str(&written).decode_utf8_lossy().into_owned();
            name.split('[').next().unwrap_or_default().trim().to_ascii_lowercase()
        };
        let is_own = |pair: &str| pair.split(';').any(|part| name(part) == own.to_ascii_lowercase());
        query.split('&').filter(|pair| !is_own(pair)).collect::<Vec<_>>().join("&")
    }

    /// What keeps the credential out of an answer.
    pub fn masking(&self) -> Masking {
        Masking::of(&self.secrets)
    }
}

// === impl Unfilled ===

impl fmt::Display for Unfilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfilled::Unset(name) => write!(f, "the variable {name} is not set"),
            Unfilled::Wrong(why) => f.write_str(why),
        }
    }
}
