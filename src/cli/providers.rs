//! `keyward providers …` and `keyward models …`

use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use super::{CliError, installation, output};
use crate::catalog::{Catalog, Dialect, Environment, Operation};
use crate::config::{Config, hint};
use crate::route::{Endpoint, LiveProvider, Router};
use crate::shown_url::shown;
use crate::upstream::Client;
use crate::upstream::sign::Signer;

/// List, show and check providers
#[derive(Subcommand)]
pub enum Providers {
    /// List all providers: which are live, and which variable would switch on the others
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one provider
    Show {
        /// Its id
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask live providers whether they can be reached and take their credential
    Check {
        /// Only this one
        id: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// List models of live providers
#[derive(Subcommand)]
pub enum Models {
    /// List the models of live providers, with their prices in USD per million tokens
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct Listed {
    id: String,
    name: String,
    live: bool,
    needs: Vec<String>,
    models: usize,
}

#[derive(Serialize)]
struct Checked {
    id: String,
    ok: bool,
    finding: String,
}

// === impl Providers ===

impl Providers {
    /// Runs the command.
    pub async fn run(self, config: &Config, env: &Environment) -> Result<ExitCode, CliError> {
        let router = installation::router(config, env).await?;
        match self {
            Providers::List { json } => list(&router, json),
            Providers::Show { id, json } => show(config, &router, &id, json),
            Providers::Check { id, json } => check(config, &router, id.as_deref(), json).await,
        }
    }
}

fn list(router: &Router, json: bool) -> Result<ExitCode, CliError> {
    let live = router.live().map(|provider| Listed {
        id: provider.id.clone(),
        name: provider.name.clone(),
        live: true,
        needs: Vec::new(),
        models: provider.models.len(),
    });
    let dormant = router.dormant().map(|(id, dormant)| Listed {
        id: id.to_owned(),
        name: dormant.name.clone(),
        live: false,
        needs: dormant.needs.clone(),
        models: dormant.models,
    });
    let all: Vec<Listed> = live.chain(dormant).collect();
    if json {
        output::json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |listed: &Listed| {
        let state = if listed.live { "live".to_owned() } else { format!("set {}", listed.needs.join(" and ")) };
        vec![listed.id.clone(), listed.name.clone(), listed.models.to_string(), state]
    };
    output::table(&["ID", "NAME", "MODELS", "STATE"], &all.iter().map(row).collect::<Vec<_>>())?;
    Ok(ExitCode::SUCCESS)
}

fn show(config: &Config, router: &Router, id: &str, json: bool) -> Result<ExitCode, CliError> {
    let catalog = Catalog::load(config.providers.as_deref())?;
    let provider = catalog.get(id).ok_or_else(|| unknown(router, id))?;
    let needs = router.dormant().find(|(dormant, _)| *dormant == id).map(|(_, dormant)| dormant.needs.clone());
    let dialects: Vec<&str> = provider.dialects.iter().map(|dialect| dialect.as_str()).collect();
    if json {
        output::json(&json!({
            "id": provider.id, "name": provider.name, "docs": provider.docs, "dialects": dialects, "base_url": shown(&provider.base_url),
            "credential": provider.credential, "live": needs.is_none(), "needs": needs.unwrap_or_default(), "models": provider.models,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let state = needs.map_or_else(|| "live".to_owned(), |needs| format!("not live: set {}", needs.join(" and ")));
    output::print(&format!(
        "{} ({})\n  state     {state}\n  speaks    {}\n  at        {}\n  docs      {}\n  models    {}\n",
        provider.name,
        provider.id,
        dialects.join(", "),
        shown(&provider.base_url),
        provider.docs,
        if provider.models.is_empty() { "any".to_owned() } else { provider.models.len().to_string() },
    ))?;
    Ok(ExitCode::SUCCESS)
}

async fn check(config: &Config, router: &Router, id: Option<&str>, json: bool) -> Result<ExitCode, CliError> {
    if let Some(id) = id.filter(|id| !router.live().any(|provider| provider.id == **id)) {
        let needs = router.dormant().find(|(dormant, _)| *dormant == id).map(|(_, dormant)| dormant.needs.join(" and "));
        return Err(needs.map_or_else(|| unknown(router, id), |needs| format!("'{id}' is not live: set {needs}").into()));
    }
    let client = Client::new(&config.upstream, &config.fetch)?;
    let mut checked = Vec::new();
    for provider in router.live().filter(|provider| id.is_none_or(|id| provider.id == id)) {
        let (ok, finding) = check_one(&client, provider).await;
        checked.push(Checked { id: provider.id.clone(), ok, finding });
    }
    let code = if checked.iter().all(|checked| checked.ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if json {
        output::json(&checked)?;
    } else {
        let row =
            |checked: &Checked| vec![checked.id.clone(), if checked.ok { "ok" } else { "failed" }.to_owned(), checked.finding.clone()];
        output::table(&["ID", "STATE", "FINDING"], &checked.iter().map(row).collect::<Vec<_>>())?;
    }
    Ok(code)
}

/// Most providers list their models for nothing, which shows that they are there and take the credential.
async fn check_one(client: &Client, provider: &LiveProvider) -> (bool, String) {
    if provider.is_simulator() {
        return (true, "built in".to_owned());
    }
    let endpoint = provider.endpoint(None, Operation::Chat, Dialect::OpenaiChat);
    match endpoint {
        Err(unserved) => (false, crate::error::Refusal::from(unserved).message),
        Ok(Endpoint { signer: Some(signer), .. }) => check_signer(signer, provider).await,
        Ok(endpoint) if !Client::lists_models(endpoint) => {
            (true, "switched on; its dialect has no list of models to try the credential with".to_owned())
        }
        Ok(endpoint) => match client.list_models(endpoint).await {
            Ok(status) if status.is_success() => (true, "reached, and it takes the credential".to_owned()),
            Ok(status) if matches!(status.as_u16(), 401 | 403) => {
                let variable = variable_of(provider);
                (false, format!("reached, and it refuses the credential (from {variable}): status {}", status.as_u16()))
            }
            Ok(status) => (
                true,
                format!("reached; it does not list its models (status {}), so the credential is not known to be good", status.as_u16()),
            ),
            Err(why) => (false, format!("cannot be reached: {why}")),
        },
    }
}

/// A token shows that its server takes the credential; what it allows, only a request does.
async fn check_signer(signer: &Signer, provider: &LiveProvider) -> (bool, String) {
    let variable = variable_of(provider);
    match signer.try_out().await {
        None => (true, "switched on; what signs its requests is tried with the first one".to_owned()),
        Some(Ok(())) => (true, format!("its token server takes the credential (from {variable})")),
        Some(Err(why)) => {
            let described = why.described.map_or_else(String::new, |described| format!(": {described}"));
            (false, format!("no token is to be had for the credential (from {variable}): {}{described}", why.told))
        }
    }
}

fn variable_of(provider: &LiveProvider) -> &str {
    provider.credential.as_ref().map_or("none", |credential| &credential.variable)
}

fn unknown(router: &Router, id: &str) -> CliError {
    let near = hint::nearest(id, router.provider_ids()).map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
    format!("there is no provider '{id}'{near}").into()
}

// === impl Models ===

impl Models {
    /// Runs the command.
    pub async fn run(self, config: &Config, env: &Environment) -> Result<ExitCode, CliError> {
        let Models::List { json } = self;
        let router = installation::router(config, env).await?;
        let models =
            router.live().flat_map(|provider| provider.models.iter().map(move |(id, model)| (format!("{}/{id}", provider.id), model)));
        if json {
            let all: Vec<_> = models
                .map(|(id, model)| {
                    let mut value = serde_json::to_value(model).unwrap_or_default();
                    value["id"] = id.into();
                    value
                })
                .collect();
            output::json(&all)?;
            return Ok(ExitCode::SUCCESS);
        }
        let number = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
        let rows: Vec<_> = models
            .map(|(id, model)| {
                let price = |pick: fn(&crate::catalog::model::PriceList) -> f64| {
                    model.price.as_ref().map_or_else(|| "?".to_owned(), |price| pick(price).to_string())
                };
                vec![id, number(model.context), number(model.max_output), price(|p| p.input), price(|p| p.output)]
            })
            .collect();
        output::table(&["MODEL", "CONTEXT", "MAX OUTPUT", "INPUT $/M", "OUTPUT $/M"], &rows)?;
        Ok(ExitCode::SUCCESS)
    }
}
