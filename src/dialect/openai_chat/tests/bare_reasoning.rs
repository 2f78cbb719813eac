//! Reasoning that comes back with no word of whose it was.

use super::*;
use crate::dialect::ir::{Content, Message, Reasoning, Role, Signature, ToolCall};

fn request(by: Option<Dialect>) -> Request {
    let signature = by.map(|by| Signature::new(by, "thinking"));
    let reasoning = Reasoning { text: "Vienna, then.".into(), signature, ..Reasoning::default() };
    let call = ToolCall { id: "call_0".into(), name: "f".into(), arguments: "{}".into(), is_custom: false, signature: None };
    let said = vec![Content::Reasoning(reasoning).into(), Content::ToolCall(call).into()];
    Request { messages: vec![Message::new(Role::Assistant, said)], ..Request::default() }
}

#[test]
fn it_goes_to_a_model_that_wants_its_own_back() {
    for by in [None, Some(Dialect::Ollama)] {
        for model in ["deepseek-reasoner", "moonshotai/kimi-k2-thinking", "accounts/x/models/glm-4p6", "MiniMax-M2"] {
            let (body, dropped) = encode(&request(by), model);
            assert_eq!(body["messages"][0]["reasoning_content"], "Vienna, then.", "{model}");
            assert_eq!(dropped.names().count(), 0);
        }
    }
}

#[test]
fn it_goes_to_no_other_model_and_is_named() {
    for (by, model) in [(Some(Dialect::Ollama), "gpt-5"), (None, "mistral-large-latest"), (Some(Dialect::Gemini), "deepseek-reasoner")] {
        let (body, dropped) = encode(&request(by), model);
        assert!(!body.to_string().contains("Vienna"), "{model}");
        assert_eq!(dropped.names().collect::<Vec<_>>(), ["reasoning"], "{model}");
    }
}
