//! The configuration: one optional `keyward.toml`, then `KEYWARD_*` variables over it; everything has a default that works.

pub mod hint;
pub mod mcp;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::admin::keys::LeakAction;
use crate::catalog::Environment;
use crate::quota::network::Network;

pub use mcp::{Mcp, Server as McpServer};

/// All settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where keys, ledger and secrets are kept.
    pub data: PathBuf,
    /// A folder of provider files that add to the built-in ones or override them by id.
    pub providers: Option<PathBuf>,
    /// Prompts as APIs.
    pub prompts: Prompts,
    /// REST services behind keys.
    pub services: Services,
    /// The log.
    pub log: Log,
    /// What a request may take.
    pub limits: RequestLimits,
    /// How providers are called.
    pub upstream: Upstream,
    /// How media is fetched for providers that do not fetch it themselves.
    pub fetch: Fetch,
    /// Who may reach the MCP server, and which other servers stand behind it.
    pub mcp: Mcp,
    /// Proxies in front of the gateway, whose `x-forwarded-for` tells who asks.
    pub trusted_proxies: Vec<Network>,
    /// What is kept of requests that are over.
    pub ledger: LedgerSettings,
    /// What is known of what providers keep.
    pub held: HeldSettings,
    /// What holds while the store cannot be asked.
    pub store: StoreSettings,
    /// Who is told when a budget is spent.
    pub alerts: Alerts,
    /// The management API.
    pub admin: Admin,
    /// Names for models, each for one `provider/model` or several in order.
    pub aliases: BTreeMap<String, Targets>,
}

/// `[prompts]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prompts {
    /// Where their files are.
    pub folder: PathBuf,
    /// Which model answers those that name none.
    pub model: String,
}

/// `[services]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Services {
    /// Where their files are.
    pub folder: PathBuf,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `auto` is for people on a terminal, JSON elsewhere.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, or a filter such as `info,keyward::upstream=debug`.
    pub filter: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it all")]
pub enum LogFormat {
    Auto,
    Json,
    Human,
}

/// `[limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestLimits {
    /// The largest body, in MiB.
    pub body_mib: usize,
    /// The largest form with a file in it, in MiB; it is never whole in memory.
    pub upload_mib: usize,
    /// How much of bodies is in memory at a time, in MiB; see [`RequestLimits::bodies`].
    pub bodies_mib: Option<usize>,
    /// How much of such forms is put aside at a time, in MiB; see [`RequestLimits::uploads`].
    pub uploads_mib: Option<usize>,
    /// How long a caller may take to send its head.
    #[serde(deserialize_with = "duration")]
    pub header_timeout: Duration,
    /// How long a caller may be silent while it sends its body.
    #[serde(deserialize_with = "duration")]
    pub body_timeout: Duration,
    /// How long a caller may take to send its body, from the first byte to the last.
    #[serde(deserialize_with = "duration")]
    pub body_deadline: Duration,
    /// How long a caller may take so little of its answer that no more of it can be written.
    #[serde(deserialize_with = "duration")]
    pub send_timeout: Duration,
    /// How long running answers may take to end at a shutdown.
    #[serde(deserialize_with = "duration")]
    pub drain_timeout: Duration,
}

/// `[upstream]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upstream {
    /// To connect, TLS included.
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// From the request to the first byte of the answer.
    #[serde(deserialize_with = "duration")]
    pub first_byte_timeout: Duration,
    /// Between two pieces of an answer.
    #[serde(deserialize_with = "duration")]
    pub idle_timeout: Duration,
    /// How often a request is sent in all, over all targets.
    pub attempts: u32,
    /// The longest wait before another attempt; a provider that asks for more is not tried again.
    #[serde(deserialize_with = "duration")]
    pub max_backoff: Duration,
}

/// `[ledger]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerSettings {
    /// How long single requests are kept, for good where it is not set; their sums by hour stay.
    #[serde(deserialize_with = "some_duration")]
    pub keep: Option<Duration>,
}

/// `[held]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeldSettings {
    /// How long it is known whose a file, a batch, a response or a conversation is, for good where it is not set.
    #[serde(deserialize_with = "some_duration")]
    pub keep: Option<Duration>,
}

/// `[store]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// How long keys in memory go on working while it cannot be asked.
    #[serde(deserialize_with = "duration")]
    pub down_for: Duration,
}

/// `[alerts]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// Called with each alert, signed under `KEYWARD_ALERT_SECRET`.
    pub webhook: Option<String>,
}

/// `[admin]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where the management API listens; beside the models where absent.
    pub listen: Option<SocketAddr>,
    /// What is done with a key that is reported as leaked.
    pub leaks: LeakAction,
    /// Where the public keys of GitHub's secret scanner are, a file or a URL; it may report leaks where this is set.
    pub github_public_keys: Option<String>,
}

/// `[fetch]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fetch {
    /// The largest image or document, in MiB.
    pub media_mib: usize,
    /// For all of it.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// Whether media may come from private addresses too, and by http.
    pub private_addresses: bool,
}

/// One model or several, in order of preference.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Targets {
    One(String),
    Several(Vec<String>),
}

/// A setting that cannot be used: where it stands and what would be right.
#[derive(Debug)]
pub struct ConfigError {
    /// The file and line, or the variable.
    pub place: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// The store is asked four times a second, and may take its time over an answer.
const SHORTEST_DOWN: Duration = Duration::from_secs(1);

/// What callers send is kept within this, where nothing else is said.
const BODIES_MIB: usize = 1024;
const UPLOADS_MIB: usize = 4096;
/// The variables that override the file, with the setting that each stands for.
pub const VARIABLES: &[(&str, &str)] = &[
    ("KEYWARD_LISTEN", "listen"),
    ("KEYWARD_ADMIN_LISTEN", "admin.listen"),
    ("KEYWARD_DATA", "data"),
    ("KEYWARD_PROVIDERS", "providers"),
    ("KEYWARD_PROMPTS", "prompts.folder"),
    ("KEYWARD_PROMPTS_MODEL", "prompts.model"),
    ("KEYWARD_SERVICES", "services.folder"),
    ("KEYWARD_LOG", "log.filter"),
    ("KEYWARD_LOG_FORMAT", "log.format"),
    ("KEYWARD_LIMITS_BODY_MIB", "limits.body_mib"),
    ("KEYWARD_LIMITS_UPLOAD_MIB", "limits.upload_mib"),
    ("KEYWARD_LIMITS_BODIES_MIB", "limits.bodies_mib"),
    ("KEYWARD_LIMITS_UPLOADS_MIB", "limits.uploads_mib"),
    ("KEYWARD_LIMITS_HEADER_TIMEOUT", "limits.header_timeout"),
    ("KEYWARD_LIMITS_BODY_TIMEOUT", "limits.body_timeout"),
    ("KEYWARD_LIMITS_BODY_DEADLINE", "limits.body_deadline"),
    ("KEYWARD_LIMITS_SEND_TIMEOUT", "limits.send_timeout"),
    ("KEYWARD_LIMITS_DRAIN_TIMEOUT", "limits.drain_timeout"),
    ("KEYWARD_UPSTREAM_CONNECT_TIMEOUT", "upstream.connect_timeout"),
    ("KEYWARD_UPSTREAM_FIRST_BYTE_TIMEOUT", "upstream.first_byte_timeout"),
    ("KEYWARD_UPSTREAM_IDLE_TIMEOUT", "upstream.idle_timeout"),
    ("KEYWARD_UPSTREAM_ATTEMPTS", "upstream.attempts"),
    ("KEYWARD_UPSTREAM_MAX_BACKOFF", "upstream.max_backoff"),
    ("KEYWARD_LEDGER_KEEP", "ledger.keep"),
    ("KEYWARD_HELD_KEEP", "held.keep"),
    ("KEYWARD_STORE_DOWN_FOR", "store.down_for"),
    ("KEYWARD_FETCH_MEDIA_MIB", "fetch.media_mib"),
    ("KEYWARD_FETCH_TIMEOUT", "fetch.timeout"),
    ("KEYWARD_FETCH_PRIVATE_ADDRESSES", "fetch.private_addresses"),
];

// === impl Config ===

impl Config {
    /// Reads `file` (or `./keyward.toml` where it exists) and the variables over it.
    pub fn load(file: Option<&Path>, env: &Environment) -> Result<Config, ConfigError> {
        let chosen = file.map(Path::to_path_buf).or_else(|| env.get("KEYWARD_CONFIG").map(PathBuf::from));
        let default = Path::new("keyward.toml");
        let text = match &chosen {
            Some(path) => Some((path.as_path(), read(path)?)),
            None if default.exists() => Some((default, read(default)?)),
            None => None,
        };
        let mut config = match &text {
            Some((path, text)) => Config::parse(&path.display().to_string(), text)?,
            None => Config::default(),
        };
        for (variable, setting) in VARIABLES {
            if let Some(value) = env.get(variable) {
                config = config.with(setting, value).map_err(|message| ConfigError { place: (*variable).to_owned(), message })?;
            }
        }
        config.check().map(|()| config).map_err(|message| ConfigError {
            place: text.map_or_else(|| "configuration".to_owned(), |(path, _)| path.display().to_string()),
            message,
        })
    }

    /// Reads a configuration's text; `place` is what its errors call it.
    pub fn parse(place: &str, text: &str) -> Result<Config, ConfigError> {
        toml::from_str(text)
            .map_err(|e| ConfigError { place: hint::place(place, text, e.span()), message: hint::with_nearest(e.message()) })
    }

    /// The same with one setting changed; a setting is read as the file's line `setting = value` would be.
    fn with(mut self, setting: &str, value: &str) -> Result<Config, String> {
        let quoted = toml::Value::String(value.to_owned()).to_string();
        let one = [format!("{setting} = {value}"), format!("{setting} = {quoted}")]
            .iter()
            .map(|line| toml::from_str::<Config>(line))
            .reduce(Result::or)
            .unwrap_or_else(|| Ok(Config::default()))
            .map_err(|e| hint::with_nearest(e.message()))?;
        match setting {
            "listen" => self.listen = one.listen,
            "admin.listen" => self.admin.listen = one.admin.listen,
            "data" => self.data = one.data,
            "providers" => self.providers = one.providers,
            "prompts.folder" => self.prompts.folder = one.prompts.folder,
            "prompts.model" => self.prompts.model = one.prompts.model,
            "services.folder" => self.services.folder = one.services.folder,
            "log.filter" => self.log.filter = one.log.filter,
            "log.format" => self.log.format = one.log.format,
            "limits.body_mib" => self.limits.body_mib = one.limits.body_mib,
            "limits.upload_mib" => self.limits.upload_mib = one.limits.upload_mib,
            "limits.bodies_mib" => self.limits.bodies_mib = one.limits.bodies_mib,
            "limits.uploads_mib" => self.limits.uploads_mib = one.limits.uploads_mib,
            "limits.header_timeout" => self.limits.header_timeout = one.limits.header_timeout,
            "limits.body_timeout" => self.limits.body_timeout = one.limits.body_timeout,
            "limits.body_deadline" => self.limits.body_deadline = one.limits.body_deadline,
            "limits.send_timeout" => self.limits.send_timeout = one.limits.send_timeout,
            "limits.drain_timeout" => self.limits.drain_timeout = one.limits.drain_timeout,
            "upstream.connect_timeout" => self.upstream.connect_timeout = one.upstream.connect_timeout,
            "upstream.first_byte_timeout" => self.upstream.first_byte_timeout = one.upstream.first_byte_timeout,
            "upstream.idle_timeout" => self.upstream.idle_timeout = one.upstream.idle_timeout,
            "upstream.attempts" => self.upstream.attempts = one.upstream.attempts,
            "upstream.max_backoff" => self.upstream.max_backoff = one.upstream.max_backoff,
            "ledger.keep" => self.ledger.keep = one.ledger.keep,
            "held.keep" => self.held.keep = one.held.keep,
            "store.down_for" => self.store.down_for = one.store.down_for,
            "fetch.media_mib" => self.fetch.media_mib = one.fetch.media_mib,
            "fetch.timeout" => self.fetch.timeout = one.fetch.timeout,
            "fetch.private_addresses" => self.fetch.private_addresses = one.fetch.private_addresses,
            _ => return Err(format!("'{setting}' cannot be set by a variable")),
        }
        Ok(self)
    }

    fn check(&self) -> Result<(), String> {
        if self.limits.body_mib == 0 {
            return Err("limits.body_mib is 0, so that no request could be read: set at least 1".to_owned());
        }
        let RequestLimits { body_mib, bodies_mib, upload_mib, uploads_mib, .. } = self.limits;
        for (all, one, most, is) in
            [("bodies_mib", "body_mib", bodies_mib, body_mib), ("uploads_mib", "upload_mib", uploads_mib, upload_mib)]
        {
            if let Some(most) = most.filter(|most| most / 2 < is) {
                return Err(format!(
                    "limits.{all} is {most} and limits.{one} {is}, which no request could be as large as, since a key takes half of the room at the most: set {all} to at least {}",
                    is.saturating_mul(2)
                ));
            }
        }
        if self.upstream.attempts == 0 {
            return Err("upstream.attempts is 0, so that no provider would be called: set at least 1".to_owned());
        }
        if self.store.down_for < SHORTEST_DOWN {
            let down_for = self.store.down_for;
            return Err(format!(
                "store.down_for is {down_for:?}, so that keys would be refused while the store is well, which is asked four times a second: set at least \"1s\""
            ));
        }
        self.mcp.check()?;
        for (name, targets) in &self.aliases {
            if targets.names().is_empty() {
                return Err(format!("the alias '{name}' names no model: give it at least one 'provider/model'"));
            }
            if let Some(bad) = targets.names().iter().find(|target| !target.contains('/')) {
                return Err(format!("the alias '{name}' names '{bad}': write it as 'provider/model'"));
            }
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data: PathBuf::from("keyward-data"),
            providers: None,
            prompts: Prompts::default(),
            services: Services::default(),
            log: Log::default(),
            limits: RequestLimits::default(),
            upstream: Upstream::default(),
            fetch: Fetch::default(),
            mcp: Mcp::default(),
            trusted_proxies: Vec::new(),
            ledger: LedgerSettings::default(),
            held: HeldSettings::default(),
            store: StoreSettings::default(),
            alerts: Alerts::default(),
            admin: Admin::default(),
            aliases: BTreeMap::new(),
        }
    }
}

impl Default for Prompts {
    fn default() -> Prompts {
        Prompts { folder: PathBuf::from("prompts"), model: "simulator/echo".to_owned() }
    }
}

impl Default for Services {
    fn default() -> Services {
        Services { folder: PathBuf::from("services") }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { format: LogFormat::Auto, filter: "info".to_owned() }
    }
}

// === impl RequestLimits ===

impl RequestLimits {
    /// How much of bodies is in memory at a time, in MiB: of itself, room for two of the largest at least.
    pub fn bodies(&self) -> usize {
        self.bodies_mib.unwrap_or_else(|| BODIES_MIB.max(self.body_mib.saturating_mul(2)))
    }

    /// The same of forms that are put aside.
    pub fn uploads(&self) -> usize {
        self.uploads_mib.unwrap_or_else(|| UPLOADS_MIB.max(self.upload_mib.saturating_mul(2)))
    }
}

impl Default for RequestLimits {
    fn default() -> RequestLimits {
        RequestLimits {
            body_mib: 64,
            // The largest file that OpenAI takes.
            upload_mib: 512,
            bodies_mib: None,
            uploads_mib: None,
            header_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            // The largest body by default, 64 MiB, at 1 Mbit/s.
            body_deadline: Duration::from_secs(600),
            // A caller frees a third of what the system holds back for it before more can be written: 1.3 MB at the most, at 100 kbit/s.
            send_timeout: Duration::from_secs(120),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for Upstream {
    fn default() -> Upstream {
        Upstream {
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(120),
            attempts: 3,
            max_backoff: Duration::from_secs(10),
        }
    }
}

impl Default for StoreSettings {
    fn default() -> StoreSettings {
        StoreSettings { down_for: Duration::from_secs(3600) }
    }
}

impl Default for Fetch {
    fn default() -> Fetch {
        Fetch { media_mib: 20, timeout: Duration::from_secs(15), private_addresses: false }
    }
}

// === impl Targets ===

impl Targets {
    /// The models named, in order.
    pub fn names(&self) -> &[String] {
        match self {
            Targets::One(name) => std::slice::from_ref(name),
            Targets::Several(names) => names,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for ConfigError {}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|e| ConfigError { place: path.display().to_string(), message: format!("cannot be read: {e}") })
}

fn some_duration<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    duration(from).map(Some)
}

/// A duration as settings are written: `"500ms"`, `"30s"`, `"10m"` or `"90d"`; never none.
pub(crate) fn duration<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let wrong = || serde::de::Error::custom(format!("'{text}' is no duration: write it as \"500ms\", \"30s\", \"10m\" or \"90d\""));
    // A day is one of 24 hours: there is no place whose clocks are set here.
    let days = text.strip_suffix('d').and_then(|days| days.trim().parse::<u64>().ok()).and_then(|days| days.checked_mul(24 * 3600));
    let signed = || text.parse::<jiff::SignedDuration>().ok().and_then(|signed| Duration::try_from(signed).ok());
    days.map(Duration::from_secs).or_else(signed).filter(|d| !d.is_zero()).ok_or_else(wrong)
}
