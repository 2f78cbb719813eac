//! What only this installation may read: sealed by AES-256-GCM, as providers' credentials at rest, under a key that is not in the store.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use super::Secret;
use crate::catalog::Environment;
use crate::key::Pepper;

/// Seals and opens.
pub struct Vault {
    key: LessSafeKey,
    /// Tells which key something was sealed under.
    id: [u8; ID_LEN],
}

/// Why something stays sealed; never with a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// By another key than this vault's.
    OtherKey,
    /// It was changed, or belongs to another credential.
    Damaged,
}

/// Names of variables, each with its value.
pub type Variables = BTreeMap<String, Secret>;

/// The key itself: 32 bytes as base64, as `openssl rand -base64 32` makes them.
pub const MASTER_KEY: &str = "KEYWARD_MASTER_KEY";
/// A file that holds it.
pub const MASTER_KEY_FILE: &str = "KEYWARD_MASTER_KEY_FILE";
/// The key before it, while what is under that is sealed anew.
pub const OLD_MASTER_KEY: &str = "KEYWARD_OLD_MASTER_KEY";
/// A file that holds that one.
pub const OLD_MASTER_KEY_FILE: &str = "KEYWARD_OLD_MASTER_KEY_FILE";
const KEY_LEN: usize = 32;
const ID_LEN: usize = 4;
const VERSION: u8 = 1;
/// What a mark is sealed for: no credential has such a name.
const MARK: &str = "Which key is this?";

// === impl Vault ===

impl Vault {
    /// The vault of this installation: under the key from the environment or a file, else under one derived from the server's secret.
    pub fn open(env: &Environment, pepper: &Pepper) -> Result<Vault, String> {
        Vault::under([MASTER_KEY, MASTER_KEY_FILE], env, pepper)
    }

    /// The vault that was this installation's before it had the key that it has now, which its owner names.
    pub fn open_old(env: &Environment, pepper: &Pepper) -> Result<Vault, String> {
        Vault::under([OLD_MASTER_KEY, OLD_MASTER_KEY_FILE], env, pepper)
    }

    /// Whether a master key that is named can be used.
    pub fn check(env: &Environment) -> Result<(), String> {
        Vault::named([MASTER_KEY, MASTER_KEY_FILE], env).map(drop)
    }

    fn under(names: [&'static str; 2], env: &Environment, pepper: &Pepper) -> Result<Vault, String> {
        Ok(Vault::named(names, env)?.unwrap_or_else(|| Vault::new(pepper.derive("keyward provider credentials"))))
    }

    /// The vault under the master key that a variable or a file has; none where neither is named.
    fn named([in_variable, in_file]: [&'static str; 2], env: &Environment) -> Result<Option<Vault>, String> {
        let text = match (env.get(in_variable), env.get(in_file)) {
            (Some(_), Some(_)) => return Err(format!("{in_variable} and {in_file} are both set: unset one of them")),
            (Some(text), None) => Some((in_variable, text.to_owned())),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path).map_err(|e| format!("{in_file} names '{path}', which cannot be read: {e}"))?;
                Some((in_file, text))
            }
            (None, None) => None,
        };
        let Some((from, text)) = text else { return Ok(None) };
        let bytes: Option<[u8; KEY_LEN]> = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(|bytes| Some(Vault::new(bytes)))
            .ok_or_else(|| format!("{from} holds no master key: it is 32 bytes as base64, made by 'openssl rand -base64 32'"))
    }

    /// A vault for another use than credentials, under a key derived from the server's secret by what it is for.
    pub fn derived(pepper: &Pepper, purpose: &str) -> Vault {
        Vault::new(pepper.derive(purpose))
    }

    fn new(bytes: [u8; KEY_LEN]) -> Vault {
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&digest(&SHA256, &bytes).as_ref()[..ID_LEN]);
        // AES-256 takes any 32 bytes.
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map(LessSafeKey::new).expect("32 bytes are an AES-256 key");
        Vault { key, id }
    }

    /// Seals what belongs to the credential `name`.
    pub fn seal(&self, name: &str, variables: &Variables) -> Result<Vec<u8>, String> {
        let exposed: BTreeMap<&str, &str> = variables.iter().map(|(name, secret)| (name.as_str(), secret.expose())).collect();
        self.seal_bytes(name, serde_json::to_vec(&exposed).map_err(|e| e.to_string())?)
    }

    /// Opens what was sealed for the credential `name`.
    pub fn open_sealed(&self, name: &str, sealed: &[u8]) -> Result<Variables, Sealed> {
        let opened = self.open_bytes(name, sealed)?;
        let variables: BTreeMap<String, String> = serde_json::from_slice(&opened).map_err(|_| Sealed::Damaged)?;
        Ok(variables.into_iter().map(|(name, value)| (name, Secret::new(value))).collect())
    }

    /// What tells its key from others, and tells nothing of it.
    pub fn mark(&self) -> Result<Vec<u8>, String> {
        self.seal_bytes(MARK, Vec::new())
    }

    /// Whether a mark was made under its key.
    pub fn has_made(&self, mark: &[u8]) -> bool {
        self.open_bytes(MARK, mark).is_ok()
    }

    /// Seals bytes that belong to `name`.
    pub fn seal_bytes(&self, name: &str, mut sealed: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| "the system has no randomness to give")?;
        let place = Aad::from(name.as_bytes());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), place, &mut sealed)
            .map_err(|_| "it is too long to be sealed")?;
        Ok([&[VERSION], &self.id[..], &nonce[..], &sealed].concat())
    }

    /// Opens bytes that were sealed for `name`.
    pub fn open_bytes(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, Sealed> {
        let (&version, rest) = sealed.split_first().ok_or(Sealed::Damaged)?;
        let (id, rest) = rest.split_at_checked(ID_LEN).ok_or(Sealed::Damaged)?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or(Sealed::Damaged)?;
        if version != VERSION || id != self.id {
            return Err(Sealed::OtherKey);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Sealed::Damaged)?;
        let mut text = text.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::from(name.as_bytes()), &mut text).map_err(|_| Sealed::Damaged)?;
        Ok(opened.to_vec())
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

// === impl Sealed ===

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sealed::OtherKey => {
                write!(
                    f,
                    "it was sealed under another master key: set {MASTER_KEY} to that one, or seal it anew by 'keyward credentials reseal', or replace it"
                )
            }
            Sealed::Damaged => f.write_str("it is damaged: replace it by 'keyward credentials replace'"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_sealed_opens_under_its_own_key_and_name_alone() {
        let (vault, other) = (Vault::new([7; KEY_LEN]), Vault::new([8; KEY_LEN]));
        let variables = Variables::from([("OPENAI_API_KEY".to_owned(), Secret::new("sk-very-secret"))]);
        let sealed = vault.seal("backup", &variables).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("secret"));
        assert_eq!(vault.open_sealed("backup", &sealed).unwrap()["OPENAI_API_KEY"].expose(), "sk-very-secret");
        assert_ne!(vault.seal("backup", &variables).unwrap(), sealed, "no nonce is used twice");
        assert_eq!(vault.open_sealed("other", &sealed), Err(Sealed::Damaged));
        assert_eq!(other.open_sealed("backup", &sealed), Err(Sealed::OtherKey));
        for at in [0, 5, 17, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(vault.open_sealed("backup", &changed).is_err(), "{at}");
            assert!(vault.open_sealed("backup", &sealed[..at]).is_err(), "{at}");
        }
    }

    #[test]
    fn a_master_key_is_32_bytes_of_base64_from_one_place() {
        let folder = tempfile::tempdir().unwrap();
        let (pepper, file) = (Pepper::load_or_create(&folder.path().join("server.secret")).unwrap(), folder.path().join("master"));
        std::fs::write(&file, format!("{}\n", STANDARD.encode([7; KEY_LEN]))).unwrap();
        let vault = |variables: &[(&str, &str)]| {
            let env: Environment = variables.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            Vault::open(&env, &pepper).map(|vault| vault.id)
        };
        let (path, text) = (file.to_str().unwrap(), STANDARD.encode([7; KEY_LEN]));
        assert_eq!(vault(&[(MASTER_KEY, &text)]).unwrap(), Vault::new([7; KEY_LEN]).id);
        assert_eq!(vault(&[(MASTER_KEY_FILE, path)]).unwrap(), Vault::new([7; KEY_LEN]).id);
        assert_eq!(vault(&[]).unwrap(), vault(&[]).unwrap());
        for wrong in [&[(MASTER_KEY, "short")][..], &[(MASTER_KEY, &text), (MASTER_KEY_FILE, path)], &[(MASTER_KEY_FILE, "/nowhere")]] {
            let why = vault(wrong).unwrap_err();
            assert!(why.contains(MASTER_KEY) && !why.contains("short'"), "{why}");
        }
    }
}
