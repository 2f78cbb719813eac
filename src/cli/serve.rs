//! `keyward serve`: puts the rooms together, listens, and drains at SIGTERM or Ctrl-C.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{CliError, Installation, installation, welcome};
use crate::catalog::Environment;
use crate::config::{Config, VARIABLES, hint};
use crate::gateway::Gateway;
use crate::held::Keeper;
use crate::key::Keyring;
use crate::ledger::Ledger;
use crate::ledger::drain::Drain;
use crate::prompt::Shelf;
use crate::quota::{Accounts, alert};
use crate::route::{MASTER_KEY, MASTER_KEY_FILE, Router, Secret, Switchboard, Vault};
use crate::server;
use crate::store::KeyStore;
use crate::telemetry::{self, Metrics};
use crate::upstream::Client;

/// What alerts are signed with.
const ALERT_SECRET: &str = "KEYWARD_ALERT_SECRET";

/// Run the gateway
#[derive(Args, Default)]
pub struct Serve {
    /// Only check the configuration and the providers' files
    #[arg(long)]
    check: bool,
}

// === impl Serve ===

impl Serve {
    /// Runs until a signal, or only checks.
    pub async fn run(self, config: Config, env: Environment) -> Result<ExitCode, CliError> {
        if self.check {
            let router = installation::router(&config, &env).await?;
            check_aliases(&router)?;
            println!(
                "The configuration is right: {} providers are live, {} more are known.",
                router.live().count(),
                router.dormant().count()
            );
            return Ok(ExitCode::SUCCESS);
        }
        let _log = telemetry::start(&config.log)?;
        warn_of_unknown_variables();
        let listener = TcpListener::bind(config.listen).await.map_err(|e| {
            format!("cannot listen on {}: {e}; stop what listens there, or set KEYWARD_LISTEN to another address", config.listen)
        })?;
        let Installation { data, pepper, store } = Installation::open(&config.data).await?;
        let ledger = Arc::new(Ledger::open(&data.join("ledger"))?);
        let store = Arc::new(store);
        let switchboard = Arc::new(Switchboard::open(&config, &env, Vault::open(&env, &pepper)?, store.clone()).await?);
        check_aliases(&switchboard.router())?;
        let drain = Drain::new(Arc::clone(&ledger), store.clone());
        let assumed = drain.recover().await;
        welcome::greet(&*store, &pepper, &switchboard.router(), listener.local_addr()?).await?;

        let client = Client::new(&config.upstream, &config.fetch)?;
        let (alerts, alerting) = alert::channel(store.clone(), webhook(&config, &env)?);
        let accounts = Arc::new(Accounts::new(store.clone(), store.clone(), drain.handle(), alerts));
        let keys = Arc::new(Keyring::new(pepper, store.clone() as Arc<dyn KeyStore>, Arc::clone(&accounts)));
        let (held, holding) = Keeper::new(store.clone());
        let prompts = Arc::new(Shelf::open(&config.prompts.folder));
        let gateway = Arc::new(Gateway {
            client,
            keys: Arc::clone(&keys),
            accounts,
            switchboard: Arc::clone(&switchboard),
            ledger,
            drain: drain.handle(),
            held: Arc::new(held),
            prompts: Arc::clone(&prompts),
            key_store: store.clone(),
            group_store: store.clone(),
            audit_store: store.clone(),
            ledger_store: store,
            metrics: Metrics::new(),
            config,
        });
        tracing::info!(
            address = %listener.local_addr()?,
            version = env!("CARGO_PKG_VERSION"),
            providers = gateway.router().live().count(),
            settled_at_reservation = assumed,
            "keyward is up"
        );
        let (stop, stopped) = watch::channel(false);
        let (credentials, changed) = watch::channel(0);
        let followers = tokio::spawn(keys.follow(credentials, stopped.clone()));
        let switching = tokio::spawn(switchboard.follow(changed));
        let holding = tokio::spawn(holding.run(stopped.clone()));
        let reading = tokio::spawn(prompts.follow(stopped.clone()));
        let alerting = tokio::spawn(alerting.run(stopped.clone()));
        let draining = tokio::spawn(drain.run(stopped));
        server::serve(listener, gateway, a_signal()?).await?;
        // After the last answer: what it settled still has to reach the store.
        stop.send_replace(true);
        let _ = tokio::join!(followers, switching, holding, reading, alerting, draining);
        tracing::info!("keyward has stopped");
        Ok(ExitCode::SUCCESS)
    }
}

/// Resolves at the first SIGTERM or SIGINT; a second SIGINT ends the process at once.
fn a_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            interrupt.recv().await;
            std::process::exit(130);
        });
    })
}

/// An alias may lead to a provider that is not switched on yet, but not to one that nobody knows.
fn check_aliases(router: &Router) -> Result<(), CliError> {
    for (alias, target) in router.alias_targets() {
        let provider = target.split('/').next().unwrap_or_default();
        if !router.knows(provider) {
            let near = hint::nearest(provider, router.provider_ids()).map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
            return Err(format!("the alias '{alias}' names '{target}', and there is no provider '{provider}'{near}").into());
        }
    }
    Ok(())
}

/// Where alerts go, where the configuration says so.
fn webhook(config: &Config, env: &Environment) -> Result<Option<alert::Webhook>, CliError> {
    let Some(url) = &config.alerts.webhook else { return Ok(None) };
    let secret = env
        .get(ALERT_SECRET)
        .ok_or_else(|| format!("alerts.webhook is set and {ALERT_SECRET} is not: the webhook would not know that we call it"))?;
    Ok(Some(alert::Webhook::new(url, &Secret::new(secret))?))
}

fn warn_of_unknown_variables() {
    // What the tests and other commands read.
    const OTHERS: [&str; 5] = ["KEYWARD_CONFIG", "KEYWARD_KEY", ALERT_SECRET, MASTER_KEY, MASTER_KEY_FILE];
    let names = || VARIABLES.iter().map(|(name, _)| *name).chain(OTHERS);
    for (variable, _) in std::env::vars_os() {
        let Some(variable) = variable.to_str().filter(|name| name.starts_with("KEYWARD_")) else { continue };
        if !names().any(|name| name == variable)
            && let Some(near) = hint::nearest(variable, names())
        {
            tracing::warn!("{variable} is no setting and is ignored; did you mean {near}?");
        }
    }
}
