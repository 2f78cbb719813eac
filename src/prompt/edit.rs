//! Changes to a prompt's file: fields of its front matter, line by line, so that all else stays as its author wrote it.

/// What `keyward prompts new` writes.
pub const STARTER: &str = r#"---
# What the prompt does, in a sentence: callers see it.
description: Says hello
# Which model answers; without this line, the one in keyward.toml (`[prompts] model`), or simulator/echo.
# model: openai/gpt-4o-mini
config:
  temperature: 0.7
# The variables, each as `name: type, description`; `name?` may be left out.
input:
  schema:
    name: string, whom to greet
    language?: string, in which language
  default:
    language: English
# With a schema the answer is JSON that fits it; without one it is text.
# output:
#   schema:
#     greeting: string
---
{{role "system"}}You greet people in {{language}}, in one sentence.
{{role "user"}}Greet {{name}}.
"#;

/// The file's text with a field of its front matter set; a file without front matter gets one.
pub fn with_field(source: &str, field: &str, value: &str) -> String {
    let line = format!("{field}: {value}");
    let lines: Vec<&str> = source.lines().collect();
    let is_fence = |line: &&str| line.trim_end() == "---";
    let begin = lines.iter().position(is_fence).filter(|begin| lines[..*begin].iter().all(|l| l.trim().is_empty() || l.starts_with('#')));
    let end = begin.and_then(|begin| Some(begin + 1 + lines.get(begin + 1..)?.iter().position(is_fence)?));
    let (Some(begin), Some(end)) = (begin, end) else { return format!("---\n{line}\n---\n{source}") };
    let is_field = |line: &&str| line.strip_prefix(field).is_some_and(|rest| rest.trim_start().starts_with(':'));
    let mut changed: Vec<&str> = lines.clone();
    match lines.iter().take(end).skip(begin).position(is_field) {
        Some(at) => changed.splice(begin + at..=begin + at, [line.as_str()]),
        None => changed.splice(end..end, [line.as_str()]),
    };
    changed.join("\n") + "\n"
}
