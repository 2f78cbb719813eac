//! What an item's `encrypted_content` carries: this dialect's own, or what another provider wants back, so that a stateless tool loop works.
//!
//! A client that loops over tools sends each reasoning item back as it was (`store: false`), so whatever a foreign provider needs again travels
//! in one: the signature of its thoughts, thoughts that are encrypted as a whole, and the signature of a tool call, which no other item has
//! a place for.

use crate::catalog::Dialect;
use crate::dialect::ir::Signature;

const REDACTED: &str = "kw.redacted.";
const OF_CALL: &str = "kw.call.";

/// What an `encrypted_content` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// The signature of the item's own text, or this dialect's encrypted reasoning.
    Thought(Signature),
    /// Reasoning that is there in encrypted form alone.
    Redacted(Signature),
    /// The signature of a tool call.
    OfCall {
        /// The call's id.
        call_id: String,
        /// Its signature.
        signature: Signature,
    },
}

// === impl Carried ===

impl Carried {
    /// Reads an `encrypted_content`.
    pub fn read(text: &str) -> Carried {
        let read = |text| Signature::read(text, Dialect::OpenaiResponses);
        if let Some(rest) = text.strip_prefix(REDACTED) {
            return Carried::Redacted(read(rest));
        }
        // Signatures have no spaces; what calls are named by is the provider's affair.
        match text.strip_prefix(OF_CALL).and_then(|rest| rest.rsplit_once(' ')) {
            Some((call_id, signature)) => Carried::OfCall { call_id: call_id.to_owned(), signature: read(signature) },
            None => Carried::Thought(read(text)),
        }
    }

    /// As it stands in `encrypted_content`.
    pub fn write(&self) -> String {
        match self {
            Carried::Thought(signature) => signature.write(Dialect::OpenaiResponses),
            Carried::Redacted(signature) => format!("{REDACTED}{}", signature.write(Dialect::OpenaiResponses)),
            Carried::OfCall { call_id, signature } => format!("{OF_CALL}{call_id} {}", signature.write(Dialect::OpenaiResponses)),
        }
    }
}
