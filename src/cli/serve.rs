//! `keyward serve`: puts the rooms together, listens, and drains at SIGTERM or Ctrl-C.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::check::{self, ALERT_SECRET};
use super::{CliError, Installation, installation, welcome};
use crate::admin::credentials::Safe;
use crate::admin::{ANSWERS_KEPT_FOR, Desk, ScannerKeys};
use crate::catalog::{Catalog, Environment};
use crate::config::Config;
use crate::gateway::Gateway;
use crate::held::Keeper;
use crate::key::Keyring;
use crate::ledger::drain::Drain;
use crate::ledger::upkeep::Upkeep;
use crate::mcp;
use crate::prompt::{Shelf, advice};
use crate::quota::{Accounts, alert};
use crate::route::{Secret, Switchboard, Vault};
use crate::server;
use crate::service::{self, Subscriptions};
use crate::store::KeyStore;
use crate::surface::shares::Shares;
use crate::telemetry::{self, Metrics};
use crate::upstream::Client;

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
            return check::all(&config, &env).await;
        }
        let _log = telemetry::start(&config.log)?;
        // A stream takes two connections, and a shell gives its processes 1,024 files: as many as the system allows are taken.
        if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
            tracing::warn!(%error, "the limit of open files stays as it is: it bounds how many requests can run at once");
        }
        let doubtful = check::unknown_variables(&env).into_iter().chain(check::missing_folders(&config));
        doubtful.for_each(|doubtful| tracing::warn!("{doubtful}"));
        let listener = TcpListener::bind(config.listen).await.map_err(|e| {
            format!("cannot listen on {}: {e}; stop what listens there, or set KEYWARD_LISTEN to another address", config.listen)
        })?;
        let admin_listener = match config.admin.listen {
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .map_err(|e| format!("cannot listen on {address}: {e}; stop what listens there, or change admin.listen"))?,
            ),
            None => None,
        };
        // Read while the store is opened.
        let folder = config.providers.clone();
        let catalog = tokio::task::spawn_blocking(move || Catalog::load(folder.as_deref()));
        // It installs what every other client's TLS needs, and so is made first.
        let client = Client::new(&config.upstream, &config.fetch)?;
        let scanner = config.admin.github_public_keys.as_deref().map(ScannerKeys::new).transpose()?;
        config.admin.github_public_keys.as_deref().and_then(ScannerKeys::fault).iter().for_each(|fault| tracing::warn!("{fault}"));
        let is_first = !installation::has_run(&config.data);
        let (Installation { data, pepper, store }, locked) = Installation::of_gateway(&config.data).await?;
        installation::open_to_others(&data).iter().for_each(|open| tracing::warn!("{open}"));
        let ledger = Arc::new(locked.open()?);
        let store = Arc::new(store);
        // What is changed from here on is told, however long the rest of the start takes.
        let seen = store.changes(i64::MAX).await?.newest;
        let switchboard = Arc::new(Switchboard::open(&config, &env, Vault::open(&env, &pepper)?, store.clone(), catalog.await??).await?);
        // Commands seal under the same key, or not at all.
        Safe::of(&switchboard).marked().await?;
        if let Some(wrong) = check::aliases(&switchboard.router()).into_iter().next() {
            return Err(wrong.into());
        }
        let drain = Drain::new(Arc::clone(&ledger), store.clone());
        let assumed = drain.recover().await;
        welcome::greet(&store, &pepper, &switchboard.router(), listener.local_addr()?, is_first).await?;

        let (alerts, alerting) = alert::channel(store.clone(), webhook(&config, &env)?);
        let accounts = Arc::new(Accounts::new(store.clone(), store.clone(), Some(drain.handle()), alerts));
        let (changing, locked) = (tokio::sync::Mutex::new(()), tokio::sync::Notify::new());
        let admin = Desk { pepper: pepper.clone(), idempotency: store.clone(), scanner, changing, locked };
        let uploads = Vault::derived(&pepper, "keyward upload addresses");
        let keys = Arc::new(Keyring::new(pepper, store.clone() as Arc<dyn KeyStore>, Arc::clone(&accounts), config.store.down_for));
        let held = Keeper::new(store.clone(), Arc::clone(&ledger), drain.handle());
        let upkeep = Upkeep::new((store.clone(), config.ledger.keep), (store.clone(), config.held.keep), (store.clone(), ANSWERS_KEPT_FOR));
        let prompts = Arc::new(Shelf::open(&config.prompts.folder));
        let services = Arc::new(service::Shelf::of(service::Folder::of(&config, Some(&env))));
        let subscriptions = Arc::new(Subscriptions::open(store.clone()).await?);
        let mcp = mcp::Room::new(&config, &env, &data)?;
        let counts = Arc::clone(&accounts);
        let gateway = Arc::new(Gateway {
            client,
            keys: Arc::clone(&keys),
            accounts,
            switchboard: Arc::clone(&switchboard),
            ledger,
            drain: drain.handle(),
            held: Arc::new(held),
            bodies: Shares::new(config.limits.bodies(), "limits.bodies_mib"),
            forms: Shares::new(config.limits.uploads(), "limits.uploads_mib"),
            uploads,
            prompts: Arc::clone(&prompts),
            services: Arc::clone(&services),
            subscriptions: Arc::clone(&subscriptions),
            subscription_store: store.clone(),
            key_store: store.clone(),
            group_store: store.clone(),
            audit_store: store.clone(),
            admin,
            ledger_store: store,
            mcp,
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
        let simulated = advice::simulated(&gateway.prompts.prompts(), &gateway.router(), &gateway.config.prompts.model, Timestamp::now());
        if let Some(simulated) = simulated {
            tracing::warn!("{simulated}");
        }
        let (stop, stopped) = watch::channel(false);
        let (credentials, changed) = watch::channel(0);
        let followers = tokio::spawn(keys.follow(seen, credentials, stopped.clone()));
        let switching = tokio::spawn(switchboard.follow(changed));
        let reading = tokio::spawn(prompts.follow(stopped.clone()));
        let serving = tokio::spawn(services.follow(stopped.clone()));
        let subscribing = tokio::spawn(subscriptions.follow(Arc::clone(&gateway.services), stopped.clone()));
        let federating = {
            let (gateway, stopped) = (Arc::clone(&gateway), stopped.clone());
            tokio::spawn(async move { gateway.mcp.follow(&gateway, stopped).await })
        };
        let alerting = tokio::spawn(alerting.run(stopped.clone()));
        let upkeep = tokio::spawn(upkeep.run(stopped.clone()));
        let counting = {
            let stopped = stopped.clone();
            tokio::spawn(async move { counts.follow_the_clock(stopped).await })
        };
        // By itself: each statement is an answer of the database's thread to this one, which no other has to be woken for.
        let alone = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let draining = tokio::task::spawn_blocking(move || alone.block_on(drain.run(stopped)));
        let (signalled, stopping) = (a_signal()?, watch::Sender::new(false));
        let mut stopping_too = stopping.subscribe();
        let managing = admin_listener.map(|listener| {
            let stopped = async move { drop(stopping_too.wait_for(|stop| *stop).await) };
            tokio::spawn(server::serve_admin(listener, Arc::clone(&gateway), stopped))
        });
        let (closing, ended) = (Arc::clone(&gateway), Arc::clone(&gateway));
        let stop_both = async {
            signalled.await;
            closing.mcp.stop();
            stopping.send_replace(true);
        };
        server::serve(listener, gateway, stop_both).await?;
        ended.mcp.close();
        if let Some(managing) = managing {
            managing.await??;
        }
        // After the last answer: what it settled still has to reach the store.
        stop.send_replace(true);
        let _ = tokio::join!(followers, switching, reading, serving, subscribing, federating, alerting, upkeep, counting, draining);
        tracing::info!("keyward has stopped");
        Ok(ExitCode::SUCCESS)
    }
}

/// Resolves at the first SIGTERM or SIGINT; a second SIGINT ends the process at once.
fn a_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // A terminal that is closed, which would end the process at once; under nohup that means nothing.
    let hangup = (!ignores_hangup()).then(|| signal(SignalKind::hangup())).transpose()?;
    let hung_up = async {
        match hangup {
            Some(mut hangup) => drop(hangup.recv().await),
            None => std::future::pending().await,
        }
    };
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = hung_up => {}
        }
        tokio::spawn(async move {
            interrupt.recv().await;
            std::process::exit(130);
        });
    })
}

/// Where alerts go, where the configuration says so.
pub(super) fn webhook(config: &Config, env: &Environment) -> Result<Option<alert::Webhook>, CliError> {
    let Some(url) = &config.alerts.webhook else { return Ok(None) };
    let secret = env
        .get(ALERT_SECRET)
        .ok_or_else(|| format!("alerts.webhook is set and {ALERT_SECRET} is not: the webhook would not know that we call it"))?;
    Ok(Some(alert::Webhook::new(url, &Secret::new(secret))?))
}

/// Whether whoever started the process wants it to outlive its terminal: the first bit of what the system says that it ignores.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}
