//! What of a folder's services cannot be: what is published and changes, what has ended and comes back, and weights that leave nobody to be called.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Folder, Services};
use crate::life::{NO_SUCCESSOR, State, is_successor};
use crate::service::Service;
use crate::service::entry::line_of;
use crate::service::served::Known;
use crate::shelf::Misfile;
use crate::versions::Versioned;

impl Services {
    /// Whether a service may be one of these.
    pub(super) fn check(&self, folder: &Path, path: &Path, service: &Service) -> Result<(), Misfile> {
        let label = service.label();
        if self.has(service) {
            return Err(Misfile::at(path, 1, format!("another file is '{label}' already: leave one of them out")));
        }
        if service.life.successor.as_deref().is_some_and(|successor| !is_successor(successor)) {
            return Err(Misfile::at(path, line_of(&service.texts.file, "successor"), NO_SUCCESSOR));
        }
        let Some(known) = self.known.get(&label) else { return Ok(()) };
        let Some(offer) = &known.offer else { return Ok(()) };
        let next = format!("{}@{}.toml", service.name, service.version.saturating_add(1));
        let text = &service.texts.file;
        if known.is_revived_by(service, Timestamp::now()) {
            let message = format!(
                "'{label}' is retired and stays so, as its callers were told: undo the change, or put it into {next} as the next version"
            );
            return Err(Misfile::at(path, line_of(text, "state"), message));
        }
        let undo = match known.texts {
            Some(_) => "undo the change, or put it",
            None => "its files were removed since, so put this one",
        };
        let described = || {
            let before = known.texts.as_ref().map_or("", |texts| &texts.openapi);
            let same = before.lines().zip(service.texts.openapi.lines()).take_while(|(before, now)| before == now).count();
            (folder.join(&service.openapi), if before.is_empty() { 1 } else { same + 1 })
        };
        match offer.differs_in(service) {
            Some("openapi") => {
                let message = format!(
                    "'{label}' is published, and what it describes must not change: {undo} into another file for {next}, the next version"
                );
                let (path, line) = described();
                Err(Misfile::at(&path, line, message))
            }
            Some(field) => {
                let message = format!("'{label}' is published, and its {field} must not change: {undo} into {next} as the next version");
                Err(Misfile::at(path, line_of(text, field), message))
            }
            None if service.life.state == State::Draft => {
                let message = format!("'{label}' is published and can be no draft again: 'keyward services retire {label}' ends it");
                Err(Misfile::at(path, line_of(text, "state"), message))
            }
            None => match known.lost_by(service) {
                Some(lost) => {
                    let message = format!(
                        "'{label}' is published, and '{lost}' would be served no longer, being on another server than 'upstream': undo the change, or put it into {next} as the next version"
                    );
                    let is_described_so = known.texts.as_ref().is_some_and(|texts| texts.openapi == service.texts.openapi);
                    let (path, line) = if is_described_so { (path.to_path_buf(), line_of(text, "upstream")) } else { described() };
                    Err(Misfile::at(&path, line, message))
                }
                None => Ok(()),
            },
        }
    }
}

impl Folder {
    /// Where all published versions of a name have the weight 0: those that had another one go on with it.
    pub(super) fn check_weights(&self, services: &mut Services, before: Option<&Services>, noted: &Known) {
        let names: Vec<String> = services.weightless().into_iter().map(|newest| newest.name.clone()).collect();
        for name in names {
            let those: Vec<Arc<Service>> = services.each(&name).filter(|one| one.life.state == State::Published).cloned().collect();
            let message =
                format!("all published versions of '{name}' have the weight 0, so that nobody could call it: give one of them more");
            let (mut first, mut wrong) = (None, Vec::new());
            for service in those.iter().rev() {
                let Some(path) = services.file_of(service).map(Path::to_path_buf) else { continue };
                let fault = Misfile::at(&path, line_of(&service.texts.file, "weight"), message.clone());
                first.get_or_insert_with(|| fault.clone());
                let (label, is_weighed) =
                    (service.label(), |one: &Arc<Service>| one.life.state == State::Published && one.weight != Some(0));
                let served = before.and_then(|before| before.files.get(&path)).filter(|one| one.label() == label).cloned();
                let last = served.or_else(|| self.noted(&path, noted.get(&label)?).map(Arc::new)).filter(is_weighed);
                let Some(last) = last else { continue };
                services.doubtful.insert(path.clone(), Some(fault.clone()));
                if let Some(known) = services.known.get_mut(&label) {
                    known.texts = Some(last.texts.clone());
                }
                services.put(&path, last);
                wrong.push(fault);
            }
            // Where none had another one, the newest is told.
            services.faults.extend(if wrong.is_empty() { first.into_iter().collect() } else { wrong });
        }
    }
}
