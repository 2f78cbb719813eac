//! A template that is compiled once, with its partials, and rendered with each request's variables.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use handlebars::{Handlebars, RenderErrorReason, TemplateError, no_escape};
use serde_json::{Map, Value};

use super::helpers::{Mark, register, register_context};
use super::message::{Message, messages};
use super::{Fault, bounds, compiled, helpers};

/// A compiled template.
#[derive(Clone, Debug)]
pub struct Template {
    /// The partials that it uses, and that they use.
    pub partials: Vec<String>,
    /// It says itself where the conversation so far goes.
    pub places_history: bool,
    /// There is nothing in it, or comments alone.
    pub is_empty: bool,
    /// It goes through lists: how long it takes is up to who calls.
    pub has_loops: bool,
    registry: Handlebars<'static>,
    mark: Mark,
}

/// What a template is rendered with.
#[derive(Clone, Debug, Default)]
pub struct Rendering {
    /// The variables, with defaults already among them.
    pub input: Value,
    /// What `@name` stands for.
    pub context: Map<String, Value>,
    /// The conversation so far.
    pub history: Vec<Message>,
}

/// What is rendered, up to a size, a number of steps and a time: loops within loops over a caller's lists know no end.
struct Bounded {
    text: Vec<u8>,
    /// Each piece is one, be it empty.
    steps: usize,
    began: Instant,
}

/// The most bytes that a template is rendered to.
const LARGEST: usize = 32 << 20;
/// The most steps that it takes.
const MOST_STEPS: usize = 1_000_000;
/// The most time: a step over a large value takes longer than others.
const LONGEST: Duration = Duration::from_secs(2);
/// The clock is looked at after so many steps.
const STEPS_A_LOOK: usize = 16;
const MAIN: &str = " main";
/// What Handlebars itself has under `@`.
const OWN: [&str; 5] = ["root", "index", "key", "first", "last"];

// === impl Template ===

impl Template {
    /// Compiles a template that begins on a line of its file; `partials` are texts by name.
    pub fn compile(body: &str, first_line: usize, partials: &BTreeMap<String, String>) -> Result<Template, Fault> {
        let mut registry = Handlebars::new();
        registry.register_escape_fn(no_escape);
        let mark = Mark::new();
        register(&mut registry, &mark);
        let texts: BTreeMap<String, String> = partials.iter().map(|(name, text)| (name.clone(), with_context(text))).collect();
        let body = with_context(body);
        let used = bounds::check(&body, first_line, &texts)?;
        registry.register_template_string(MAIN, &body).map_err(|error| fault(&error, first_line))?;
        for (name, text) in texts.iter().filter(|(name, _)| used.contains(name)) {
            registry.register_partial(name, text).map_err(|error| fault(&error, first_line))?;
        }
        compiled::make(&mut registry);
        let texts = std::iter::once(body.as_str()).chain(used.iter().filter_map(|name| texts.get(name)).map(String::as_str));
        let mut tags = texts.flat_map(|text| text.split("{{").skip(1));
        let places_history = tags.any(|tag| tag.trim_start_matches(['{', '~', ' ']).starts_with("history"));
        let has_loops = registry.get_templates().values().any(compiled::has_loops);
        let is_empty = registry.get_template(MAIN).is_none_or(compiled::says_nothing);
        Ok(Template { partials: used, places_history, is_empty, has_loops, registry, mark })
    }

    /// The messages; the error says what in the template cannot be rendered.
    pub fn render(&self, rendering: Rendering) -> Result<Vec<Message>, String> {
        let mut rendered = Bounded { text: Vec::new(), steps: 0, began: Instant::now() };
        let done = match rendering.context.is_empty() {
            true => self.registry.render_to_write(MAIN, &rendering.input, &mut rendered),
            false => {
                let mut registry = self.registry.clone();
                register_context(&mut registry, rendering.context);
                registry.render_to_write(MAIN, &rendering.input, &mut rendered)
            }
        };
        done.map_err(|error| match error.reason() {
            RenderErrorReason::Other(message) => message.clone(),
            RenderErrorReason::IOError(error) => error.to_string(),
            reason => reason.to_string(),
        })?;
        let rendered = String::from_utf8(rendered.text).map_err(|error| error.to_string())?;
        Ok(messages(&rendered, &self.mark, &rendering.history))
    }
}

// === impl Bounded ===

impl io::Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.write_all(piece).map(|()| piece.len())
    }

    fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        self.steps += 1;
        let is_late = || self.steps.is_multiple_of(STEPS_A_LOOK) && self.began.elapsed() > LONGEST;
        if self.steps > MOST_STEPS || is_late() {
            let (steps, seconds) = (MOST_STEPS, LONGEST.as_secs());
            return Err(io::Error::other(format!("it takes more than {steps} steps or {seconds} s: its loops go through too much")));
        }
        if self.text.len() + piece.len() > LARGEST {
            return Err(io::Error::other(format!("it would be larger than {} MiB", LARGEST >> 20)));
        }
        self.text.extend_from_slice(piece);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn fault(error: &TemplateError, first_line: usize) -> Fault {
    let line = error.pos().map_or(1, |(line, _)| line).max(1);
    Fault::at(first_line + line - 1, format!("the template is wrong: {}", error.reason()))
}

/// The partials that a template names, each with how many lines after the first it stands.
pub fn partials_in(body: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (number, line) in body.lines().enumerate() {
        for tag in line.split("{{").skip(1) {
            let Some(after) = tag.trim_start_matches('~').trim_start().strip_prefix('>') else { continue };
            let name: String = after.trim_start().chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')).collect();
            if !name.is_empty() {
                found.push((name, number));
            }
        }
    }
    found
}

/// The template with `@name.path` written as a call to the helper that knows it: Handlebars has no such variables.
fn with_context(template: &str) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(open) = rest.find("{{") {
        out.push_str(&rest[..open]);
        let tag = &rest[open..];
        let is_comment = tag.trim_start_matches(['{', '~']).starts_with('!');
        let end = tag.find(if is_comment && tag.contains("--}}") { "--}}" } else { "}}" });
        let Some(end) = end else {
            out.push_str(tag);
            return out;
        };
        if is_comment {
            out.push_str(&tag[..end])
        } else {
            rewrite(&tag[..end], &mut out)
        }
        rest = &tag[end..];
    }
    out.push_str(rest);
    out
}

/// One tag without its end.
fn rewrite(tag: &str, out: &mut String) {
    let inside = tag.trim_start_matches(['{', '~', '&', ' ']);
    let is_alone = inside.starts_with('@') && !inside.trim_end_matches(['~', ' ', '}']).contains(char::is_whitespace);
    let mut quote: Option<char> = None;
    let mut before = ' ';
    let mut chars = tag.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            _ => {}
        }
        let starts = c == '@' && quote.is_none() && matches!(before, ' ' | '\n' | '\t' | '=' | '(' | '{' | '~' | '&');
        before = c;
        let path = starts.then(|| &tag[at + 1..]).map(|after| {
            let end = after.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))).unwrap_or(after.len());
            &after[..end]
        });
        match path.filter(|path| path.starts_with(|c: char| c.is_alphabetic())) {
            Some(path) if !OWN.contains(&path.split('.').next().unwrap_or_default()) => {
                let call = format!("{} \"{path}\"", helpers::CONTEXT);
                out.push_str(&if is_alone { call } else { format!("({call})") });
                while chars.next_if(|(next, _)| *next < at + 1 + path.len()).is_some() {}
            }
            _ => out.push(c),
        }
    }
}
