//! A service's own file as it is written, and what of it can be meant.

use std::num::NonZeroU32;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use toml::de::DeTable;

use super::{Access, Credential};
use crate::catalog::env::variables;
use crate::config::duration;
use crate::quota::{Budget, Limits, Rate, Unit};
use crate::route::Secret;

/// A file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) upstream: String,
    pub(super) openapi: String,
    pub(super) state: Option<String>,
    pub(super) deprecated: Option<toml::Value>,
    pub(super) sunset: Option<toml::Value>,
    pub(super) successor: Option<String>,
    pub(super) weight: Option<u32>,
    #[serde(default)]
    pub(super) subscription: Access,
    #[serde(default = "timeout", deserialize_with = "duration")]
    pub(super) timeout: Duration,
    pub(super) body_mib: Option<usize>,
    pub(super) price: Option<String>,
    pub(super) credential: Option<WrittenCredential>,
    #[serde(default)]
    pub(super) limits: WrittenLimits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenCredential {
    pub(super) r#in: Where,
    pub(super) name: Option<String>,
    pub(super) value: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Where {
    Bearer,
    Header,
    Query,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WrittenLimits {
    pub(super) rates: Vec<String>,
    pub(super) budgets: Vec<String>,
    pub(super) parallel: Option<NonZeroU32>,
}

/// Headers in which nothing arrives that is meant for the API itself.
const NO_CREDENTIALS: [&str; 10] =
    ["connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

fn timeout() -> Duration {
    Duration::from_secs(60)
}

// === impl WrittenCredential ===

impl WrittenCredential {
    /// Whether it can be meant; it, and what it is called where it stands, in lower case.
    pub(super) fn check(&self) -> Result<(&WrittenCredential, String), String> {
        if variables(&self.value).next().is_none() {
            return Err("a secret does not belong into this file: put it into a variable, and write value = \"${THE_VARIABLE}\"".to_owned());
        }
        if variables(&self.value).any(|(_, has_default)| has_default) {
            return Err("a secret has no default: write value = \"${THE_VARIABLE}\"".to_owned());
        }
        match (self.r#in, &self.name) {
            (Where::Bearer, None) => Ok((self, "authorization".to_owned())),
            (Where::Bearer, Some(_)) => Err("a bearer token goes without 'name'".to_owned()),
            (Where::Header, Some(name)) if NO_CREDENTIALS.contains(&name.to_ascii_lowercase().as_str()) => {
                Err(format!("'{name}' says how a request goes from one program to the next, and can be no credential"))
            }
            (Where::Header, Some(name)) if HeaderName::try_from(name.as_str()).is_ok() => Ok((self, name.to_ascii_lowercase())),
            (Where::Query, Some(name)) if !name.is_empty() => Ok((self, name.to_ascii_lowercase())),
            _ => Err("'name' has to say which header or parameter of the query it goes into".to_owned()),
        }
    }

    pub(super) fn credential(&self, value: &str) -> Result<Credential, String> {
        let header = |name: &str, value: &str| {
            let (name, value) = (HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
            let mut value = value;
            value.set_sensitive(true);
            Some(Credential::Header(name, value))
        };
        let name = self.name.as_deref().unwrap_or_default();
        let made = match self.r#in {
            Where::Bearer => header("authorization", &format!("Bearer {value}")),
            Where::Header => header(name, value),
            Where::Query => Some(Credential::Query(name.to_owned(), Secret::new(value))),
        };
        made.ok_or_else(|| "the credential has characters that no header can have".to_owned())
    }
}

// === impl WrittenLimits ===

impl WrittenLimits {
    pub(super) fn read(&self) -> Result<Limits, String> {
        let rates = self.rates.iter().map(|text| text.parse()).collect::<Result<Vec<Rate>, String>>()?;
        let budgets = self.budgets.iter().map(|text| text.parse()).collect::<Result<Vec<Budget>, String>>()?;
        if let Some(rate) = rates.iter().find(|rate| rate.unit != Unit::Requests || rate.models.is_some()) {
            return Err(format!("'{rate}' is no rate of a service: it has requests alone, as requests/minute=60"));
        }
        if let Some(budget) = budgets.iter().find(|budget| budget.models.is_some()) {
            return Err(format!("'{budget}' is no budget of a service: it is of all its calls, as 50/month"));
        }
        let limits = Limits { rates, budgets, parallel: self.parallel, ..Limits::default() };
        limits.check().map(|()| limits)
    }
}

/// `http(s)://`, and nothing that belongs elsewhere.
pub(super) fn check_base(base: &str) -> Result<(), String> {
    if !(base.starts_with("https://") || base.starts_with("http://") || base.starts_with("${")) {
        return Err("'upstream' has to begin with https:// or http://".to_owned());
    }
    let authority = base.split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
    match base.contains(['?', '#']) || authority.contains('@') {
        true => Err("'upstream' is a URL without user, query and fragment: a credential goes into [credential]".to_owned()),
        false => Ok(()),
    }
}

/// The line that sets a field, in whatever table, or begins a table; the first where none does.
pub fn line_of(source: &str, field: &str) -> usize {
    let line = |at: usize| source.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
    DeTable::parse(source).ok().and_then(|table| place_of(table.get_ref(), field)).map_or(1, line)
}

fn place_of(table: &DeTable<'_>, field: &str) -> Option<usize> {
    let own = table.iter().find(|(name, _)| name.get_ref() == field).map(|(name, _)| name.span().start);
    let within = || table.values().filter_map(|value| value.get_ref().as_table()).find_map(|table| place_of(table, field));
    own.or_else(within)
}
