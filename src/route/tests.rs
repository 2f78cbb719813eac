#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use super::*;
use crate::catalog::{Catalog, Environment};
use crate::dialect::{Ask, Called, Form};
use crate::key::Pepper;
use crate::store::audit::Note;
use crate::store::{Answer, CredentialStore, KeptCredential, StoreError};

/// A store of credentials that answers so, in this order; the last again and again.
struct Told(Mutex<Vec<Result<Vec<KeptCredential>, StoreError>>>);

impl CredentialStore for Told {
    fn credentials(&self) -> Answer<'_, Vec<KeptCredential>> {
        let mut told = self.0.lock().unwrap();
        let next = if told.len() > 1 { told.remove(0) } else { told[0].as_ref().map_err(|e| StoreError(e.0.clone())).cloned() };
        Box::pin(async { next })
    }
    fn put_credential<'a>(&'a self, _: &'a KeptCredential, _: Option<&'a KeptCredential>, _: &'a Note) -> Answer<'a, bool> {
        Box::pin(async { Ok(false) })
    }
    fn remove_credential<'a>(&'a self, _: &'a KeptCredential, _: &'a Note) -> Answer<'a, bool> {
        Box::pin(async { Ok(false) })
    }
    fn mark(&self) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(async { Ok(None) })
    }
    fn put_mark<'a>(&'a self, _: &'a [u8]) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// A switchboard over a store that has one credential of OpenAI's, and then tells of it what is told.
async fn switchboard(then: Vec<Result<Vec<KeptCredential>, StoreError>>) -> Arc<Switchboard> {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::open(&Environment::default(), &Pepper::load_or_create(&folder.path().join("server.secret")).unwrap()).unwrap();
    let variables = Variables::from([("OPENAI_API_KEY".to_owned(), Secret::new("sk-leaked-credential"))]);
    let sealed = vault.seal("leaked", &variables).unwrap();
    let (name, provider, created) = ("leaked".to_owned(), "openai".to_owned(), crate::store::now());
    let kept = KeptCredential { name, provider, sealed, weight: 1, disabled: false, created };
    let told = std::iter::once(Ok(vec![kept])).chain(then).collect();
    let store = Arc::new(Told(Mutex::new(told)));
    let config = Config::parse("t", "").unwrap();
    let opened = Switchboard::open(&config, &Environment::default(), vault, store, Catalog::load(None).unwrap()).await;
    Arc::new(opened.unwrap())
}

fn router(variables: &[(&str, &str)], aliases: &str) -> Router {
    let env: Environment = variables.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    Router::new(&Catalog::load(None).unwrap(), &Config::parse("t", aliases).unwrap(), &env, &Stored::default(), None)
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
fn a_completion_of_ollamas_is_a_chat_to_those_who_do_not_speak_it() {
    let router = router(&[("COHERE_API_KEY", "1"), ("OLLAMA_BASE_URL", "http://h:1")], "");
    let served = |name: &str, operation, dialect| {
        let target = &router.resolve(name).unwrap()[0];
        target.endpoint(operation, dialect).map(|endpoint| endpoint.place("m", Form::Whole).unwrap().url.to_string())
    };
    assert_eq!(served("ollama/m", Operation::Completions, Dialect::Ollama).unwrap(), "http://h:1/api/generate");
    assert_eq!(served("ollama/m", Operation::Chat, Dialect::Ollama).unwrap(), "http://h:1/api/chat");
    assert_eq!(served("cohere/command-r7b-12-2024", Operation::Completions, Dialect::Ollama).unwrap(), "https://api.cohere.com/v2/chat");
    assert_eq!(served("cohere/embed-v4.0", Operation::Embeddings, Dialect::Ollama).unwrap(), "https://api.cohere.com/v2/embed");
    assert!(served("cohere/command-r7b-12-2024", Operation::Moderations, Dialect::Ollama).is_err());
}

#[test]
fn operations_beside_chat_have_their_own_paths_with_the_rest_and_the_query_after_them() {
    let router = router(&[("OPENAI_API_KEY", "1"), ("ANTHROPIC_API_KEY", "1"), ("GEMINI_API_KEY", "1")], "");
    let served = |provider: &str, operation, dialect, rest: &str| {
        let endpoint =
            router.provider(provider).unwrap().endpoint(None, operation, dialect).map_err(|unserved| Refusal::from(unserved).message)?;
        Ok::<_, String>(endpoint.below("a/b c", rest, &[("after".to_owned(), "x&y".to_owned())]).unwrap().url.to_string())
    };
    let content = served("openai", Operation::Files, Dialect::OpenaiChat, "/file-1/content").unwrap();
    assert_eq!(content, "https://api.openai.com/v1/files/file-1/content?after=x%26y");
    let counted = served("google", Operation::CountTokens, Dialect::Gemini, "").unwrap();
    assert_eq!(counted, "https://generativelanguage.googleapis.com/v1beta/models/a%2Fb%20c:countTokens?after=x%26y");
    assert!(served("anthropic", Operation::CountTokens, Dialect::AnthropicMessages, "").unwrap().contains("/messages/count_tokens?"));
    let downloaded = served("google", Operation::Files, Dialect::Gemini, "/files/a:download").unwrap();
    assert_eq!(downloaded, "https://generativelanguage.googleapis.com/v1beta/files/a:download?after=x%26y");
    let batched = served("google", Operation::Batches, Dialect::Gemini, "/models/{model}:batchGenerateContent").unwrap();
    assert_eq!(batched, "https://generativelanguage.googleapis.com/v1beta/models/a%2Fb%20c:batchGenerateContent?after=x%26y");
    let google = router.provider("google").unwrap().endpoint(None, Operation::Files, Dialect::Gemini).unwrap();
    assert_eq!(google.uploading("/files", &[]).unwrap().url.as_str(), "https://generativelanguage.googleapis.com/upload/v1beta/files");
    let unserved = served("anthropic", Operation::Images, Dialect::OpenaiChat, "").unwrap_err();
    assert!(unserved.contains("'images'") && unserved.contains("anthropic_messages"), "{unserved}");
    assert!(served("simulator", Operation::Images, Dialect::OpenaiChat, "").is_err());
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
fn refusals_at_once_are_one_and_each_that_follows_a_rest_doubles_it() {
    let (credential, start) = (Credential::new("X", Secret::new("s")), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(credential.rests_for("m"), None);
    let burst: Vec<_> = (0..12).map(|_| credential.attempt("m").unwrap()).collect();
    assert!(burst.iter().all(|attempt| attempt.refused_at(Cause::Credential, at(0)).rest == Duration::from_secs(5)));
    assert_eq!(credential.attempt_at("m", || at(1)).err().map(|refused| refused.rest), Some(Duration::from_secs(4)));
    assert_eq!(credential.attempt_at("m", || at(5)).unwrap().refused_at(Cause::Credential, at(5)).rest, Duration::from_secs(10));
    assert!(format!("{credential:?}").contains("Secret(…)"));
}

#[test]
fn only_what_was_sent_after_a_rest_ends_it_and_one_request_finds_out() {
    let (credential, start) = (Credential::new("X", Secret::new("s")), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    let older = credential.attempt("m").unwrap();
    credential.attempt("m").unwrap().refused_at(Cause::Credential, at(0));
    older.accepted();
    assert!(credential.attempt_at("m", || at(1)).is_err(), "it was asked before the other was refused");
    let probe = credential.attempt_at("m", || at(6)).unwrap();
    older.accepted();
    assert!(credential.attempt_at("m", || at(6)).is_err(), "one request is enough to find out");
    drop(probe);
    let slow = credential.attempt_at("m", || at(6)).unwrap();
    let probe = credential.attempt_at("m", || at(16)).expect("a request that takes so long is not waited for");
    probe.accepted();
    drop(slow);
    assert!(credential.attempt("m").is_ok() && credential.attempt("m").is_ok());
    let again = credential.attempt("m").unwrap().refused_at(Cause::Credential, at(20)).rest;
    assert_eq!(again, Duration::from_secs(5), "what was before the success is forgotten");
}

#[test]
fn a_model_that_is_refused_while_others_are_taken_rests_alone() {
    let (credential, start) = (Credential::new("X", Secret::new("s")), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    let refuse = |model, seconds| credential.attempt_at(model, || at(seconds)).unwrap().refused_at(Cause::Unsaid, at(seconds));
    let take = |model, seconds| credential.attempt_at(model, || at(seconds)).unwrap().accepted_at(at(seconds));
    let alone = |seconds| Refused { rest: Duration::from_secs(seconds), is_alone: true };
    for round in 0..20 {
        take("good", round);
    }
    assert_eq!(refuse("gated", 20), alone(5));
    assert_eq!(credential.attempt_at("gated", || at(21)).err().map(|refused| refused.rest), Some(Duration::from_secs(4)));
    take("good", 22);
    assert_eq!((refuse("gated", 25), refuse("gated", 35)), (alone(10), alone(20)), "each rest is twice the one before");
    take("good", 36);
    assert_eq!(refuse("other", 37), alone(5), "the credential was taken since the first");
    assert_eq!((credential.refused_for_s(), credential.refused_alone().map(|(models, _)| models)), (None, Some(2)));
    assert!(!refuse("third", 38).is_alone && credential.refused_for_s().is_some(), "nothing was taken since the second");
    take("good", 43);
    assert_eq!((credential.refused_for_s(), credential.attempt_at("third", || at(43)).is_ok()), (None, true));
}

#[test]
fn a_credential_rests_where_it_was_taken_for_no_other_model_lately_or_its_provider_says_so() {
    let at = |start: Instant, seconds| start + Duration::from_secs(seconds);
    let refused_after = |taken: &[(&str, u64)], cause| {
        let (credential, start) = (Credential::new("X", Secret::new("s")), Instant::now());
        taken.iter().for_each(|(model, second)| credential.attempt(model).unwrap().accepted_at(at(start, *second)));
        !credential.attempt("m").unwrap().refused_at(cause, at(start, 1000)).is_alone
    };
    let (said, unsaid) = (Cause::Credential, Cause::Unsaid);
    assert!(refused_after(&[], unsaid) && refused_after(&[("m", 999)], unsaid) && refused_after(&[("n", 600)], unsaid));
    assert!(!refused_after(&[("n", 900)], unsaid) && refused_after(&[("n", 900)], said));
    assert!(!refused_after(&[("a", 990), ("b", 991), ("n", 992), ("m", 998), ("m", 999)], unsaid), "the model's own crowds no other out");
}

#[test]
fn a_model_that_a_credential_may_not_use_says_nothing_of_the_others() {
    let (credential, start) = (Credential::new("X", Secret::new("s")), Instant::now());
    let refuse = |model, cause| credential.attempt_at(model, || start).unwrap().refused_at(cause, start);
    assert!(["a", "b", "c"].into_iter().all(|model| refuse(model, Cause::Model).is_alone), "though nothing was ever taken");
    assert_eq!(credential.attempt_at("a", || start).err(), Some(Refused { rest: Duration::from_secs(5), is_alone: true }));
    assert_eq!((credential.refused_for_s(), credential.attempt_at("d", || start).is_ok()), (None, true));
    credential.attempt_at("d", || start).unwrap().accepted_at(start);
    assert!(refuse("e", Cause::Model).is_alone && refuse("f", Cause::Unsaid).is_alone, "the first was no doubt of the credential");
}

#[test]
fn what_is_refused_alone_is_forgotten_in_time_and_kept_of_a_few() {
    let (credential, start) = (Credential::new("X", Secret::new("s")), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    let take = |seconds| credential.attempt_at("good", || at(seconds)).unwrap().accepted_at(at(seconds));
    let names: Vec<String> = (0..100).map(|number| format!("m{number}")).collect();
    for name in &names {
        take(0);
        assert!(credential.attempt_at(name, || at(0)).unwrap().refused_at(Cause::Unsaid, at(0)).is_alone);
    }
    assert_eq!(names.iter().filter(|name| credential.attempt_at(name, || at(1)).is_err()).count(), 64);
    take(400);
    assert_eq!(credential.refused_alone(), None);
    assert!(format!("{credential:?}").contains("is_troubled: false"), "the lock is taken no more");
}

#[tokio::test]
async fn a_change_of_credentials_that_cannot_be_read_is_read_once_it_can() {
    let down = || Err(StoreError("the disk is away".to_owned()));
    let switchboard = switchboard(vec![down(), down(), Ok(Vec::new())]).await;
    let is_live = || switchboard.router().provider("openai").is_some();
    assert!(is_live());
    let (tell, changed) = watch::channel(0);
    // As the management API does it: the first reading fails before anybody is told.
    switchboard.renew().await;
    assert!(is_live() && switchboard.is_behind());
    let following = tokio::spawn(Arc::clone(&switchboard).follow(changed));
    tell.send_replace(1);
    tokio::time::timeout(Duration::from_secs(20), async {
        while switchboard.is_behind() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is tried again");
    assert!(!is_live());
    drop(tell);
    following.await.unwrap();
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

#[test]
fn vertex_has_no_files_or_batches_of_the_gemini_api() {
    let file = include_str!("../../providers/google-vertex.toml").replace("\"gcp\"", "\"bearer\"");
    let provider: crate::catalog::Provider = toml::from_str(&file).unwrap();
    let variables = ["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_VERTEX_LOCATION", "GOOGLE_VERTEX_PROJECT"];
    let env: Environment = variables.map(|name| (name.to_owned(), "x".to_owned())).into_iter().collect();
    let live = LiveProvider::switch_on(&provider, &env, None).unwrap();
    assert!(live.endpoint(None, Operation::CountTokens, Dialect::Gemini).is_ok());
    for operation in [Operation::Files, Operation::Batches] {
        let refusal = Refusal::from(live.endpoint(None, operation, Dialect::Gemini).unwrap_err());
        assert_eq!(refusal.status, StatusCode::NOT_IMPLEMENTED);
        assert!(refusal.message.contains("it has no such operation there"), "{}", refusal.message);
    }
}

#[test]
fn a_providers_own_paths_name_the_model_and_tell_streams_apart() {
    let file = include_str!("../../providers/google-vertex-anthropic.toml").replace("\"gcp\"", "\"bearer\"");
    let provider: crate::catalog::Provider = toml::from_str(&file).unwrap();
    let variables = ["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_VERTEX_LOCATION", "GOOGLE_VERTEX_PROJECT"];
    let env: Environment = variables.map(|name| (name.to_owned(), "x".to_owned())).into_iter().collect();
    let live = LiveProvider::switch_on(&provider, &env, None).unwrap();
    let endpoint = live.endpoint(None, Operation::Chat, Dialect::AnthropicMessages).unwrap();
    let path = |model: &str, form| endpoint.place(model, form).unwrap().url.path().to_owned();
    let base = "/v1/projects/x/locations/x/publishers/anthropic/models";
    assert_eq!(path("claude-opus-4-5@20251101", Form::Whole), format!("{base}/claude-opus-4-5@20251101:rawPredict"));
    assert_eq!(path("claude-opus-4-5@20251101", Form::Stream), format!("{base}/claude-opus-4-5@20251101:streamRawPredict"));
    assert_eq!(path("../a?b", Form::Whole), format!("{base}/..%2Fa%3Fb:rawPredict"));

    let body = Bytes::from_static(br#"{"model":"a","max_tokens":5,"messages":[]}"#);
    let ask = Ask::read(Called::new(Operation::Chat, Dialect::AnthropicMessages), body).unwrap();
    let sent = String::from_utf8(ask.encode("a", &endpoint.quirks).concat()).unwrap();
    assert_eq!(sent, r#"{"max_tokens":5,"messages":[],"anthropic_version":"vertex-2023-10-16"}"#);
}
