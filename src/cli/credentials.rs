//! `keyward credentials …`

use std::process::ExitCode;

use clap::Subcommand;

use super::installation::is_running;
use super::{CliError, Installation, output};
use crate::admin::credentials::{CredentialChange, CredentialView, Given, Resealed, Safe, variables_of};
use crate::admin::meant::Meant;
use crate::catalog::{Catalog, Environment};
use crate::config::Config;
use crate::route::{MASTER_KEY, MASTER_KEY_FILE, OLD_MASTER_KEY, Sealed, Secret, Vault};
use crate::store::audit::Actor;

/// Keep, weigh and remove providers' credentials
#[derive(Subcommand)]
pub enum Credentials {
    /// Keep a credential, sealed; its text is read from standard input and never shown again
    Add {
        /// The provider's id
        provider: String,
        /// What to call it
        #[arg(long)]
        name: String,
        /// Its share of the provider's requests, beside those of the others
        #[arg(long, default_value_t = 1)]
        weight: u32,
        /// Take the values of these environment variables instead of standard input, for providers that need several
        #[arg(long, value_delimiter = ',', value_name = "VARIABLE")]
        from_env: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List what is kept; never the secrets
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put a new secret in the place of a credential's, read as by 'add'
    Replace {
        /// Its name
        name: String,
        /// Take the values of these environment variables instead of standard input, for providers that need several
        #[arg(long, value_delimiter = ',', value_name = "VARIABLE")]
        from_env: Vec<String>,
    },
    /// Change a credential's share
    Weigh {
        /// Its name
        name: String,
        /// Its share of the provider's requests
        weight: u32,
    },
    /// Switch a credential off for now
    Disable {
        /// Its name
        name: String,
    },
    /// Switch it on again
    Enable {
        /// Its name
        name: String,
    },
    /// Seal all anew under the master key that is set now: the one before is given by KEYWARD_OLD_MASTER_KEY or KEYWARD_OLD_MASTER_KEY_FILE,
    /// and is the data folder's own where neither is set; the gateway has to be stopped for it
    Reseal,
    /// Take a credential out; its secret is erased
    Remove {
        /// Its name
        name: String,
    },
}

// === impl Credentials ===

impl Credentials {
    /// Runs the command on the store; a running gateway takes notice within a second.
    pub async fn run(self, config: &Config, env: &Environment) -> Result<ExitCode, CliError> {
        let Installation { pepper, store, .. } = match &self {
            Credentials::Add { .. } => Installation::open(&config.data).await?,
            _ => Installation::existing(&config.data).await?,
        };
        if matches!(self, Credentials::Reseal) && is_running(&config.data) {
            let data = config.data.display();
            return Err(format!(
                "a gateway runs on {data}, and could open no credential that is sealed under another key than it has: stop it, reseal, and start \
                 it with the new key"
            )
            .into());
        }
        let (by, vault) = (Actor::of_process(), Vault::open(env, &pepper)?);
        let catalog = Catalog::load(config.providers.as_deref());
        let safe = Safe { store: &store, vault: &vault, catalog: catalog.as_ref(), env, takes_files: true };
        if matches!(self, Credentials::Add { .. } | Credentials::Replace { .. })
            && let Some(what) = safe.under_another_key().await?
        {
            return Err(format!(
                "{what} under another master key than this shell has, and the gateway could not open what is sealed here: set or unset \
                 {MASTER_KEY} or {MASTER_KEY_FILE} as it is for the gateway; where the key was changed, run 'keyward credentials reseal' \
                 first; where it is lost, start the gateway with another one, and remove what is sealed under it"
            )
            .into());
        }
        let view = match self {
            Credentials::Add { provider, name, weight, from_env, json } => {
                let view = safe.add(&name, &provider, weight, given(env, &from_env)?, &by).await?;
                return show(&[view], json);
            }
            Credentials::List { json } => return show(&safe.list().await?, json),
            Credentials::Replace { name, from_env } => {
                let change = CredentialChange { secret: Some(given(env, &from_env)?), ..CredentialChange::default() };
                safe.change((&name, &Meant::ANY), change, &by).await?
            }
            Credentials::Weigh { name, weight } => {
                let change = CredentialChange { weight: Some(weight), ..CredentialChange::default() };
                safe.change((&name, &Meant::ANY), change, &by).await?
            }
            Credentials::Disable { name } => safe.change((&name, &Meant::ANY), switched(true), &by).await?,
            Credentials::Enable { name } => safe.change((&name, &Meant::ANY), switched(false), &by).await?,
            Credentials::Reseal => return resealed(&safe.reseal(&Vault::open_old(env, &pepper)?, &by).await?),
            Credentials::Remove { name } => {
                safe.remove((&name, &Meant::ANY), &by).await?;
                output::print(&format!("The credential '{name}' is removed, and its secret is erased.\n"))?;
                return Ok(ExitCode::SUCCESS);
            }
        };
        show(&[view], false)
    }
}

/// Says of each credential what became of it; a failure where one stays closed.
fn resealed(all: &[(String, Resealed)]) -> Result<ExitCode, CliError> {
    let row = |(name, resealed): &(String, Resealed)| {
        let became = match resealed {
            Resealed::Now => "sealed anew".to_owned(),
            Resealed::Before => "under this key already".to_owned(),
            Resealed::Not(Sealed::OtherKey) => {
                format!("not opened by either key: set {OLD_MASTER_KEY} to the one that it was sealed under")
            }
            Resealed::Not(why) => why.to_string(),
        };
        vec![name.clone(), became]
    };
    output::table(&["NAME", "RESULT"], &all.iter().map(row).collect::<Vec<_>>())?;
    let is_whole = all.iter().all(|(_, resealed)| !matches!(resealed, Resealed::Not(_)));
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn switched(off: bool) -> CredentialChange {
    CredentialChange { disabled: Some(off), ..CredentialChange::default() }
}

/// What the environment has where variables are named, and what standard input has where none is.
fn given(env: &Environment, from_env: &[String]) -> Result<Given, CliError> {
    if !from_env.is_empty() {
        return Ok(Given::Variables(variables_of(env, from_env)?));
    }
    let text = std::io::read_to_string(std::io::stdin())?;
    match text.trim() {
        "" => Err("standard input is empty: pipe the credential in, as in 'printf %s \"$KEY\" | keyward credentials add …'".into()),
        secret => Ok(Given::Value(Secret::new(secret))),
    }
}

fn show(views: &[CredentialView], json: bool) -> Result<ExitCode, CliError> {
    if json {
        output::json(&views)?;
        return Ok(ExitCode::SUCCESS);
    }
    let state = |view: &CredentialView| match &view.fault {
        _ if view.disabled => "disabled".to_owned(),
        Some(fault) => format!("unusable: {fault}"),
        None => "in use".to_owned(),
    };
    let row = |view: &CredentialView| {
        vec![view.name.clone(), view.provider.clone(), view.weight.to_string(), state(view), view.created.to_string()]
    };
    output::table(&["NAME", "PROVIDER", "WEIGHT", "STATE", "SINCE"], &views.iter().map(row).collect::<Vec<_>>())?;
    Ok(ExitCode::SUCCESS)
}
