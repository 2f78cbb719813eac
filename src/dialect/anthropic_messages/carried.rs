//! Signatures of other dialects' tool calls, which have no place in a `tool_use` block: a `redacted_thinking` block beside it carries them.
//!
//! Callers send such blocks back untouched. Their data is `kw-call.<call id>.<signature>`; a provider's own never begins so.

use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Content, Reasoning, Signature};

const DIALECT: Dialect = Dialect::AnthropicMessages;
const MARK: &str = "kw-call.";

/// The data of a block that carries the signature of the call of this id.
pub fn data(call_id: &str, signature: &Signature) -> String {
    // The id may hold dots: its length says where it ends.
    format!("{MARK}{}.{call_id}.{}", call_id.len(), signature.write(DIALECT))
}

/// A block of redacted reasoning, from its data.
pub fn redacted(data: String) -> Content {
    let signature = match data.starts_with(MARK) {
        // Read again, with its call, by `put_back`.
        true => Signature::new(DIALECT, data),
        false => Signature::read(&data, DIALECT),
    };
    Content::Reasoning(Reasoning { text: String::new(), signature: Some(signature), is_redacted: true, id: None })
}

/// Puts carried signatures back to the calls that they are of, and takes the blocks that carried them out.
pub fn put_back(blocks: &mut Vec<Block>) {
    let mut found = Vec::new();
    blocks.retain(|block| {
        let carries = carried(block);
        let is_content = carries.is_none();
        found.extend(carries);
        is_content
    });
    for (id, signature) in found {
        let call = blocks.iter_mut().find_map(|block| match &mut block.content {
            Content::ToolCall(call) if call.id == id => Some(call),
            _ => None,
        });
        if let Some(call) = call {
            call.signature = Some(signature);
        }
    }
}

fn carried(block: &Block) -> Option<(String, Signature)> {
    let Content::Reasoning(Reasoning { is_redacted: true, signature: Some(signature), .. }) = &block.content else { return None };
    let (length, rest) = signature.value.strip_prefix(MARK)?.split_once('.')?;
    let (id, rest) = rest.split_at_checked(length.parse().ok()?)?;
    Some((id.to_owned(), Signature::read(rest.strip_prefix('.')?, DIALECT)))
}
