//! `keyward audit`

use std::process::ExitCode;

use clap::Args;

use super::{CliError, Installation, output};
use crate::config::Config;
use crate::store::AuditStore;
use crate::store::audit::{self, End, Entry, SEAL};

/// Tell who changed what, newest first
#[derive(Args)]
pub struct Audit {
    /// Verify that no entry was changed, taken out or taken off the end
    #[arg(long)]
    verify: bool,
    /// The most entries
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

// === impl Audit ===

impl Audit {
    /// Reads the store; ends with 1 where the list is broken.
    pub async fn run(self, config: &Config) -> Result<ExitCode, CliError> {
        let store = Installation::existing_to_judge(&config.data).await?.store;
        if self.verify {
            return verify(&store, self.json).await;
        }
        let entries = store.audit(None, self.limit).await?;
        if self.json {
            output::json(&entries)?;
            return Ok(ExitCode::SUCCESS);
        }
        let row = |entry: &Entry| {
            let number = entry.number.to_string();
            vec![number, entry.at.to_string(), entry.actor.clone(), entry.action.clone(), entry.subject.clone(), entry.detail.clone()]
        };
        output::table(&["NUMBER", "TIME", "ACTOR", "ACTION", "SUBJECT", "DETAIL"], &entries.iter().map(row).collect::<Vec<_>>())?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn verify(store: &dyn AuditStore, json: bool) -> Result<ExitCode, CliError> {
    let verified = audit::verify(store).await?;
    if json {
        output::json(&verified)?;
    } else {
        let newest = verified.newest_hash.as_deref().unwrap_or("none");
        let end = match verified.end {
            End::Whole => "",
            End::Cut => "Entries were taken off the end of the list: it does not reach to where it did when it was last written.\n",
            End::Forged => "The end of the list was written by somebody without this server's secret.\n",
            End::Missing => "What was kept of the end of the list is gone: nothing tells whether entries were taken off it.\n",
        };
        let rest = match verified.first_broken {
            None if verified.is_whole() => {
                format!("All {} entries are as they were written. The newest has the hash {newest}.\n", verified.entries)
            }
            None => String::new(),
            Some(number) => format!("The entry {number} is not as it was written, or one before it is missing.\n"),
        };
        let since = verified.kept_since.map_or_else(String::new, |number| {
            format!("The end of the list is kept since the entry {number} ({SEAL}): what was taken off it before that, nobody can tell.\n")
        });
        output::print(&format!("{rest}{end}{since}"))?;
    }
    Ok(if verified.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
