//! Descriptions are read whole or refused by line, paths lead nowhere else, arguments become requests, and no secret comes back.

#![allow(clippy::unwrap_used)]

mod kept;
mod standing;
mod versions;

use std::path::Path as File;

use bytes::Bytes;
use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::path::Template;
use super::*;
use crate::catalog::Environment;
use crate::config::Config;
use crate::route::Secret;
use crate::steps::Step;

fn described(paths: Value, components: Value) -> Description {
    let document = json!({ "openapi": "3.1.0", "info": { "title": "Test" }, "paths": paths, "components": components });
    Description::read(&document.to_string(), true, &[]).map_err(|fault| fault.to_string()).unwrap()
}

fn one(operation: Value, components: Value) -> Operation {
    described(json!({ "/x": { "post": operation } }), components).operations.remove(0)
}

#[test]
fn bad_descriptions_each_say_the_line_and_what_would_be_right() {
    let bad = [
        ("{\n", "line 2: it is no JSON"),
        ("[]", "line 1: this is no OpenAPI description"),
        (r#"{"swagger": "2.0"}"#, "this is Swagger 2.0: convert it"),
        ("{\n\"openapi\": \"4.0\"}", "line 2: 'openapi' is 4.0"),
        (r#"{"openapi": "3.0.0"}"#, "it has no 'paths'"),
        (r#"{"openapi": "3.0.0", "paths": {}}"#, "it has no operation"),
        ("{\"openapi\": \"3.0.0\", \"paths\": {\n\"x\": {\"get\": {}}}}", "line 2: the path 'x' has to begin with '/'"),
        ("{\"openapi\": \"3.0.0\", \"paths\": {\n\"/x/{a\": {\"get\": {}}}}", "line 2: the path '/x/{a' has a '{' without its '}'"),
        (
            "{\"openapi\": \"3.0.0\", \"paths\": {\n\"/x/{a}\": {\"get\": {}}}}",
            "line 2: get /x/{a}: '{a}' stands in the path and is no parameter",
        ),
        (
            r#"{"openapi": "3.0.0", "paths": {"/a": {"get": {"operationId": "x"}}, "/b": {"get": {"operationId": "x"}}}}"#,
            "'x' is the name of GET /a and of GET /b",
        ),
        (r#"{"openapi": "3.0.0", "paths": {"/openapi.json": {"get": {}}}}"#, "is the gateway's own below a service"),
        (r##"{"openapi": "3.0.0", "paths": {"/a": {"$ref": "#/nowhere"}}}"##, "'#/nowhere' refers to nothing"),
        (r#"{"openapi": "3.0.0", "paths": {"/a": {"$ref": "other.json"}}}"#, "'other.json' is in another file"),
    ];
    for (text, wanted) in bad {
        let fault = Description::read(text, true, &[]).map(|_| ()).unwrap_err().to_string();
        assert!(fault.contains(wanted), "{text:?}: {fault:?} lacks {wanted:?}");
    }
    let yaml = Description::read("openapi: 3.0.0\npaths:\n  /a: [\n", false, &[]).map(|_| ()).unwrap_err().to_string();
    assert!(yaml.contains("it is no YAML"), "{yaml}");
}

#[test]
fn the_path_that_says_more_is_found_first_and_methods_are_told() {
    let id = json!([{ "name": "id", "in": "path", "required": true }]);
    let paths = json!({
        "/pets/{id}": { "parameters": id, "get": { "operationId": "pet" }, "delete": {} },
        "/pets/mine": { "get": { "operationId": "mine" } },
        "/pets/{id}.json": { "parameters": id, "get": { "operationId": "file" } },
        "/": { "get": { "operationId": "root" } },
    });
    let description = described(paths, json!({}));
    let find = |method: Method, path: &str| {
        let path = Path::read(path).unwrap();
        description.find(&method, &path).map(|operation| operation.id.clone()).map_err(|methods| methods.len())
    };
    assert_eq!(find(Method::GET, "/pets/mine").unwrap(), "mine");
    assert_eq!(find(Method::GET, "/pets/7").unwrap(), "pet");
    assert_eq!(find(Method::GET, "/pets/a%20b").unwrap(), "pet");
    assert_eq!(find(Method::GET, "/pets/7.json").unwrap(), "file");
    assert_eq!(find(Method::DELETE, "/pets/mine").unwrap(), "delete_pets_id");
    assert_eq!(find(Method::GET, "/").unwrap(), "root");
    assert_eq!(find(Method::PUT, "/pets/7"), Err(3));
    assert_eq!(find(Method::HEAD, "/pets/7").unwrap(), "pet");
    for nowhere in ["/pets", "/pets/", "/pets/7/8", "//pets/7", "/Pets/7"] {
        assert_eq!(find(Method::GET, nowhere), Err(0), "{nowhere}");
    }
}

#[test]
fn no_path_leads_elsewhere_than_it_says() {
    let bad = [
        "/..",
        "/a/../b",
        "/a/.",
        "/%2e%2e/b",
        "/%2E./b",
        "/%252e%252e/b",
        "/%25252e%25252e",
        "/..;/b",
        "/..;x=1",
        "/%2e%2e;/b",
        "/..%2fb",
        "/a%2F..%2Fb",
        "/a%2f%2e%2e;x%2fb",
        "/%2fb",
        "/a%2f",
        "/a%252fb",
        "/a%5cb",
        "/a%255cb",
        "/a%00",
        "/a%0d%0a",
        "/a\\b",
        "/%25252525252e",
    ];
    for path in bad {
        assert!(Path::read(path).is_err(), "{path}");
    }
    for path in ["/a%c0%af", "/a%ff", "/a%25c0%25af", "/a%ef%bc%8fb", "/a%e2%88%95b"] {
        assert!(Path::read(path).is_err(), "{path}");
    }
    for path in ["/a", "/a.b", "/...", "/a..b", "/100%25", "/a%20b;v=1", "/a%2Fb", "/a%2fb", "/%E2%82%AC", "/a:b@c"] {
        assert!(Path::read(path).is_ok(), "{path}");
    }
}

proptest! {
    #[test]
    fn whatever_is_asked_for_stays_below_the_base(path in "/[a-c./%\\\\;:@25eEfF]{0,24}", base in "(/v1)?") {
        let env: Environment = [("K".to_owned(), "secret-secret".to_owned())].into_iter().collect();
        let file = format!("upstream = \"https://api.example{base}\"\nopenapi = \"a.json\"\n");
        let describe = |_: &str| Ok(json!({ "openapi": "3.1.0", "paths": { "/{x}": { "get": {}, "parameters": [{ "name": "x", "in": "path" }] } } }).to_string());
        let service = Service::read(("a", 1), &file, describe, Some(&env)).unwrap();
        if Path::read(&path).is_ok() && let Some(url) = service.upstream.unwrap().url(None, &path, "") {
            prop_assert_eq!(url.host_str(), Some("api.example"));
            prop_assert!(url.path().starts_with(&base) && !url.path().split('/').any(|part| part == ".."));
            // What was matched is what is sent.
            prop_assert_eq!(Path::read(&url.path()[base.len()..]).unwrap(), Path::read(&path).unwrap());
        }
    }

    #[test]
    fn a_secret_is_masked_however_it_is_torn(at in proptest::collection::vec(1_usize..9, 0..12), before in "[a-z-]{0,9}") {
        let secret = "sk-aa-sk-ab";
        let text = format!("{before}sk-aa-{secret} and {secret}sk-aa-sk-a");
        let mut masking = Masking::of(&[Secret::new(secret), Secret::new("short")]);
        let (mut out, mut rest) = (Vec::new(), text.as_bytes());
        for size in at {
            let (piece, more) = rest.split_at(size.min(rest.len()));
            out.extend_from_slice(&masking.pass(Bytes::copy_from_slice(piece)));
            rest = more;
        }
        out.extend_from_slice(&masking.pass(Bytes::copy_from_slice(rest)));
        out.extend_from_slice(&masking.finish());
        prop_assert_eq!(String::from_utf8(out).unwrap(), text.replace(secret, "***********"));
    }
}

#[test]
fn schemas_stand_alone_and_circles_end() {
    let tree = json!({ "type": "object", "properties": { "name": { "type": "string", "nullable": true }, "kids": { "type": "array", "items": { "$ref": "#/components/schemas/Tree" } } } });
    let age = json!({ "type": "integer", "minimum": 0, "exclusiveMinimum": true, "example": 3 });
    let operation = json!({
        "operationId": "plant",
        "parameters": [{ "name": "age", "in": "query", "required": true, "schema": { "$ref": "#/components/schemas/Age", "description": "in years" } }],
        "requestBody": { "required": true, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Tree" } } } },
    });
    let operation = one(operation, json!({ "schemas": { "Tree": tree, "Age": age } }));
    let schema = Value::Object(operation.form.as_ref().unwrap().schema.clone());
    assert_eq!(schema["properties"]["age"], json!({ "type": "integer", "exclusiveMinimum": 0, "description": "in years" }));
    assert_eq!(schema["properties"]["body"]["properties"]["name"]["type"], json!(["string", "null"]));
    assert_eq!(schema["properties"]["body"]["properties"]["kids"]["items"], json!({ "$ref": "#/$defs/Tree" }));
    assert_eq!((&schema["required"], &schema["additionalProperties"]), (&json!(["age", "body"]), &json!(false)));
    let form = operation.form.unwrap();
    assert!(form.violations(&json!({ "age": 1, "body": { "name": null, "kids": [{ "kids": [{ "name": "x" }] }] } })).is_empty());
    for (wrong, at) in [
        (json!({ "age": 0, "body": {} }), "/age"),
        (json!({ "age": 1, "body": { "kids": [{ "kids": [{ "name": 3 }] }] } }), "/body/kids/0/kids/0/name"),
        (json!({ "age": 1 }), "body"),
        (json!({ "age": 1, "body": {}, "more": 1 }), "more"),
    ] {
        let violations = form.violations(&wrong);
        assert!(violations.iter().any(|one| one.contains(at)), "{wrong}: {violations:?}");
    }
}

#[test]
fn a_description_of_a_whole_platform_is_read() {
    let paths: String = (0..8000)
        .map(|at| format!("  /p{at}:\n    get:\n      operationId: op{at}\n      parameters: [{parameter}, {parameter2}]\n      responses: {{ 200: {{ description: x }} }}\n",
            parameter = "{ name: a, in: query, schema: { type: string, enum: [a, b, c, d, e, f, g, h] } }",
            parameter2 = "{ name: b, in: query, schema: { type: array, items: { type: integer, minimum: 1, maximum: 9 } } }"))
        .collect();
    let description =
        Description::read(&format!("openapi: 3.0.0\npaths:\n{paths}"), false, &[]).map_err(|fault| fault.to_string()).unwrap();
    assert_eq!(description.operations.len(), 8000);
    assert_eq!(description.document.pointer("/paths/~1p7/get/responses/200/description"), Some(&json!("x")));
}

#[test]
fn schemas_that_grow_without_end_do_not() {
    let mut schemas = serde_json::Map::new();
    for level in 0..40 {
        let next = json!({ "$ref": format!("#/components/schemas/L{}", level + 1) });
        schemas.insert(format!("L{level}"), json!({ "type": "object", "properties": { "a": next, "b": next, "c": next } }));
    }
    schemas.insert("L40".to_owned(), json!({ "type": "string" }));
    let body = json!({ "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/L0" } } } } });
    let form = one(body, json!({ "schemas": schemas })).form.unwrap();
    assert!(Value::Object(form.schema.clone()).to_string().len() < 200_000);
    assert!(form.violations(&json!({ "body": { "a": { "b": {} } } })).is_empty());
}

#[test]
fn arguments_become_the_request_that_the_description_says() {
    let parameters = json!([
        { "name": "id", "in": "path", "required": true },
        { "name": "id", "in": "query" },
        { "name": "tags", "in": "query" },
        { "name": "flat", "in": "query", "explode": false },
        { "name": "deep", "in": "query", "style": "deepObject" },
        { "name": "json", "in": "query", "content": { "application/json": {} } },
        { "name": "X-List", "in": "header" },
        { "name": "Accept", "in": "header" },
        { "name": "session", "in": "cookie" },
    ]);
    let operation = json!({ "parameters": parameters, "requestBody": { "content": { "application/x-www-form-urlencoded": {} } } });
    let description = described(json!({ "/a/{id}": { "post": operation } }), json!({}));
    let form = description.operations[0].form.as_ref().unwrap();
    let arguments = json!({
        "id": "a/b ü", "query_id": 7, "tags": ["x", "y z"], "flat": [1, 2], "deep": { "k": true }, "json": { "a": [1] },
        "X-List": ["p", "q"], "body": { "n": "1&2", "m": ["a", "b"] },
    });
    let filled = form.fill("/a/{id}", arguments.as_object().unwrap());
    assert_eq!(filled.path, "/a/a%2Fb%20%C3%BC");
    assert_eq!(filled.query, "id=7&tags=x&tags=y%20z&flat=1,2&deep%5Bk%5D=true&json=%7B%22a%22%3A%5B1%5D%7D");
    assert_eq!(filled.headers, vec![("X-List".to_owned(), "p,q".to_owned())]);
    assert_eq!(filled.body, Some(("application/x-www-form-urlencoded", "n=1%262&m=a&m=b".to_owned())));
}

#[test]
fn what_a_tool_cannot_send_is_no_tool_and_is_served_all_the_same() {
    let upload = one(json!({ "operationId": "up", "requestBody": { "content": { "multipart/form-data": {} } } }), json!({}));
    assert_eq!(upload.form.unwrap_err(), "its body is multipart/form-data, which a tool cannot send");
    let style = one(json!({ "parameters": [{ "name": "a", "in": "header", "style": "matrix" }] }), json!({}));
    assert_eq!(style.form.unwrap_err(), "the parameter 'a' has the style 'matrix', which a header has not");
}

#[test]
fn callers_are_told_of_what_they_may_call_alone_and_at_the_gateway() {
    let get = json!({ "operationId": "get", "security": [{ "theirs": [] }], "servers": [{ "url": "https://internal" }] });
    let paths = json!({ "/a": { "servers": [{ "url": "https://internal" }], "get": get, "delete": { "operationId": "del" } }, "/b": { "get": { "operationId": "b" } } });
    let description = described(paths, json!({ "securitySchemes": { "theirs": { "type": "apiKey" } } }));
    let told = description.told("https://gw/services/x", false, |operation| operation.id == "get");
    assert!(!told.to_string().contains("internal") && !told.to_string().contains("theirs"), "{told}");
    assert_eq!(told["servers"], json!([{ "url": "https://gw/services/x" }]));
    assert_eq!(told["paths"], json!({ "/a": { "get": { "operationId": "get" } } }));
    assert_eq!(told["components"]["securitySchemes"]["keyward"]["scheme"], "bearer");
}

const GOOD: &str = "upstream = \"https://api.example/v1\"\nopenapi = \"pets.json\"\nstate = \"draft\"\n\n[credential]\nin = \"query\"\nname = \"key\"\nvalue = \"${PETS_KEY}\"\n";

fn folder() -> (tempfile::TempDir, Folder) {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(
        place.path().join("pets.json"),
        json!({ "openapi": "3.1.0", "info": { "title": "Pets" }, "paths": { "/pets": { "get": {} } } }).to_string(),
    )
    .unwrap();
    std::fs::write(place.path().join("pets.toml"), GOOD).unwrap();
    let env: Environment = [("PETS_KEY".to_owned(), "k/1+2".to_owned())].into_iter().collect();
    let mut config = Config::default();
    config.services.folder = place.path().to_owned();
    config.mcp.servers.insert("web".to_owned(), Default::default());
    (place, Folder::of(&config, Some(&env)))
}

fn write(folder: &File, text: &str) {
    std::fs::write(folder.join("pets.toml"), text).unwrap();
}

#[test]
fn bad_files_each_say_the_line_and_what_would_be_right() {
    let (_place, folder) = folder();
    let with = |from: &str, to: &str| GOOD.replace(from, to);
    let bad = [
        (with("upstream", "upstraem"), ":1: unknown field `upstraem`"),
        (with("https://api.example/v1", "ftp://x"), ":1: 'upstream' has to begin with https:// or http://"),
        (with("https://api.example/v1", "https://user:secret@x"), ":1: 'upstream' is a URL without user"),
        (with("https://api.example/v1", "https://${NOWHERE}"), ":1: the variable NOWHERE is not set"),
        (with("pets.json", "../pets.json"), ":2: '../pets.json' has to be the name of a file beside this one"),
        (with("pets.json", "cats.json"), ":2: 'cats.json' is not there"),
        (with("\"draft\"", "\"live\""), ":3: 'live' is no state"),
        (with("\n\n", "\nsunset = \"soon\"\n\n"), ":4: 'soon' is no time"),
        (with("\n\n", "\nprice = \"-1\"\n\n"), ":4: 'price' is USD a call"),
        (with("\n\n", "\ntimeout = \"0s\"\n\n"), ":4: '0s' is no duration"),
        (with("${PETS_KEY}", "hunter2"), ":8: a secret does not belong into this file"),
        (
            with("in = \"query\"\nname = \"key\"", "in = \"header\"\nname = \"Content-Length\""),
            ":8: 'Content-Length' says how a request goes",
        ),
        (with("${PETS_KEY}", "${NO_KEY}"), ":8: the variable NO_KEY is not set"),
        (
            "openapi = 'pets.json'\nupstream = 'https://x'\ncredential = { in = 'bearer', value = 'literal' }".to_owned(),
            ":3: a secret does not",
        ),
        (with("name = \"key\"\n", ""), ":7: 'name' has to say which header or parameter"),
        (format!("{GOOD}[limits]\nrates = [\"tokens/day=5\"]\n"), ":9: 'tokens/day=5' is no rate of a service"),
    ];
    for (text, wanted) in bad {
        let fault = folder.read_one(&folder.path().join("pets.toml"), &text).map(|_| ()).unwrap_err();
        let told = format!(":{}: {}", fault.line, fault.message);
        assert!(told.contains(wanted), "{text}\n{told} lacks {wanted}");
        assert!(!told.contains("hunter2"));
    }
    for name in ["Pets", "prompt", "keyward", "web", "a_b", "1a"] {
        assert!(folder.read_one(&folder.path().join(format!("{name}.toml")), GOOD).is_err(), "{name}");
    }
}

#[test]
fn a_bad_file_is_told_and_the_last_good_one_goes_on() {
    let (place, folder) = folder();
    let shelf = Shelf::of(folder);
    assert_eq!((shelf.services().served().count(), shelf.services().all().count()), (0, 1));
    let settle = || (0..2).for_each(|_| shelf.refresh());
    write(place.path(), &GOOD.replace("draft", "published"));
    shelf.refresh();
    assert_eq!(shelf.services().served().count(), 0, "it may be written still");
    shelf.refresh();
    assert_eq!(shelf.services().served().count(), 1);
    std::fs::write(place.path().join("pets.json"), "{\n  \"openapi\": \"3.1.0\",\n").unwrap();
    settle();
    let services = shelf.services();
    let fault = &services.faults()[0];
    assert!(fault.file.ends_with("pets.json") && fault.line == 3, "{fault:?}");
    assert_eq!(services.served().count(), 1, "what it was goes on");
    std::fs::remove_file(place.path().join("pets.toml")).unwrap();
    shelf.refresh();
    assert_eq!(shelf.services().all().count(), 0);
}

#[test]
fn steps_change_the_file_and_nothing_else_in_it() {
    let (place, folder) = folder();
    let text = || std::fs::read_to_string(place.path().join("pets.toml")).unwrap();
    edit::step(&folder, "pets", &Step::Publish).unwrap().make().unwrap();
    assert_eq!(text(), GOOD.replace("draft", "published"));
    let sunset = Step::Deprecate { sunset: Some("2099-01-01".to_owned()), successor: Some("cats".to_owned()) };
    assert!(edit::step(&folder, "pets", &sunset).unwrap_err().to_string().contains("there is no such service"));
    std::fs::write(place.path().join("cats.toml"), GOOD).unwrap();
    edit::step(&folder, "pets", &sunset).unwrap().make().unwrap();
    let service = folder.read().named("pets").cloned().unwrap();
    let told: Vec<_> =
        service.life.headers("/services").into_iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    assert!(told[0].starts_with("deprecation: @") && told[1] == "sunset: Thu, 01 Jan 2099 00:00:00 GMT", "{told:?}");
    assert_eq!(told[2], "link: </services/cats>; rel=\"successor-version\"");
    let before = text();
    let wrong = edit::step(&folder, "pets", &Step::Deprecate { sunset: Some("soon".to_owned()), successor: None }).unwrap_err();
    assert!(wrong.to_string().contains("nothing was changed") && text() == before, "{wrong}");
    assert!(edit::step(&folder, "pet", &Step::Retire).unwrap_err().to_string().contains("did you mean 'pets'?"));
    assert_eq!(edit::with_field("a = 1\n\n[t]\nstate = \"x\"\n", "state", "y"), "a = 1\nstate = \"y\"\n\n[t]\nstate = \"x\"\n");
}

#[test]
fn the_credential_is_sent_and_shown_nowhere() {
    let (_place, folder) = folder();
    let service = folder.read().named("pets").cloned().unwrap();
    let upstream = service.upstream.as_ref().unwrap();
    assert_eq!(upstream.url(None, "/pets", "a=1").unwrap().as_str(), "https://api.example/v1/pets?a=1&key=k%2F1%2B2");
    assert!(!format!("{service:?}").contains("k/1+2"));
    assert!(upstream.masking().finds(b"?key=k%2F1%2B2&"));
}

#[test]
fn templates_keep_their_names() {
    assert_eq!(Template::parse("/a/{b}/c-{d}.{e}").unwrap().names, ["b", "d", "e"]);
    for wrong in ["a", "/{a}/{a}", "/{a", "/*{a}"] {
        assert!(Template::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_path_leads_to_one_operation_however_it_is_read() {
    let id = json!([{ "name": "id", "in": "path", "required": true }]);
    let matrix = json!([{ "name": "id", "in": "path", "required": true, "style": "matrix" }]);
    let paths = json!({
        "/users/{id}": { "parameters": id, "get": { "operationId": "user" } },
        "/users/me": { "get": { "operationId": "me" } },
        "/m/{id}": { "parameters": matrix, "get": { "operationId": "matrix" } },
    });
    let description = described(paths, json!({}));
    let is_clear = |path: &str| {
        let path = Path::read(path).unwrap();
        let operation = description.find(&Method::GET, &path).unwrap();
        description.is_clear(operation, &Method::GET, &path)
    };
    for path in ["/users/me;x", "/users/me%3Bx", "/users/ME", "/users/me.", "/users/me%20", "/users/me%23", "/users/me%3Fx", "/users/;x"] {
        assert!(!is_clear(path), "{path}");
    }
    for path in ["/users/me", "/users/7", "/users/Ada.L", "/users/a%3Bb", "/users/what%3F", "/m/;id=7"] {
        assert!(is_clear(path), "{path}");
    }
}

#[test]
fn each_style_is_written_as_openapi_says() {
    let (list, object) = (json!(["b", "c d"]), json!({ "R": 1, "G": "/" }));
    let cases = [
        ("path", json!({}), &list, "b,c%20d"),
        ("path", json!({ "explode": true }), &object, "R=1,G=%2F"),
        ("path", json!({}), &object, "R,1,G,%2F"),
        ("path", json!({ "style": "label" }), &list, ".b,c%20d"),
        ("path", json!({ "style": "label", "explode": true }), &list, ".b.c%20d"),
        ("path", json!({ "style": "label", "explode": true }), &object, ".R=1.G=%2F"),
        ("path", json!({ "style": "matrix" }), &list, ";p=b,c%20d"),
        ("path", json!({ "style": "matrix", "explode": true }), &list, ";p=b;p=c%20d"),
        ("path", json!({ "style": "matrix", "explode": true }), &object, ";R=1;G=%2F"),
        ("query", json!({ "explode": false }), &object, "p=R,1,G,%2F"),
        ("query", json!({}), &object, "R=1&G=%2F"),
        ("query", json!({ "style": "spaceDelimited", "explode": false }), &list, "p=b%20c%20d"),
        ("query", json!({ "style": "pipeDelimited", "explode": false }), &list, "p=b%7Cc%20d"),
        ("query", json!({ "style": "deepObject" }), &object, "p%5BR%5D=1&p%5BG%5D=%2F"),
        ("query", json!({ "allowReserved": true }), &json!("a/b?c=&d#e"), "p=a/b?c=%26d%23e"),
        ("header", json!({ "explode": true }), &object, "R=1,G=/"),
        ("cookie", json!({}), &json!("a;b é"), "p=a%3Bb%20%C3%A9"),
    ];
    for (place, style, value, wanted) in cases {
        let mut parameter = json!({ "name": "p", "in": place, "required": place == "path" });
        parameter.as_object_mut().unwrap().extend(style.as_object().unwrap().clone());
        let path = if place == "path" { "/{p}" } else { "/" };
        let description = described(json!({ path: { "get": { "parameters": [parameter] } } }), json!({}));
        let form = description.operations[0].form.as_ref().unwrap();
        let filled = form.fill(path, json!({ "p": value }).as_object().unwrap());
        let written = match place {
            "path" => filled.path.trim_start_matches('/').to_owned(),
            "query" => filled.query,
            _ => filled.headers[0].1.clone(),
        };
        assert_eq!(written, wanted, "{place} {style}");
    }
}

#[test]
fn a_secret_is_found_in_whichever_form_it_comes_back() {
    let env: Environment =
        [("K".to_owned(), "ab-cd.ef+gh/ij=k\"l&m".to_owned()), ("B".to_owned(), "dXNlcjpwYXNzLXdvcmQ=".to_owned())].into_iter().collect();
    let upstream = |kind: &str| {
        let file = format!("upstream = \"https://a.example\"\nopenapi = \"a.json\"\n[credential]\n{kind}\n");
        let describe = |_: &str| Ok(json!({ "openapi": "3.1.0", "paths": { "/x": { "get": {} } } }).to_string());
        Service::read(("a", 1), &file, describe, Some(&env)).unwrap().upstream.unwrap()
    };
    let query = upstream("in = \"query\"\nname = \"api_key\"\nvalue = \"${K}\"");
    for form in [
        "ab-cd.ef+gh/ij=k\"l&m",
        "ab-cd.ef%2Bgh%2Fij%3Dk%22l%26m",
        "ab-cd.ef%2bgh%2fij%3dk%22l%26m",
        "ab-cd.ef%2Bgh/ij%3Dk%22l%26m",
        "ab%2Dcd%2Eef%2Bgh%2Fij%3Dk%22l%26m",
        "ab-cd.ef+gh\\/ij=k\\\"l&m",
        "ab-cd.ef\\u002bgh/ij=k\\u0022l\\u0026m",
        "ab-cd.ef+gh/ij=k&quot;l&amp;m",
        "YWItY2QuZWYrZ2gvaWo9ayJsJm0=",
    ] {
        assert!(query.masking().finds(format!("<{form}>").as_bytes()), "{form}");
        let mut masking = query.masking();
        let out = [masking.pass(form.to_owned().into()), masking.finish()].concat();
        assert!(out.iter().filter(|byte| **byte != b'*').count() <= 1, "{form}: {}", String::from_utf8_lossy(&out));
    }
    let basic = upstream("in = \"header\"\nname = \"Authorization\"\nvalue = \"Basic ${B}\"");
    assert!(
        basic.masking().finds(b"user:pass-word") && basic.masking().finds(b"<pass-word>") && basic.masking().finds(b"dXNlcjpwYXNzLXdvcmQ")
    );
    assert_eq!(
        query.url(None, "/x", "a=1&api_key=mine&API%5FKEY=b&api_key[]=c&d;api_key=e&f=%20").unwrap().query().unwrap(),
        "a=1&f=%20&api_key=ab-cd.ef%2Bgh%2Fij%3Dk%22l%26m"
    );
}

#[test]
fn a_description_tells_no_more_than_what_may_be_called_refers_to() {
    let get = json!({ "operationId": "get", "tags": ["t"], "x-internal": 1, "responses": { "200": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/A" } } }, "headers": { "x-rate": { "schema": { "type": "integer", "x-go": 1 } } } } } });
    let paths = json!({ "/a": { "get": get, "x-gateway": "arn" }, "/b": { "get": { "operationId": "b", "responses": { "200": { "$ref": "#/components/responses/B" } } } }, "x-path": 1 });
    let components = json!({
        "schemas": {
            "A": { "type": "object", "properties": { "x-mine": { "$ref": "#/components/schemas/C" } }, "example": { "x-kept": 1 } },
            "C": { "type": "string", "x-hidden": true },
            "B": { "description": "hidden" },
        },
        "responses": { "B": { "description": "hidden" } },
        "x-secrets": { "B": "hidden" },
    });
    let told = described(paths, components).told("https://gw", false, |operation| operation.id == "get");
    let text = told.to_string();
    assert!(
        !text.contains("hidden")
            && !text.contains("arn")
            && !text.contains("x-go")
            && !text.contains("x-internal")
            && !text.contains("x-path"),
        "{text}"
    );
    assert_eq!(told["components"]["schemas"]["A"]["properties"]["x-mine"], json!({ "$ref": "#/components/schemas/C" }));
    assert_eq!(
        (&told["components"]["schemas"]["A"]["example"], &told["components"]["schemas"]["C"]),
        (&json!({ "x-kept": 1 }), &json!({ "type": "string" }))
    );
    assert_eq!(told["paths"]["/a"]["get"]["responses"]["200"]["headers"]["x-rate"], json!({ "schema": { "type": "integer" } }));
    assert_eq!(told["components"].as_object().unwrap().keys().collect::<Vec<_>>(), ["schemas", "securitySchemes"]);
}

#[test]
fn a_field_is_set_whatever_stands_in_texts_around_it() {
    let source = "title = \"\"\"\nstate = old\n[not a table]\n\"\"\"\nstate   =   'draft' # why\n\n[limits]\nparallel = 1\n";
    assert_eq!(edit::with_field(source, "state", "published"), source.replace("'draft'", "\"published\""));
    let without = source.replace("state   =   'draft' # why\n", "");
    assert_eq!(edit::with_field(&without, "state", "x"), source.replace("state   =   'draft' # why\n", "state = \"x\"\n"));
    assert_eq!(edit::with_field("[limits]\nparallel = 1", "state", "x"), "state = \"x\"\n[limits]\nparallel = 1");
    assert_eq!(edit::with_field("a = 1", "state", "x"), "a = 1\nstate = \"x\"\n");
    assert_eq!(edit::with_field("'state' = \"y\"\n", "state", "x"), "'state' = \"x\"\n");
}

#[test]
fn descriptions_go_no_deeper_than_a_stack() {
    for depth in [200, 20_000] {
        let deep = format!(
            "openapi: 3.1.0\npaths: {{/a: {{get: {{parameters: [{{name: a, in: query, schema: {}{{}}{}}}]}}}}}}\n",
            "{items: ".repeat(depth),
            "}".repeat(depth)
        );
        assert!(Description::read(&deep, false, &[]).is_err(), "{depth}");
    }
    let schema = (0..90).fold(json!({ "type": "integer" }), |schema, _| json!({ "type": "array", "items": schema }));
    let body = json!({ "requestBody": { "content": { "application/json": { "schema": schema } } } });
    let value = (0..90).fold(json!("x"), |value, _| json!([value]));
    assert_eq!(one(body, json!({})).form.unwrap().violations(&json!({ "body": value })).len(), 1);
    let circle = json!({ "allOf": [{ "$ref": "#/components/schemas/A" }] });
    let body = json!({ "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/A" } } } } });
    let operation = one(body, json!({ "schemas": { "A": circle } }));
    assert!(operation.form.unwrap().violations(&json!({ "body": { "a": 1 } })).is_empty());
}
