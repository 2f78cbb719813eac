//! Files are read, templates rendered, and faults told by their line.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

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

/// Two looks, between which nothing moves.
fn settle(shelf: &Shelf) {
    shelf.refresh();
    shelf.refresh();
}

#[test]
fn a_bad_file_is_told_and_the_last_good_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "hi.prompt", "Hi {{name}}");
    assert!(Shelf::open(folder.path()).prompts().choose("hi", Timestamp::now(), 0.0).is_none(), "a draft is called by its version alone");
    let shelf = Shelf::open(folder.path());
    write(folder.path(), "hi.prompt", "Hello {{#if");
    settle(&shelf);
    let prompts = shelf.prompts();
    assert_eq!(prompts.faults().len(), 1);
    assert!(prompts.faults()[0].file.ends_with("hi.prompt"));
    let rendered = prompts.versions("hi").unwrap()[&1]
        .template
        .render(dotprompt::Rendering { input: serde_json::json!({ "name": "you" }), ..Default::default() });
    assert_eq!(rendered.unwrap()[0].content, [dotprompt::Part::Text { text: "Hi you".to_owned() }]);
    write(folder.path(), "hi.prompt", "Hello {{name}}, again");
    settle(&shelf);
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
    assert_eq!(paths, ["", "/tags/1", "/text"], "{violations:?}");
}

#[test]
fn a_field_is_set_and_all_else_stays() {
    let source = "# License\n---\n# why\nmodel: x\nkeyward.state: draft\n---\nHi\n---\n";
    let published = edit::with_field(source, "keyward.state", "published");
    assert_eq!(published, source.replace("draft", "published"));
    assert_eq!(edit::with_field(source, "keyward.version", "2"), source.replace("draft\n", "draft\nkeyward.version: 2\n"));
    assert_eq!(edit::with_field("Hi", "keyward.state", "draft"), "---\nkeyward.state: draft\n---\nHi");
    assert_eq!(edit::with_field("\u{feff}---\na: 1\n---\nHi", "b", "true"), "\u{feff}---\na: 1\nb: \"true\"\n---\nHi\n");
}

#[test]
fn the_starter_and_the_prompts_that_come_with_the_project_are_right() {
    assert_eq!(read("hello", edit::STARTER).unwrap().life.state, State::Draft);
    // Without what a gateway may have noted beside them.
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts")).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|ending| ending == "prompt" || ending == "yaml") {
            std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
    }
    let shipped = Prompts::read(folder.path());
    assert!(shipped.faults().is_empty(), "{:?}", shipped.faults());
    let names: Vec<&str> = shipped.names().collect();
    assert_eq!(names, ["classify", "describe-image", "extract", "rewrite", "sentiment", "sql", "summarize", "translate"]);
    assert!(shipped.all().all(|prompt| prompt.life.state == State::Published && prompt.front.description.is_some()));
    for prompt in shipped.all() {
        let (_, examples) = examples::of(folder.path(), prompt).unwrap();
        assert!(examples.len() >= 2, "{} has {} examples", prompt.label(), examples.len());
        assert_eq!(examples::faults(folder.path(), prompt), Vec::<String>::new());
        for (at, example) in examples.iter().enumerate() {
            let shown = format!("{} {}", prompt.label(), example.shown(at));
            let input = chat::variables(prompt, example.input()).unwrap();
            let fitted = Arc::clone(prompt).fitted(&input).unwrap();
            let rendering = dotprompt::Rendering { input, ..Default::default() };
            assert!(!fitted.template.render(rendering).unwrap().is_empty(), "{shown}");
            assert!(example.output.is_some() || !example.contains.is_empty(), "{shown}");
            assert_eq!(example.output.iter().flat_map(|output| fitted.output_violations(output)).count(), 0, "{shown}");
        }
    }
    assert_eq!(examples::strays(folder.path(), &shipped), Vec::<String>::new());
}

fn said(prompts: &Prompts, name: &str, version: u32) -> String {
    let prompt = &prompts.versions(name).unwrap()[&version];
    let messages = prompt.template.render(dotprompt::Rendering { input: serde_json::json!({}), ..Default::default() }).unwrap();
    let dotprompt::Part::Text { text } = &messages[0].content[0] else { panic!("no text") };
    text.clone()
}

const PUBLISHED: &str = "---\nkeyward.state: published\n---\n";

#[test]
fn no_template_goes_deeper_than_a_stack() {
    let nested = |times: usize| format!("{}x{}", "{{#if a}}".repeat(times), "{{/if}}".repeat(times));
    assert!(read("p", &nested(32)).is_ok());
    for times in [33, 999] {
        assert!(read("p", &nested(times)).unwrap_err().contains("nested more than 32 deep"), "{times}");
    }
    for (text, wanted) in [
        (nested(1001), "more than 1000 blocks"),
        (nested(30_000), "larger than 256 KiB"),
        (format!("{{{{json {}{}}}}}", "(lookup ".repeat(5000), "a 1)".repeat(5000)), "nested more than 32 deep"),
        (format!("{{{{json {}1{}}}}}", "[".repeat(9000), "]".repeat(9000)), "the template is wrong"),
        (format!("{{{{json {}1{}}}}}", "[".repeat(40), "]".repeat(40)), "nested more than 32 deep"),
        ("(".repeat(10_001), "more than 10000 opening brackets"),
        ("{{#if a}}".repeat(900), "the template is wrong"),
        ("{{#*inline \"a\"}}{{> a}}{{/inline}}{{> a}}".to_owned(), "no inline partials"),
        ("x\n{{> (lookup a 'name')}}".to_owned(), "line 2: a partial is called by its name alone"),
    ] {
        let fault = read("p", &text).map(|prompt| prompt.label()).unwrap_err();
        assert!(fault.contains(wanted), "{fault} lacks {wanted}");
    }
    let chain = (0..40).fold("{{a}}".to_owned(), |text, _| format!("{{{{#unless a}}}}{text}{{{{/unless}}}}"));
    assert!(read("p", &chain).is_err());
    assert!(read("p", &format!("---\ninput: {}1{}\n---\n", "[".repeat(500), "]".repeat(500))).unwrap_err().contains("no YAML"));
    let circle = read("p", "---\ninput:\n  schema:\n    type: object\n    allOf: [{ $ref: '#' }]\n---\nx").unwrap();
    assert_eq!(circle.input_violations(&serde_json::json!({})), []);
}

#[test]
fn a_bad_partial_is_the_fault_of_those_alone_that_use_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "_b.prompt", "B\n{{> c}}");
    write(folder.path(), "_c.prompt", "{{> b}}");
    write(folder.path(), "_bad.prompt", "x\n{{#if}} oops {{/each}}");
    write(folder.path(), "_lost.prompt", "{{> nothere}}");
    for (level, next) in (0..22).map(|level| (level, level + 1)) {
        write(folder.path(), &format!("_l{level}.prompt"), &format!("{{{{> l{next}}}}}{{{{> l{next}}}}}"));
    }
    write(folder.path(), "_l22.prompt", "ha");
    write(folder.path(), "good.prompt", &format!("{PUBLISHED}Fine"));
    for (name, partial) in [("circle", "b"), ("bad", "bad"), ("lost", "lost"), ("many", "l0")] {
        write(folder.path(), &format!("{name}.prompt"), &format!("{PUBLISHED}\n{{{{> {partial}}}}}"));
    }
    let prompts = Shelf::open(folder.path()).prompts();
    assert_eq!(prompts.names().collect::<Vec<_>>(), ["good"]);
    let told: Vec<String> =
        prompts.faults().iter().map(|fault| fault.to_string().replace(&format!("{}/", folder.path().display()), "")).collect();
    for wanted in [
        "circle.prompt:5: the partials go round in a circle: _b.prompt -> _c.prompt -> _b.prompt",
        "bad.prompt:5: the partial 'bad' is wrong: _bad.prompt:2: the template is wrong",
        "lost.prompt:5: the partial 'lost' is wrong: _lost.prompt:1: there is no partial 'nothere'",
        "many.prompt:5: the partial 'l4' is wrong: _l4.prompt:1: with its partials it is larger than 4 MiB",
        "_bad.prompt:2: the template is wrong",
        "_lost.prompt:1: there is no partial 'nothere'",
    ] {
        assert!(told.iter().any(|fault| fault.starts_with(wanted)), "{wanted} is not in {told:#?}");
    }
}

#[test]
fn what_is_published_is_served_as_it_was_whatever_its_file_becomes() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "_who.prompt", "you");
    write(folder.path(), "hi.prompt", &format!("{PUBLISHED}Hi {{{{> who}}}}"));
    assert!(Shelf::open(folder.path()).prompts().faults().is_empty());
    for (file, text) in [
        ("hi.prompt", "{{#if".to_owned()),
        ("hi.prompt", format!("{PUBLISHED}Changed")),
        ("hi.prompt", "A draft".to_owned()),
        ("hi.prompt", "Hi {{> who}}".to_owned()),
        ("hi.prompt", "---\nkeyward.version: 2\n---\nAnother".to_owned()),
        ("_who.prompt", "them".to_owned()),
        ("a.prompt", "---\nmodel: [\n---\n".to_owned()),
    ] {
        let before = std::fs::read_to_string(folder.path().join(file)).ok();
        write(folder.path(), file, &text);
        let prompts = Shelf::open(folder.path()).prompts();
        assert_eq!(said(&prompts, "hi", 1), "Hi you", "{text}");
        assert_eq!(prompts.faults().len(), 1, "{text}: {:?}", prompts.faults());
        match before {
            Some(before) => write(folder.path(), file, &before),
            None => std::fs::remove_file(folder.path().join(file)).unwrap(),
        }
    }
    write(folder.path(), "hello.prompt", "x");
    let wrong = edit::write(folder.path(), "hi@1", "A draft").unwrap_err().to_string();
    assert!(wrong.contains("must not change"), "{wrong}");
    std::fs::remove_file(folder.path().join("hi.prompt")).unwrap();
    assert!(Shelf::open(folder.path()).prompts().versions("hi").is_none(), "whoever removes a file means it");
}

#[test]
fn what_is_retired_stays_so_whatever_its_file_becomes() {
    let folder = tempfile::tempdir().unwrap();
    let in_state = |state: &str| format!("---\n# why\nkeyward.state: {state}\n---\nHi");
    let ends = |day: &str| format!("---\nkeyward.state: deprecated\nkeyward.sunset: {day}\n---\nBye");
    write(folder.path(), "hi.prompt", &in_state("published"));
    write(folder.path(), "bye.prompt", &ends("2020-01-01"));
    let shelf = Shelf::open(folder.path());
    let retire = || {
        write(folder.path(), "hi.prompt", &in_state("retired"));
        write(folder.path(), "bye.prompt", &ends("2020-01-01"));
        settle(&shelf);
        assert!(shelf.prompts().faults().is_empty(), "{:?}", shelf.prompts().faults());
    };
    retire();
    for (name, text, line) in [
        ("hi", in_state("published"), 3),
        ("hi", in_state("deprecated"), 3),
        ("hi", in_state("draft"), 3),
        ("hi", "Hi".to_owned(), 1),
        ("bye", ends("2099-01-01"), 2),
        ("bye", "---\nkeyward.state: published\n---\nBye".to_owned(), 2),
    ] {
        write(folder.path(), &format!("{name}.prompt"), &text);
        settle(&shelf);
        // In the process that has served it, in one that starts now, and for whoever looks.
        for prompts in [shelf.prompts(), Shelf::open(folder.path()).prompts(), Prompts::read(folder.path()).into()] {
            let [fault] = prompts.faults() else { panic!("{text}: {:?}", prompts.faults()) };
            assert!(fault.message.contains(&format!("'{name}@1' is retired and stays so")) && fault.line == line, "{text}: {fault}");
            assert_eq!(prompts.versions(name).unwrap()[&1].state_at(Timestamp::now()), State::Retired, "{text}");
        }
        retire();
    }
    std::fs::remove_file(folder.path().join("hi.prompt")).unwrap();
    settle(&shelf);
    assert!(shelf.prompts().versions("hi").is_none());
    let again = edit::create(folder.path(), "hi", &in_state("published")).unwrap_err().to_string();
    assert!(again.contains("'hi@1' is retired and stays so"), "{again}");
    edit::write(folder.path(), "hi@2", &in_state("published")).unwrap().make().unwrap();
}

#[test]
fn a_folder_is_made_for_a_first_file_alone() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("prompts");
    for missing in [
        edit::step(&folder, "hi", &crate::steps::Step::Publish).unwrap_err(),
        edit::step(&folder, "hi@1", &crate::steps::Step::Retire).unwrap_err(),
        edit::remove(&folder, "hi").unwrap_err(),
    ] {
        assert!(matches!(&missing, crate::steps::EditError::NotFound(why) if why.contains("there is no prompt 'hi")), "{missing}");
    }
    assert!(matches!(edit::create(&folder, "hi", "{{#if}}").unwrap_err(), crate::steps::EditError::Wrong(_)));
    let (first, second) = (edit::create(&folder, "hi", edit::STARTER).unwrap(), edit::write(&folder, "hi", edit::STARTER).unwrap());
    assert!(!folder.exists());
    first.make().unwrap();
    assert!(matches!(second.make().unwrap_err(), crate::steps::EditError::Exists(_)));
    assert_eq!(Shelf::open(&folder).prompts().names().collect::<Vec<_>>(), ["hi"]);
}

#[test]
fn who_holds_a_folder_is_waited_for_and_not_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let held = crate::steps::alone(folder.path()).unwrap().unwrap();
    let refused = edit::create(folder.path(), "hi", edit::STARTER).unwrap_err();
    assert!(refused.is_locked() && refused.to_string().contains(".lock"), "{refused}");
    drop(held);
    edit::create(folder.path(), "hi", edit::STARTER).unwrap().make().unwrap();
    assert!(Shelf::open(folder.path()).faults().is_empty());
}

#[test]
fn of_two_partials_that_are_missing_either_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "both.prompt", "{{> aa}} {{> bb}}");
    edit::write_partial(folder.path(), "aa", "A").unwrap().make().unwrap();
    assert!(edit::write_partial(folder.path(), "bb", "{{> cc}}").is_err());
    edit::write_partial(folder.path(), "bb", "B").unwrap().make().unwrap();
    assert!(Prompts::read(folder.path()).faults().is_empty());
    assert!(edit::write_partial(folder.path(), "aa", "{{#if}}").is_err());
}

#[test]
fn a_draft_never_takes_the_place_of_what_is_published() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a@2.prompt", &format!("{PUBLISHED}Good"));
    Shelf::open(folder.path());
    write(folder.path(), "a.prompt", "---\nkeyward.version: 2\n---\nOther");
    let prompts = Shelf::open(folder.path()).prompts();
    assert_eq!(said(&prompts, "a", 2), "Good");
    assert!(prompts.faults()[0].file.ends_with("a.prompt") && prompts.faults()[0].message.contains("another file is 'a@2' already"));
}

#[test]
fn what_is_published_is_known_though_it_cannot_be_noted_or_read() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join(".published.json");
    write(folder.path(), "hi.prompt", &format!("{PUBLISHED}Hi"));
    let shelf = Shelf::open(folder.path());
    for bad in [true, false] {
        std::fs::remove_file(&note).unwrap();
        match bad {
            true => std::fs::write(&note, "{\"trunc").unwrap(),
            false => std::fs::create_dir(&note).unwrap(),
        }
        write(folder.path(), "hi.prompt", &format!("{PUBLISHED}Changed"));
        write(folder.path(), "new.prompt", &format!("{PUBLISHED}New"));
        settle(&shelf);
        let prompts = shelf.prompts();
        assert_eq!((said(&prompts, "hi", 1), said(&prompts, "new", 1)), ("Hi".to_owned(), "New".to_owned()));
        assert!(prompts.faults().iter().any(|fault| fault.file.ends_with(".published.json")), "{:?}", prompts.faults());
        write(folder.path(), "hi.prompt", &format!("{PUBLISHED}Hi"));
        if bad {
            std::fs::remove_file(&note).unwrap();
        } else {
            std::fs::remove_dir(&note).unwrap();
        }
        settle(&shelf);
        assert!(shelf.prompts().faults().is_empty() && note.is_file(), "{:?}", shelf.prompts().faults());
    }
    let whole = std::fs::read_to_string(&note).unwrap();
    let hash = shelf.prompts().versions("hi").unwrap()[&1].hash.clone();
    // As it was written before texts were kept.
    std::fs::write(&note, format!("{{\"hi@1\": \"{hash}\"}}")).unwrap();
    assert!(Shelf::open(folder.path()).prompts().faults().is_empty());
    assert_eq!(std::fs::read_to_string(&note).unwrap(), whole);
}

#[test]
fn a_file_is_read_once_it_is_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(folder.path());
    write(folder.path(), "slow.prompt", &format!("{PUBLISHED}Half"));
    shelf.refresh();
    assert!(shelf.prompts().names().next().is_none());
    write(folder.path(), "slow.prompt", &format!("{PUBLISHED}Half and half"));
    shelf.refresh();
    assert!(shelf.prompts().names().next().is_none());
    shelf.refresh();
    assert_eq!(said(&shelf.prompts(), "slow", 1), "Half and half");
    write(folder.path(), "own.prompt", &format!("{PUBLISHED}Whole"));
    write(folder.path(), "other.prompt", "Not yet");
    shelf.take(&[folder.path().join("own.prompt")]);
    assert_eq!(shelf.prompts().names().collect::<Vec<_>>(), ["own", "slow"]);
}

#[test]
fn what_nobody_means_is_refused_with_what_was_meant() {
    let bad = [
        ("modle: x", "line 2: 'modle' is no field: did you mean 'model'?"),
        ("config:\n  temprature: 3", "line 3: 'config.temprature' is no field: did you mean 'temperature'?"),
        ("input:\n  shcema: {}", "line 3: 'input.shcema' is no field: did you mean 'schema'?"),
        ("config:\n  temperature: hot", "line 3: 'config.temperature' has to be a number from 0 on"),
        ("config:\n  maxOutputTokens: -5", "line 3: 'config.maxOutputTokens' has to be a whole number from 1 on"),
        ("config: { stopSequences: END }", "line 2: 'config.stopSequences' has to be a list of texts"),
        ("keyward:\n  state: published", "line 2: 'keyward' is no field by itself: write each of its own with a dot"),
        ("keyward.stat: draft", "'keyward.stat' is no field: did you mean 'keyward.state'?"),
    ];
    for (front, wanted) in bad {
        let fault = read("p", &format!("---\n{front}\n---\nx")).map(|prompt| prompt.label()).unwrap_err();
        assert!(fault.contains(wanted), "{fault} lacks {wanted}");
    }
    assert!(read("p", "x\n{{nosuch a b}}").unwrap_err().starts_with("line 2: 'nosuch' is no helper"));
    assert!(read("p", "{{#unles a}}{{/unles}}").unwrap_err().contains("did you mean 'unless'?"));
    assert!(
        read("p", "---\nconfig: { apiVersion: 3, topP: 0.5 }\nmyapp: 1\n---\n{{#each a as |b|}}{{b.c}}{{else}}{{@root.x}}{{/each}}")
            .is_ok()
    );
    assert_eq!(read("p", "\u{feff}---\nmodel: x\n---\nhi").unwrap().front.model.as_deref(), Some("x"));
}

#[test]
fn violations_are_few_and_short() {
    let prompt = read("p", "---\ninput:\n  schema:\n    tags(array): string\n    name?: string\n---\n").unwrap();
    let many = prompt.input_violations(&serde_json::json!({ "tags": vec![1; 5000] }));
    assert_eq!((many.len(), many[20].message.as_str()), (21, "and 4980 more"));
    let long = prompt.input_violations(&serde_json::json!({ "tags": 7.5, "name": ["x".repeat(100_000)] }));
    assert!(long.iter().all(|violation| violation.message.len() < 400), "{long:?}");
}
