//! The services of a folder, read again as its files change; a bad file is refused whole and named, and what it was before goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::Service;
use super::entry::Faulty;
use crate::catalog::Environment;
use crate::config::mcp::OWN;
use crate::config::{Config, hint};
use crate::life::State;
use crate::prompt::Misfile;
use crate::prompt::dotprompt::Fault;

/// All services of a folder, as they are now.
pub struct Shelf {
    folder: Folder,
    now: RwLock<Arc<Services>>,
}

/// Where services are, and what their files are read with.
#[derive(Clone)]
pub struct Folder {
    path: PathBuf,
    /// Names that stand for something else where services are tools.
    taken: BTreeSet<String>,
    /// What fills variables in; none where nobody calls a service.
    env: Option<Environment>,
}

/// What was read of a folder.
#[derive(Debug, Default)]
pub struct Services {
    by_name: BTreeMap<String, Arc<Service>>,
    faults: Vec<Misfile>,
    seen: Seen,
}

/// What a folder's files were when they were read.
type Seen = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// How often the folder is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// Files that belong to services.
const EXTENSIONS: [&str; 4] = ["toml", "json", "yaml", "yml"];

// === impl Shelf ===

impl Shelf {
    /// Reads a folder; where there is none, there are no services.
    pub fn open(folder: Folder) -> Shelf {
        let services = folder.read(None);
        services.tell();
        Shelf { folder, now: RwLock::new(Arc::new(services)) }
    }

    /// The services that hold now.
    pub fn services(&self) -> Arc<Services> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the folder, and reads it again if anything in it changed.
    pub fn refresh(&self) {
        let before = self.services();
        if seen(&self.folder.path) != before.seen {
            let services = self.folder.read(Some(&before));
            if services.faults != before.faults {
                services.tell();
            }
            *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(services);
        }
    }

    /// Looks at the folder every second until told to stop.
    pub async fn follow(self: Arc<Shelf>, mut stopped: tokio::sync::watch::Receiver<bool>) {
        while tokio::time::timeout(EVERY, stopped.wait_for(|stop| *stop)).await.is_err() {
            let shelf = Arc::clone(&self);
            // A folder may be on a slow disk; what panics there is told by the runtime, and the last services go on.
            let _ = tokio::task::spawn_blocking(move || shelf.refresh()).await;
        }
    }
}

// === impl Folder ===

impl Folder {
    /// The one that the configuration names; with `env`, variables are filled in.
    pub fn of(config: &Config, env: Option<&Environment>) -> Folder {
        let taken = config.mcp.servers.keys().cloned().chain(OWN.map(str::to_owned)).collect();
        Folder { path: config.services.folder.clone(), taken, env: env.cloned() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it; of a file that is wrong now, what it was `before` goes on.
    pub fn read(&self, before: Option<&Services>) -> Services {
        let mut services = Services { seen: seen(&self.path), ..Services::default() };
        let files: Vec<PathBuf> = services.seen.keys().filter(|path| is_service(path)).cloned().collect();
        for path in files {
            let name = name_of(&path);
            let text = std::fs::read_to_string(&path);
            match text.map_err(|e| fault_at(&path, 1, format!("it cannot be read: {e}"))).and_then(|text| self.read_one(&path, &text)) {
                Ok(service) => drop(services.by_name.insert(service.name.clone(), Arc::new(service))),
                Err(fault) => {
                    services.faults.push(fault);
                    if let Some(last_good) = before.and_then(|before| before.by_name.get(name)) {
                        services.by_name.insert(name.to_owned(), Arc::clone(last_good));
                    }
                }
            }
        }
        services
    }

    /// The service that this text in a file would be.
    pub fn read_one(&self, path: &Path, text: &str) -> Result<Service, Misfile> {
        let name = name_of(path);
        let mut letters = name.chars();
        let is_name = letters.next().is_some_and(|first| first.is_ascii_lowercase())
            && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && name.len() <= 30;
        if !is_name {
            let message = "a service's file is NAME.toml, of up to 30 lower-case letters, digits and '-', and begins with a letter";
            return Err(fault_at(path, 1, message.to_owned()));
        }
        if self.taken.contains(name) {
            let message = format!("'{name}' cannot be the name of a service: it is an MCP server, or the gateway's own");
            return Err(fault_at(path, 1, message));
        }
        let describe = |file: &str| std::fs::read_to_string(self.path.join(file));
        Service::read(name, text, describe, self.env.as_ref()).map_err(|faulty| match faulty {
            Faulty::File(Fault { line, message }) => fault_at(path, line, message),
            Faulty::Description(file, Fault { line, message }) => fault_at(&self.path.join(file), line, message),
        })
    }
}

// === impl Services ===

impl Services {
    /// The files that cannot be used.
    pub fn faults(&self) -> &[Misfile] {
        &self.faults
    }

    /// All, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.by_name.values()
    }

    /// Those that callers are told of.
    pub fn served(&self) -> impl Iterator<Item = &Arc<Service>> {
        let now = Timestamp::now();
        self.all().filter(move |service| matches!(service.life.state_at(now), State::Published | State::Deprecated))
    }

    /// One, whatever its state.
    pub fn service(&self, name: &str) -> Option<&Arc<Service>> {
        self.by_name.get(name)
    }

    /// The name that was most likely meant, of those that callers are told of.
    pub fn nearest(&self, name: &str) -> Option<String> {
        hint::nearest(name, self.served().map(|service| service.name.as_str())).map(str::to_owned)
    }

    fn tell(&self) {
        for Misfile { file, line, message } in &self.faults {
            tracing::error!("{file}:{line}: {message}; what it was before goes on, if it was anything");
        }
    }
}

fn fault_at(path: &Path, line: usize, message: String) -> Misfile {
    Misfile { file: path.display().to_string(), line, message }
}

fn is_service(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

fn name_of(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}

fn seen(folder: &Path) -> Seen {
    let of_service = |entry: std::fs::DirEntry| {
        let path = entry.path();
        let is_ours = path.extension().and_then(|extension| extension.to_str()).is_some_and(|extension| EXTENSIONS.contains(&extension));
        let facts = entry.metadata().ok().filter(|_| is_ours)?;
        Some((path, (facts.modified().ok(), facts.len())))
    };
    std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(of_service).collect()
}
