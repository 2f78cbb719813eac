//! `keys explain`: what a key is, whether a request with it would be let in, and if not why; the command line and the management API say the same.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::change::Wrong;
use super::http::{Fields, JsonBody, Viewer};
use super::keys::{KeyError, KeyView, fingerprint};
use crate::catalog::Operation;
use crate::dialect::ask::unnamed;
use crate::error::Refusal;
use crate::exchange::estimate::{self, Estimate, Input};
use crate::exchange::{check_name, may_use_all};
use crate::gateway::Gateway;
use crate::key::caller::{Known, Plane};
use crate::key::diagnose::is_escaped_secret;
use crate::key::presented::Presented;
use crate::key::record::Rotation;
use crate::key::{Caller, KeyRecord, KeyText, Keyring, Reason, format};
use crate::problem::Problem;
use crate::prompt::Prompts;
use crate::prompt::chat::{self, PREFIX};
use crate::quota::{self, Exceeded, Standing};
use crate::route::{NoRoute, Router, Target};
use crate::store::audit::{Actor, Entry};
use crate::store::{AuditStore, KeyStore, LastUse, LedgerStore};

/// What a text is, judged as a request would be.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    /// Whether a request with it would be let in now: to the model, where one was named, else to one that costs nothing.
    pub accepted: bool,
    /// The stable code of the refusal.
    pub code: Option<&'static str>,
    /// What is wrong and what to do.
    pub message: String,
    /// What whoever runs the gateway may know, and the sender of a request may not.
    pub hint: Option<Cow<'static, str>>,
    /// What is known of the key, where the text proves it or is its id.
    pub key: Option<KeyView>,
    /// The model that was asked about; of a key in its place nothing is repeated.
    pub model: Option<String>,
    /// How its limits stand, and those of its project, its team and the gateway; on the command line those that the ledger tells of, and
    /// of an admin key none, since management counts nothing.
    pub limits: Vec<Standing>,
    /// Its newest request that reached a provider.
    pub last_use: Option<LastUse>,
    /// What an admin key changed last; each of its requests, what it only read too, has a line in the gateway's log.
    pub last_change: Option<Entry>,
}

/// What has to be asked.
pub struct Sources<'a> {
    /// Judges keys, and knows how the limits of those in memory stand.
    pub keyring: &'a Keyring,
    /// Whether requests are counted in this process.
    pub is_gateway: bool,
    /// Where keys rest.
    pub keys: &'a dyn KeyStore,
    /// Who used a key last.
    pub ledger: &'a dyn LedgerStore,
    /// What an admin key changed last.
    pub audit: &'a dyn AuditStore,
    /// Where a model's name leads.
    pub router: &'a Router,
    /// What may be called as `prompt/NAME`.
    pub prompts: &'a Prompts,
    /// The model of prompts that name none.
    pub prompts_model: &'a str,
}

/// What is to be explained.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// A whole key, or its id.
    #[schema(value_type = String, required)]
    key: Option<String>,
    /// A model that it would be used for.
    model: Option<String>,
}

/// Says what a key is, and whether and why it would be refused; the text that is sent is neither kept nor repeated.
#[utoipa::path(post, path = "/admin/v1/keys/explain", tag = "keys", request_body = Asked, responses((status = 200, body = Explanation), (status = "4XX", body = Problem)))]
pub(super) async fn serve(
    _: Viewer,
    State(gateway): State<Arc<Gateway>>,
    JsonBody(asked): JsonBody<Asked>,
) -> Result<Response<Body>, Problem> {
    let key = asked.key.ok_or_else(|| Wrong { field: "key", message: "is missing: send a whole key, or its id".to_owned() })?;
    // As around a header's value.
    let key = key.trim_matches([' ', '\t']);
    gateway.take_in_newest("a key is explained").await;
    let (keys, ledger, router) = (&*gateway.key_store, &*gateway.ledger_store, gateway.router());
    let (prompts, prompts_model) = (&*gateway.prompts.prompts(), gateway.config.prompts.model.as_str());
    let (keyring, audit) = (&*gateway.keys, &*gateway.audit_store);
    let sources = Sources { keyring, is_gateway: true, keys, ledger, audit, router: &router, prompts, prompts_model };
    Ok(Json(sources.explain(key, asked.model.as_deref()).await?).into_response())
}

// === impl Asked ===

impl Fields for Asked {
    fn names() -> Vec<&'static str> {
        vec!["key", "model"]
    }
}

// === impl Sources ===

impl Sources<'_> {
    /// Judges a whole key as a request would be, or takes a key by its id; the text itself is neither kept nor repeated.
    pub async fn explain(&self, text: &str, model: Option<&str>) -> Result<Explanation, KeyError> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        if let Some(id) = fingerprint(text) {
            return match self.keys.key(id).await? {
                Some(record) => self.of(record, model).await,
                None => Ok(Explanation::refused(&Reason::Unknown, model)
                    .with_hint("There is no key with this id: it was never made here, or deleted.")),
            };
        }
        match Presented(text.strip_prefix("Bearer ").unwrap_or(text)).judge() {
            Ok(key) => self.of_text(key, model).await,
            Err(reason) => Ok(Explanation::refused(&reason, model)),
        }
    }

    async fn of_text(&self, key: KeyText<'_>, model: Option<&str>) -> Result<Explanation, KeyError> {
        let Some(record) = self.keys.key(key.id()).await? else {
            return Ok(Explanation::refused(&Reason::Unknown, model)
                .with_hint("There is no key with its id: it was made by another gateway, or deleted."));
        };
        if !self.keyring.is_of(key, &record) {
            return Ok(
                Explanation::refused(&Reason::Unknown, model).with_hint("There is a key with its id, and the rest is not that key's.")
            );
        }
        self.of(record, model).await
    }

    async fn of(&self, record: KeyRecord, model: Option<&str>) -> Result<Explanation, KeyError> {
        let known = match self.keyring.known(record.clone()).await {
            Ok(known) => known,
            // As a request with it would be told, unless it is damage that somebody has to see to.
            Err(e) if e.is_locked() || e.is_behind() => return Ok(Explanation::uncounted(&record, model)),
            Err(e) => return Err(e.into()),
        };
        let record = &known.record;
        let all = if record.kind == format::Kind::Admin { Vec::new() } else { quota::standing(&known.chain) };
        // What a minute had and what runs is in the memory of the gateway alone.
        let (standing, unknown): (Vec<_>, Vec<_>) = all.into_iter().partition(|standing| self.is_gateway || standing.is_in_the_ledger());
        let (last_use, last_change) = match record.kind {
            format::Kind::Admin => (None, self.audit.newest_of(&Actor::Key(record.id)).await?),
            format::Kind::Live | format::Kind::Test => (self.ledger.last_use(record.id).await?, None),
        };
        let mut hint = only_there(&known);
        let is_budget = |standing: &&Standing| matches!(standing.limit(), Exceeded::Budget { .. });
        let (budgets, others): (Vec<_>, Vec<_>) = standing.iter().filter(|standing| standing.counts(None)).partition(is_budget);
        let refusal = match (known.state(), model) {
            (Err(reason), _) => Some(reason.refusal(None)),
            (Ok(()), Some(model)) => match self.judged(&known, model, &standing) {
                Err(refusal) => Some(refusal),
                Ok(besides) => {
                    hint = besides.map(Cow::from).or(hint);
                    None
                }
            },
            // What costs nothing is let in whatever was spent.
            (Ok(()), None) => others.into_iter().find_map(Standing::refusal),
        };
        let spent = budgets.into_iter().find_map(Standing::refusal);
        let (code, message) = match refusal {
            Some(refusal) => (Some(refusal.code), refusal.message),
            None => (None, good(model, spent, &unknown)),
        };
        let state = known.state().map_or_else(|reason| reason.code(), |()| "active").to_owned();
        let hint = and_besides(hint, replaced(&known));
        let (key, model) = (Some(KeyView { state, ..KeyView::of(record) }), model.map(named));
        Ok(Explanation { accepted: code.is_none(), code, message, hint, key, model, limits: standing, last_use, last_change })
    }

    /// Why a request for a model would be refused, be it the smallest; where it would not, what is not known of it here, and why an ordinary one
    /// would be.
    fn judged(&self, known: &Arc<Known>, asked: &str, standing: &[Standing]) -> Result<Option<String>, Refusal> {
        if known.record.kind == format::Kind::Admin {
            return Err(Reason::AdminOnDataPlane.refusal(None));
        }
        if asked.is_empty() {
            return Err(unnamed());
        }
        check_name(asked)?;
        let caller = Caller::from(Arc::clone(known));
        let prompt = asked.strip_prefix(PREFIX).map(|name| chat::shown_of(self.prompts, &caller, name)).transpose()?;
        let model = prompt.as_ref().map_or(asked, |prompt| prompt.front.model.as_deref().unwrap_or(self.prompts_model));
        let (mut targets, unknown) = match self.router.resolve(model) {
            // Which variables a gateway has is nothing that another process can tell.
            Err(NoRoute::Dormant { provider, .. }) if !self.is_gateway => {
                let unknown =
                    format!("Whether {provider} is switched on, the gateway that runs can tell: it is not by this command's variables.");
                (Vec::new(), Some(unknown))
            }
            resolved => (resolved.map_err(|no_route| chat::own_fault(&prompt, no_route.into()))?, None),
        };
        if unknown.is_some() && prompt.is_none() {
            caller.may_use(model, || model.to_owned(), false).map_err(|reason| reason.refusal(None))?;
        }
        may_use_all(&caller, model, &targets, prompt.is_some()).map_err(|reason| reason.refusal(None))?;
        let of_prompt = |glob: &str| prompt.as_ref().is_some_and(|prompt| prompt.is_named_by(glob));
        let by_name = |glob: &str| unknown.is_some() && quota::limits::names(glob, model);
        let judge = |targets: &[Target]| {
            let least = Estimate::new(Operation::Chat, targets, Input::text(0), Some(1), 1).worst;
            let touches = |glob: &str| estimate::touches(targets, glob) || of_prompt(glob) || by_name(glob);
            // What nobody is known to answer has no price that is known.
            let refusal = |standing: &Standing| if targets.is_empty() { standing.refusal() } else { standing.refusal_at(least) };
            let mut limits = standing.iter().filter(|standing| standing.counts(Some(&touches)));
            let refused = limits.find_map(|standing| Some((standing, refusal(standing)?)));
            refused.map_or(Ok(()), Err)
        };
        let judged = estimate::among(&mut targets, judge, |(standing, _)| standing.limit());
        judged.map_err(|(_, refusal)| refusal)?;
        Ok(unknown.or_else(|| without_limit(&targets, standing, &|glob| estimate::touches(&targets, glob) || of_prompt(glob))))
    }
}

/// Both, where there are two.
fn and_besides(hint: Option<Cow<'static, str>>, other: Option<String>) -> Option<Cow<'static, str>> {
    match (hint, other) {
        (Some(hint), Some(other)) => Some(format!("{hint} {other}").into()),
        (hint, other) => hint.or(other.map(Cow::from)),
    }
}

/// Which key took the place of one that was rotated, and until when it works beside it, where it works at all.
fn replaced(known: &Known) -> Option<String> {
    let Rotation { successor, .. } = known.record.rotated.as_ref()?;
    let until = known.record.ends().filter(|_| known.state().is_ok());
    let beside = until.map_or_else(String::new, |until| format!(", and works beside it until {until}"));
    Some(format!("It was replaced by the key {successor}{beside}."))
}

/// Why a request is refused that sets no limit to its answer, where a smaller one is let in.
fn without_limit(targets: &[Target], standing: &[Standing], touches: &dyn Fn(&str) -> bool) -> Option<String> {
    let worst = Estimate::new(Operation::Chat, targets, Input::text(0), None, 1).worst;
    let mut budgets = standing.iter().filter(|standing| standing.counts(Some(touches)));
    let refusal = budgets.find_map(|standing| standing.refusal_at(worst))?;
    Some(format!("A request that sets no limit to its answer (max_tokens) would be refused: {}", refusal.message))
}

/// From where and for what alone a key works, which no look at it can tell of a request.
fn only_there(known: &Known) -> Option<Cow<'static, str>> {
    let plane = Plane::of(known.record.kind);
    let conditions = known.chain.iter().filter(|account| plane.is_bound_by(account.id())).flat_map(|account| {
        let current = account.current();
        let list = |names: Vec<String>, what: &str| (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")));
        let addresses = current.limits.addresses.iter().map(ToString::to_string).collect();
        [list(addresses, "from"), list(current.limits.paths.clone(), "for")].into_iter().flatten()
    });
    let conditions: Vec<String> = conditions.collect();
    (!conditions.is_empty()).then(|| format!("It works only {}.", conditions.join(" and ")).into())
}

/// A model as it is repeated, and as requests are logged.
fn named(model: &str) -> String {
    if is_escaped_secret(model) { "(a key)".to_owned() } else { model.to_owned() }
}

/// That nothing is wrong with a key, as far as this process knows its limits; where no model was named, what costs may be refused all the same.
fn good(model: Option<&str>, spent: Option<Refusal>, unknown: &[Standing]) -> String {
    let (good, why) = match (model, spent) {
        (Some(_), _) => ("This key is good, and may use this model", String::new()),
        (None, None) => ("This key is good", String::new()),
        (None, Some(spent)) => ("This key is good, and only what costs nothing is let in now", format!(" {}", spent.message)),
    };
    if unknown.is_empty() {
        return format!("{good}.{why}");
    }
    let limits = unknown.iter().map(|standing| standing.limit.as_str()).collect::<Vec<_>>().join(", ");
    format!(
        "{good}, as far as the ledger tells; not known here is how {limits} stands, which the running gateway alone counts: POST /admin/v1/keys/explain tells.{why}"
    )
}

// === impl Explanation ===

impl Explanation {
    fn refused(reason: &Reason, model: Option<&str>) -> Explanation {
        Explanation {
            accepted: false,
            code: Some(reason.code()),
            message: reason.message(),
            hint: None,
            key: None,
            model: model.map(named),
            limits: Vec::new(),
            last_use: None,
            last_change: None,
        }
    }

    /// Of a key whose limits cannot be counted now.
    fn uncounted(record: &KeyRecord, model: Option<&str>) -> Explanation {
        let hint = "The store is locked by another program, or has not taken in the newest requests, which the limits of this key count: until it takes them, keys that are not in memory are refused.";
        let explanation = Explanation::refused(&Reason::StoreDown, model).with_hint(hint);
        Explanation { key: Some(KeyView { state: Reason::StoreDown.code().to_owned(), ..KeyView::of(record) }), ..explanation }
    }

    fn with_hint(mut self, hint: &'static str) -> Explanation {
        self.hint = Some(hint.into());
        self
    }
}
