//! Custom tools take free text. A provider that knows only functions is offered one whose single argument is that text; here its calls become
//! calls to the custom tool again.

use serde_json::Value;

use super::ir::{Answer, Content, Delta, Event, Function, Opening, Request, Tool, Trouble, TroubleKind};

/// The argument that holds the text.
const INPUT: &str = "input";
/// Arguments of a call that have to be held are this long at the most, in bytes.
const LONGEST: usize = 16 << 20;

/// The custom tools of a request, and the calls to them that are under way.
#[derive(Debug, Default)]
pub struct Customs {
    names: Vec<String>,
    /// The choice and index of each call, and its arguments so far.
    calls: Vec<(u32, u32, String)>,
}

/// The function that stands for a custom tool.
pub fn as_function(name: &str, description: Option<&str>) -> Function {
    let parameters = serde_json::json!({ "type": "object", "properties": { INPUT: { "type": "string" } }, "required": [INPUT] });
    Function { name: name.to_owned(), description: description.map(str::to_owned), parameters: Some(parameters), ..Function::default() }
}

// === impl Customs ===

impl Customs {
    /// Those of a request.
    pub fn of(request: &Request) -> Customs {
        let names = request.tools.iter().filter_map(|tool| match tool {
            Tool::Custom { name, .. } => Some(name.clone()),
            _ => None,
        });
        Customs { names: names.collect(), calls: Vec::new() }
    }

    /// Makes the calls of a whole answer those to custom tools again.
    pub fn restore(&self, answer: &mut Answer) {
        let blocks = answer.choices.iter_mut().flat_map(|choice| &mut choice.content);
        for block in blocks.filter(|_| !self.names.is_empty()) {
            if let Content::ToolCall(call) = &mut block.content
                && !call.is_custom
                && self.names.contains(&call.name)
            {
                call.is_custom = true;
                call.arguments = text_in(&call.arguments);
            }
        }
    }

    /// The same for an event; the arguments of such a call are held until it is complete, since they are to be unwrapped.
    pub fn pass(&mut self, event: Event, mut each: impl FnMut(Event)) {
        if self.names.is_empty() {
            return each(event);
        }
        match event {
            Event::Open { choice, index, opening: Opening::ToolCall { id, name, is_custom: false, signature } }
                if self.names.contains(&name) =>
            {
                self.calls.push((choice, index, String::new()));
                each(Event::Open { choice, index, opening: Opening::ToolCall { id, name, is_custom: true, signature } });
            }
            Event::Delta { choice, index, delta: Delta::Arguments(more) } => match self.call(choice, index) {
                Some(at) if self.calls[at].2.len() + more.len() > LONGEST => each(Event::Trouble(too_long())),
                Some(at) => self.calls[at].2.push_str(&more),
                None => each(Event::Delta { choice, index, delta: Delta::Arguments(more) }),
            },
            Event::Close { choice, index } => {
                if let Some(at) = self.call(choice, index) {
                    let (.., arguments) = self.calls.swap_remove(at);
                    each(Event::Delta { choice, index, delta: Delta::Arguments(text_in(&arguments)) });
                }
                each(Event::Close { choice, index });
            }
            other => each(other),
        }
    }

    fn call(&self, choice: u32, index: u32) -> Option<usize> {
        self.calls.iter().position(|(c, i, _)| (*c, *i) == (choice, index))
    }
}

fn too_long() -> Trouble {
    let message = format!("The model's arguments for a custom tool are longer than {} MiB.", LONGEST >> 20);
    Trouble { kind: TroubleKind::Server, code: Some("provider_bad_answer".to_owned()), message, param: None }
}

/// The text inside the arguments; the arguments themselves where the model wrote something else.
fn text_in(arguments: &str) -> String {
    match serde_json::from_str::<Value>(arguments) {
        Ok(Value::Object(mut object)) if object.len() == 1 => match object.remove(INPUT) {
            Some(Value::String(text)) => text,
            _ => arguments.to_owned(),
        },
        _ => arguments.to_owned(),
    }
}
