//! A prompt's examples, in a file beside it: inputs, and what is expected of the answers.

use std::path::{Path, PathBuf};

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use similar::TextDiff;
use utoipa::ToSchema;

use super::{Prompt, Prompts, Violation, chat};
use crate::yaml;

/// A file of examples: `NAME.examples.yaml`, or `NAME@VERSION.examples.yaml` for one version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    examples: Vec<Example>,
}

/// One call, and what its answer has to be.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// What it is called in reports.
    pub name: Option<String>,
    /// The variables.
    #[serde(default)]
    pub input: Value,
    /// The whole answer, where it is always the same: JSON by value, text without the white space around it.
    pub output: Option<Value>,
    /// Texts that the answer has to have in it; of JSON, its own text.
    #[serde(default)]
    pub contains: Vec<String>,
}

/// What came of one call.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Tried {
    /// `name@version`.
    pub prompt: String,
    /// What the example is called.
    pub example: String,
    /// The answer is as it has to be.
    pub passed: bool,
    /// What is wrong with it: a diff, or what it lacks, or why there is none.
    pub wrong: Option<String>,
}

/// How deep a file may be nested.
const DEEPEST: usize = 64;

/// The examples of a prompt, and the file that they are in; none where there is no file.
pub fn of(folder: &Path, prompt: &Prompt) -> Result<(PathBuf, Vec<Example>), String> {
    let mut paths = [&prompt.label(), &prompt.name].map(|stem| folder.join(format!("{stem}.examples.yaml"))).into_iter();
    let Some(path) = paths.find(|path| path.exists()) else { return Ok((folder.to_path_buf(), Vec::new())) };
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
    let file: File = yaml::read(&text, DEEPEST).map_err(|(line, message)| format!("{}:{line}: {message}", path.display()))?;
    Ok((path, file.examples))
}

/// What is wrong with a prompt's examples: their file, or inputs that the prompt would refuse.
pub fn faults(folder: &Path, prompt: &Prompt) -> Vec<String> {
    let (path, examples) = match of(folder, prompt) {
        Ok(found) => found,
        Err(fault) => return vec![fault],
    };
    let wrong = |(at, example): (usize, &Example)| {
        let violations = chat::variables(prompt, example.input()).err()?;
        let told: Vec<String> = violations.iter().map(Violation::told).collect();
        Some(format!("{}: the input of {} does not fit {}: {}", path.display(), example.shown(at), prompt.label(), told.join("; ")))
    };
    examples.iter().enumerate().filter_map(wrong).collect()
}

/// Files that look like examples and are none: of another ending, or of no prompt.
pub fn strays(folder: &Path, prompts: &Prompts) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let stray = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let shown = entry.path().display().to_string();
        if let Some(stem) = name.strip_suffix(".examples.yml") {
            return Some(format!("{shown}: it is not read: name it {stem}.examples.yaml"));
        }
        let stem = name.strip_suffix(".examples.yaml")?;
        let is_there = prompts.all().any(|prompt| prompt.name == stem || prompt.label() == stem);
        (!is_there).then(|| format!("{shown}: there is no prompt '{stem}' that is right"))
    };
    let mut strays: Vec<String> = files.filter_map(stray).collect();
    strays.sort();
    strays
}

/// The lines that differ, as a unified diff.
pub fn diff(before: &str, after: &str, names: (&str, &str)) -> String {
    TextDiff::from_lines(before, after).unified_diff().context_radius(3).header(names.0, names.1).to_string()
}

// === impl Example ===

impl Example {
    /// The variables; none where the example has no input.
    pub fn input(&self) -> Value {
        if self.input.is_null() { Value::Object(Map::new()) } else { self.input.clone() }
    }

    /// What it is called in reports, where it stands at this place from 0 on.
    pub fn shown(&self, at: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("example {}", at + 1))
    }

    /// What came of a call of the example that stands at this place, by its status and answer, or by why there is none.
    pub fn tried(&self, at: usize, label: &str, answer: Result<(StatusCode, String), String>) -> Tried {
        let wrong = match answer {
            Err(why) => vec![why],
            Ok((status, answer)) if !status.is_success() => vec![format!("{status}: {}", answer.trim())],
            Ok((_, answer)) => self.judge(&answer),
        };
        let passed = wrong.is_empty();
        Tried { prompt: label.to_owned(), example: self.shown(at), passed, wrong: (!passed).then(|| wrong.join("\n")) }
    }

    /// What is wrong with an answer: a diff, or what it lacks; nothing where it is right.
    pub fn judge(&self, answer: &str) -> Vec<String> {
        let json = serde_json::from_str::<Value>(answer).ok();
        let mut wrong = Vec::new();
        if let Some(expected) = &self.output {
            let is_same = match (expected, &json) {
                (Value::String(text), _) if text.trim() == answer.trim() => true,
                (expected, Some(json)) => expected == json,
                _ => false,
            };
            if !is_same {
                wrong.push(diff(&lines(expected), &json.as_ref().map_or_else(|| ended(answer), lines), ("expected", "answered")));
            }
        }
        let missing = self.contains.iter().filter(|text| !answer.contains(text.as_str()));
        wrong.extend(missing.map(|text| format!("the answer has no '{text}' in it: {}", answer.trim())));
        wrong
    }
}

/// A value on lines of its own, with the members of objects in one order.
fn lines(value: &Value) -> String {
    match value {
        Value::String(text) => ended(text),
        other => ended(&serde_json::to_string_pretty(&sorted(other)).unwrap_or_default()),
    }
}

fn sorted(value: &Value) -> Value {
    let mut value = value.clone();
    value.sort_all_objects();
    value
}

fn ended(text: &str) -> String {
    format!("{}\n", text.trim())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_judged_by_value_and_its_difference_is_shown_by_lines() {
        let example = Example { output: Some(json!({ "a": 1, "b": 2 })), ..Example::default() };
        assert_eq!(example.judge(r#"{"b": 2, "a": 1}"#), Vec::<String>::new());
        let shown = &example.judge(r#"{"a": 1, "b": 3}"#)[0];
        assert!(shown.contains("-  \"b\": 2\n+  \"b\": 3\n"), "{shown}");
        assert!(shown.starts_with("--- expected\n+++ answered\n"), "{shown}");
        assert_eq!(example.judge("no JSON").len(), 1);
    }

    #[test]
    fn text_is_compared_without_what_is_around_it() {
        let example = Example { output: Some("Hello".into()), contains: vec!["ell".to_owned()], ..Example::default() };
        assert_eq!(example.judge("Hello\n"), Vec::<String>::new());
        assert_eq!(example.judge("Bye").len(), 2);
    }
}
