//! What a `thoughtSignature` carries: Gemini's own bytes, or in their place another provider's signature on its way back to it.
//!
//! SDKs read the field as base64 and send it back in base64's other alphabet, so a foreign signature stands in it as base64 of its text.

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD};

use crate::catalog::Dialect;
use crate::dialect::ir::{Reasoning, Signature};

/// Takes base64 with its padding or without.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));
const REDACTED: &str = "redacted;";
const ID: &str = "id=";

/// What was read from a signature: a reasoning block with no text.
pub fn read(text: &str) -> Reasoning {
    let own = || Reasoning { signature: Some(Signature::new(Dialect::Gemini, text)), ..Reasoning::default() };
    let Some(carried) = LENIENT.decode(standard(text)).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else { return own() };
    let (is_redacted, rest) = carried.strip_prefix(REDACTED).map_or((false, carried.as_str()), |rest| (true, rest));
    let (id, rest) = match rest.strip_prefix(ID).and_then(|rest| rest.split_once(';')) {
        Some((id, rest)) => (Some(id.to_owned()), rest),
        None => (None, rest),
    };
    let signature = Signature::read(rest, Dialect::Gemini);
    if signature.by == Dialect::Gemini {
        return own();
    }
    Reasoning { text: String::new(), signature: Some(signature), is_redacted, id }
}

/// The signature of a reasoning block, with what else of it has to come back.
pub fn write(signature: &Signature, is_redacted: bool, id: Option<&str>) -> String {
    if signature.by == Dialect::Gemini {
        return signature.value.clone();
    }
    let redacted = if is_redacted { REDACTED } else { "" };
    let id = id.map(|id| format!("{ID}{id};")).unwrap_or_default();
    STANDARD.encode(format!("{redacted}{id}{}", signature.write(Dialect::Gemini)))
}

/// Base64 in its standard alphabet with padding, from whichever it came in.
pub fn standard(base64: &str) -> String {
    let mut standard = base64.trim_end_matches('=').replace('-', "+").replace('_', "/");
    standard.extend(std::iter::repeat_n('=', (4 - standard.len() % 4) % 4));
    standard
}

/// Text as base64.
pub fn encode(text: &str) -> String {
    STANDARD.encode(text)
}
