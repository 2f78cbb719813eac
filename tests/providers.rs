//! Every provider file: it is read, it resolves, it says what the catalogue facts say, and a chat through it arrives as its provider wants it.

#![allow(clippy::unwrap_used)]

#[path = "providers/facts.rs"]
mod facts;
#[path = "providers/files.rs"]
mod files;
#[path = "providers/recorder.rs"]
mod recorder;
mod support;

use std::collections::BTreeMap;

use files::{Door, File};
use keyward::catalog::{Catalog, Dialect, Environment, Operation};
use keyward::config::Config;
use keyward::dialect::Form;
use keyward::route::{LiveProvider, Router, Stored};
use recorder::{Recorder, Seen};
use support::{Gateway, header, new_key};

/// Signing is another matter than finding the address.
const SIGNED: [&str; 3] = ["sigv4", "gcp", "azure-entra"];

#[test]
fn every_provider_is_read_and_resolves() {
    let files = files::all();
    let catalog = Catalog::load(None).unwrap();
    let ids: Vec<&str> = catalog.iter().map(|provider| provider.id.as_str()).collect();
    assert_eq!(ids, files.iter().map(|file| file.id.as_str()).collect::<Vec<_>>());
    assert!(ids.len() >= 100, "{} providers", ids.len());

    let variables = files::variables(&files);
    let environment: Environment = variables.clone().into_iter().collect();
    let router = Router::new(&catalog, &Config::default(), &environment, &Stored::default(), None);
    let dormant: Vec<_> = router.dormant().map(|(id, dormant)| format!("{id} needs {:?}", dormant.needs)).collect();
    assert!(dormant.is_empty(), "not live with every variable set: {dormant:?}");
    let live: BTreeMap<&str, _> = router.live().map(|provider| (provider.id.as_str(), provider)).collect();
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.id != "simulator") {
        for door in file.chat_doors() {
            wrong.extend(resolves(file, &door, live[file.id.as_str()], &variables).err());
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_provider_is_live_without_its_variables() {
    let router = Router::new(&Catalog::load(None).unwrap(), &Config::default(), &Environment::default(), &Stored::default(), None);
    let live: Vec<&str> = router.live().map(|provider| provider.id.as_str()).collect();
    assert_eq!(live, ["simulator"]);
}

#[test]
fn providers_say_what_the_facts_say() {
    let Some(facts) = facts::read() else {
        println!("SKIPPED: ../shared/catalogue/models-dev.json is not there, so the provider files were not compared with it");
        return;
    };
    let catalog = Catalog::load(None).unwrap();
    let with_url = facts.iter().filter(|(_, facts)| facts["base_url"].as_str().is_some_and(|url| !url.is_empty()));
    let compared: Vec<_> = with_url.collect();
    let differences: Vec<String> = compared.iter().flat_map(|(id, facts)| facts::differences(&catalog, id, facts)).collect();
    assert!(differences.is_empty(), "{} differences: {:#?}", differences.len(), &differences[..differences.len().min(40)]);
    let added = catalog.iter().filter(|provider| !facts.contains_key(&provider.id)).count();
    assert!(added >= 20, "only {added} providers that the facts lack");
    println!("{} providers of the facts agree, {added} more are added", compared.len());
}

#[test]
fn a_chat_through_each_provider_arrives_as_it_wants_it() {
    let files = files::all();
    let recorder = Recorder::start();
    let folder = tempfile::tempdir().unwrap();
    let [data, providers] = ["data", "providers"].map(|name| folder.path().join(name));
    std::fs::create_dir(&providers).unwrap();
    let chatting: Vec<&File> = files.iter().filter(|file| file.id != "simulator" && !file.chat_doors().is_empty()).collect();
    for file in &chatting {
        let text = file.text_led_to(&format!("http://{}", recorder.address));
        std::fs::write(providers.join(format!("{}.toml", file.id)), text).unwrap();
    }
    let key = new_key(&data, &[])["key"].as_str().unwrap().to_owned();
    let variables = files::variables(&files);
    let mut environment: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    environment.push(("KEYWARD_PROVIDERS", providers.to_str().unwrap()));
    let gateway = Gateway::start(&data, &environment);

    let (mut wrong, mut chats) = (Vec::new(), 0);
    for file in &chatting {
        for door in file.chat_doors().iter().filter(|door| !SIGNED.contains(&door.auth)) {
            chats += 1;
            let body = serde_json::to_string(&file.request(&door.model)).unwrap();
            let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n");
            let answer =
                gateway.send(format!("{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes());
            if answer.status != 200 || !answer.text().contains("recorded") || answer.header("keyward-provider") != Some(&file.id) {
                wrong.push(format!("{}: the caller got {} {}", door.mark, answer.status, answer.text()));
            }
            match recorder.take(&door.mark).as_slice() {
                [seen] => wrong.extend(arrives(file, door, seen, &key, &variables)),
                other => wrong.push(format!("{}: {} requests arrived", door.mark, other.len())),
            }
        }
    }
    println!("{chats} chats through {} providers", chatting.len());
    assert!(chats >= 100, "only {chats} chats");
    assert!(wrong.is_empty(), "{} of {chats}: {wrong:#?}", wrong.len());
}

/// The door's address is complete and right.
fn resolves(file: &File, door: &Door<'_>, live: &LiveProvider, variables: &BTreeMap<String, String>) -> Result<(), String> {
    let name = door.mark.split_once('~').map(|(_, name)| name);
    let model_is_listed = live.models.get(&door.model).and_then(|model| model.door.as_deref());
    let url = match live.endpoint(model_is_listed.or(name), Operation::Chat, Dialect::OpenaiChat) {
        Ok(endpoint) => endpoint.place("model", Form::Whole)?.url.clone(),
        Err(_) if SIGNED.contains(&door.auth) => return Ok(()),
        Err(e) => return Err(format!("{}: {e:?}", door.mark)),
    };
    let expected = files::expand(&format!("{}{}", files::path_of(door.url), file.chat_path()), variables);
    let is_complete = url.host_str().is_some_and(|host| !host.is_empty()) && !url.as_str().contains(['$', '{', '}']);
    match is_complete && url.path() == expected {
        true => Ok(()),
        false => Err(format!("{}: {url} instead of …{expected}", door.mark)),
    }
}

/// Everything in which what arrived differs from what the provider's file asks for.
fn arrives(file: &File, door: &Door<'_>, seen: &Seen, key: &str, variables: &BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut compare = |what: &str, got: String, expected: String| {
        if got != expected {
            wrong.push(format!("{}: {what}: {got} instead of {expected}", door.mark));
        }
    };
    let credential = file.credentials().next().map(|name| variables[name].clone()).unwrap_or_default();
    let path = files::expand(&format!("/{}{}{}", door.mark, files::path_of(door.url), file.chat_path()), variables);
    let query = door.auth.strip_prefix("query:").map(|name| format!("?{name}={credential}")).unwrap_or_default();
    compare("path", seen.target.clone(), format!("{path}{query}"));
    let sent = |name: &str| header(&seen.head, name).unwrap_or("nothing").to_owned();
    match door.auth.split_once(':') {
        None if door.auth == "bearer" => compare("authorization", sent("authorization"), format!("Bearer {credential}")),
        Some(("header", name)) => compare(name, sent(name), credential),
        _ => {}
    }
    if door.auth != "bearer" {
        compare("authorization", sent("authorization"), "nothing".to_owned());
    }
    compare("content type", sent("content-type"), "application/json".to_owned());
    for (name, value) in file.headers() {
        compare(name, sent(name), value.to_owned());
    }
    let body = serde_json::Value::Object(file.expected_body(&door.model));
    if seen.body != body {
        wrong.push(format!("{}: body: {} instead of {body}", door.mark, seen.body));
    }
    if seen.head.contains(key) {
        wrong.push(format!("{}: the caller's key was sent on", door.mark));
    }
    wrong
}
