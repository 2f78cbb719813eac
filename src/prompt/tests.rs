//! Files are read, templates rendered, and faults told by their line.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use jiff::Timestamp;

use super::*;

fn read(name: &str, text: &str) -> Result<Prompt, String> {
    Prompt::read(name, None, text, &std::collections::BTreeMap::new()).map_err(|fault| fault.to_string())
}

#[test]
fn ten_bad_files_each_say_the_line_and_what_would_be_right() {
    let bad = [
        ("---\nmodel: x\n", "line 1: the front matter begins here and has no end"),
        ("---\nmodel: [x\n---\nHi", "the front matter is no YAML"),
        ("---\nmodel: 3\n---\nHi", "line 2: 'model' has to be a text"),
        ("---\nmodel: x\ninput:\n  schema:\n    text: strin\n---\nHi", "line 5: 'input.schema' is not right: 'strin' is no type"),
        ("---\nkeyward.state: live\n---\nHi", "line 2: 'live' is no state: it is one of draft, published, deprecated, retired"),
        ("---\nkeyward.version: 0\n---\nHi", "line 2: 'keyward.version' has to be a whole number from 1 on"),
        ("---\nkeyward.sunset: soon\n---\nHi", "line 2: 'soon' is no time"),
        ("---\nkeyward.colour: red\n---\nHi", "line 2: 'keyward.colour' is no field"),
        ("---\nmodel: x\n---\n\nHi\n{{#if a}}", "the template is wrong"),
        ("Hi\n{{> greeting}}", "line 2: there is no partial 'greeting'"),
        ("---\noutput:\n  format: xml\n---\nHi", "line 3: 'output.format' has to be 'json' or 'text'"),
    ];
    for (text, wanted) in bad {
        let fault = read("p", text).map(|prompt| prompt.label()).unwrap_err();
        assert!(fault.contains(wanted), "{text:?}: {fault:?} lacks {wanted:?}");
        assert!(fault.starts_with("line "), "{fault}");
    }
}

fn write(folder: &Path, file: &str, text: &str) {
    std::fs::write(folder.join(file), text).unwrap();
}

#[test]
fn a_bad_file_is_told_and_the_last_good_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "hi.prompt", "Hi {{name}}");
    assert!(Shelf::open(folder.path()).prompts().choose("hi", Timestamp::now(), 0.0).is_none(), "a draft is called by its version alone");
    let shelf = Shelf::open(folder.path());
    write(folder.path(), "hi.prompt", "Hello {{#if");
    shelf.refresh();
    let prompts = shelf.prompts();
    assert_eq!(prompts.faults().len(), 1);
    assert!(prompts.faults()[0].file.ends_with("hi.prompt"));
    let rendered = prompts.versions("hi").unwrap()[&1]
        .template
        .render(dotprompt::Rendering { input: serde_json::json!({ "name": "you" }), ..Default::default() });
    assert_eq!(rendered.unwrap()[0].content, [dotprompt::Part::Text { text: "Hi you".to_owned() }]);
    write(folder.path(), "hi.prompt", "Hello {{name}}, again");
    shelf.refresh();
    assert!(shelf.prompts().faults().is_empty());
}

#[test]
fn a_published_version_stays_what_it_was_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "hi.prompt", "---\nkeyward.state: published\n---\nHi");
    assert!(Shelf::open(folder.path()).prompts().faults().is_empty());
    write(folder.path(), "hi.prompt", "---\nkeyward.state: published\n---\nHello");
    let changed = Shelf::open(folder.path()).prompts();
    assert!(changed.faults()[0].message.contains("'hi@1' is published and must not change"), "{:?}", changed.faults());
    write(folder.path(), "hi.prompt", "---\nkeyward.state: deprecated\nkeyward.successor: hi@2\n---\nHi");
    write(folder.path(), "hi@2.prompt", "---\nkeyward.state: published\n---\nHello");
    let next = Shelf::open(folder.path()).prompts();
    assert!(next.faults().is_empty(), "{:?}", next.faults());
    assert_eq!(next.choose("hi", Timestamp::now(), 0.0).unwrap().version, 2);
    let old = &next.versions("hi").unwrap()[&1];
    assert!(old.headers().iter().any(|(name, value)| *name == "link" && value == "</prompts/hi@2>; rel=\"successor-version\""));
}

#[test]
fn versions_share_calls_by_their_weights() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "hi.prompt", "---\nkeyward.state: published\nkeyward.weight: 9\n---\nHi");
    write(folder.path(), "hi@2.prompt", "---\nkeyward.state: published\nkeyward.weight: 1\n---\nHello");
    let prompts = Shelf::open(folder.path()).prompts();
    let version = |chance| prompts.choose("hi", Timestamp::now(), chance).unwrap().version;
    assert_eq!([version(0.0), version(0.89), version(0.91), version(0.999)], [1, 1, 2, 2]);
}

#[test]
fn each_violation_names_its_place() {
    let prompt = read("p", "---\ninput:\n  schema:\n    text: string\n    tags?(array): string\n---\n{{text}}").unwrap();
    let violations = prompt.input_violations(&serde_json::json!({ "tags": ["a", 1], "more": true }));
    let mut paths: Vec<&str> = violations.iter().map(|violation| violation.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["", "", "/tags/1"], "{violations:?}");
}

#[test]
fn a_field_is_set_and_all_else_stays() {
    let source = "# License\n---\n# why\nmodel: x\nkeyward.state: draft\n---\nHi\n---\n";
    let published = edit::with_field(source, "keyward.state", "published");
    assert_eq!(published, source.replace("draft", "published"));
    assert_eq!(edit::with_field(source, "keyward.version", "2"), source.replace("draft\n", "draft\nkeyward.version: 2\n"));
    assert_eq!(edit::with_field("Hi", "keyward.state", "draft"), "---\nkeyward.state: draft\n---\nHi");
}

#[test]
fn the_starter_and_the_prompts_that_come_with_the_project_are_right() {
    assert_eq!(read("hello", edit::STARTER).unwrap().life.state, State::Draft);
    let shipped = Prompts::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts"));
    assert!(shipped.faults().is_empty(), "{:?}", shipped.faults());
    let names: Vec<&str> = shipped.names().collect();
    assert_eq!(names, ["classify", "describe-image", "extract", "rewrite", "sentiment", "sql", "summarize", "translate"]);
    assert!(shipped.all().all(|prompt| prompt.life.state == State::Published && prompt.front.description.is_some()));
}
