//! The command line: `serve` and what manages it; every command calls the same functions as the management API.

mod audit;
mod check;
mod credentials;
mod doctor;
mod groups;
mod installation;
mod keys;
mod limits;
mod mcp;
mod output;
mod prompts;
mod providers;
mod serve;
mod services;
mod usage;
mod welcome;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use installation::Installation;

use crate::catalog::Environment;
use crate::config::Config;
use crate::quota::AccountId;

/// What commands fail with: a sentence for people.
pub type CliError = Box<dyn std::error::Error + Send + Sync>;

/// An AI gateway: any AI client in, any provider out, every call under a key that is checked, limited and accounted for.
#[derive(Parser)]
#[command(name = "keyward", version, max_term_width = 100)]
struct Cli {
    /// The configuration file [default: keyward.toml, where there is one]
    #[arg(long, global = true, env = "KEYWARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway (what `keyward` alone does)
    Serve(serve::Serve),
    /// Make, list, explain, rotate and revoke keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Keep, weigh and remove providers' credentials
    #[command(subcommand)]
    Credentials(credentials::Credentials),
    /// Make, list, show and change teams
    #[command(subcommand)]
    Teams(groups::Groups),
    /// Make, list, show and change projects
    #[command(subcommand)]
    Projects(groups::Groups),
    /// Show and set the limits of the whole gateway
    #[command(subcommand)]
    Limits(groups::Whole),
    /// Tell who changed what, newest first
    Audit(audit::Audit),
    /// List, show and check providers
    #[command(subcommand)]
    Providers(providers::Providers),
    /// List models of live providers
    #[command(subcommand)]
    Models(providers::Models),
    /// Write, check, test and publish prompts
    #[command(subcommand)]
    Prompts(prompts::Prompts),
    /// Check and publish REST services, and decide who may call them
    #[command(subcommand)]
    Services(services::Services),
    /// Speak MCP on standard input and output; print snippets for assistants; look after federated servers
    Mcp(mcp::Mcp),
    /// Sum up requests, tokens and cost
    Usage(usage::Usage),
    /// Say what is wrong with this installation and how to mend it
    Doctor(doctor::Doctor),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("keyward: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, CliError> {
    if let Some(Command::Completions { shell }) = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "keyward", &mut script);
        output::print(&String::from_utf8_lossy(&script))?;
        return Ok(ExitCode::SUCCESS);
    }
    // Any command may speak TLS: only the first of a process can be installed, and all are the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let env = Environment::of_process();
    let loaded = Config::load(cli.config.as_deref(), &env);
    // The doctor also looks after a configuration that cannot be read.
    if let Some(Command::Doctor(doctor)) = &cli.command {
        return runtime()?.block_on(doctor.run(loaded, env));
    }
    // The bridge runs in whatever folder an assistant is in, where another's configuration may lie.
    if let Some(Command::Mcp(mcp)) = cli.command {
        return runtime()?.block_on(mcp.run(loaded, &env));
    }
    let config = loaded?;
    let runtime = runtime()?;
    runtime.block_on(async {
        match cli.command.unwrap_or(Command::Serve(serve::Serve::default())) {
            Command::Serve(serve) => serve.run(config, env).await,
            Command::Keys(keys) => keys.run(&config, &env).await,
            Command::Credentials(credentials) => credentials.run(&config, &env).await,
            Command::Teams(groups) => groups.run(&config, &env, AccountId::Team).await,
            Command::Projects(groups) => groups.run(&config, &env, AccountId::Project).await,
            Command::Limits(whole) => whole.run(&config, &env).await,
            Command::Audit(audit) => audit.run(&config).await,
            Command::Providers(providers) => providers.run(&config, &env).await,
            Command::Models(models) => models.run(&config, &env).await,
            Command::Prompts(prompts) => prompts.run(&config, &env).await,
            Command::Services(services) => services.run(&config, &env).await,
            Command::Usage(usage) => usage.run(&config).await,
            Command::Doctor(_) | Command::Mcp(_) | Command::Completions { .. } => Ok(ExitCode::SUCCESS),
        }
    })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
