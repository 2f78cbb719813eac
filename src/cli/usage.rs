//! `keyward usage`

use std::process::ExitCode;

use clap::Args;

use super::{CliError, Installation, output};
use crate::admin;
use crate::config::Config;
use crate::money::Usd;
use crate::store::LedgerStore;

/// Sum up requests, tokens and cost
#[derive(Args)]
pub struct Usage {
    /// What makes a line: key, model or day
    #[arg(long, default_value = "day")]
    by: String,
    /// From this day or time on, UTC
    #[arg(long)]
    since: Option<String>,
    /// Before this day or time, UTC
    #[arg(long)]
    until: Option<String>,
    /// Of this key alone, by its id
    #[arg(long)]
    key: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

// === impl Usage ===

impl Usage {
    /// Reads the store; what a running gateway settled in the last moment may not be in it yet.
    pub async fn run(self, config: &Config) -> Result<ExitCode, CliError> {
        let query = admin::parse_usage_query(&self.by, self.since.as_deref(), self.until.as_deref(), self.key.as_deref())?;
        let store = Installation::open(&config.data).await?.store;
        let rows = store.usage(&query).await?;
        if self.json {
            output::json(&rows)?;
            return Ok(ExitCode::SUCCESS);
        }
        let cells = |row: &crate::store::UsageRow| {
            let counts = [row.requests, row.failed, row.input_tokens, row.cached_tokens, row.output_tokens];
            let counts = counts.iter().map(u64::to_string);
            let cost = Usd(row.cost_nano_usd).to_string();
            let cost = if row.unpriced > 0 { format!("{cost} + {} unpriced", row.unpriced) } else { cost };
            std::iter::once(row.group.clone()).chain(counts).chain([cost]).collect()
        };
        let head =
            [self.by.to_uppercase(), "REQUESTS".into(), "FAILED".into(), "INPUT".into(), "CACHED".into(), "OUTPUT".into(), "COST".into()];
        output::table(&head.each_ref().map(String::as_str), &rows.iter().map(cells).collect::<Vec<_>>())?;
        Ok(ExitCode::SUCCESS)
    }
}
