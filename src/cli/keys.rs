//! `keyward keys …`

mod shown;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use self::shown::{left_of, show, show_all, show_created, successor_not_shown, tell, warn_of};
use super::limits::{self, Clear, LimitArgs, warn};
use super::usage::wait_for_newest;
use super::{CliError, Installation, installation, output};
use crate::admin::explain::Sources;
use crate::admin::keys::{self, KeyChange, ListQuery, NewKeyOrder, Overlap};
use crate::admin::meant::Meant;
use crate::catalog::Environment;
use crate::config::Config;
use crate::key::{Keyring, Kind, Role};
use crate::prompt::Prompts;
use crate::store::audit::Actor;
use crate::store::{KeyFilter, KeyStore};

/// Make, list, explain, change, rotate and revoke keys
#[derive(Subcommand)]
pub enum Keys {
    /// Make a key; its text is shown this once
    Create(Box<Create>),
    /// List keys, newest first
    List {
        /// Only those of this owner
        #[arg(long)]
        owner: Option<String>,
        /// Only those of this project
        #[arg(long)]
        project: Option<String>,
        /// Only those that are active, disabled, owner_disabled, group_disabled, expired, not_yet_valid, revoked or rotated
        #[arg(long)]
        state: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one key
    Show {
        /// Its id
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what a key is, and whether and why it would be refused
    Explain {
        /// A whole key or an id; '-' reads it from standard input, and keeps it out of the shell's history
        key: String,
        /// Whether it may use this model
        #[arg(long)]
        model: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a successor with the same rights; the old key works beside it for a while
    Rotate {
        /// Its id
        id: String,
        /// How long the old key still works
        #[arg(long, default_value = "24h", value_parser = duration)]
        grace: Duration,
        /// When the new key ends: '30d', '12h' or a time such as 2027-01-31T00:00:00Z [default: when the old one does]
        #[arg(long, value_parser = moment)]
        expires: Option<Timestamp>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a key: its limits are those of all that it replaced and that replaced it
    Update(Box<Update>),
    /// Switch a key off for now, or all keys of an owner, those made later too
    Disable {
        /// Its id
        #[arg(required_unless_present = "owner", conflicts_with = "owner")]
        id: Option<String>,
        /// All keys of this owner
        #[arg(long)]
        owner: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Switch a key on again, or all keys of an owner that are not disabled by themselves
    Enable {
        /// Its id
        #[arg(required_unless_present = "owner", conflicts_with = "owner")]
        id: Option<String>,
        /// All keys of this owner
        #[arg(long)]
        owner: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End a key for good, or all keys of an owner, or those that leaked
    Revoke {
        /// Its id
        #[arg(required_unless_present_any = ["owner", "leaked"], conflicts_with_all = ["owner", "leaked"])]
        id: Option<String>,
        /// All keys of this owner
        #[arg(long, conflicts_with = "leaked")]
        owner: Option<String>,
        /// The keys in this file: lines with their texts in them, or an id each; '-' reads standard input
        #[arg(long, value_name = "FILE")]
        leaked: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Change a key; what is not given stays as it is, and rates, budgets and lists that are given take the place of all of their kind
#[derive(Args)]
pub struct Update {
    /// Its id
    id: String,
    /// What to call it
    #[arg(long)]
    name: Option<String>,
    /// Whose it is
    #[arg(long)]
    owner: Option<String>,
    /// The project that it belongs to
    #[arg(long)]
    project: Option<String>,
    /// What an admin key may manage: viewer, admin or owner
    #[arg(long, value_parser = role)]
    role: Option<Role>,
    /// When it begins to be valid: '2h' from now, or a time such as 2027-01-31T00:00:00Z
    #[arg(long, value_parser = moment)]
    not_before: Option<Timestamp>,
    /// When it ends: '30d', '12h' or a time such as 2027-01-31T00:00:00Z
    #[arg(long, value_parser = moment)]
    expires: Option<Timestamp>,
    #[command(flatten)]
    limits: LimitArgs,
    /// What is to be unlimited again
    #[arg(long, value_enum, value_delimiter = ',')]
    clear: Vec<Clear>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Make a key
#[derive(Args)]
pub struct Create {
    /// What to call it
    #[arg(long, default_value = "unnamed")]
    name: String,
    /// Whose it is
    #[arg(long, default_value = "")]
    owner: String,
    /// live calls models, test calls the simulator only, admin manages
    #[arg(long, default_value = "live", value_parser = kind)]
    kind: Kind,
    /// The project that it belongs to
    #[arg(long)]
    project: Option<String>,
    /// What an admin key may manage: viewer, admin or owner [default: owner]
    #[arg(long, value_parser = role)]
    role: Option<Role>,
    #[command(flatten)]
    limits: LimitArgs,
    /// When it begins to be valid: '2h' from now, or a time such as 2027-01-31T00:00:00Z
    #[arg(long, value_parser = moment)]
    not_before: Option<Timestamp>,
    /// When it ends: '30d', '12h' or a time such as 2027-01-31T00:00:00Z
    #[arg(long, value_parser = moment)]
    expires: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

// === impl Keys ===

impl Keys {
    /// Runs the command on the store; a running gateway takes notice within a second.
    pub async fn run(self, config: &Config, env: &Environment) -> Result<ExitCode, CliError> {
        let Installation { pepper, store, .. } = match &self {
            Keys::Create(_) => Installation::open(&config.data).await?,
            _ => Installation::existing(&config.data).await?,
        };
        match self {
            Keys::Create(order) => {
                let json = order.json;
                limits::check(&order.limits.clone().change(&[]), config, env).await?;
                let created = keys::create(&store, &store, &pepper, (*order).into(), &Actor::of_process()).await?;
                warn_of(&created.view, config, env).await?;
                if let Err(e) = show_created(&created, &created, json) {
                    let id = &created.view.id;
                    return Err(format!("the key {id} was made and not shown, {e}: end it with 'keyward keys revoke {id}'").into());
                }
            }
            Keys::List { owner, project, state, json } => {
                let query = ListQuery { filter: KeyFilter { owner, project }, state, after: None };
                show_all(&keys::page(&store, &query, usize::MAX).await?.0, json)?
            }
            Keys::Show { id, json } => show(&keys::show(&store, &id).await?, json)?,
            Keys::Explain { key, model, json } => {
                let text = if key == "-" { std::io::read_to_string(std::io::stdin())? } else { key };
                let router = installation::router(config, env).await?;
                wait_for_newest(&config.data, &store).await?;
                if installation::is_running(&config.data) && store.takes_changes().await.is_err_and(|e| e.is_locked()) {
                    eprintln!(
                        "note: the store is locked by another program: until that ends, the gateway refuses keys that it has not in memory, \
                         and whose limits it has to count (503 key_store_unavailable)"
                    );
                }
                let store = Arc::new(store);
                let accounts = Arc::new(installation::accounts(&store));
                let keyring = Keyring::new(pepper, Arc::clone(&store) as Arc<dyn KeyStore>, accounts, config.store.down_for);
                let (prompts, prompts_model) = (&Prompts::read(&config.prompts.folder), config.prompts.model.as_str());
                let (keyring, keys, ledger, audit) = (&keyring, &*store, &*store, &*store);
                let sources = Sources { keyring, is_gateway: false, keys, ledger, audit, router: &router, prompts, prompts_model };
                let explanation = sources.explain(&text, model.as_deref()).await?;
                if json {
                    output::json(&explanation)?
                } else {
                    tell(&explanation)?
                }
                return Ok(if explanation.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Keys::Rotate { id, grace, expires, json } => {
                let overlap = Overlap { grace, expires: expires.map(Some) };
                let rotated = keys::rotate(&store, &pepper, (&id, &Meant::ANY), overlap, &Actor::of_process()).await?;
                if let Err(e) = show_created(&rotated, &rotated.new, json) {
                    return Err(successor_not_shown(&rotated.new.view.id, &rotated.replaces, &e).into());
                }
                eprintln!("note: {}", left_of(&rotated.replaces));
                warn_of(&rotated.new.view, config, env).await?;
            }
            Keys::Update(update) => {
                let json = update.json;
                let clear = update.clear.clone();
                limits::check_clear(&clear, "a key", &[Clear::Project, Clear::NotBefore, Clear::Expires])?;
                let (id, change) = update.change();
                limits::check(&change.limits, config, env).await?;
                let before = keys::show(&store, &id).await?.limits;
                let view = keys::update(&store, &store, (&id, &Meant::ANY), change, &Actor::of_process()).await?;
                limits::tell_replaced(&before, &view.limits, &clear);
                warn(&view.limits, Kind::from_name(view.kind), config, env).await?;
                show(&view, json)?;
            }
            Keys::Disable { id: Some(id), json, .. } => {
                show(&keys::disable(&store, &store, (&id, &Meant::ANY), &Actor::of_process()).await?, json)?
            }
            Keys::Enable { id: Some(id), json, .. } => {
                show(&keys::enable(&store, &store, (&id, &Meant::ANY), &Actor::of_process()).await?, json)?
            }
            Keys::Disable { owner, json, .. } => {
                let owner = owner.unwrap_or_default();
                let switched = keys::switch_owner(&store, &owner, true, &Actor::of_process()).await?;
                match output::harmless(&owner) {
                    owner if switched.is_empty() => eprintln!("warning: {}", keys::unknown_owner(&owner)),
                    owner => eprintln!(
                        "these are all; what is made for '{owner}' later is off too, until 'keyward keys enable --owner' says otherwise"
                    ),
                }
                show_all(&switched, json)?
            }
            Keys::Enable { owner, json, .. } => {
                show_all(&keys::switch_owner(&store, &owner.unwrap_or_default(), false, &Actor::of_process()).await?, json)?
            }
            Keys::Revoke { id: Some(id), json, .. } => show(&keys::revoke(&store, (&id, &Meant::ANY), &Actor::of_process()).await?, json)?,
            Keys::Revoke { owner: Some(owner), json, .. } => {
                let keys = keys::of_known_owner(&store, &owner).await?;
                show_all(&keys::revoke_all(&store, keys, "all of its owner", &Actor::of_process()).await?, json)?
            }
            Keys::Revoke { leaked, json, .. } => {
                let texts = lines(leaked.as_deref().unwrap_or(Path::new("-")))?;
                if texts.is_empty() {
                    return Err("there is no key in what was given, and nothing was done: write one a line".into());
                }
                let leaks = keys::leaked(&store, &pepper, &texts, "command line", config.admin.leaks, &Actor::of_process()).await?;
                let row = |leak: &keys::Leak| vec![leak.id.clone().unwrap_or_default(), leak.outcome.to_owned()];
                if json { output::json(&leaks)? } else { output::table(&["ID", "OUTCOME"], &leaks.iter().map(row).collect::<Vec<_>>())? }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Update {
    fn change(self) -> (String, KeyChange) {
        let clears = |what| self.clear.contains(&what);
        let change = KeyChange {
            name: self.name,
            owner: self.owner,
            project: self.project.map(Some).or_else(|| clears(Clear::Project).then_some(None)),
            role: self.role,
            not_before: self.not_before.map(Some).or_else(|| clears(Clear::NotBefore).then_some(None)),
            expires: self.expires.map(Some).or_else(|| clears(Clear::Expires).then_some(None)),
            disabled: None,
            limits: self.limits.change(&self.clear),
        };
        (self.id, change)
    }
}

impl From<Create> for NewKeyOrder {
    fn from(order: Create) -> NewKeyOrder {
        NewKeyOrder {
            name: order.name,
            owner: order.owner,
            kind: order.kind,
            limits: order.limits.into(),
            not_before: order.not_before,
            expires: order.expires,
            project: order.project,
            role: order.role,
            disabled: false,
        }
    }
}

/// The lines of a file that are not empty; of standard input where it is '-'. What is no UTF-8 in them, as in a log, is no part of a key.
fn lines(file: &Path) -> Result<Vec<String>, CliError> {
    let text = match file {
        stdin if stdin == Path::new("-") => {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text)?;
            text
        }
        file => std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?,
    };
    Ok(String::from_utf8_lossy(&text).lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::from_name(text).ok_or_else(|| "it is one of live, test, admin".to_owned())
}

fn role(text: &str) -> Result<Role, String> {
    Role::from_name(text).ok_or_else(|| "it is one of viewer, admin, owner".to_owned())
}

/// In seconds.
const DAY: i64 = 24 * 3600;

fn duration(text: &str) -> Result<Duration, String> {
    // Days have 24 hours here: a grace period is no calendar.
    let days =
        text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok()).map(|days| SignedDuration::from_secs(days.saturating_mul(DAY)));
    let signed = days.map_or_else(|| text.parse::<SignedDuration>(), Ok).map_err(|_| "write it as '30d', '12h' or '15m'".to_owned())?;
    Duration::try_from(signed).map_err(|_| "it has to be in the future".to_owned())
}

fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    // To the second, as people mean it.
    let now = Timestamp::from_second(Timestamp::now().as_second()).map_err(|e| e.to_string())?;
    let after = duration(text).map_err(|e| format!("{e}, or as a time such as 2027-01-31T00:00:00Z"))?;
    now.checked_add(after).map_err(|_| "no calendar goes that far: leave it out for good".to_owned())
}
