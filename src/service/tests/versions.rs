//! Versions are named by files, chosen by weight, and stay as they were published; drafts are written and removed, and no secret is shown.

use jiff::Timestamp;

use super::*;
use crate::life::State;
use crate::money::Usd;
use crate::versions::Versioned;

fn settle(shelf: &Shelf) {
    (0..2).for_each(|_| shelf.refresh());
}

fn told(services: &Services) -> Vec<String> {
    services.faults().iter().map(|fault| format!("{}:{}: {}", fault.file, fault.line, fault.message)).collect()
}

#[test]
fn a_version_is_named_by_its_file_and_one_without_is_the_first() {
    let (place, folder) = folder();
    let published = GOOD.replace("draft", "published");
    write(place.path(), &published);
    std::fs::write(place.path().join("pets@2.toml"), published.replace("pets.json", "pets.json\"\nprice = \"1")).unwrap();
    std::fs::write(place.path().join("pets@3.toml"), GOOD).unwrap();
    for wrong in ["pets@02.toml", "pets@0.toml", "pets@x.toml"] {
        assert!(folder.read_one(&place.path().join(wrong), GOOD).is_err(), "{wrong}");
    }
    let (services, now) = (folder.read(), Timestamp::now());
    assert_eq!(services.all().map(|service| service.label()).collect::<Vec<_>>(), ["pets@1", "pets@2", "pets@3"]);
    assert_eq!(services.choose("pets", now, 0.5).unwrap().version, 2, "the newest that is published");
    std::fs::write(place.path().join("pets@1.toml"), GOOD).unwrap();
    let twice = folder.read();
    assert!(told(&twice)[0].contains("pets@1.toml:1: another file is 'pets@1' already"), "{:?}", told(&twice));
    assert_eq!(twice.named("pets@1").unwrap().life.state, State::Published, "the published one holds");
}

#[test]
fn versions_share_calls_by_weight() {
    let (place, folder) = folder();
    let weighing = |weight: u32| GOOD.replace("\"draft\"", &format!("\"published\"\nweight = {weight}"));
    write(place.path(), &weighing(3));
    std::fs::write(place.path().join("pets@2.toml"), weighing(1)).unwrap();
    let (services, now) = (folder.read(), Timestamp::now());
    let chosen = [0.0, 0.7, 0.76, 0.99].map(|chance| services.choose("pets", now, chance).unwrap().version);
    assert_eq!((chosen, services.shown("pets", now).unwrap().version), ([1, 1, 2, 2], 2));
    std::fs::write(place.path().join("pets@3.toml"), GOOD.replace("draft", "published")).unwrap();
    assert_eq!(
        folder.read().warnings_of("pets", now),
        ["pets@3 gets no call that names no version, since pets@1 and pets@2 has a weight: give it one too"]
    );
    for file in ["pets.toml", "pets@2.toml"] {
        std::fs::write(place.path().join(file), weighing(0)).unwrap();
    }
    std::fs::remove_file(place.path().join("pets@3.toml")).unwrap();
    assert!(told(&folder.read())[0].contains("pets@2.toml:4: all published versions of 'pets' have the weight 0"));
}

#[test]
fn what_is_published_does_not_change_over_restarts_and_what_is_the_operators_may() {
    let (place, folder) = folder();
    let published = GOOD.replace("\"draft\"", "\"published\"\nprice = \"1\"");
    write(place.path(), &published);
    let shelf = Shelf::of(folder.clone());
    assert!(shelf.faults().is_empty());
    let document = std::fs::read_to_string(place.path().join("pets.json")).unwrap();
    let one = |wanted: &str| {
        // Seen by the process that published it, by one that starts, and by the command line.
        settle(&shelf);
        for services in [shelf.services(), Shelf::of(folder.clone()).services(), std::sync::Arc::new(folder.read())] {
            assert!(told(&services).iter().any(|told| told.contains(wanted)), "{wanted}: {:?}", told(&services));
            let service = services.named("pets").unwrap();
            assert_eq!((service.price, service.access, service.life.state), (Usd(1_000_000_000), Access::Open, State::Published));
            assert_eq!(service.description.operations.len(), 1);
        }
    };
    write(place.path(), &published.replace("\"1\"", "\"2\""));
    one("pets.toml:4: 'pets@1' is published, and its price must not change: undo the change, or put it into pets@2.toml");
    write(place.path(), &published.replace("price", "subscription = \"approval\"\nprice"));
    one("pets.toml:4: 'pets@1' is published, and its subscription must not change");
    write(place.path(), &published.replace("published", "draft"));
    one("pets.toml:3: 'pets@1' is published and can be no draft again: 'keyward services retire pets@1'");
    write(place.path(), &published);
    std::fs::write(
        place.path().join("pets.json"),
        document.replace("}}}", "}, \"/cats\": { \"get\": {} }}}").replace("{\"get\":{}}", "{\"get\":{},\"put\":{}}"),
    )
    .unwrap();
    one("pets.json:1: 'pets@1' is published, and what it describes must not change");
    // How it is written and where the API is are nothing to callers.
    let spread = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&document).unwrap()).unwrap();
    std::fs::write(place.path().join("pets.json"), spread.replacen('{', "{\n\"servers\": [{ \"url\": \"https://x.example\" }],", 1))
        .unwrap();
    write(place.path(), &published.replace("api.example/v1", "other.example").replace("[credential]", "timeout = \"3s\"\n[credential]"));
    settle(&shelf);
    assert_eq!(told(&shelf.services()), Vec::<String>::new());
    assert_eq!(shelf.services().named("pets").unwrap().upstream.as_ref().unwrap().base.host_str(), Some("other.example"));
}

#[test]
fn what_was_noted_before_there_were_versions_is_the_first_one() {
    let (place, folder) = folder();
    let published = GOOD.replace("draft", "published");
    let document = std::fs::read_to_string(place.path().join("pets.json")).unwrap();
    let noted = json!({ "pets": { "file": published, "openapi": document } }).to_string();
    std::fs::write(place.path().join(".served.json"), noted).unwrap();
    write(place.path(), "upstream = [");
    assert_eq!(Shelf::of(folder.clone()).services().named("pets@1").unwrap().life.state, State::Published);
    // Nobody had published it then: what is there first holds.
    write(place.path(), &published.replace("[credential]", "price = \"1\"\n[credential]"));
    assert!(Shelf::of(folder.clone()).faults().is_empty());
    write(place.path(), &published);
    assert!(Shelf::of(folder.clone()).faults()[0].message.contains("its price must not change"));
    std::fs::remove_file(place.path().join("pets.toml")).unwrap();
    assert!(Shelf::of(folder.clone()).faults().is_empty());
    let kept = std::fs::read_to_string(place.path().join(".served.json")).unwrap();
    assert!(kept.contains("\"pets@1\"") && !kept.contains("api.example"), "that it was published stays known: {kept}");
    std::fs::write(place.path().join(".served.json"), "{").unwrap();
    write(place.path(), &published);
    assert!(Shelf::of(folder).faults()[0].message.contains("what was published cannot be read"));
    assert_eq!(std::fs::read_to_string(place.path().join(".served.json")).unwrap(), "{");
}

#[test]
fn drafts_are_written_and_removed_and_nothing_else_becomes_wrong_by_it() {
    let (place, folder) = folder();
    let there = |file: &str| place.path().join(file).exists();
    let document = std::fs::read_to_string(place.path().join("pets.json")).unwrap();
    edit::step(&folder, "pets", &Step::Publish).unwrap().make().unwrap();
    let next = GOOD.replace("pets.json", "pets@2.yaml");
    std::fs::write(place.path().join("pets@3.toml"), GOOD).unwrap();
    let wrote = |label: &str, text: &str, openapi: Option<&str>| edit::write(&folder, label, text, openapi).map(|plan| plan.publishes());
    let refused = [
        (wrote("pets@2", &next, None), "'pets@2.yaml' is not there"),
        (wrote("pets@2", &next, Some("openapi: [")), "pets@2.yaml:1: it is no YAML"),
        (wrote("pets@2", &GOOD.replace("pets.json", ".served.json"), Some("{}")), "'.served.json' is no name for a description"),
        (wrote("pets@2", &GOOD.replace("pets.json", "pets.toml"), Some("{}")), "'pets.toml' is no name for a description"),
        (wrote("pets@2", GOOD, Some(&document.replace("/pets", "/cats"))), "'pets.json' is the description of pets.toml too"),
        (
            wrote("pets", &next, Some(&document.replace("/pets", "/cats"))),
            "has several versions (pets@1, pets@3): name the one that is meant",
        ),
        (wrote("../pets", GOOD, None), "is no name for a service"),
        (wrote("pets@1", &GOOD.replace("draft", "published").replace("[cred", "price = \"9\"\n[cred"), None), "its price must not change"),
        (wrote("pets@2", &GOOD.replace("api.example", "evil.example"), None), "the variable PETS_KEY is not for this"),
        (wrote("pets@2", &GOOD.replace("${PETS_KEY}", "…${PETS_KEY}"), None), "stands for what is not shown"),
    ];
    for (outcome, wanted) in refused {
        let told = outcome.unwrap_err().to_string();
        assert!(told.contains(wanted), "{told} lacks {wanted}");
    }
    assert!(!there("pets@2.toml") && !there("pets@2.yaml"));
    edit::remove(&folder, "pets@3").unwrap().make().unwrap();
    edit::write(&folder, "pets@2", &next, Some(&document)).unwrap().make().unwrap();
    assert!(there("pets@2.toml") && there("pets@2.yaml"));
    let compared = edit::compared(&folder, "pets", None).unwrap();
    assert_eq!((&*compared.from, &*compared.to), ("pets@1", "pets@2"));
    assert!(compared.diff.contains("+openapi = \"pets@2.yaml\"") && compared.diff.contains("-state = \"published\""), "{}", compared.diff);
    assert!(edit::remove(&folder, "pets@1").unwrap_err().to_string().contains("'pets@1' is no draft"));
    edit::remove(&folder, "pets").unwrap().make().unwrap();
    assert!(!there("pets@2.toml") && !there("pets@2.yaml") && there("pets.json"));
    edit::write(&folder, "pets@2", GOOD, None).unwrap().make().unwrap();
    edit::remove(&folder, "pets@2").unwrap().make().unwrap();
    assert!(there("pets.json"), "another version names it");
}

#[test]
fn a_step_is_of_the_version_that_a_name_means() {
    let (place, folder) = folder();
    let take = |name: &str, step: Step| {
        let plan = edit::step(&folder, name, &step)?;
        let label = plan.label().to_owned();
        plan.make().map(|_| label)
    };
    std::fs::write(place.path().join("pets@2.toml"), GOOD).unwrap();
    assert_eq!(take("pets", Step::Publish).unwrap(), "pets@2");
    assert_eq!(take("pets", Step::Publish).unwrap(), "pets@1");
    assert!(take("pets", Step::Publish).unwrap_err().to_string().contains("'pets' has no draft to publish"));
    let successor = |name: &str| Step::Deprecate { sunset: None, successor: Some(name.to_owned()) };
    assert!(take("pets@1", successor("pets@1")).unwrap_err().to_string().contains("it is the same"));
    assert_eq!(take("pets@1", successor("pets@2")).unwrap(), "pets@1");
    assert_eq!(take("pets", Step::Retire).unwrap(), "pets@2");
    assert!(!folder.read().is_over("pets", Timestamp::now()));
    assert_eq!(take("pets", Step::Retire).unwrap(), "pets@1");
    assert!(folder.read().is_over("pets", Timestamp::now()));
    assert!(take("pets@7", Step::Retire).unwrap_err().to_string().contains("there is no version 'pets@7': there are pets@1, pets@2"));
}

#[test]
fn a_file_is_shown_without_what_may_be_a_secret() {
    for (value, shown) in [
        ("${KEY}", "${KEY}"),
        ("Token ${KEY}", "Token ${KEY}"),
        ("hunter2${KEY}", "…${KEY}"),
        ("hunter2 ${KEY}:s3cret", "…${KEY}…"),
        ("${A}xyz${B}", "${A}…${B}"),
    ] {
        let text = GOOD.replace("${PETS_KEY}", value);
        assert_eq!(secrets::hidden(&text), GOOD.replace("${PETS_KEY}", shown));
    }
    let named = |upstream: &str, value: &str| GOOD.replace("https://api.example/v1", upstream).replace("${PETS_KEY}", value);
    assert!(secrets::check(&named("https://x.example", "${SERVICE_X}"), [].into_iter()).is_ok());
    assert!(secrets::check(&named("https://${OPENAI_API_KEY}.x.example", "${SERVICE_X}"), [GOOD].into_iter()).is_err());
    assert!(secrets::check(GOOD, [GOOD].into_iter()).is_ok());
    assert!(secrets::check(&named("https://api.example/v1", "${OPENAI_API_KEY}"), [GOOD].into_iter()).is_err());
}
