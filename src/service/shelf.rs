//! The services of a folder, by name, each of a file and the description beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::Service;
use super::entry::{Faulty, Texts};
use super::served::{self, Known};
use crate::catalog::Environment;
use crate::config::mcp::OWN;
use crate::config::{Config, hint};
use crate::life::State;
use crate::prompt::dotprompt::Fault;
use crate::shelf::{self, Misfile, Moving, Reading, Seen, seen_first};

/// All services of a folder, as they are now.
pub type Shelf = shelf::Shelf<Folder>;

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
    /// Those that are as they were, whatever their files are now.
    doubtful: BTreeSet<String>,
    /// A file was there and could not be read.
    is_unread: bool,
}

/// Why a service cannot be taken from its files.
enum Unusable {
    /// They are wrong.
    Wrong(Misfile),
    /// One is there and cannot be read: another time it may be, though no file changes.
    Unread(Misfile),
}

/// Files that belong to services.
const EXTENSIONS: [&str; 4] = ["toml", "json", "yaml", "yml"];

// === impl Shelf ===

impl Shelf {
    /// The services that hold now.
    pub fn services(&self) -> Arc<Services> {
        self.now()
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

    /// Reads it.
    pub fn read(&self) -> Services {
        match seen_first::<Folder>(&self.path) {
            Ok(files) => self.gather(&files, &Moving::new(), None, &Known::new()),
            Err(fault) => Services { faults: vec![fault], ..Services::default() },
        }
    }

    /// The service that this text in a file would be.
    pub fn read_one(&self, path: &Path, text: &str) -> Result<Service, Misfile> {
        self.read_named(path, text).map_err(|unusable| match unusable {
            Unusable::Wrong(fault) | Unusable::Unread(fault) => fault,
        })
    }

    fn read_named(&self, path: &Path, text: &str) -> Result<Service, Unusable> {
        let name = name_of(path);
        let mut letters = name.chars();
        let is_name = letters.next().is_some_and(|first| first.is_ascii_lowercase())
            && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && name.len() <= 30;
        if !is_name {
            let message = "a service's file is NAME.toml, of up to 30 lower-case letters, digits and '-', and begins with a letter";
            return Err(Unusable::Wrong(Misfile::at(path, 1, message)));
        }
        if self.taken.contains(name) {
            let message = format!("'{name}' cannot be the name of a service: it is an MCP server, or the gateway's own");
            return Err(Unusable::Wrong(Misfile::at(path, 1, message)));
        }
        self.read_with(path, text, |file: &str| std::fs::read_to_string(self.path.join(file)))
    }

    fn read_with(&self, path: &Path, text: &str, describe: impl FnOnce(&str) -> std::io::Result<String>) -> Result<Service, Unusable> {
        let name = name_of(path);
        Service::read(name, text, describe, self.env.as_ref()).map_err(|faulty| match faulty {
            Faulty::Unread(Fault { line, message }) => Unusable::Unread(Misfile::at(path, line, message)),
            Faulty::File(Fault { line, message }) => Unusable::Wrong(Misfile::at(path, line, message)),
            Faulty::Description(file, Fault { line, message }) => Unusable::Wrong(Misfile::at(&self.path.join(file), line, message)),
        })
    }
}

impl Reading for Folder {
    type Found = Services;

    fn folder(&self) -> &Path {
        &self.path
    }

    fn is_ours(ending: &str) -> bool {
        EXTENSIONS.contains(&ending)
    }

    fn read_files(&self, files: &Seen, moving: &Moving, before: Option<&Services>) -> Services {
        let known = served::read(&self.path);
        let services = self.gather(files, moving, before, &known);
        let is_right = |service: &&Service| !services.doubtful.contains(&service.name);
        let right = services.all().map(AsRef::as_ref).filter(is_right);
        served::note(&self.path, known, right, |name| files.contains_key(&self.path.join(format!("{name}.toml"))));
        services
    }

    fn faults(services: &Services) -> &[Misfile] {
        services.faults()
    }

    fn is_unsettled(services: &Services) -> bool {
        services.is_unread
    }
}

impl Folder {
    /// Reads files; of one that is wrong or is being written, what it was before goes on, or else what is known of it.
    fn gather(&self, files: &Seen, moving: &Moving, before: Option<&Services>, known: &Known) -> Services {
        let mut services = Services::default();
        for path in files.keys().filter(|path| is_service(path)) {
            let last_good = before.and_then(|before| before.by_name.get(name_of(path)));
            let is_moving = moving.contains(path) || last_good.is_some_and(|service| moving.contains(&self.path.join(&service.openapi)));
            let read = match is_moving {
                true => Ok(None),
                false => std::fs::read_to_string(path)
                    .map_err(|e| Unusable::Unread(Misfile::at(path, 1, format!("it cannot be read: {e}"))))
                    .and_then(|text| self.read_named(path, &text).map(Some)),
            };
            let is_doubtful = !matches!(read, Ok(Some(_)));
            let service = match read {
                Ok(service) => service.map(Arc::new).or_else(|| last_good.cloned()),
                Err(unusable) => {
                    services.is_unread |= matches!(unusable, Unusable::Unread(_));
                    let (Unusable::Wrong(fault) | Unusable::Unread(fault)) = unusable;
                    services.faults.push(fault);
                    let noted = |served: &Texts| self.read_with(path, &served.file, |_| Ok(served.openapi.clone())).ok().map(Arc::new);
                    last_good.cloned().or_else(|| known.get(name_of(path)).and_then(noted))
                }
            };
            if is_doubtful {
                services.doubtful.insert(name_of(path).to_owned());
            }
            if let Some(service) = service {
                services.by_name.insert(service.name.clone(), service);
            }
        }
        services
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

    /// Whether there is a file of that name, be it right or wrong.
    pub fn has_file(&self, name: &str) -> bool {
        self.by_name.contains_key(name) || self.doubtful.contains(name)
    }

    /// One, whatever its state.
    pub fn service(&self, name: &str) -> Option<&Arc<Service>> {
        self.by_name.get(name)
    }

    /// The name that was most likely meant, of those that callers are told of.
    pub fn nearest(&self, name: &str, is_told: impl Fn(&Service) -> bool) -> Option<String> {
        let told = self.served().filter(|service| is_told(service)).map(|service| service.name.as_str());
        hint::nearest(name, told).map(str::to_owned)
    }
}

fn is_service(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

fn name_of(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}
