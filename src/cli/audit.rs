//! `keyward audit`

use std::process::ExitCode;

use clap::Args;

use super::{CliError, Installation, output};
use crate::config::Config;
use crate::store::AuditStore;
use crate::store::audit::{self, Entry};

/// Tell who changed what, newest first
#[derive(Args)]
pub struct Audit {
    /// Verify that no entry was changed or taken out
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
        let store = Installation::open(&config.data).await?.store;
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
        output::print(&match verified.first_broken {
            None => format!("All {} entries are as they were written. The newest has the hash {newest}.\n", verified.entries),
            Some(number) => format!("The entry {number} is not as it was written, or one before it is missing.\n"),
        })?;
    }
    Ok(if verified.first_broken.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
