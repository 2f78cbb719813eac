//! `keyward usage`

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::installation::is_running;
use super::{CliError, Installation, output};
use crate::admin;
use crate::config::Config;
use crate::ledger::export::{Export, Format};
use crate::ledger::{Ledger, segment};
use crate::money::Usd;
use crate::store::sqlite::Sqlite;
use crate::store::{LedgerStore, RowsQuery, UsageQuery};

/// Sum up requests, tokens and cost
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Usage {
    #[command(subcommand)]
    command: Option<Command>,
    /// What makes a line: key, model, day, project, team, provider, operation, prompt, tool or service
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
    /// Of this project alone, by its id
    #[arg(long)]
    project: Option<String>,
    /// Of this team alone, by its id
    #[arg(long)]
    team: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Print requests one by one
    Export {
        /// csv or jsonl
        #[arg(long, default_value = "jsonl")]
        format: String,
        /// From this day or time on, UTC
        #[arg(long)]
        since: Option<String>,
        /// Before this day or time, UTC
        #[arg(long)]
        until: Option<String>,
        /// Of this key alone, by its id
        #[arg(long)]
        key: Option<String>,
    },
}

/// How long what was written is waited for, and how often it is looked for.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);

// === impl Usage ===

impl Usage {
    /// Reads the store, and tells where the newest requests are not in it.
    pub async fn run(self, config: &Config) -> Result<ExitCode, CliError> {
        if let Some(Command::Export { format, since, until, key }) = self.command {
            let store = Installation::existing(&config.data).await?.store;
            let key = admin::known_usage(&store, &store, key, None, None).await??.key;
            let query = RowsQuery { key, ..admin::parse_export_query(since.as_deref(), until.as_deref())? };
            wait_for_newest(&config.data, &store).await?;
            if let (Some(_), Some(kept_since)) = (query.since, store.pruned_until(query.since, query.until).await?) {
                eprintln!(
                    "note: single requests from before {kept_since} are not all kept (ledger.keep), and those that are gone are not told here: \
                     'keyward usage' sums them up by whole hours"
                );
            }
            return export(store, &format, query).await;
        }
        let query = admin::parse_usage_query(&self.by, self.since.as_deref(), self.until.as_deref())?;
        let store = Installation::existing(&config.data).await?.store;
        let UsageQuery { key, project, team, .. } = admin::known_usage(&store, &store, self.key, self.project, self.team).await??;
        wait_for_newest(&config.data, &store).await?;
        let query = UsageQuery { key, project, team, ..query };
        let rows = store.usage(&query).await?;
        if let Some(note) = admin::left_out_of_usage(&store, query.since, query.until).await? {
            eprintln!("note: {note}");
        }
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

/// Waits a moment until what was written is in the store, where a gateway runs that brings it there, and says what is not.
pub async fn wait_for_newest(data: &Path, store: &Sqlite) -> Result<(), CliError> {
    let folder = data.join("ledger");
    let Some(node) = Ledger::node_in(&folder)? else { return Ok(()) };
    let (end, is_running) = (segment::end(&folder)?, is_running(data));
    let begun = Instant::now();
    loop {
        let waiting = segment::between(&folder, store.cursor(&node).await?, end)?;
        if waiting == 0 {
            return Ok(());
        }
        if !is_running || begun.elapsed() >= PATIENCE {
            let until = if is_running { "'/readyz' of the gateway tells why" } else { "the next start of the gateway takes them in" };
            eprintln!("note: the newest requests, {waiting} bytes of the ledger, are not in the store yet, and so not told here: {until}");
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn export(store: Sqlite, format: &str, query: RowsQuery) -> Result<ExitCode, CliError> {
    let format = Format::parse(format)?;
    let mut export = Some(Export::new(Arc::new(store), query, format));
    while let Some(page) = export {
        let (text, next) = page.next().await?;
        match std::io::stdout().write_all(text.as_bytes()) {
            // Whoever reads it has had enough.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => break,
            written => written?,
        }
        export = next;
    }
    Ok(ExitCode::SUCCESS)
}
