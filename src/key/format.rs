//! The text of a key: `kw_<live|test|admin>_<id><secret><checksum>`, all base62.
//!
//! | part | characters | bits | why |
//! |---|---|---|---|
//! | prefix | `kw_live_`, `kw_test_`, `kw_admin_` | | a person, a log filter and a secret scanner know it at sight |
//! | id | 12 | 71 | names the key in logs and the store; not secret |
//! | secret | 30 | 178 | only its keyed hash is kept |
//! | checksum | 6 | 32 | CRC-32 (ISO-HDLC) of all before it: a typo is known with no look-up |

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};

const ID_LEN: usize = 12;
const SECRET_LEN: usize = 30;
const CHECKSUM_LEN: usize = 6;
/// Characters after the prefix.
pub const BODY_LEN: usize = ID_LEN + SECRET_LEN + CHECKSUM_LEN;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a key is for; its prefix says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Calls models, and costs money.
    Live,
    /// Calls the simulator only, and never costs money.
    Test,
    /// Manages the gateway through `/admin/v1`, and calls no model.
    Admin,
}

/// The public part of a key: what logs, lists and the store call it by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; ID_LEN]);

/// A well-formed key, borrowed from what the caller sent; its `Debug` shows the id alone.
#[derive(Clone, Copy)]
pub struct KeyText<'a> {
    text: &'a str,
    kind: Kind,
    id: KeyId,
}

/// A key just made, to be shown to its owner once.
pub struct NewKey {
    text: String,
    /// Its public part.
    pub id: KeyId,
}

/// Why a text is no key; none of these needs a look-up, so all may be told to anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Does not start with a known prefix.
    Prefix,
    /// A known prefix in the wrong case.
    PrefixCase,
    /// So many characters after the prefix, not [`BODY_LEN`].
    Length(usize),
    /// A character that no key has.
    Character(char),
    /// The right shape, but the checksum is wrong: a character was changed.
    Checksum(Slip),
}

/// What a wrong checksum lets tell of the mistake; places count from 1, at the key's first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    /// This character and the next have changed places.
    Swapped(usize),
    /// This character was read as another that looks like it.
    LookAlike(usize),
    /// The prefix is another kind's.
    Prefix,
    /// Every capital has become a small letter.
    Lowered,
    /// Something else.
    Other,
}

/// Characters that are taken for each other when a key is read out or typed from a picture.
const LOOK_ALIKES: [&[u8]; 8] = [b"0Oo", b"1lI", b"5S", b"2Zz", b"8B", b"6G", b"uv", b"9gq"];

// === impl Kind ===

impl Kind {
    /// All kinds, for help texts and parsers.
    pub const ALL: [Kind; 3] = [Kind::Live, Kind::Test, Kind::Admin];

    /// `live`, `test` or `admin`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Live => "live",
            Kind::Test => "test",
            Kind::Admin => "admin",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// What its keys begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Live => "kw_live_",
            Kind::Test => "kw_test_",
            Kind::Admin => "kw_admin_",
        }
    }
}

// === impl KeyId ===

impl KeyId {
    /// Reads an id as [`fmt::Display`] writes it.
    pub fn parse(text: &str) -> Option<KeyId> {
        let bytes: [u8; ID_LEN] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_alphanumeric).then_some(KeyId(bytes))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

// === impl KeyText ===

impl<'a> KeyText<'a> {
    /// Judges the shape and checksum of `text`; what is right here may still be unknown.
    pub fn parse(text: &'a str) -> Result<KeyText<'a>, Malformed> {
        let kind = Kind::ALL.into_iter().find(|kind| text.starts_with(kind.prefix())).ok_or_else(|| prefix_error(text))?;
        let body = &text[kind.prefix().len()..];
        // Looked for by its first byte, which takes a fraction of the time.
        let strange = body.bytes().position(|byte| !byte.is_ascii_alphanumeric()).and_then(|at| body.get(at..)?.chars().next());
        if let Some(strange) = strange {
            return Err(Malformed::Character(strange));
        }
        if body.len() != BODY_LEN {
            return Err(Malformed::Length(body.len()));
        }
        let (head, sum) = text.split_at(text.len() - CHECKSUM_LEN);
        if checksum(head) != sum.as_bytes() {
            return Err(Malformed::Checksum(slip(text, kind)));
        }
        let id = KeyId::parse(&body[..ID_LEN]).ok_or(Malformed::Prefix)?;
        Ok(KeyText { text, kind, id })
    }

    /// The whole key: to be hashed, never to be written anywhere.
    pub fn expose(&self) -> &'a str {
        self.text
    }

    /// What the prefix says the key is for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its public part.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl fmt::Debug for KeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyText({})", self.id)
    }
}

// === impl NewKey ===

impl NewKey {
    /// Makes a key from the system's randomness.
    pub fn generate(kind: Kind) -> Result<NewKey, ring::error::Unspecified> {
        let body = random_base62::<{ ID_LEN + SECRET_LEN }>()?;
        let mut text = String::with_capacity(kind.prefix().len() + BODY_LEN);
        text.push_str(kind.prefix());
        text.extend(body.iter().map(|&b| char::from(b)));
        let sum = checksum(&text);
        text.extend(sum.iter().map(|&b| char::from(b)));
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&body[..ID_LEN]);
        Ok(NewKey { text, id: KeyId(id) })
    }

    /// The whole key: to be hashed, and shown to its owner once.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewKey({})", self.id)
    }
}

/// `N` characters drawn evenly from base62.
pub fn random_base62<const N: usize>() -> Result<[u8; N], ring::error::Unspecified> {
    let rng = SystemRandom::new();
    let mut out = [0; N];
    let mut filled = 0;
    let mut pool = [0u8; 64];
    while filled < N {
        rng.fill(&mut pool)?;
        // 248 is the largest multiple of 62 in a byte: what lies above would favour the first characters.
        for &byte in pool.iter().filter(|&&byte| byte < 248).take(N - filled) {
            out[filled] = BASE62[usize::from(byte % 62)];
            filled += 1;
        }
    }
    Ok(out)
}

/// A key with its checksum, put together of parts that were not made for each other.
#[cfg(test)]
pub fn with_checksum(head: &str) -> String {
    format!("{head}{}", String::from_utf8_lossy(&checksum(head)))
}

fn checksum(head: &str) -> [u8; CHECKSUM_LEN] {
    checksum_of(head.as_bytes())
}

fn checksum_of(head: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32fast::hash(head);
    let mut out = [b'0'; CHECKSUM_LEN];
    for digit in out.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    out
}

/// What a key with a wrong checksum was, if one of the usual mistakes explains it.
fn slip(text: &str, kind: Kind) -> Slip {
    let (start, mut bytes) = (kind.prefix().len(), text.as_bytes().to_vec());
    for at in start..bytes.len() - 1 {
        bytes.swap(at, at + 1);
        if bytes[at] != bytes[at + 1] && fits(&bytes) {
            return Slip::Swapped(at + 1);
        }
        bytes.swap(at, at + 1);
    }
    for at in start..bytes.len() {
        let was = bytes[at];
        for &other in LOOK_ALIKES.iter().filter(|alike| alike.contains(&was)).flat_map(|alike| alike.iter()) {
            bytes[at] = other;
            if fits(&bytes) {
                return Slip::LookAlike(at + 1);
            }
        }
        bytes[at] = was;
    }
    if is_of_another_prefix(&text[start..]) {
        return Slip::Prefix;
    }
    // A key without a capital is made less than once in 10^11.
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) { Slip::Other } else { Slip::Lowered }
}

/// Whether what follows a prefix is right, under a prefix that it was not sent with.
pub fn is_of_another_prefix(body: &str) -> bool {
    Kind::ALL.iter().any(|kind| fits(format!("{}{body}", kind.prefix()).as_bytes()))
}

fn fits(key: &[u8]) -> bool {
    key.split_last_chunk::<CHECKSUM_LEN>().is_some_and(|(head, sum)| checksum_of(head) == *sum)
}

fn prefix_error(text: &str) -> Malformed {
    let starts_in_another_case = |kind: &Kind| {
        let prefix = kind.prefix();
        text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    match Kind::ALL.iter().any(starts_in_another_case) {
        true => Malformed::PrefixCase,
        false => Malformed::Prefix,
    }
}
