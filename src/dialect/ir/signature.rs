//! A provider's signature or encrypted form of its reasoning, carried through foreign dialects and back.
//!
//! In the dialect that made it, it stands as it came. In any other it is `kw.<dialect>.<value>`, so that it finds its way back, and only there.

use crate::catalog::Dialect;

/// A signature and the dialect whose provider made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Whose it is.
    pub by: Dialect,
    /// As it came.
    pub value: String,
}

// === impl Signature ===

impl Signature {
    /// A signature as its own dialect has it.
    pub fn new(by: Dialect, value: impl Into<String>) -> Signature {
        Signature { by, value: value.into() }
    }

    /// Reads one that stood in a text of `dialect`.
    pub fn read(text: &str, dialect: Dialect) -> Signature {
        let foreign = text.strip_prefix("kw.").and_then(|rest| {
            let (name, value) = rest.split_once('.')?;
            Some(Signature::new(Dialect::from_name(name)?, value))
        });
        foreign.unwrap_or_else(|| Signature::new(dialect, text))
    }

    /// As it stands in a text of `dialect`.
    pub fn write(&self, dialect: Dialect) -> String {
        match self.by == dialect {
            true => self.value.clone(),
            false => format!("kw.{}.{}", self.by.as_str(), self.value),
        }
    }

    /// The value for a provider that speaks `dialect`, if it can be its own: Claude's are the same behind Anthropic's doors and Bedrock's.
    pub fn value_for(&self, dialect: Dialect) -> Option<&str> {
        let claude = [Dialect::AnthropicMessages, Dialect::BedrockConverse];
        let fits = self.by == dialect || (claude.contains(&self.by) && claude.contains(&dialect));
        fits.then_some(self.value.as_str())
    }
}
