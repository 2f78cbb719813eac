//! What of a folder's prompts cannot be: what is published and changes, what has ended and comes back, and weights that leave nobody to be called.

use std::path::Path;
use std::sync::Arc;

use super::Prompts;
use crate::life::{NO_SUCCESSOR, State, is_successor};
use crate::prompt::Prompt;
use crate::prompt::dotprompt::Fault;
use crate::prompt::published::Known;
use crate::shelf::Misfile;

impl Prompts {
    /// Of two files with one label, the lower one holds.
    pub(super) fn rank(&self, prompt: &Prompt) -> u8 {
        match (prompt.life.state, self.known.get(&prompt.label())) {
            (State::Draft, _) => 2,
            (_, Some(published)) if published.hash == prompt.hash => 0,
            _ => 1,
        }
    }

    /// Whether a prompt may be one of these.
    pub(super) fn check(&self, prompt: &Prompt) -> Result<(), Fault> {
        let label = prompt.label();
        if self.has(prompt) {
            return Err(Fault::at(1, format!("another file is '{label}' already: give this one another 'keyward.version'")));
        }
        if prompt.life.successor.as_deref().is_some_and(|successor| !is_successor(successor)) {
            return Err(Fault::at(prompt.line_of("keyward.successor"), NO_SUCCESSOR));
        }
        match self.known.get(&label) {
            Some(published) if published.is_revived_by(prompt) => Err(Fault::at(
                prompt.line_of("keyward.state"),
                format!(
                    "'{label}' is retired and stays so, as its callers were told: undo the change, or put it into {}@{}.prompt as the next version",
                    prompt.name,
                    prompt.version.saturating_add(1)
                ),
            )),
            Some(published) if published.hash != prompt.hash => Err(Fault::at(
                1,
                format!(
                    "'{label}' is published and must not change: undo the change, or put it into {}@{}.prompt as the next version",
                    prompt.name,
                    prompt.version.saturating_add(1)
                ),
            )),
            Some(_) if prompt.life.state == State::Draft => {
                Err(Fault::at(1, format!("'{label}' is published and can be no draft again: 'keyward prompts retire {label}' ends it")))
            }
            _ => Ok(()),
        }
    }

    /// Where all published versions of a name have the weight 0: those that had another one go on with it.
    pub(super) fn check_weights(&mut self, before: Option<&Prompts>, noted: &Known) {
        let names: Vec<String> = self.weightless().into_iter().map(|newest| newest.name.clone()).collect();
        for name in names {
            let those: Vec<Arc<Prompt>> = self.each(&name).filter(|one| one.life.state == State::Published).cloned().collect();
            let message =
                format!("all published versions of '{name}' have the weight 0, so that nobody could call it: give one of them more");
            let (mut first, mut wrong) = (None, Vec::new());
            for prompt in those.iter().rev() {
                let Some(path) = self.file_of(prompt).map(Path::to_path_buf) else { continue };
                let fault = Misfile::at(&path, prompt.line_of("keyward.weight"), message.clone());
                first.get_or_insert_with(|| fault.clone());
                let (label, is_weighed) = (prompt.label(), |one: &Arc<Prompt>| one.life.state == State::Published && one.weight != Some(0));
                let served = before.and_then(|before| before.files.get(&path)).filter(|one| one.label() == label).cloned();
                let last = served.or_else(|| noted.get(&label)?.prompt(&label).map(Arc::new)).filter(is_weighed);
                if let (Some(last), Some(known)) = (last, noted.get(&label)) {
                    self.known.insert(label, known.clone());
                    self.put(path, last);
                    wrong.push(fault);
                }
            }
            // Where none had another one, the newest is told.
            self.faults.extend(if wrong.is_empty() { first.into_iter().collect() } else { wrong });
        }
    }
}
