//! Every way a key can be refused: one variant each, with its status, its stable code and a sentence that says what to do.

use std::time::Duration;

use http::StatusCode;

use super::KeyId;
use super::format::{BODY_LEN, Slip};
use crate::error::{Kind, Refusal};

/// Why a key was refused.
///
/// Variants down to [`Reason::Foreign`] say only what the request itself shows, so anyone may hear them. Those from
/// [`Reason::Expired`] to [`Reason::ModelNotAllowed`] need proof of the secret, and are told to its holder alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The request carries no key.
    Missing,
    /// A key header is there and holds nothing.
    Empty,
    /// `Authorization` holds a key with no `Bearer` before it.
    NoScheme,
    /// `Authorization` uses `Basic` or another scheme.
    WrongScheme,
    /// `Bearer Bearer …`.
    DoubledScheme,
    /// `Bearer` where a bare key belongs: in `x-api-key` and the like.
    NeedlessScheme,
    /// A key stands where no key is read.
    Misplaced(Place),
    /// Quotes are part of what was sent.
    Quoted,
    /// White space, a line break or a byte order mark is part of what was sent.
    Whitespace,
    /// The header is not UTF-8.
    NotText,
    /// Several headers carry keys, and they differ.
    Conflicting,
    /// The key was pasted twice.
    Doubled,
    /// More than the key was pasted: `key=…`, JSON, a line of a configuration.
    NotAlone,
    /// `%xx` in place of a character.
    UrlEncoded,
    /// The short form of a key that lists show.
    Masked,
    /// All capitals, or none.
    WrongCase,
    /// The checksum is right under another prefix.
    WrongPrefix,
    /// So many characters follow the prefix.
    WrongLength(usize),
    /// A character that no key has.
    WrongCharacter(char),
    /// One character or more was changed.
    WrongChecksum(Slip),
    /// Not a Keyward key, nor any that is known.
    NotAKey,
    /// A stand-in such as `sk-dummy`.
    Placeholder,
    /// Another service's key, named with its article (`an OpenAI key`).
    Foreign(&'static str),
    /// No such id, or not its secret: one answer, so that neither can be told from the other.
    Unknown,
    /// The same, from an address that has tried too many: it may try again after this time.
    TooManyGuesses(Duration),
    /// Past its expiry (RFC 3339).
    Expired(String),
    /// Not to be used before (RFC 3339).
    NotYetValid(String),
    /// Revoked for good (RFC 3339).
    Revoked(String),
    /// Replaced by a newer one, and its grace period is over (RFC 3339).
    Rotated(String),
    /// Switched off for now.
    Disabled,
    /// All keys of its owner are switched off for now.
    OwnerDisabled(String),
    /// Its project or team, named as the subject of a sentence, is switched off for now.
    GroupDisabled(String),
    /// An admin key where a model is called.
    AdminOnDataPlane,
    /// A key for models on the management API.
    NotAdmin,
    /// A test key on a model that costs money.
    TestOnly(String),
    /// It may not be used from the address that it came from.
    AddressNotAllowed(String),
    /// It may not be used for this method and path.
    PathNotAllowed {
        /// What was called.
        called: String,
        /// The globs of what may be.
        allowed: Vec<String>,
    },
    /// The model is not among those that the key may use.
    ModelNotAllowed {
        /// What was asked for.
        model: String,
        /// The key's globs.
        allowed: Vec<String>,
    },
    /// The MCP tool is not among those that the key may call.
    ToolNotAllowed {
        /// What was asked for, as `server/tool`.
        tool: String,
        /// The key's globs.
        allowed: Vec<String>,
    },
    /// The operation of a REST service is not among those that the key may call.
    OperationNotAllowed {
        /// What was asked for, as `service/operation`.
        operation: String,
        /// The key's globs.
        allowed: Vec<String>,
    },
    /// The store cannot be asked, and the key is not in memory.
    StoreDown,
}

/// Where a key stands that is not read there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The path, the query, or before the host's name.
    Url,
    /// A header of another name.
    Header,
}

// === impl Reason ===

impl Reason {
    /// The HTTP status: 401 where another key is needed, 403 where this key is good but not for this.
    pub fn status(&self) -> StatusCode {
        match self {
            Reason::AdminOnDataPlane
            | Reason::NotAdmin
            | Reason::TestOnly(_)
            | Reason::AddressNotAllowed(_)
            | Reason::PathNotAllowed { .. }
            | Reason::ModelNotAllowed { .. }
            | Reason::ToolNotAllowed { .. }
            | Reason::OperationNotAllowed { .. } => StatusCode::FORBIDDEN,
            Reason::StoreDown => StatusCode::SERVICE_UNAVAILABLE,
            Reason::TooManyGuesses(_) => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::Missing => "key_missing",
            Reason::Empty => "key_empty",
            Reason::NoScheme => "key_without_bearer",
            Reason::WrongScheme => "key_wrong_scheme",
            Reason::DoubledScheme => "key_doubled_bearer",
            Reason::NeedlessScheme => "key_needless_bearer",
            Reason::Misplaced(_) => "key_misplaced",
            Reason::Quoted => "key_quoted",
            Reason::Whitespace => "key_whitespace",
            Reason::NotText => "key_not_text",
            Reason::Conflicting => "key_conflicting",
            Reason::Doubled => "key_doubled",
            Reason::NotAlone => "key_not_alone",
            Reason::UrlEncoded => "key_url_encoded",
            Reason::Masked => "key_masked",
            Reason::WrongCase => "key_wrong_case",
            Reason::WrongPrefix => "key_wrong_prefix",
            Reason::WrongLength(_) => "key_wrong_length",
            Reason::WrongCharacter(_) => "key_wrong_character",
            Reason::WrongChecksum(_) => "key_wrong_checksum",
            Reason::NotAKey => "key_malformed",
            Reason::Placeholder => "key_placeholder",
            Reason::Foreign(_) => "key_of_another_service",
            Reason::Unknown => "invalid_api_key",
            Reason::TooManyGuesses(_) => "key_too_many_guesses",
            Reason::Expired(_) => "key_expired",
            Reason::NotYetValid(_) => "key_not_yet_valid",
            Reason::Revoked(_) => "key_revoked",
            Reason::Rotated(_) => "key_rotated",
            Reason::Disabled => "key_disabled",
            Reason::OwnerDisabled(_) => "key_owner_disabled",
            Reason::GroupDisabled(_) => "key_group_disabled",
            Reason::AdminOnDataPlane => "key_is_admin",
            Reason::NotAdmin => "key_not_admin",
            Reason::TestOnly(_) => "key_test_only",
            Reason::AddressNotAllowed(_) => "address_not_allowed",
            Reason::PathNotAllowed { .. } => "path_not_allowed",
            Reason::ModelNotAllowed { .. } => "model_not_allowed",
            Reason::ToolNotAllowed { .. } => "tool_not_allowed",
            Reason::OperationNotAllowed { .. } => "operation_not_allowed",
            Reason::StoreDown => "key_store_unavailable",
        }
    }

    /// What is wrong and what to do, in a sentence or two; it never repeats what was sent.
    pub fn message(&self) -> String {
        let fixed = match self {
            Reason::Missing => "No API key was sent: send your Keyward key as 'Authorization: Bearer kw_…' (in an SDK, set api_key).",
            Reason::Empty => {
                "The API key is empty: check that the variable you read it from is set, and send 'Authorization: Bearer kw_…'."
            }
            Reason::NoScheme => "The Authorization header holds a key without its scheme: put 'Bearer ' before it.",
            Reason::WrongScheme => {
                "The Authorization header does not begin with 'Bearer' and one space: send 'Authorization: Bearer kw_…' (user:password in a URL is sent as 'Basic', which is not taken)."
            }
            Reason::DoubledScheme => "The Authorization header says 'Bearer' twice: your SDK adds it by itself, so give it the bare key.",
            Reason::NeedlessScheme => {
                "This header takes the bare API key: leave out 'Bearer', or send 'Authorization: Bearer kw_…' instead."
            }
            Reason::Misplaced(Place::Url) => {
                "An API key stands in the URL, where it is not read and ends up in logs and histories: send 'Authorization: Bearer kw_…'. Consider replacing the key."
            }
            Reason::Misplaced(Place::Header) => {
                "An API key stands in a header that it is not read from: send it as 'Authorization: Bearer kw_…', 'x-api-key', 'api-key' or 'x-goog-api-key'."
            }
            Reason::Quoted => "The API key has quotes in it: remove them (a .env file or a shell export often adds them).",
            Reason::Whitespace => {
                "The API key has white space or an invisible character in it: copy it again without spaces, line breaks or byte order mark."
            }
            Reason::NotText => "The API key is not plain text: copy it again, it has only letters and digits after its prefix.",
            Reason::Conflicting => {
                "This request carries two different API keys: send one, as 'Authorization: Bearer kw_…' (a tool or a proxy may have added the other)."
            }
            Reason::Doubled => "The API key was pasted twice in a row: send it once.",
            Reason::NotAlone => {
                "More than the API key was pasted (such as 'key=', JSON or a line of a configuration): send from kw_ to its last letter or digit."
            }
            Reason::UrlEncoded => {
                "The API key has '%' escapes in it: send it as it is; it has only letters, digits and underscores, which need none."
            }
            Reason::Masked => {
                "This is the short form of an API key that lists show: the whole key was shown once, when it was made. Find where it was kept, or ask for a new one."
            }
            Reason::WrongCase => "The API key was put into capitals or small letters: keys are case-sensitive, copy it again exactly.",
            Reason::WrongPrefix => {
                "The API key's beginning was changed or cut off: kw_live_, kw_test_ or kw_admin_ is part of the key. Copy it again, whole."
            }
            Reason::WrongChecksum(Slip::Other | Slip::Prefix | Slip::Lowered) => {
                "The API key has a typo: its checksum does not fit, so a letter or digit was mistyped. Copy it again."
            }
            Reason::NotAKey => "This is not a Keyward key: one starts with kw_live_ or kw_test_. Ask whoever runs this gateway for yours.",
            Reason::Placeholder => {
                "The API key is a placeholder that your tool filled in: set it to your Keyward key, which starts with kw_live_ or kw_test_."
            }
            Reason::Unknown => {
                "This API key is not valid here: it was never issued by this gateway, or was deleted. Check that the base URL and the key belong together, or ask for a new key."
            }
            Reason::Disabled => "This API key is disabled for now: ask whoever runs this gateway to enable it.",
            Reason::AdminOnDataPlane => "This is an admin key, which manages the gateway and calls no model: use a kw_live_ key here.",
            Reason::NotAdmin => "This key calls models; the management API needs an admin key, which starts with kw_admin_.",
            Reason::StoreDown => {
                "The gateway cannot look up this key right now, which says nothing about the key: try again in a few seconds, and where that does not help, ask whoever runs the gateway, whose /readyz tells why."
            }
            _ => "",
        };
        match self {
            Reason::WrongLength(length) if *length < BODY_LEN => {
                format!("The API key is cut short: {length} characters follow its prefix instead of {BODY_LEN}. Copy the whole key again.")
            }
            Reason::WrongLength(length) => {
                format!(
                    "The API key is too long: {length} characters follow its prefix instead of {BODY_LEN}. Copy it again without what stands after it."
                )
            }
            Reason::WrongCharacter(c) if c.is_ascii_graphic() => {
                format!("The API key has a '{c}' in it, which no key has: copy it again, it has only letters and digits after its prefix.")
            }
            Reason::WrongCharacter(c) => format!(
                "The API key has the character U+{:04X} in it, which no key has (it may look like a Latin letter): copy it again.",
                u32::from(*c)
            ),
            Reason::WrongChecksum(Slip::Swapped(at)) => format!(
                "The API key has a typo: its checksum does not fit, and would if the characters {at} and {} had not changed places. Copy it again.",
                at + 1
            ),
            Reason::WrongChecksum(Slip::LookAlike(at)) => format!(
                "The API key has a typo: its checksum does not fit, and character {at} was taken for one that looks like it (0 and O, 1 and l). Copy it again."
            ),
            Reason::TooManyGuesses(wait) => format!(
                "Too many API keys that are not valid here came from this address: try again in {}; a valid key is then let in.",
                seconds(*wait)
            ),
            Reason::Foreign(issuer) => format!(
                "This looks like {issuer}, not a Keyward key: send your Keyward key (kw_live_…). The one you sent was not forwarded or logged, but has left your machine: consider replacing it."
            ),
            Reason::Expired(when) => format!("This API key expired on {when}: ask for a new one or for a later expiry."),
            Reason::NotYetValid(when) => format!("This API key is not valid before {when}: wait until then, or ask for an earlier start."),
            Reason::Revoked(when) => format!("This API key was revoked on {when} and will not work again: ask for a new one."),
            Reason::Rotated(when) => {
                format!("This API key was replaced by a new one, and its grace period ended on {when}: use the new key.")
            }
            Reason::OwnerDisabled(owner) => {
                format!("All API keys of '{owner}' are disabled for now: ask whoever runs this gateway to enable them.")
            }
            Reason::GroupDisabled(group) => {
                format!("{group}, which this API key belongs to, is disabled for now: ask whoever runs this gateway to enable it.")
            }
            Reason::TestOnly(model) => format!(
                "A kw_test_ key never costs money and calls simulator models only: use a kw_live_ key for '{model}', or the model 'simulator/echo'."
            ),
            Reason::AddressNotAllowed(address) => format!(
                "This API key may not be used from the address {address}: use it where it is meant to be used, or ask whoever runs this gateway to allow the address."
            ),
            Reason::PathNotAllowed { called, allowed } => {
                format!("This API key may not call '{called}': it may call {}. Ask whoever runs this gateway for more.", allowed.join(", "))
            }
            Reason::ModelNotAllowed { model, allowed } => {
                format!("This API key may not use the model '{model}': it may use {}. GET /v1/models lists them.", allowed.join(", "))
            }
            Reason::ToolNotAllowed { tool, allowed } => {
                format!("This API key may not call the tool '{tool}': it may call {}. tools/list names them.", allowed.join(", "))
            }
            Reason::OperationNotAllowed { operation, allowed } => {
                format!("This API key may not call '{operation}': it may call {}. GET /services lists the services.", allowed.join(", "))
            }
            _ => fixed.to_owned(),
        }
    }

    /// The refusal as the surfaces render it; `key` is named in the log where the holder proved it.
    pub fn refusal(self, key: Option<KeyId>) -> Refusal {
        let status = self.status();
        let kind = match status {
            StatusCode::FORBIDDEN => Kind::Permission,
            StatusCode::SERVICE_UNAVAILABLE => Kind::Unavailable,
            StatusCode::TOO_MANY_REQUESTS => Kind::RateLimit("requests"),
            _ => Kind::Authentication,
        };
        let mut refusal = Refusal::new(status, kind, self.code(), self.message());
        refusal.key = key;
        if let Reason::ModelNotAllowed { .. } | Reason::TestOnly(_) = self {
            refusal.param = Some("model");
        }
        refusal.retry_after = match self {
            Reason::StoreDown => Some(Duration::from_secs(2)),
            Reason::TooManyGuesses(wait) => Some(wait),
            _ => None,
        };
        refusal
    }
}

fn seconds(wait: Duration) -> String {
    match wait.as_secs_f64().ceil() {
        n if n <= 1.0 => "1 second".to_owned(),
        n => format!("{n} seconds"),
    }
}
