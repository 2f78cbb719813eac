//! Custom tools take free text. A provider that knows only functions is offered one whose single argument is that text; here its calls become
//! calls to the custom tool again.

use serde_json::{Value, json};

use super::ir::{Answer, Content, Delta, Dropped, Event, Function, Opening, Request, Tool, Trouble, TroubleKind};

/// The argument that holds the text.
pub const INPUT: &str = "input";
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
    let parameters = json!({ "type": "object", "properties": { INPUT: { "type": "string" } }, "required": [INPUT] });
    Function { name: name.to_owned(), description: description.map(str::to_owned), parameters: Some(parameters), ..Function::default() }
}

/// The tools that may be called, in the shape of OpenAI's chat, which dialects without custom tools have taken over.
pub fn functions(tools: &[Tool], may_call: impl Fn(&str) -> bool, dropped: &mut Dropped) -> Vec<Value> {
    let mut list = Vec::new();
    for tool in tools {
        match tool {
            Tool::Function(function) if may_call(&function.name) => {
                dropped.note_if(function.cache.is_some(), "cache");
                list.push(function_value(function));
            }
            Tool::Custom { name, description, .. } if may_call(name) => {
                list.push(function_value(&as_function(name, description.as_deref())))
            }
            Tool::Function(_) | Tool::Custom { .. } => {}
            Tool::Builtin(builtin) => dropped.note(builtin.own_name()),
        }
    }
    list
}

fn function_value(function: &Function) -> Value {
    let parameters = function.parameters.clone().unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
    let mut value = json!({ "name": function.name, "parameters": parameters });
    if let Some(description) = &function.description {
        value["description"] = Value::from(description.as_str());
    }
    json!({ "type": "function", "function": value })
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
