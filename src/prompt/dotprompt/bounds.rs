//! What a template may be: so small, and so little nested with all its partials, that neither reading nor rendering it outgrows a thread's stack.

use std::collections::BTreeMap;

use handlebars::template::{HelperTemplate, Parameter, TemplateElement};
use handlebars::{Template, TemplateError};
use serde_json::Value;

use super::Fault;
use super::helpers::{CONTEXT, KNOWN};
use crate::deep;

/// A partial that a template uses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Use {
    name: String,
    /// On this line of the text, from 1 on.
    line: usize,
    /// So deep in blocks.
    depth: usize,
}

/// What there is in one text.
#[derive(Debug, Default)]
struct Seen {
    /// How deep its blocks, or the parts of a tag, are nested.
    depth: usize,
    partials: Vec<Use>,
    fault: Option<Fault>,
}

/// What a partial comes to, with all that it uses in turn.
#[derive(Clone, Copy)]
struct Whole {
    depth: usize,
    bytes: usize,
}

/// Looks through a template's partials.
struct Partials<'a> {
    texts: &'a BTreeMap<String, String>,
    known: BTreeMap<&'a str, Whole>,
    /// Those that are being looked through.
    within: Vec<&'a str>,
}

/// The largest text of a template or a partial, in bytes.
const LARGEST: usize = 256 << 10;
/// The most bytes that a template comes to with each partial in its place.
const LARGEST_WHOLE: usize = 4 << 20;
/// How deep blocks may be nested, those of partials included.
const DEEPEST: usize = 32;
/// The parser goes down once for each block and bracket, however they are meant: with no more than so many it stays on its stack.
const MOST_BLOCKS: usize = 1000;
const MOST_BRACKETS: usize = 10_000;

/// Who may say something in a message.
const ROLES: [&str; 5] = ["system", "user", "model", "assistant", "tool"];

/// Checks a text that begins on a line of its file; the names of the partials that it uses, and that they use.
pub fn check(text: &str, first_line: usize, partials: &BTreeMap<String, String>) -> Result<Vec<String>, Fault> {
    let in_file = |fault: Fault| Fault::at(first_line + fault.line - 1, fault.message);
    let seen = look(text).map_err(in_file)?;
    let mut all = Partials { texts: partials, known: BTreeMap::new(), within: Vec::new() };
    let mut whole = Whole { depth: seen.depth, bytes: text.len() };
    for used in &seen.partials {
        let at = |message: String| in_file(Fault::at(used.line, message));
        let more = all.of(&used.name).map_err(at)?;
        whole = Whole { depth: whole.depth.max(used.depth + more.depth), bytes: whole.bytes.saturating_add(more.bytes) };
        whole.check().map_err(at)?;
    }
    whole.check().map_err(|message| in_file(Fault::at(1, message)))?;
    Ok(all.known.into_keys().map(str::to_owned).collect())
}

/// Reads a text where it has room enough, and tells what is in it.
fn look(text: &str) -> Result<Seen, Fault> {
    if text.len() > LARGEST {
        return Err(Fault::at(1, format!("the template is larger than {} KiB", LARGEST >> 10)));
    }
    let is_block = |tag: &&str| tag.trim_start_matches(|c: char| c == '~' || c.is_whitespace()).starts_with('#');
    if text.split("{{").skip(1).filter(is_block).count() > MOST_BLOCKS {
        return Err(Fault::at(1, format!("the template has more than {MOST_BLOCKS} blocks")));
    }
    if text.bytes().filter(|byte| matches!(byte, b'(' | b'[' | b'{')).count() > MOST_BRACKETS {
        return Err(Fault::at(1, format!("the template has more than {MOST_BRACKETS} opening brackets")));
    }
    let read = || {
        let template = Template::compile(text).map_err(|error| fault(&error))?;
        let mut seen = Seen::default();
        seen.elements(&template, 0);
        Ok(seen)
    };
    let seen = deep::done(read).map_err(|why| Fault::at(1, format!("the template cannot be read ({why})")))??;
    match seen.fault {
        Some(fault) => Err(fault),
        None => Ok(seen),
    }
}

fn fault(error: &TemplateError) -> Fault {
    let line = error.pos().map_or(1, |(line, _)| line).max(1);
    // It repeats the tag, however long that is.
    let why: String = error.reason().to_string().chars().take(200).collect();
    Fault::at(line, format!("the template is wrong: {why}"))
}

/// How deep a value is nested.
fn depth_of(value: &Value) -> usize {
    let within = match value {
        Value::Array(all) => all.iter().map(depth_of).max(),
        Value::Object(all) => all.values().map(depth_of).max(),
        _ => return 0,
    };
    1 + within.unwrap_or(0)
}

// === impl Seen ===

impl Seen {
    fn elements(&mut self, template: &Template, depth: usize) {
        self.depth = self.depth.max(depth);
        for (at, element) in template.elements.iter().enumerate() {
            let line = template.mapping.get(at).map_or(1, |mapping| mapping.0);
            match element {
                TemplateElement::RawString(_) | TemplateElement::Comment(_) => {}
                TemplateElement::Expression(tag) | TemplateElement::HtmlExpression(tag) => self.tag(tag, line, depth),
                TemplateElement::HelperBlock(tag) => {
                    self.helper(&tag.name, line);
                    self.tag(tag, line, depth);
                    // `{{else if …}}` is a block within a block, as deep as there are such.
                    [&tag.template, &tag.inverse].into_iter().flatten().for_each(|block| self.elements(block, depth + 1));
                }
                TemplateElement::PartialExpression(partial) => {
                    let values = partial.params.iter().chain(partial.hash.values());
                    values.for_each(|value| self.value(value, line, depth));
                    match partial.name.as_name() {
                        Some(name) => self.partials.push(Use { name: name.to_owned(), line, depth: depth + 1 }),
                        None => self.wrong(line, "a partial is called by its name alone, as {{> name}}".to_owned()),
                    }
                }
                _ => self
                    .wrong(line, "Dotprompt has no inline partials, partial blocks and decorators: write a partial as a file".to_owned()),
            }
        }
    }

    /// What stands in a tag.
    fn tag(&mut self, tag: &HelperTemplate, line: usize, depth: usize) {
        if !(tag.params.is_empty() && tag.hash.is_empty()) {
            self.helper(&tag.name, line);
        }
        if let (Some("role"), Some(Parameter::Literal(Value::String(role)))) = (tag.name.as_name(), tag.params.first())
            && !ROLES.contains(&role.as_str())
        {
            self.wrong(line, format!("'{role}' is no role: those are {}", ROLES.join(", ")));
        }
        let values = std::iter::once(&tag.name).chain(&tag.params).chain(tag.hash.values());
        values.for_each(|value| self.value(value, line, depth));
    }

    fn value(&mut self, value: &Parameter, line: usize, depth: usize) {
        match value {
            Parameter::Literal(literal) => self.depth = self.depth.max(depth + depth_of(literal)),
            Parameter::Subexpression(within) => {
                self.depth = self.depth.max(depth + 1);
                if let TemplateElement::Expression(tag) = within.as_element() {
                    self.tag(tag, line, depth + 1);
                }
            }
            _ => {}
        }
    }

    fn helper(&mut self, name: &Parameter, line: usize) {
        if let Some(unknown) = name.as_name().filter(|name| !KNOWN.contains(name)) {
            let near = crate::config::hint::nearest(unknown, KNOWN.into_iter());
            let own = KNOWN.iter().filter(|name| **name != CONTEXT).copied().collect::<Vec<_>>();
            let near = near.map_or_else(|| format!("those are {}", own.join(", ")), |near| format!("did you mean '{near}'?"));
            self.wrong(line, format!("'{unknown}' is no helper: {near}"));
        }
    }

    fn wrong(&mut self, line: usize, message: String) {
        self.fault.get_or_insert(Fault { line, message });
    }
}

// === impl Partials ===

impl<'a> Partials<'a> {
    /// What a partial comes to; the error says what is wrong with it, or with one that it uses.
    fn of(&mut self, name: &str) -> Result<Whole, String> {
        if let Some(known) = self.known.get(name) {
            return Ok(*known);
        }
        let missing = || format!("there is no partial '{name}': write it as the file '_{name}.prompt'");
        let (name, text) = self.texts.get_key_value(name).ok_or_else(missing)?;
        if let Some(from) = self.within.iter().position(|outer| outer == name) {
            let circle: Vec<String> = self.within[from..].iter().chain([&name.as_str()]).map(|name| format!("_{name}.prompt")).collect();
            return Err(format!("the partials go round in a circle: {}", circle.join(" -> ")));
        }
        if self.within.len() >= DEEPEST {
            return Err(format!("partials are nested more than {DEEPEST} deep"));
        }
        let seen =
            look(text).map_err(|fault| format!("the partial '{name}' is wrong: _{name}.prompt:{}: {}", fault.line, fault.message))?;
        self.within.push(name);
        let mut whole = Whole { depth: seen.depth, bytes: text.len() };
        for used in &seen.partials {
            let at = |message: String| match message.starts_with("the partial") {
                true => message,
                false => format!("the partial '{name}' is wrong: _{name}.prompt:{}: {message}", used.line),
            };
            let more = self.of(&used.name).map_err(at)?;
            whole = Whole { depth: whole.depth.max(used.depth + more.depth), bytes: whole.bytes.saturating_add(more.bytes) };
            whole.check().map_err(at)?;
        }
        self.within.pop();
        self.known.insert(name, whole);
        Ok(whole)
    }
}

// === impl Whole ===

impl Whole {
    fn check(self) -> Result<(), String> {
        match self {
            Whole { depth, .. } if depth > DEEPEST => Err(format!("blocks and partials are nested more than {DEEPEST} deep")),
            Whole { bytes, .. } if bytes > LARGEST_WHOLE => Err(format!("with its partials it is larger than {} MiB", LARGEST_WHOLE >> 20)),
            _ => Ok(()),
        }
    }
}
