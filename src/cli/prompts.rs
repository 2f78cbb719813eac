//! `keyward prompts …`

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use jiff::Timestamp;
use reqwest::{StatusCode, header};

use super::{CliError, Installation, installation, output};
use crate::catalog::Environment;
use crate::config::Config;
use crate::prompt::edit;
use crate::prompt::examples::{self, Example, Tried};
use crate::prompt::{Prompt, Prompts as Shelved, State, advice};
use crate::steps::Step;

/// Write, check, test and publish prompts
#[derive(Subcommand)]
pub enum Prompts {
    /// Write a file to start from
    New {
        /// The prompt's name
        name: String,
    },
    /// List the prompts
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what is wrong in which file and line
    Check,
    /// Call prompts with their examples (`NAME.examples.yaml`), and show how the answers differ from what is expected
    Test {
        /// The prompts, as NAME or NAME@VERSION; all that are published and have examples where none is named
        names: Vec<String>,
        /// The gateway to ask
        #[arg(long, env = "KEYWARD_URL")]
        url: Option<String>,
        /// A key for it
        #[arg(long, env = "KEYWARD_KEY", hide_env_values = true)]
        key: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show how one version differs from another
    Diff {
        /// The newer one, as NAME or NAME@VERSION
        name: String,
        /// The older one; the one before where none is named
        other: Option<String>,
    },
    /// Publish a prompt: from then on its version does not change
    Publish {
        /// The prompt, as NAME@VERSION; as NAME, its newest draft
        name: String,
    },
    /// Tell callers that a prompt will go
    Deprecate {
        /// The prompt, as NAME@VERSION; as NAME, the newest version that callers get
        name: String,
        /// When it goes: a day or time, UTC
        #[arg(long)]
        sunset: Option<String>,
        /// What to call instead
        #[arg(long)]
        successor: Option<String>,
    },
    /// Serve a prompt no longer: 410
    Retire {
        /// The prompt, as NAME@VERSION; as NAME, the newest version that callers get
        name: String,
    },
}

// === impl Prompts ===

impl Prompts {
    /// Works on the files; a running gateway sees what changed within a second.
    pub async fn run(self, config: &Config, env: &Environment) -> Result<ExitCode, CliError> {
        let folder = &config.prompts.folder;
        match self {
            Prompts::New { name } => {
                let plan = edit::create(folder, &name, edit::STARTER)?;
                let label = plan.label().to_owned();
                let made = Installation::noted(&config.data, ("prompt.write", &label), || plan.make()).await?;
                output::print(&format!(
                    "{} is there, as a draft: change it, then 'keyward prompts publish {name}'.\n",
                    made.path.display()
                ))?;
            }
            Prompts::List { json } => list(folder, json)?,
            Prompts::Check => return check(config, env).await,
            Prompts::Test { names, url, key, json } => {
                let url = url.unwrap_or_else(|| format!("http://{}", config.listen));
                return test(folder, &names, (&url, key.as_deref()), json).await;
            }
            Prompts::Diff { name, other } => output::compared(&edit::compared(folder, &name, other.as_deref())?)?,
            Prompts::Publish { name } => take(config, &name, &Step::Publish).await?,
            Prompts::Retire { name } => take(config, &name, &Step::Retire).await?,
            Prompts::Deprecate { name, sunset, successor } => take(config, &name, &Step::Deprecate { sunset, successor }).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn take(config: &Config, name: &str, step: &Step) -> Result<(), CliError> {
    let folder = &config.prompts.folder;
    let plan = edit::step(folder, name, step)?;
    let said: Vec<String> = plan.said().iter().map(|(field, value)| format!("{field}: {value}")).collect();
    let label = plan.label().to_owned();
    let edit::Source { path, .. } = Installation::noted(&config.data, (step.of_prompt(), &label), || plan.make()).await?;
    output::print(&format!("{label} has {} now, in {}.\n", said.join(", "), path.display()))?;
    let base = label.split_once('@').map_or(&*label, |(base, _)| base);
    let warnings = Shelved::read(folder).warnings_of(base, Timestamp::now());
    warnings.iter().try_for_each(|warning| output::print(&format!("Note: {warning}\n")))
}

/// Calls the running gateway as its callers do, so that what is tested is what they get.
async fn test(folder: &Path, names: &[String], (url, key): (&str, Option<&str>), json: bool) -> Result<ExitCode, CliError> {
    let prompts = Shelved::read(folder);
    let chosen: Vec<Arc<Prompt>> = match names {
        [] => prompts.all().filter(|prompt| prompt.life.state == State::Published).cloned().collect(),
        names => names.iter().map(|name| version(folder, &prompts, name)).collect::<Result<_, _>>()?,
    };
    let key = key.ok_or("a key is needed: set KEYWARD_KEY to one that may call prompts")?;
    let client = reqwest::Client::builder().timeout(Duration::from_secs(300)).build()?;
    let mut all: Vec<Tried> = Vec::new();
    for prompt in &chosen {
        let (file, examples) = examples::of(folder, prompt)?;
        if examples.is_empty() && !names.is_empty() {
            return Err(format!(
                "{} has no examples: write them into {}.examples.yaml",
                prompt.label(),
                folder.join(&prompt.name).display()
            )
            .into());
        }
        for (at, example) in examples.iter().enumerate() {
            let tried = example.tried(at, &prompt.label(), call(&client, url, key, prompt, example).await);
            let shown = format!("{} {}", tried.prompt, tried.example);
            match &tried.wrong {
                _ if json => {}
                None => output::print(&format!("ok    {shown}\n"))?,
                Some(wrong) => output::print(&format!("WRONG {shown} ({})\n{wrong}\n", file.display()))?,
            }
            all.push(tried);
        }
    }
    let passed = all.iter().filter(|tried| tried.passed).count();
    let is_right = passed == all.len() && passed > 0;
    match json {
        true => output::json(&all)?,
        false => output::print(&format!("{passed} passed, {} failed\n", all.len() - passed))?,
    }
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn call(client: &reqwest::Client, url: &str, key: &str, prompt: &Prompt, example: &Example) -> Result<(StatusCode, String), String> {
    let request = client
        .post(format!("{}/prompts/{}", url.trim_end_matches('/'), prompt.label()))
        .bearer_auth(key)
        .header(header::CONTENT_TYPE, "application/json")
        .body(example.input().to_string());
    let answer = request.send().await.map_err(|e| format!("{url} does not answer: {e}"))?;
    let status = answer.status();
    Ok((status, answer.text().await.map_err(|e| format!("the answer broke off: {e}"))?))
}

fn version(folder: &Path, prompts: &Shelved, name: &str) -> Result<Arc<Prompt>, CliError> {
    let label = edit::source(folder, name)?.label;
    let found = prompts.all().find(|prompt| prompt.label() == label);
    found.cloned().ok_or_else(|| format!("there is no '{label}' any more").into())
}

fn list(folder: &Path, json: bool) -> Result<(), CliError> {
    let (prompts, now) = (Shelved::read(folder), Timestamp::now());
    if json {
        let row = |prompt: &Arc<Prompt>| serde_json::json!({ "name": prompt.name, "version": prompt.version, "state": prompt.state_at(now).as_str(), "description": prompt.front.description });
        return output::json(&prompts.all().map(row).collect::<Vec<_>>());
    }
    let row = |prompt: &Arc<Prompt>| {
        vec![prompt.label(), prompt.state_at(now).as_str().to_owned(), prompt.front.description.clone().unwrap_or_default()]
    };
    output::table(&["PROMPT", "STATE", "DESCRIPTION"], &prompts.all().map(row).collect::<Vec<_>>())
}

async fn check(config: &Config, env: &Environment) -> Result<ExitCode, CliError> {
    let folder = &config.prompts.folder;
    let prompts = Shelved::read(folder);
    for fault in prompts.faults() {
        output::print(&format!("{fault}\n"))?;
    }
    let mut is_right = prompts.faults().is_empty();
    for prompt in prompts.all() {
        for fault in examples::faults(folder, prompt) {
            is_right = false;
            output::print(&format!("{fault}\n"))?;
        }
    }
    for fault in examples::strays(folder, &prompts) {
        is_right = false;
        output::print(&format!("{fault}\n"))?;
    }
    let router = installation::router(config, env).await?;
    for note in advice::of(&prompts, &router, &config.prompts.model, Timestamp::now()) {
        output::print(&format!("Note: {note}\n"))?;
    }
    if is_right {
        output::print(&format!("{} prompts in {} are right.\n", prompts.all().count(), folder.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
