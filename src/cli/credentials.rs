//! `keyward credentials …`

use std::process::ExitCode;

use clap::Subcommand;

use super::{CliError, Installation, output};
use crate::admin::credentials::{self, CredentialChange, CredentialView};
use crate::catalog::{Catalog, Environment};
use crate::config::Config;
use crate::route::{Secret, StoredCredential, Variables, Vault};
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
        let Installation { pepper, store, .. } = Installation::open(&config.data).await?;
        let by = Actor::of_process();
        let view = match self {
            Credentials::Add { provider, name, weight, from_env, json } => {
                let catalog = Catalog::load(config.providers.as_deref())?;
                let variables = match from_env.is_empty() {
                    true => of_input(credentials::only_variable(&catalog, &provider)?)?,
                    false => credentials::variables_of(env, &from_env)?,
                };
                let new = StoredCredential { name, provider, weight, variables };
                let view = credentials::add(&store, &Vault::open(env, &pepper)?, &catalog, env, new, &by).await?;
                return show(&[view], json);
            }
            Credentials::List { json } => return show(&credentials::list(&store).await?, json),
            Credentials::Weigh { name, weight } => {
                let change = CredentialChange { weight: Some(weight), disabled: None };
                credentials::change(&store, &name, change, &by).await?
            }
            Credentials::Disable { name } => credentials::change(&store, &name, switched(true), &by).await?,
            Credentials::Enable { name } => credentials::change(&store, &name, switched(false), &by).await?,
            Credentials::Remove { name } => {
                credentials::remove(&store, &name, &by).await?;
                output::print(&format!("The credential '{name}' is removed, and its secret is erased.\n"))?;
                return Ok(ExitCode::SUCCESS);
            }
        };
        show(&[view], false)
    }
}

fn switched(off: bool) -> CredentialChange {
    CredentialChange { weight: None, disabled: Some(off) }
}

fn of_input(variable: String) -> Result<Variables, CliError> {
    let text = std::io::read_to_string(std::io::stdin())?;
    match text.trim() {
        "" => Err("standard input is empty: pipe the credential in, as in 'printf %s \"$KEY\" | keyward credentials add …'".into()),
        secret => Ok(Variables::from([(variable, Secret::new(secret))])),
    }
}

fn show(views: &[CredentialView], json: bool) -> Result<ExitCode, CliError> {
    if json {
        output::json(&views)?;
        return Ok(ExitCode::SUCCESS);
    }
    let state = |view: &CredentialView| if view.disabled { "disabled" } else { "in use" }.to_owned();
    let row = |view: &CredentialView| {
        vec![view.name.clone(), view.provider.clone(), view.weight.to_string(), state(view), view.created.to_string()]
    };
    output::table(&["NAME", "PROVIDER", "WEIGHT", "STATE", "SINCE"], &views.iter().map(row).collect::<Vec<_>>())?;
    Ok(ExitCode::SUCCESS)
}
