//! What is wrong with a configuration beyond its own file: names that lead nowhere, variables that nothing reads, secrets that are missing.

use std::net::SocketAddr;
use std::process::ExitCode;

use super::{CliError, installation, output, serve};
use crate::admin::ScannerKeys;
use crate::catalog::Environment;
use crate::config::{Config, VARIABLES, hint};
use crate::ledger::Ledger;
use crate::mcp::federation::Federation;
use crate::route::{MASTER_KEY, MASTER_KEY_FILE, OLD_MASTER_KEY, OLD_MASTER_KEY_FILE, Router, Unusable};
use crate::telemetry;

/// What alerts are signed with.
pub const ALERT_SECRET: &str = "KEYWARD_ALERT_SECRET";
/// What other commands and the examples in the README read.
const OTHERS: [&str; 8] =
    ["KEYWARD_CONFIG", "KEYWARD_KEY", "KEYWARD_URL", ALERT_SECRET, MASTER_KEY, MASTER_KEY_FILE, OLD_MASTER_KEY, OLD_MASTER_KEY_FILE];

/// Tells all that is wrong at once.
pub async fn all(config: &Config, env: &Environment) -> Result<ExitCode, CliError> {
    let router = installation::router(config, env).await?;
    let mut wrong = wrong(config, env, &router);
    wrong.extend(installation::damage(&config.data).await);
    wrong.extend(Ledger::node_in(&config.data.join("ledger")).err().map(|e| e.to_string()));
    for doubtful in unknown_variables(env).into_iter().chain(missing_folders(config)).chain(installation::older(&config.data).await) {
        output::print(&format!("Note: {doubtful}\n"))?;
    }
    if wrong.is_empty() {
        let (live, dormant) = (router.live().count(), router.dormant().count());
        output::print(&format!("The configuration is right: {live} providers are live, {dormant} more are known.\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    Err(wrong.join("\nkeyward: ").into())
}

/// What keeps a gateway on this configuration from starting, or from using what it names.
pub fn wrong(config: &Config, env: &Environment, router: &Router) -> Vec<String> {
    let mut wrong = aliases(router);
    wrong.extend(telemetry::filter(&config.log).err().map(|e| e.to_string()));
    wrong.extend(serve::webhook(config, env).err().map(|e| e.to_string()));
    wrong.extend(config.admin.github_public_keys.as_deref().and_then(ScannerKeys::fault));
    wrong.extend(Federation::new(&config.mcp, env, &config.data).err());
    let clashes = |admin: &SocketAddr| {
        let covers = admin.ip() == config.listen.ip() || admin.ip().is_unspecified() || config.listen.ip().is_unspecified();
        covers && admin.port() == config.listen.port() && admin.port() != 0
    };
    if let Some(admin) = config.admin.listen.filter(clashes) {
        let listen = config.listen;
        wrong.push(format!("admin.listen is {admin} and listen is {listen}: give one of them another port, or leave admin.listen out"));
    }
    wrong.extend(prompts_model(config, router));
    let unusable = router
        .unusable()
        .iter()
        .map(|Unusable { provider, credential, why }| format!("the credential '{credential}' of {provider} cannot be used: {why}"));
    wrong.extend(unusable);
    wrong
}

/// An alias may lead to a provider that is not switched on yet, but not to one that nobody knows.
pub fn aliases(router: &Router) -> Vec<String> {
    let unknown = router.alias_targets().filter_map(|(alias, target)| {
        let provider = target.split('/').next().unwrap_or_default();
        no_provider(router, provider).map(|why| format!("the alias '{alias}' names '{target}', and {why}"))
    });
    unknown.collect()
}

/// That nobody knows a provider, and which one was most likely meant.
fn no_provider(router: &Router, provider: &str) -> Option<String> {
    let near = || hint::nearest(provider, router.provider_ids()).map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
    (!router.knows(provider)).then(|| format!("there is no provider '{provider}'{}", near()))
}

/// Who answers prompts that name no model has to be somebody who is known.
fn prompts_model(config: &Config, router: &Router) -> Option<String> {
    let model = config.prompts.model.as_str();
    let (provider, _) = model.split_once('/')?;
    let why = no_provider(router, provider).filter(|_| !config.aliases.contains_key(model))?;
    Some(format!("prompts.model is '{model}', and {why}"))
}

/// Folders that the configuration names and that are not there yet: what is put into them later is taken in, so that is no fault.
pub fn missing_folders(config: &Config) -> Vec<String> {
    let by_default = Config::default();
    let folders = [
        ("prompts.folder", &config.prompts.folder, &by_default.prompts.folder),
        ("services.folder", &config.services.folder, &by_default.services.folder),
    ];
    let missing = folders.into_iter().filter(|(_, folder, default)| folder != default && !folder.is_dir());
    missing
        .map(|(field, folder, _)| format!("{field} is {}, and there is no such folder: nothing is served from it", folder.display()))
        .collect()
}

/// Variables that look like settings and are none.
pub fn unknown_variables(env: &Environment) -> Vec<String> {
    let names = || VARIABLES.iter().map(|(name, _)| *name).chain(OTHERS);
    let unknown = env.names().filter(|name| name.starts_with("KEYWARD_") && !names().any(|known| known == *name));
    let told = unknown.map(|name| {
        let near = hint::nearest(name, names()).map_or_else(String::new, |near| format!("; did you mean {near}?"));
        format!("{name} is no setting and is ignored{near}")
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    told
}
