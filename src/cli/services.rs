//! `keyward services …`

use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{CliError, Installation, output};
use crate::admin::services::{self, SubscriptionView};
use crate::catalog::Environment;
use crate::config::Config;
use crate::life::State;
use crate::mcp::tool_name;
use crate::service::{Folder, Service, Standing, edit};
use crate::steps::Step;
use crate::store::audit::Actor;
use crate::versions::{self, Versioned};

/// Check and publish REST services, and decide who may call them
#[derive(Subcommand)]
pub enum Services {
    /// List the services
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what is wrong in which file and line
    Check,
    /// Show how one version differs from another
    Diff {
        /// The newer one, as NAME or NAME@VERSION
        name: String,
        /// The older one; the one before where none is named
        other: Option<String>,
    },
    /// Let callers see and call a service: from then on what its version offers does not change
    Publish {
        /// The service, as NAME@VERSION; as NAME, its newest draft
        name: String,
    },
    /// Tell callers that a service will go
    Deprecate {
        /// The service, as NAME@VERSION; as NAME, the newest version that callers get
        name: String,
        /// When it goes: a day or time, UTC
        #[arg(long)]
        sunset: Option<String>,
        /// What to call instead
        #[arg(long)]
        successor: Option<String>,
    },
    /// Serve a service no longer: 410
    Retire {
        /// The service, as NAME@VERSION; as NAME, the newest version that callers get
        name: String,
    },
    /// List which keys have asked for a service, and how they stand
    Subscriptions {
        /// The service
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a key call a service, whether it asked or not
    Approve {
        /// The service
        name: String,
        /// The key's id
        key: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a key call a service no longer
    Deny {
        /// The service
        name: String,
        /// The key's id
        key: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Longer names of tools are refused by some providers of models.
const LONGEST_TOOL: usize = 64;

// === impl Services ===

impl Services {
    /// Works on the files and the store; a running gateway sees what changed within a second.
    pub async fn run(self, config: &Config, env: &Environment) -> Result<ExitCode, CliError> {
        // The variables are the gateway's: whoever only looks need not have them.
        let folder = Folder::of(config, None);
        match self {
            Services::List { json } => list(&folder, json)?,
            Services::Check => return check(&Folder::of(config, Some(env))),
            Services::Diff { name, other } => output::compared(&edit::compared(&folder, &name, other.as_deref())?)?,
            Services::Publish { name } => drop(take(config, &folder, &name, &Step::Publish).await?),
            Services::Retire { name } => {
                let (label, ends) = take(config, &folder, &name, &Step::Retire).await?;
                // Where no gateway has run yet, nobody has asked for anything.
                if ends && config.data.join("keyward.db").exists() {
                    let Installation { store, .. } = Installation::existing(&config.data).await?;
                    services::end(&store, versions::split(&label).0, &Actor::of_process()).await?;
                }
            }
            Services::Deprecate { name, sunset, successor } => {
                drop(take(config, &folder, &name, &Step::Deprecate { sunset, successor }).await?)
            }
            Services::Subscriptions { name, json } => {
                let Installation { store, .. } = Installation::existing(&config.data).await?;
                show(&services::list(&store, &folder.read(), &name).await?, json)?;
            }
            Services::Approve { name, key, json } => decide(config, &folder, (&name, &key), Standing::Approved, json).await?,
            Services::Deny { name, key, json } => decide(config, &folder, (&name, &key), Standing::Denied, json).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn decide(config: &Config, folder: &Folder, what: (&str, &str), standing: Standing, json: bool) -> Result<(), CliError> {
    let Installation { store, .. } = Installation::existing(&config.data).await?;
    let decided = services::decide(&store, &store, &folder.read(), what, standing, &Actor::of_process()).await?;
    match json {
        true => output::json(&decided),
        false => output::print(&format!("The key {} is {} for '{}'.\n", decided.key, decided.standing, decided.service)),
    }
}

fn show(subscriptions: &[SubscriptionView], json: bool) -> Result<(), CliError> {
    if json {
        return output::json(&subscriptions);
    }
    let row = |one: &SubscriptionView| vec![one.key.clone(), one.standing.to_owned(), one.asked.strftime("%Y-%m-%d %H:%M").to_string()];
    output::table(&["KEY", "STANDING", "ASKED"], &subscriptions.iter().map(row).collect::<Vec<_>>())
}

/// Takes a step; the version that it is of, and whether that was the last of its service.
async fn take(config: &Config, folder: &Folder, name: &str, step: &Step) -> Result<(String, bool), CliError> {
    let plan = edit::step(folder, name, step)?;
    let (label, ends) = (plan.label().to_owned(), plan.ends());
    let said: Vec<String> = plan.said().iter().map(|(field, value)| format!("{field} = {value}")).collect();
    let made = Installation::noted(&config.data, (step.of_service(), &label), || plan.make()).await?;
    let files: Vec<String> = made.iter().map(|path| path.display().to_string()).collect();
    output::print(&format!("{label} has {} now, in {}.\n", said.join(", "), files.join(", ")))?;
    let warnings = folder.read().warnings_of(versions::split(&label).0, Timestamp::now());
    warnings.iter().try_for_each(|warning| output::print(&format!("Note: {warning}\n")))?;
    Ok((label, ends))
}

fn list(folder: &Folder, json: bool) -> Result<(), CliError> {
    let services = folder.read();
    let state = |service: &Service| service.state_at(Timestamp::now()).as_str();
    if json {
        let row = |service: &Arc<Service>| -> Value {
            let operations: Vec<&str> = service.description.operations.iter().map(|operation| operation.id.as_str()).collect();
            json!({ "name": service.name, "version": service.version, "title": service.title, "state": state(service), "subscription": service.access.as_str(), "operations": operations })
        };
        return output::json(&services.all().map(row).collect::<Vec<_>>());
    }
    let row = |service: &Arc<Service>| {
        let operations = service.description.operations.len().to_string();
        vec![service.label(), state(service).to_owned(), service.access.as_str().to_owned(), operations, service.title.clone()]
    };
    output::table(&["SERVICE", "STATE", "SUBSCRIPTION", "OPERATIONS", "TITLE"], &services.all().map(row).collect::<Vec<_>>())
}

fn check(folder: &Folder) -> Result<ExitCode, CliError> {
    let services = folder.read();
    for fault in services.faults() {
        output::print(&format!("{fault}\n"))?;
    }
    for service in services.all() {
        if service.life.state == State::Draft {
            let name = service.label();
            output::print(&format!(
                "Note: {name} is a draft, which only keys call that name it: 'keyward services publish {name}', or state = \"published\"\n"
            ))?;
        }
        for operation in &service.description.elsewhere {
            output::print(&format!(
                "Note: {}/{operation} is not served: its 'servers' are another host than 'upstream', which the credential must not go to\n",
                service.label()
            ))?;
        }
        for operation in &service.description.unreachable {
            output::print(&format!(
                "Note: {}/{operation} is not served: its path has a '?' or '#' in it, which no path of a request has: say that by a parameter\n",
                service.label()
            ))?;
        }
        for (operation, why) in service.description.no_tools() {
            output::print(&format!("Note: {}/{operation} is served, and is no MCP tool: {why}\n", service.label()))?;
        }
        let names = service.description.operations.iter().map(|operation| tool_name(&service.name, &operation.id));
        for name in names.filter(|name| name.len() > LONGEST_TOOL) {
            let length = name.len();
            output::print(&format!(
                "Note: the tool {name} has {length} characters, and some models take {LONGEST_TOOL}: give it a shorter operationId\n"
            ))?;
        }
    }
    let now = Timestamp::now();
    for warning in services.names().flat_map(|name| services.warnings_of(name, now)) {
        output::print(&format!("Note: {warning}\n"))?;
    }
    if services.faults().is_empty() {
        output::print(&format!("{} services in {} are right.\n", services.all().count(), folder.path().display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
