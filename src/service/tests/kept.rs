//! What is published keeps its operations, its weight and its end, whatever becomes of its files, and what is wrong can be mended.

use jiff::Timestamp;

use super::*;
use crate::life::State;
use crate::service::offer;

const TWO: &str = r#"{"openapi":"3.1.0","info":{"title":"Pets"},"paths":{"/pets":{"get":{"operationId":"pets"}},"/cats":{"get":{"operationId":"cats"}}}}"#;

fn published() -> String {
    GOOD.replace("draft", "published")
}

fn put(place: &tempfile::TempDir, file: &str, text: &str) {
    std::fs::write(place.path().join(file), text).unwrap();
}

/// What a process that has served it all along has, one that starts, and the command line.
fn each(shelf: &Shelf, folder: &Folder) -> [std::sync::Arc<Services>; 3] {
    (0..2).for_each(|_| shelf.refresh());
    [shelf.services(), Shelf::of(folder.clone()).services(), std::sync::Arc::new(folder.read())]
}

fn told(services: &Services) -> Vec<String> {
    services.faults().iter().map(ToString::to_string).collect()
}

#[test]
fn weights_that_are_all_zero_leave_what_was() {
    let (place, folder) = folder();
    let weighing = |weight: u32| GOOD.replace("\"draft\"", &format!("\"published\"\nweight = {weight}"));
    put(&place, "pets.toml", &weighing(1));
    put(&place, "pets@2.toml", &weighing(0));
    let shelf = Shelf::of(folder.clone());
    assert_eq!(told(&shelf.services()), Vec::<String>::new());
    put(&place, "pets.toml", &weighing(0));
    for services in each(&shelf, &folder) {
        assert!(told(&services)[0].contains("pets.toml:4: all published versions of 'pets' have the weight 0"), "{:?}", told(&services));
        assert_eq!(services.choose("pets", Timestamp::now(), 0.5).unwrap().version, 1, "and not the newest, which has had none");
    }
    put(&place, "pets@2.toml", &weighing(1));
    for services in each(&shelf, &folder) {
        assert_eq!(told(&services), Vec::<String>::new());
        assert_eq!(services.choose("pets", Timestamp::now(), 0.5).unwrap().version, 2);
    }
}

#[test]
fn an_operation_that_was_served_is_not_lost() {
    let (place, folder) = folder();
    put(&place, "pets.toml", &published());
    put(&place, "pets.json", TWO);
    let shelf = Shelf::of(folder.clone());
    let elsewhere = TWO.replace(r#""operationId":"cats""#, r#""operationId":"cats","servers":[{"url":"https://other.example"}]"#);
    put(&place, "pets.json", &elsewhere);
    for services in each(&shelf, &folder) {
        assert!(
            told(&services)[0].contains("pets.json:1: 'pets@1' is published, and 'cats' would be served no longer"),
            "{:?}",
            told(&services)
        );
        assert_eq!(services.named("pets").unwrap().description.operations.len(), 2);
    }
    // On the same server it may be elsewhere.
    put(&place, "pets.json", &elsewhere.replace("https://other.example", "https://api.example/v2"));
    each(&shelf, &folder).iter().for_each(|services| assert_eq!(told(services), Vec::<String>::new()));
    put(&place, "pets.toml", &published().replace("api.example", "third.example"));
    for services in each(&shelf, &folder) {
        assert!(told(&services)[0].contains("pets.toml:1: 'pets@1' is published, and 'cats' would"), "{:?}", told(&services));
    }
    // A draft has promised nobody anything.
    put(&place, "birds.toml", &GOOD.replace("pets.json", "birds.json"));
    put(&place, "birds.json", TWO);
    shelf.refresh();
    put(&place, "birds.json", &elsewhere);
    assert!(each(&shelf, &folder).iter().all(|services| services.named("birds").unwrap().description.operations.len() == 1));
}

#[test]
fn a_description_is_the_same_in_whatever_order_it_is_written() {
    let (place, folder) = folder();
    put(&place, "pets.toml", &published());
    put(&place, "pets.json", TWO);
    let shelf = Shelf::of(folder.clone());
    let turned = r#"{"paths":{"/cats":{"get":{"operationId":"cats"}},"/pets":{"get":{"x-mine":1,"operationId":"pets"}}},"info":{"title":"Pets"},"openapi":"3.1.0"}"#;
    put(&place, "pets.json", turned);
    each(&shelf, &folder).iter().for_each(|services| assert_eq!(told(services), Vec::<String>::new()));
    // What was noted by its members in their order holds on.
    let note = std::fs::read_to_string(place.path().join(".served.json")).unwrap();
    let document: Value = serde_json::from_str(turned).unwrap();
    let (now, then) = (offer::hash(&document), offer::hash_as_written(&document));
    assert!(now != then && note.contains(&now));
    put(&place, ".served.json", &note.replace(&now, &then));
    assert_eq!(told(&folder.read()), Vec::<String>::new());
    put(&place, "pets.json", &turned.replace("cats\"}", "cats\",\"summary\":\"Others\"}"));
    assert!(told(&folder.read())[0].contains("what it describes must not change"));
}

#[test]
fn a_file_that_is_wrong_is_written_anew_or_removed() {
    let (place, folder) = folder();
    put(&place, "birds.toml", "upstream = ");
    edit::write(&folder, "birds@1", GOOD, None).unwrap().make().unwrap();
    assert_eq!(std::fs::read_to_string(place.path().join("birds.toml")).unwrap(), GOOD);
    put(&place, "birds.toml", "upstream = ");
    edit::remove(&folder, "birds@1").unwrap().make().unwrap();
    assert!(!place.path().join("birds.toml").exists());
    put(&place, "birds@2.toml", &GOOD.replace("pets.json", "birds.json").replace("https", "ftp"));
    put(&place, "birds.json", TWO);
    let files = edit::remove(&folder, "birds@2").unwrap().make().unwrap();
    assert_eq!(files, [place.path().join("birds@2.toml"), place.path().join("birds.json")]);
    // What was published has callers, whatever its file is.
    put(&place, "pets.toml", &published());
    drop(Shelf::of(folder.clone()));
    put(&place, "pets.toml", "upstream = ");
    assert!(edit::remove(&folder, "pets").unwrap_err().to_string().contains("is no draft"));
    assert!(edit::remove(&folder, "cows").unwrap_err().to_string().contains("there is no service 'cows'"));
}

#[test]
fn what_is_published_is_known_without_its_variables_and_what_has_ended_needs_none() {
    let (place, folder) = folder();
    put(&place, "pets.toml", &published());
    drop(Shelf::of(folder.clone()));
    let mut config = Config::default();
    config.services.folder = place.path().to_owned();
    let without = Folder::of(&config, Some(&Environment::default()));
    let services = Shelf::of(without.clone()).services();
    assert!(told(&services)[0].contains("pets.toml:8: the variable PETS_KEY is not set"), "{:?}", told(&services));
    let service = services.named("pets").unwrap();
    assert!(service.life.state == State::Published && service.upstream.is_none());
    put(&place, "pets.toml", &GOOD.replace("\"draft\"", "\"retired\"\nsuccessor = \"cats\""));
    let services = Shelf::of(without.clone()).services();
    assert_eq!(told(&services), Vec::<String>::new());
    assert_eq!(services.named("pets").unwrap().life.successor.as_deref(), Some("cats"));
    put(&place, "birds.toml", GOOD);
    assert!(Shelf::of(without).services().named("birds").is_none(), "a draft is nobody's");
}

#[test]
fn a_successor_is_a_name() {
    let (place, folder) = folder();
    let named = |name: &str| published().replace("\n\n", &format!("\nsuccessor = '{name}'\n\n"));
    put(&place, "pets.toml", &named("pets@2"));
    let shelf = Shelf::of(folder.clone());
    assert_eq!(told(&shelf.services()), Vec::<String>::new());
    put(&place, "pets.toml", &named("x>; rel=evil"));
    for services in each(&shelf, &folder) {
        assert!(told(&services)[0].contains("pets.toml:4: 'successor' is a name"), "{:?}", told(&services));
        assert_eq!(services.named("pets").unwrap().life.successor.as_deref(), Some("pets@2"));
    }
}

#[test]
fn since_when_it_is_deprecated_stays() {
    let (place, folder) = folder();
    put(&place, "pets.toml", &published());
    let deprecate = |sunset: &str| {
        let step = Step::Deprecate { sunset: Some(sunset.to_owned()), successor: None };
        let plan = edit::step(&folder, "pets", &step).unwrap();
        let fields: Vec<&str> = plan.said().iter().map(|(field, _)| *field).collect();
        let fields = fields.join(" ");
        plan.make().unwrap();
        fields
    };
    assert_eq!(deprecate("2099-01-01"), "state deprecated sunset");
    let text = std::fs::read_to_string(place.path().join("pets.toml")).unwrap();
    assert_eq!(deprecate("2099-02-01"), "state sunset");
    assert_eq!(std::fs::read_to_string(place.path().join("pets.toml")).unwrap(), text.replace("2099-01", "2099-02"));
}

#[test]
fn callers_are_told_neither_of_the_credential_nor_of_other_servers() {
    let get = json!({
        "operationId": "get",
        "parameters": [{ "name": "X-Up-Key", "in": "header" }, { "$ref": "#/components/parameters/Key" }, { "name": "key", "in": "cookie" }],
        "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/A" } } } },
        "callbacks": { "c": { "http://internal/cb": {} } },
        "responses": { "200": { "links": { "l": { "operationId": "hidden", "server": { "url": "http://internal2" } } } } },
    });
    let components = json!({
        "parameters": { "Key": { "name": "Key", "in": "query" } },
        "schemas": { "A": { "properties": { "links": {}, "callbacks": {} } } },
    });
    let document = json!({ "openapi": "3.1.0", "paths": { "/a": { "post": get } }, "components": components });
    let ours = ["x-up-key".to_owned(), "key".to_owned()];
    let description = Description::read(&document.to_string(), true, &ours).map_err(|fault| fault.to_string()).unwrap();
    let told = description.told("https://gw", true, |_| true);
    let text = told.to_string();
    assert!(!text.contains("internal") && !text.contains("hidden") && !text.contains("X-Up-Key") && !text.contains("query"), "{text}");
    assert_eq!(told["paths"]["/a"]["post"]["parameters"], json!([{ "name": "key", "in": "cookie" }]));
    assert_eq!(told["paths"]["/a"]["post"]["deprecated"], json!(true));
    assert_eq!(told["components"]["schemas"]["A"]["properties"], json!({ "links": {}, "callbacks": {} }));
}
