//! The provider files, read as plain TOML: what a request to each has to look like is worked out here without the crate's own code.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};
use toml::Table;

/// A provider's file.
pub struct File {
    pub id: String,
    pub text: String,
    pub table: Table,
}

/// One way into a provider that speaks OpenAI's chat dialect.
pub struct Door<'a> {
    /// Where it stands in the recorder's paths.
    pub mark: String,
    pub url: &'a str,
    pub auth: &'a str,
    /// A model that is served there.
    pub model: String,
}

/// All provider files, by id.
pub fn all() -> Vec<File> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("providers");
    let mut files: Vec<File> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let id = path.file_name()?.to_str()?.strip_suffix(".toml")?.to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let table = text.parse().unwrap_or_else(|e| panic!("{id}: {e}"));
            Some(File { id, text, table })
        })
        .collect();
    files.sort_by(|a, b| a.id.cmp(&b.id));
    files
}

/// A value for every variable that any file names: its own name says which. Bases of URLs are whole, other parts are words.
pub fn variables(files: &[File]) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for file in files {
        for url in urls(&file.table) {
            for (name, _, at) in parts(url) {
                let value = if at == 0 { format!("https://{}.example{}", slug(name), default_path(url)) } else { slug(name) };
                variables.insert(name.to_owned(), value);
            }
        }
    }
    for name in files.iter().flat_map(File::credentials) {
        variables.insert(name.to_owned(), format!("cred-{}", slug(name)));
    }
    variables
}

/// The path in the default of a variable that a URL starts with: people set another host, and the same path.
fn default_path(url: &str) -> &str {
    let default = url.strip_prefix("${").and_then(|inner| inner.split_once('}')?.0.split_once("://"));
    default.and_then(|(_, rest)| Some(&rest[rest.find('/')?..])).unwrap_or_default()
}

/// A URL's path once its scheme and host are gone, still with variables in it.
pub fn path_of(url: &str) -> String {
    let (rest, after) = match url.strip_prefix("${") {
        Some(inner) => {
            let (inside, after) = inner.split_once('}').unwrap();
            (inside.split_once(":-").map_or("", |(_, default)| default), after)
        }
        None => (url, ""),
    };
    let own = rest.split_once("://").map_or("", |(_, rest)| rest);
    let host_end = parts(own).find(|(_, end, at)| own[..*at].find('/').is_none() && *end > 0).map_or(0, |(_, end, _)| end);
    let path = own[host_end..].find('/').map_or("", |at| &own[host_end + at..]);
    format!("{path}{after}").trim_end_matches('/').to_owned()
}

/// `${NAME}` replaced by its value.
pub fn expand(template: &str, variables: &BTreeMap<String, String>) -> String {
    variables.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

/// Each variable of a template: its name, where it ends, and where it starts.
fn parts(template: &str) -> impl Iterator<Item = (&str, usize, usize)> {
    template.match_indices("${").map(|(at, _)| {
        let inside = template[at + 2..].split_once('}').unwrap().0;
        (inside.split_once(":-").map_or(inside, |(name, _)| name), at + 3 + inside.len(), at)
    })
}

fn slug(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
}

fn urls(table: &Table) -> Vec<&str> {
    let doors = table.get("doors").and_then(toml::Value::as_table).into_iter().flatten();
    let of_doors = doors.filter_map(|(_, door)| door.get("base_url")?.as_str());
    table["base_url"].as_str().into_iter().chain(of_doors).collect()
}

// === impl File ===

impl File {
    pub fn credentials(&self) -> impl Iterator<Item = &str> {
        self.table["credential"].as_array().into_iter().flatten().filter_map(toml::Value::as_str)
    }

    /// The file with its URLs led to the recorder, each under a mark of its own; paths stay as they are.
    pub fn text_led_to(&self, recorder: &str) -> String {
        let mut mark = self.id.clone();
        let mut out = String::new();
        for line in self.text.lines() {
            if let Some(door) = line.strip_prefix("[doors.").and_then(|rest| rest.strip_suffix(']')) {
                mark = format!("{}~{door}", self.id);
            }
            match line.strip_prefix("base_url = \"").and_then(|rest| rest.split_once('"')) {
                Some((url, after)) => out.push_str(&format!("base_url = \"{recorder}/{mark}{}\"{after}\n", path_of(url))),
                None => out.push_str(&format!("{line}\n")),
            }
        }
        out
    }

    /// The base URL and the doors that speak OpenAI's chat dialect, as far as a request can be led there.
    pub fn chat_doors(&self) -> Vec<Door<'_>> {
        let string = |value: Option<&'_ toml::Value>| value.and_then(toml::Value::as_str).map(str::to_owned);
        let speaks = |table: &Table| table["dialects"].as_array().unwrap().iter().any(|dialect| dialect.as_str() == Some("openai_chat"));
        let models: Vec<(&String, Option<String>)> = self
            .table
            .get("models")
            .and_then(toml::Value::as_table)
            .map(|models| models.iter().map(|(id, model)| (id, string(model.get("door")))).collect())
            .unwrap_or_default();
        let model_of = |door: Option<&str>| models.iter().find(|(_, of)| of.as_deref() == door).map(|(id, _)| (*id).clone());
        let (url, auth) = (self.table["base_url"].as_str().unwrap(), self.table["auth"].as_str().unwrap());
        let mut found = Vec::new();
        if speaks(&self.table) {
            // A model that the file does not list is asked for at the base URL too.
            let model = model_of(None).unwrap_or_else(|| "m".to_owned());
            found.push(Door { mark: self.id.clone(), url, auth, model });
        }
        for (name, door) in self.table.get("doors").and_then(toml::Value::as_table).into_iter().flatten() {
            let door = door.as_table().unwrap();
            let base_leads_here = !speaks(&self.table) && found.is_empty();
            let model = model_of(Some(name)).or_else(|| base_leads_here.then(|| model_of(None).unwrap_or_else(|| "m".to_owned())));
            let own_url = door.get("base_url").and_then(toml::Value::as_str);
            if let (true, Some(model)) = (speaks(door), model) {
                let mark = if own_url.is_some() { format!("{}~{name}", self.id) } else { self.id.clone() };
                let auth = door.get("auth").and_then(toml::Value::as_str).unwrap_or(auth);
                found.push(Door { mark, url: own_url.unwrap_or(url), auth, model });
            }
        }
        found
    }

    fn quirk(&self, name: &str) -> Option<&toml::Value> {
        self.table.get("quirks")?.get(name)
    }

    /// The chat path, after the base URL.
    pub fn chat_path(&self) -> &str {
        self.quirk("path").and_then(|paths| paths.get("chat")?.as_str()).unwrap_or("/chat/completions")
    }

    /// Headers that it wants.
    pub fn headers(&self) -> impl Iterator<Item = (&String, &str)> {
        let headers = self.quirk("headers").and_then(toml::Value::as_table);
        headers.into_iter().flatten().map(|(name, value)| (name, value.as_str().unwrap()))
    }

    /// A chat request that has every field that the file's quirks name.
    pub fn request(&self, model: &str) -> Map<String, Value> {
        let whole = serde_json::json!({
            "messages": [{ "role": "user", "content": "hi" }],
            "max_completion_tokens": 17,
            "user": "somebody",
            "stream": true,
            "stream_options": { "include_usage": true },
            "model": format!("{}/{model}", self.id),
        });
        let Value::Object(mut request) = whole else { unreachable!() };
        let renamed = self.quirk("rename").and_then(toml::Value::as_table).into_iter().flatten().map(|(name, _)| name.as_str());
        for name in renamed.chain(self.dropped()) {
            request.entry(name).or_insert_with(|| Value::from(1));
        }
        request
    }

    /// What has to arrive of that request.
    pub fn expected_body(&self, model: &str) -> Map<String, Value> {
        let mut body = self.request(model);
        body.insert("model".to_owned(), Value::from(model));
        for name in self.dropped() {
            body.remove(name);
        }
        for (name, new) in self.quirk("rename").and_then(toml::Value::as_table).into_iter().flatten() {
            if let Some(value) = body.remove(name) {
                body.insert(new.as_str().unwrap().to_owned(), value);
            }
        }
        for (name, value) in self.quirk("default").and_then(toml::Value::as_table).into_iter().flatten() {
            body.entry(name).or_insert_with(|| serde_json::to_value(value).unwrap());
        }
        body
    }

    fn dropped(&self) -> impl Iterator<Item = &str> {
        self.quirk("drop").and_then(toml::Value::as_array).into_iter().flatten().filter_map(toml::Value::as_str)
    }
}
