//! What a request says about state that one provider alone holds: it cannot be served by any other.

use crate::catalog::Dialect;
use crate::dialect::ir::{Content, Request};
use crate::error::Refusal;

/// Members that point to such state, and what to do instead.
const HELD: [(&str, &str); 4] = [
    ("previous_response_id", "send the whole conversation in 'input' instead"),
    ("conversation", "send the whole conversation in 'input' instead"),
    ("prompt", "send the prompt's text in 'instructions' and 'input' instead"),
    ("background", "leave 'background' out and wait for the answer, or stream it"),
];

/// Refuses a request of this dialect whose meaning would be lost at a provider that speaks another one.
pub fn refuse(request: &Request) -> Result<(), Refusal> {
    let is_own = request.extra.of == Some(Dialect::OpenaiResponses);
    if let Some((name, instead)) = HELD.iter().find(|(name, _)| is_own && request.extra.fields.contains_key(*name)) {
        let message = format!("'{name}' needs a provider that keeps Responses, and the one behind this model does not: {instead}.");
        return Err(Refusal::invalid("not_expressible", message).with_param(name));
    }
    let mut blocks = request.messages.iter().flat_map(|message| &message.content);
    let is_reference = blocks.any(|block| match &block.content {
        Content::Other { of: Dialect::OpenaiResponses, value } => value["type"] == "item_reference",
        _ => false,
    });
    match is_reference {
        true => Err(Refusal::invalid(
            "not_expressible",
            "An 'item_reference' in 'input' needs a provider that keeps Responses, and the one behind this model does not: send the item itself instead.",
        )
        .with_param("input")),
        false => Ok(()),
    }
}
