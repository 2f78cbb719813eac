//! The services of a folder, by name and version, each of a file and the description beside it; what is published once does not change.

mod check;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::Service;
use super::entry::{Faulty, Texts};
use super::served::{self, Known, Served};
use crate::catalog::Environment;
use crate::config::mcp::OWN;
use crate::config::{Config, hint};
use crate::life::State;
use crate::prompt::dotprompt::Fault;
use crate::shelf::{self, Misfile, Moving, Reading, Seen, seen_first};
use crate::versions::{self, Versioned, Versions, labels};

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
    files: BTreeMap<PathBuf, Arc<Service>>,
    versions: Versions<Service>,
    faults: Vec<Misfile>,
    /// Files that are as they were, whatever they are now, and what is wrong with them; nothing where they are being written.
    doubtful: BTreeMap<PathBuf, Option<Misfile>>,
    /// A file was there and could not be read.
    is_unread: bool,
    known: Known,
}

/// Texts that files are to have.
pub type Changed = BTreeMap<PathBuf, String>;

/// Why a service cannot be taken from its files.
enum Unusable {
    /// They are wrong.
    Wrong(Misfile),
    /// One is there and cannot be read: another time it may be, though no file changes.
    Unread(Misfile),
    /// One is being written.
    Moving,
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

    /// Reads it, and writes nothing: what is published is noted by a gateway, and by whoever publishes.
    pub fn read(&self) -> Services {
        self.with(&Changed::new())
    }

    /// What it would be with these texts in files: nothing is written.
    pub fn with(&self, changed: &Changed) -> Services {
        let (mut files, unread) = seen_first::<Folder>(&self.path).map_or_else(|fault| (Seen::new(), Some(fault)), |files| (files, None));
        files.extend(changed.keys().map(|path| (path.clone(), (None, 0, 0))));
        let (known, unknown) = served::read(&self.path).map_or_else(|fault| (Known::new(), Some(fault)), |known| (known, None));
        let mut services = self.gather(&files, &Moving::new(), (None, known), changed);
        services.faults.extend(unread.into_iter().chain(unknown));
        services
    }

    /// The service that this text in a file would be.
    pub fn read_one(&self, path: &Path, text: &str) -> Result<Service, Misfile> {
        self.read_named(path, text, &Changed::new()).map_err(|unusable| match unusable {
            Unusable::Wrong(fault) | Unusable::Unread(fault) => fault,
            Unusable::Moving => Misfile::at(path, 1, "it is being written"),
        })
    }

    fn read_named(&self, path: &Path, text: &str, changed: &Changed) -> Result<Service, Unusable> {
        let (name, _) = named(path).filter(|(name, _)| is_name(name)).ok_or_else(|| {
            let message = "a service's file is NAME.toml, or NAME@2.toml (not @02), of up to 30 lower-case letters, digits and '-', and begins with a letter";
            Unusable::Wrong(Misfile::at(path, 1, message))
        })?;
        if self.taken.contains(&name) {
            let message = format!("'{name}' cannot be the name of a service: it is an MCP server, or the gateway's own");
            return Err(Unusable::Wrong(Misfile::at(path, 1, message)));
        }
        self.read_with(path, text, |file: &str| text_of(&self.path.join(file), changed))
    }

    fn read_with(&self, path: &Path, text: &str, describe: impl FnOnce(&str) -> io::Result<String>) -> Result<Service, Unusable> {
        let (name, version) = named(path).unwrap_or_default();
        Service::read((&name, version), text, describe, self.env.as_ref()).map_err(|faulty| match faulty {
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
        let noted = served::read(&self.path);
        let own = before.map(|before| before.known.clone()).unwrap_or_default();
        let known = served::joined(noted.as_ref().unwrap_or(&Known::new()), &own);
        let mut services = self.gather(files, moving, (before, known), &Changed::new());
        let there = files.keys().chain(moving).filter(|path| is_service(path)).filter_map(|path| named(path));
        let there = there.map(|(name, version)| format!("{name}@{version}")).collect();
        services.known = served::kept(std::mem::take(&mut services.known), &there);
        match noted {
            Ok(noted) if noted == services.known => {}
            // Where nothing can be noted, such as in a folder that is mounted to be read, all is served the same.
            Ok(_) => drop(served::write(&self.path, &services.known).inspect_err(|fault| tracing::warn!("{fault}"))),
            Err(fault) => {
                services.is_unread = true;
                services.faults.push(fault);
            }
        }
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
    fn gather(&self, files: &Seen, moving: &Moving, (before, known): (Option<&Services>, Known), changed: &Changed) -> Services {
        let (noted, now) = (known.clone(), Timestamp::now());
        let mut services = Services { known, ..Services::default() };
        // An end may have come by itself since.
        for service in before.into_iter().flat_map(|before| before.all()).filter(|service| service.state_at(now) == State::Retired) {
            services.known.entry(service.label()).or_default().retired = true;
        }
        let mut read: Vec<(&PathBuf, Result<Service, Unusable>)> =
            files.keys().filter(|path| is_service(path)).map(|path| (path, self.read_file(path, moving, before, changed))).collect();
        // Of two files with one label, the one that was published holds, and a published one before a draft.
        read.sort_by_key(|(_, service)| service.as_ref().map_or(3, |service| services.rank(service)));
        for (path, service) in read {
            match service.and_then(|service| services.check(&self.path, path, &service).map(|()| service).map_err(Unusable::Wrong)) {
                Ok(service) => {
                    services.known.entry(service.label()).or_default().take(&service, now);
                    services.put(path, Arc::new(service));
                }
                Err(unusable) => {
                    services.is_unread |= matches!(unusable, Unusable::Unread(_));
                    let fault = match unusable {
                        Unusable::Wrong(fault) | Unusable::Unread(fault) => Some(fault),
                        Unusable::Moving => None,
                    };
                    services.faults.extend(fault.clone());
                    services.doubtful.insert(path.clone(), fault);
                    if let Some(service) = self.last_good(path, before, &services) {
                        services.put(path, service);
                    }
                }
            }
        }
        self.check_weights(&mut services, before, &noted);
        services
    }

    fn read_file(&self, path: &Path, moving: &Moving, before: Option<&Services>, changed: &Changed) -> Result<Service, Unusable> {
        let last_good = before.and_then(|before| before.files.get(path));
        if moving.contains(path) || last_good.is_some_and(|service| moving.contains(&self.path.join(&service.openapi))) {
            return Err(Unusable::Moving);
        }
        let text = text_of(path, changed).map_err(|e| Unusable::Unread(Misfile::at(path, 1, format!("it cannot be read: {e}"))))?;
        self.read_named(path, &text, changed)
    }

    /// A file as it was served, or as it is known to have been: what was published is not the draft again that it was before.
    fn last_good(&self, path: &Path, before: Option<&Services>, services: &Services) -> Option<Arc<Service>> {
        let (name, version) = named(path)?;
        let known = services.known.get(&format!("{name}@{version}"));
        let is_it = |service: &Arc<Service>| {
            let is_past = service.life.state == State::Draft && known.is_some_and(|known| known.offer.is_some());
            !is_past && !services.has(service)
        };
        let served = before.and_then(|before| before.files.get(path)).cloned().filter(is_it);
        served.or_else(|| self.noted(path, known?).map(Arc::new).filter(is_it))
    }

    /// A version as its texts were noted; where a variable is gone by now, without what it was filled into.
    fn noted(&self, path: &Path, known: &Served) -> Option<Service> {
        let Texts { file, openapi } = known.texts.as_ref()?;
        let read = |folder: &Folder| folder.read_with(path, file, |_| Ok(openapi.clone())).ok();
        let is_public = |service: &Service| service.life.state != State::Draft;
        read(self).or_else(|| read(&Folder { env: None, ..self.clone() }).filter(is_public))
    }
}

// === impl Services ===

impl Deref for Services {
    type Target = Versions<Service>;

    fn deref(&self) -> &Versions<Service> {
        &self.versions
    }
}

impl Services {
    /// What cannot be used.
    pub fn faults(&self) -> &[Misfile] {
        &self.faults
    }

    /// The version that is shown of each name, of those that callers are told of.
    pub fn served(&self) -> impl Iterator<Item = &Arc<Service>> {
        let now = Timestamp::now();
        let is_served = move |service: &&Arc<Service>| matches!(service.state_at(now), State::Published | State::Deprecated);
        self.names().filter_map(move |name| self.shown(name, now)).filter(is_served)
    }

    /// The version that a name means to whoever looks: the one that it says, or is shown, or else the newest draft.
    pub fn named(&self, name: &str) -> Option<&Arc<Service>> {
        let now = Timestamp::now();
        match versions::split(name) {
            (base, Some(digits)) => self.version(base, digits),
            (base, None) => self.shown(base, now).or_else(|| self.newest(base, State::Draft, now)),
        }
    }

    /// Whether there is a file of that name in some version, be it right or wrong.
    pub fn has_file(&self, name: &str) -> bool {
        self.versions(name).is_some() || self.doubtful.keys().filter_map(|path| named(path)).any(|(known, _)| known == name)
    }

    /// The file that a version was read of.
    pub fn file_of(&self, service: &Service) -> Option<&Path> {
        self.files.iter().find(|(_, other)| other.label() == service.label()).map(|(path, _)| path.as_path())
    }

    /// What is wrong with a file, so that what it was goes on.
    pub fn fault_of(&self, path: &Path) -> Option<&Misfile> {
        self.doubtful.get(path)?.as_ref()
    }

    /// Whether a version was published, whatever has become of its files.
    pub fn was_published(&self, label: &str) -> bool {
        self.known.get(label).is_some_and(|known| known.offer.is_some())
    }

    /// The name that was most likely meant, of those that callers are told of.
    pub fn nearest(&self, name: &str, is_told: impl Fn(&Service) -> bool) -> Option<String> {
        let told = self.served().filter(|service| is_told(service)).map(|service| service.name.as_str());
        hint::nearest(name, told).map(str::to_owned)
    }

    /// What is right by itself and hardly meant, among versions that are called by one name.
    pub fn warnings_of(&self, name: &str, now: Timestamp) -> Vec<String> {
        let (sharing, idle) = (self.sharing(name, now), self.idle(name, now));
        let busy = labels(&sharing, " and ");
        let mut warnings = Vec::new();
        if !idle.is_empty() {
            let idle = labels(&idle, " and ");
            warnings.push(format!("{idle} gets no call that names no version, since {busy} has a weight: give it one too"));
        }
        if let Some((last, others)) = sharing.split_last()
            && others.iter().any(|other| other.offer.openapi != last.offer.openapi)
        {
            let shown = last.label();
            warnings.push(format!(
                "{busy} share calls and are described otherwise: a call that the one has may be refused by the other; {shown} is shown and is MCP's"
            ));
        }
        warnings
    }

    /// Notes a version as it is published here.
    pub fn note(&self, folder: &Path, label: &str) -> Result<(), Misfile> {
        let mut noted = served::read(folder)?;
        match self.known.get(label) {
            Some(served) if served.offer.is_some() && noted.get(label) != Some(served) => {
                noted.insert(label.to_owned(), served.clone());
                served::write(folder, &noted)
            }
            _ => Ok(()),
        }
    }

    fn put(&mut self, path: &Path, service: Arc<Service>) {
        self.versions.put(Arc::clone(&service));
        self.files.insert(path.to_path_buf(), service);
    }

    fn rank(&self, service: &Service) -> u8 {
        match (service.life.state, self.known.get(&service.label()).and_then(|known| known.offer.as_ref())) {
            (State::Draft, _) => 2,
            (_, Some(offer)) if offer.differs_in(service).is_none() => 0,
            _ => 1,
        }
    }
}

/// The name and version that a file's name says: `NAME.toml`, `NAME@2.toml`.
fn named(path: &Path) -> Option<(String, u32)> {
    let (name, digits) = versions::split(path.file_stem()?.to_str()?);
    Some((name.to_owned(), digits.map_or(Some(1), versions::number)?))
}

/// Whether a service can have this name.
pub fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_lowercase())
        && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && name.len() <= 30
}

fn text_of(path: &Path, changed: &Changed) -> io::Result<String> {
    changed.get(path).map_or_else(|| std::fs::read_to_string(path), |text| Ok(text.clone()))
}

fn is_service(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}
