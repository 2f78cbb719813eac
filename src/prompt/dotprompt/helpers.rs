//! Dotprompt's Handlebars helpers: role, history, media, section, json, ifEquals, unlessEquals, and context variables.

use std::sync::Arc;

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderError, RenderErrorReason, Renderable, ScopedJson,
};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value, json};

use super::javascript;

/// What stands for `@name.path` once a template is read.
pub const CONTEXT: &str = "__context";

/// All helpers: Handlebars' own, Dotprompt's, and what stands for context variables.
pub const KNOWN: [&str; 25] = [
    "if",
    "unless",
    "each",
    "with",
    "lookup",
    "raw",
    "log",
    "eq",
    "ne",
    "gt",
    "gte",
    "lt",
    "lte",
    "and",
    "or",
    "not",
    "len",
    "role",
    "history",
    "media",
    "section",
    "json",
    "ifEquals",
    "unlessEquals",
    CONTEXT,
];

/// Those that are none in Dotprompt: alone in a tag, each is the variable of its name.
pub const FOREIGN: [&str; 12] = ["raw", "eq", "ne", "gt", "gte", "lt", "lte", "and", "or", "not", "len", "log"];

/// A mark in a rendered text: two lines of noise around JSON, which no caller can write since the noise is random.
#[derive(Clone, Debug)]
pub struct Mark(Arc<str>);

struct Marking(Mark, fn(&Helper<'_>) -> Result<Value, RenderError>);
struct Equals {
    wanted: bool,
}
struct ToJson;
struct OfContext(Map<String, Value>);

/// Registers all that need no data.
pub fn register(registry: &mut Handlebars<'_>, mark: &Mark) {
    registry.register_helper("role", Box::new(Marking(mark.clone(), |helper| Ok(json!({ "role": text(helper, "role")? })))));
    registry.register_helper("history", Box::new(Marking(mark.clone(), |_| Ok(json!("history")))));
    registry.register_helper("section", Box::new(Marking(mark.clone(), |helper| Ok(json!({ "section": text(helper, "section")? })))));
    registry.register_helper("media", Box::new(Marking(mark.clone(), media)));
    registry.register_helper("json", Box::new(ToJson));
    registry.register_helper("ifEquals", Box::new(Equals { wanted: true }));
    registry.register_helper("unlessEquals", Box::new(Equals { wanted: false }));
    register_context(registry, Map::new());
}

/// Registers the context variables, by name.
pub fn register_context(registry: &mut Handlebars<'_>, context: Map<String, Value>) {
    registry.register_helper(CONTEXT, Box::new(OfContext(context)));
}

fn text(helper: &Helper<'_>, name: &'static str) -> Result<String, RenderError> {
    let given = helper.param(0).and_then(|param| param.value().as_str()).map(str::to_owned);
    given.ok_or_else(|| RenderErrorReason::Other(format!("{{{{{name}}}}} needs a text, such as {{{{{name} \"user\"}}}}")).into())
}

fn media(helper: &Helper<'_>) -> Result<Value, RenderError> {
    let of = |name: &str| helper.hash_get(name).and_then(|value| value.value().as_str()).map(str::to_owned);
    let url = of("url").ok_or_else(|| RenderErrorReason::Other("{{media}} needs an url, as {{media url=url}}".to_owned()))?;
    let mut media = json!({ "url": url });
    if let Some(content_type) = of("contentType") {
        media["contentType"] = Value::from(content_type);
    }
    Ok(json!({ "media": media }))
}

/// As JavaScript's `===`: no text is a number, and 5 is 5.0.
fn equals(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

// === impl Mark ===

impl Mark {
    /// One of its own.
    pub fn new() -> Mark {
        Mark(format!("\u{2}{}\u{3}", crate::dialect::fresh_id()).into())
    }

    /// The rendered text in its pieces: texts, and what the marks between them say.
    pub fn pieces<'a>(&self, rendered: &'a str) -> impl Iterator<Item = Result<&'a str, Value>> {
        // Every second piece stands between two marks, and was written as JSON by a helper.
        rendered.split(&*self.0).enumerate().map(|(number, piece)| match number % 2 {
            0 => Ok(piece),
            _ => serde_json::from_str(piece).map_or(Ok(piece), Err),
        })
    }
}

impl HelperDef for Marking {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let said = (self.1)(helper)?;
        out.write(&format!("{}{said}{}", self.0.0, self.0.0))?;
        Ok(())
    }
}

impl HelperDef for Equals {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        rendering: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let value = |index| helper.param(index).map_or(&Value::Null, |param| param.value());
        let block = if equals(value(0), value(1)) == self.wanted { helper.template() } else { helper.inverse() };
        block.map_or(Ok(()), |block| block.render(registry, context, rendering, out))
    }
}

impl HelperDef for ToJson {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let mut value = helper.param(0).map_or(Value::Null, |param| param.value().clone());
        javascript::make_whole(&mut value);
        let indent = helper.hash_get("indent").and_then(|indent| indent.value().as_u64()).unwrap_or(0).min(10);
        if indent == 0 {
            out.write(&value.to_string())?;
            return Ok(());
        }
        let spaces = " ".repeat(indent as usize);
        let mut text = Vec::new();
        value
            .serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(spaces.as_bytes())))
            .map_err(RenderErrorReason::from)?;
        out.write(&String::from_utf8_lossy(&text))?;
        Ok(())
    }
}

impl HelperDef for OfContext {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let path = helper.param(0).and_then(|param| param.value().as_str()).unwrap_or_default();
        let mut names = path.split('.');
        let first = names.next().and_then(|name| self.0.get(name));
        let found = names.fold(first, |value, name| value?.get(name));
        // Nothing there renders as nothing, as any other variable.
        Ok(ScopedJson::Derived(found.cloned().unwrap_or(Value::from(""))))
    }
}
