#![allow(clippy::unwrap_used)]

use super::*;
use crate::catalog::{Catalog, Environment};
use crate::dialect::Form;

fn router(variables: &[(&str, &str)], aliases: &str) -> Router {
    let env: Environment = variables.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    Router::new(Catalog::load(None).unwrap(), &Config::parse("t", aliases).unwrap(), &env)
}

#[test]
fn a_variable_switches_a_provider_on() {
    let router = router(&[("OPENAI_API_KEY", "sk-1"), ("OLLAMA_BASE_URL", "http://h:1")], "");
    let live: Vec<&str> = router.live().map(|provider| provider.id.as_str()).collect();
    assert_eq!(live, ["ollama", "openai", "simulator"]);
    let target = &router.resolve("openai/gpt-4o-mini").unwrap()[0];
    let endpoint = target.endpoint(Operation::Chat, Dialect::OpenaiChat).unwrap();
    assert_eq!(endpoint.place("gpt-4o-mini", Form::Whole).unwrap().url.as_str(), "https://api.openai.com/v1/chat/completions");
    assert_eq!(endpoint.headers["authorization"], "Bearer sk-1");
    assert!(endpoint.headers["authorization"].is_sensitive());
    assert_eq!(router.resolve("gpt-4o-mini").unwrap()[0].full_name(), "openai/gpt-4o-mini");
    assert_eq!(router.resolve("ollama/any:7b").unwrap()[0].model.as_ref(), "any:7b");
}

#[test]
fn a_name_that_leads_nowhere_says_what_would() {
    let router = router(&[("OPENAI_API_KEY", "1"), ("VERCEL", "x"), ("AZURE_API_KEY", "1"), ("AZURE_RESOURCE_NAME", "r")], "");
    let message = |name: &str| Refusal::from(router.resolve(name).err().unwrap()).message;
    assert!(message("groq/llama-3.3-70b-versatile").ends_with("by setting GROQ_API_KEY."), "{}", message("groq/x"));
    assert!(message("opnai/gpt-4o-mini").contains("Did you mean 'openai/gpt-4o-mini'?"), "{}", message("opnai/gpt-4o-mini"));
    assert!(message("gpt-4o-mini").contains("azure/gpt-4o-mini or openai/gpt-4o-mini"), "{}", message("gpt-4o-mini"));
}

#[test]
fn an_alias_passes_over_what_is_not_live() {
    let config = "[aliases]\nfast = [\"groq/x\", \"openai/gpt-4o-mini\", \"simulator/echo\"]\nnone = \"groq/x\"\n";
    let router = router(&[("OPENAI_API_KEY", "1")], config);
    let names: Vec<String> = router.resolve("fast").unwrap().iter().map(Target::full_name).collect();
    assert_eq!(names, ["openai/gpt-4o-mini", "simulator/echo"]);
    assert!(matches!(router.resolve("none"), Err(NoRoute::Dormant { .. })));
}

#[test]
fn a_refused_credential_rests_longer_each_time() {
    let credential = Credential::new("X", Secret::new("s"));
    assert_eq!(credential.rests_for(), None);
    let (first, second) = (credential.refused(), credential.refused());
    assert!(second > first && credential.rests_for().is_some());
    credential.accepted();
    assert_eq!(credential.rests_for(), None);
    assert!(format!("{credential:?}").contains("Secret(…)"));
}

#[test]
fn an_address_is_the_parts_of_a_url() {
    let of = |url: &str| Address::of(&url.parse().unwrap());
    let address = of("https://user.example:8443/v1/chat?api-version=1#x").unwrap();
    assert_eq!((&*address.origin, address.host.to_str().unwrap()), ("https://user.example:8443", "user.example:8443"));
    assert_eq!(
        (address.server.to_string(), address.path.to_string()),
        ("https://user.example:8443/".into(), "/v1/chat?api-version=1".into())
    );
    assert_eq!(of("http://[::1]").unwrap().host, "[::1]");
    assert!(of("https://user:password@host/").is_none(), "the general client knows what to do with a user");
}
