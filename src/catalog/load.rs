//! Loads the compiled-in provider files, lets the user's folder override them by id, and names the file and line of a mistake.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZero;
use std::path::Path;
use std::thread::available_parallelism;

use super::provider::Provider;
use crate::config::hint;

include!(concat!(env!("OUT_DIR"), "/builtin_providers.rs"));

/// All providers by id.
#[derive(Debug, Default)]
pub struct Catalog {
    providers: BTreeMap<String, Provider>,
}

/// A provider file that cannot be used, and why.
#[derive(Clone, Debug)]
pub struct LoadError {
    /// The file, and the line where one is to blame.
    pub place: String,
    /// What is wrong and what would be right.
    pub message: String,
}

// === impl Catalog ===

impl Catalog {
    /// The compiled-in providers, overridden by id by those in `folder`.
    pub fn load(folder: Option<&Path>) -> Result<Catalog, LoadError> {
        let mut catalog = Catalog::default();
        for provider in builtin() {
            let provider = provider?;
            catalog.providers.insert(provider.id.clone(), provider);
        }
        if let Some(folder) = folder {
            catalog.add_folder(folder)?;
        }
        Ok(catalog)
    }

    /// The provider with that id.
    pub fn get(&self, id: &str) -> Option<&Provider> {
        self.providers.get(id)
    }

    /// All providers, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.providers.values()
    }

    fn add_folder(&mut self, folder: &Path) -> Result<(), LoadError> {
        let failed = |e: std::io::Error| LoadError { place: folder.display().to_string(), message: format!("cannot be read: {e}") };
        let mut paths: Vec<_> = std::fs::read_dir(folder).map_err(failed)?.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        // A hidden file is an editor's or a system's own.
        let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        for path in paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "toml") && !is_hidden(path)) {
            let place = path.display().to_string();
            let text =
                std::fs::read_to_string(path).map_err(|e| LoadError { place: place.clone(), message: format!("cannot be read: {e}") })?;
            let id = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let provider = read(&id, &text, &place)?;
            self.providers.insert(id, provider);
        }
        Ok(())
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for LoadError {}

/// The compiled-in providers, read by as many threads as there are cores: a start waits for them.
fn builtin() -> Vec<Result<Provider, LoadError>> {
    let threads = available_parallelism().map_or(1, NonZero::get);
    // Neighbours go to different threads: the files that are long are those of a few families.
    let some = |first: usize| BUILTIN.iter().skip(first).step_by(threads).map(|(id, text)| read(id, text, &format!("providers/{id}.toml")));
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|first| std::thread::Builder::new().spawn_scoped(scope, move || some(first).collect::<Vec<_>>()).map_err(|_| first))
            .collect();
        let mut all: Vec<_> = some(0).collect();
        for other in others {
            match other {
                Ok(other) => all.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
                // No thread can be had: its part is read here.
                Err(first) => all.extend(some(first)),
            }
        }
        all
    })
}

fn read(id: &str, text: &str, place: &str) -> Result<Provider, LoadError> {
    let mut provider: Provider = toml::from_str(text)
        .map_err(|e| LoadError { place: hint::place(place, text, e.span()), message: hint::with_nearest(e.message()) })?;
    provider.id = id.to_owned();
    check(&provider).map_err(|message| LoadError { place: place.to_owned(), message })?;
    Ok(provider)
}

/// What the types alone cannot rule out.
fn check(provider: &Provider) -> Result<(), String> {
    if !provider.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')) {
        return Err("a provider's id (its file's name) has small letters, digits, '-', '_' and '.' alone: rename the file".to_owned());
    }
    if provider.id == "prompt" {
        return Err("models called 'prompt/…' are this gateway's prompts: rename the file".to_owned());
    }
    let doors = provider.doors.iter().map(|(name, door)| (name.as_str(), &door.dialects));
    for (door, dialects) in std::iter::once(("the provider", &provider.dialects)).chain(doors) {
        if dialects.is_empty() {
            return Err(format!("{door} names no dialect: 'dialects' needs at least one, such as \"openai_chat\""));
        }
    }
    let urls = provider.doors.values().filter_map(|door| door.base_url.as_ref());
    for url in std::iter::once(&provider.base_url).chain(urls) {
        if !["https://", "http://", "simulator:", "${"].iter().any(|start| url.starts_with(start)) {
            return Err(format!("base_url '{url}' has to start with https://, http:// or ${{VARIABLE}}"));
        }
    }
    if let Some(url) = std::iter::once(&provider.base_url)
        .chain(provider.doors.values().filter_map(|door| door.base_url.as_ref()))
        .find(|url| url.contains(['?', '#']))
    {
        return Err(format!("base_url '{url}' has a '?' or '#': paths are put behind it; 'quirks' say what else a provider wants"));
    }
    for (id, model) in &provider.models {
        if let Some(price) = model.price.as_ref().and_then(|prices| prices.all().find(|price| !(0.0..f64::INFINITY).contains(price))) {
            return Err(format!("the model '{id}' has the price {price}: it is US dollars a million tokens, from 0 on"));
        }
        if let Some(door) = model.door.as_ref().filter(|door| !provider.doors.contains_key(*door)) {
            return Err(format!("the model '{id}' names the door '{door}', and there is no [doors.{door}]"));
        }
    }
    if provider.credential.is_empty() && !provider.credential_optional && provider.auth != super::Auth::None {
        return Err("no variable holds the credential: name one in 'credential', or set 'credential_optional = true'".to_owned());
    }
    if let Some(variable) = provider.ways.keys().find(|variable| !provider.credential.contains(*variable)) {
        return Err(format!("'ways' names {variable}, which 'credential' does not"));
    }
    let of_doors = provider.doors.values().filter_map(|door| door.quirks.as_ref());
    for (name, value) in std::iter::once(&provider.quirks).chain(of_doors).flat_map(|quirks| &quirks.headers) {
        if http::HeaderName::try_from(name).is_err() || http::HeaderValue::try_from(value).is_err() {
            return Err(format!("quirks.headers has '{name}', which cannot be sent as a header"));
        }
    }
    Ok(())
}
