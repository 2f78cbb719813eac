//! `keyward doctor`: what is wrong with this installation, and how to mend it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::installation::{Installation, open_to_others};
use super::{CliError, check, installation, output};
use crate::catalog::{Catalog, Environment};
use crate::config::{Config, ConfigError};
use crate::ledger::Ledger;
use crate::prompt::{Prompts, advice};
use crate::route::{Router, Stored, Vault};
use crate::service::Folder;
use crate::store::sqlite::Sqlite;
use crate::store::{StoreError, audit};

/// Say what is wrong with this installation and how to mend it
#[derive(Args)]
pub struct Doctor {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    finding: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warning,
    Wrong,
}

// === impl Doctor ===

impl Doctor {
    /// Looks at everything that can be looked at; exits with 1 where something is wrong.
    pub async fn run(&self, config: Result<Config, ConfigError>, env: Environment) -> Result<ExitCode, CliError> {
        let mut findings = Vec::new();
        match config {
            Err(e) => findings.push(Finding { what: "configuration", state: State::Wrong, finding: e.to_string() }),
            Ok(config) => {
                findings.extend(configuration(&config, &env).await);
                findings.extend(prompts(&config, &env).await);
                findings.extend(services(&config, &env));
                findings.extend(data(&config.data).await);
                findings.extend(closed(&config));
                findings.extend(addresses(&config));
            }
        }
        if self.json {
            output::json(&findings)?;
        } else {
            let word = |state| match state {
                State::Ok => "ok",
                State::Warning => "warning",
                State::Wrong => "WRONG",
            };
            let rows: Vec<_> = findings.iter().map(|f| vec![f.what.to_owned(), word(f.state).to_owned(), f.finding.clone()]).collect();
            output::table(&["WHAT", "STATE", "FINDING"], &rows)?;
        }
        Ok(if findings.iter().any(|f| f.state == State::Wrong) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

async fn configuration(config: &Config, env: &Environment) -> Vec<Finding> {
    let what = "configuration";
    let router = match installation::router(config, env).await {
        Ok(router) => router,
        Err(e) => match (Catalog::load(config.providers.as_deref()), Vault::check(env)) {
            // What keeps the store closed is told of the data folder.
            (Ok(catalog), Ok(())) => Router::new(&catalog, config, env, &Stored::default(), None),
            _ => return vec![Finding { what, state: State::Wrong, finding: e.to_string() }],
        },
    };
    let mut findings: Vec<Finding> =
        check::wrong(config, env, &router).into_iter().map(|finding| Finding { what, state: State::Wrong, finding }).collect();
    if findings.is_empty() {
        findings.push(Finding { what, state: State::Ok, finding: "it is right".to_owned() });
    }
    findings.extend(check::unknown_variables(env).into_iter().map(|finding| Finding { what, state: State::Warning, finding }));
    let live: Vec<&str> = router.live().filter(|provider| !provider.is_simulator()).map(|provider| provider.id.as_str()).collect();
    let (state, finding) = match live.is_empty() {
        true => (
            State::Warning,
            "only the simulator is live: set a variable such as OPENAI_API_KEY ('keyward providers list' names them all)".to_owned(),
        ),
        false => (State::Ok, format!("live: {}", live.join(", "))),
    };
    findings.push(Finding { what: "providers", state, finding });
    findings
}

async fn prompts(config: &Config, env: &Environment) -> Option<Finding> {
    let (what, prompts) = ("prompts", Prompts::read(&config.prompts.folder));
    if let Some(fault) = prompts.faults().first() {
        return Some(Finding { what, state: State::Wrong, finding: format!("{fault} ('keyward prompts check' tells all)") });
    }
    let router = installation::router(config, env).await.ok()?;
    let simulated = advice::simulated(&prompts, &router, &config.prompts.model, Timestamp::now())?;
    Some(Finding { what, state: State::Warning, finding: simulated })
}

fn services(config: &Config, env: &Environment) -> Option<Finding> {
    let services = Folder::of(config, Some(env)).read();
    let fault = services.faults().first()?;
    Some(Finding { what: "services", state: State::Wrong, finding: format!("{fault} ('keyward services check' tells all)") })
}

async fn data(folder: &Path) -> Vec<Finding> {
    let what = "data folder";
    if !folder.exists() {
        let finding = format!("{} is not there yet: the first start makes it", folder.display());
        return vec![Finding { what, state: State::Warning, finding }];
    }
    let open = open_to_others(folder).into_iter();
    let mut findings: Vec<Finding> = open.map(|finding| Finding { what, state: State::Wrong, finding }).collect();
    if let Err(e) = writable(folder) {
        let finding = format!("nothing can be written in {}: {e}; give it room, or its owner the right to", folder.display());
        findings.push(Finding { what, state: State::Wrong, finding });
    }
    if let Err(e) = Ledger::node_in(&folder.join("ledger")) {
        findings.push(Finding { what, state: State::Wrong, finding: e.to_string() });
    }
    if let Some(finding) = installation::older(folder).await {
        findings.push(Finding { what: "store", state: State::Warning, finding });
        return findings;
    }
    match Installation::existing(folder).await {
        Err(e) => findings.push(Finding { what, state: State::Wrong, finding: e.to_string() }),
        Ok(Installation { store, .. }) => match installation::damage(folder).await {
            // What is read of a damaged store may be anything.
            Some(finding) => findings.push(Finding { what: "store", state: State::Wrong, finding }),
            None => findings.extend(stored(&store).await),
        },
    }
    findings
}

/// What commands of another account, such as root, have left in folders of the gateway's.
fn closed(config: &Config) -> Vec<Finding> {
    let folders = [("prompts", &config.prompts.folder), ("services", &config.services.folder), ("data folder", &config.data)];
    let closed =
        folders.into_iter().flat_map(|(what, folder)| installation::closed_to_owner(folder).into_iter().map(move |told| (what, told)));
    closed.map(|(what, finding)| Finding { what, state: State::Wrong, finding }).collect()
}

async fn stored(store: &Sqlite) -> Vec<Finding> {
    let of_keys = match store.count_keys().await {
        Err(e) => Finding { what: "store", state: State::Wrong, finding: e.to_string() },
        Ok(0) => {
            let finding = "there is no key yet: the first start makes two, or 'keyward keys create' one".to_owned();
            Finding { what: "store", state: State::Warning, finding }
        }
        Ok(keys) => match store.takes_changes().await {
            Err(e) => Finding { what: "store", state: State::Wrong, finding: untaken(&e) },
            Ok(()) => Finding { what: "store", state: State::Ok, finding: format!("{keys} keys") },
        },
    };
    let of_audit = match audit::verify(store).await {
        Err(e) => Some(e.to_string()),
        Ok(verified) => {
            (!verified.is_whole()).then(|| "it was changed behind the gateway: 'keyward audit --verify' tells where".to_owned())
        }
    };
    let of_audit = of_audit.map(|finding| Finding { what: "audit list", state: State::Wrong, finding });
    std::iter::once(of_keys).chain(of_audit).collect()
}

/// Why a store that can be read takes no change, and what to do about it.
fn untaken(why: &StoreError) -> String {
    match why.is_locked() {
        true => {
            format!("{why}, such as a backup or a shell that has a transaction open on it: end that, as nothing can be changed until then")
        }
        false => format!("nothing can be changed in it: {why}"),
    }
}

/// Whether a record of some length can be kept, on the disk and not in its cache alone.
fn writable(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(".doctor");
    let mut file = std::fs::File::create(&path)?;
    let written = file.write_all(&[0; 64 << 10]).and_then(|()| file.sync_all());
    std::fs::remove_file(&path).and(written)
}

/// A gateway that runs on this data folder holds both its addresses and the ledger: then all is well.
fn addresses(config: &Config) -> Vec<Finding> {
    let is_running = matches!(Ledger::is_locked(&config.data.join("ledger")), Ok(true));
    let of = |(setting, address): (&str, SocketAddr)| {
        let (state, finding) = match std::net::TcpListener::bind(address) {
            Ok(_) if is_running && address.port() != 0 => {
                (State::Warning, format!("keyward runs on this data folder, and does not listen on {address}"))
            }
            Ok(_) => (State::Ok, format!("{address} is free")),
            Err(_) if is_running => (State::Ok, format!("{address} is taken, and keyward runs on this data folder")),
            Err(e) => (State::Wrong, format!("cannot listen on {address} ({e}): set {setting} to another address")),
        };
        Finding { what: "address", state, finding }
    };
    let admin = config.admin.listen.map(|address| ("KEYWARD_ADMIN_LISTEN", address));
    std::iter::once(("KEYWARD_LISTEN", config.listen)).chain(admin).map(of).collect()
}
