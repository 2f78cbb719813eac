//! The first start: an admin key and a first key, shown once, with lines that work when pasted.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use super::{CliError, output};
use crate::admin::keys::{self, NewKeyOrder};
use crate::catalog::model::Modality;
use crate::catalog::{Capability, Model};
use crate::key::{Kind, Pepper};
use crate::route::Router;
use crate::store::audit::Actor;
use crate::store::sqlite::Sqlite;

/// Providers that a newcomer is most likely to have a credential of.
const WELL_KNOWN: [&str; 8] = ["openai", "openrouter", "mistral", "groq", "deepseek", "xai", "togetherai", "ollama"];

/// One of these, whoever has it.
const SMALL: &str = "gpt-4o-mini";
/// Words in the names of models that chat in no ordinary way, or not for long.
const OTHERS: &str = "preview beta alpha exp latest embed rerank guard moderation whisper tts ocr research realtime";
/// Words in the names of models that do not chat at all, where nothing else tells.
const MUTE: &str = "image video audio speech transcri dall-e diffusion flux bge minilm";

/// Where the store has no key yet: makes the first two and shows them. At the first start with keys that were made before it, tells how to make
/// others. Otherwise nothing.
pub async fn greet(store: &Sqlite, pepper: &Pepper, router: &Router, address: SocketAddr, is_first: bool) -> Result<(), CliError> {
    if store.has_keys().await? {
        if is_first {
            // Nobody loses a key by not seeing it.
            let _ = output::print(&without_keys(router));
        }
        return Ok(());
    }
    // A standard output that was closed is this too: nobody would ever see them.
    if std::fs::read_link("/proc/self/fd/1").is_ok_and(|to| to == Path::new("/dev/null")) {
        tracing::warn!(
            "there is no key, and none is made where standard output goes nowhere: 'keyward keys create --kind admin' makes the first"
        );
        return Ok(());
    }
    let make = |name: &'static str, kind| keys::create(store, store, pepper, NewKeyOrder::new(name, kind), &Actor::Gateway);
    let admin = make("first admin key", Kind::Admin).await?.key;
    let key = make("first key", Kind::Live).await?.key;
    let mut real: Vec<_> = router.live().filter(|provider| !provider.is_simulator()).collect();
    // Who is known to chat comes before who may.
    real.sort_by_key(|provider| !are_described(&provider.models));
    let model = real.iter().find_map(|provider| Some(format!("{}/{}", provider.id, talker(&provider.models)?)));
    let unlisted = real.iter().find(|provider| model.is_none() && provider.models.is_empty());
    let why = unlisted.map_or_else(String::new, |provider| format!(" (which models {} has is not known here)", provider.id));
    let model = model.as_deref().unwrap_or("simulator/echo");
    let address = reached_at(address);
    let shown = output::show(&format!(
        "Welcome to Keyward. These two keys are shown once and kept nowhere:

  admin key   {admin}
  first key   {key}

{}
Try it{why}:

  curl http://{address}/v1/chat/completions -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{{\"model\": \"{model}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'

  python3 -c 'from openai import OpenAI; print(OpenAI(base_url=\"http://{address}/v1\", api_key=\"{key}\").chat.completions.create(model=\"{model}\", messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}]).choices[0].message.content)'

",
        providers(router),
    ));
    shown.map_err(|e| {
        format!(
            "the first two keys were made and cannot be shown, as standard output takes nothing: {e}; start again, and make others: \
             'keyward keys create', and 'keyward keys create --kind admin' for management"
        )
        .into()
    })
}

/// Where a gateway is reached from its own machine: all addresses are none that anybody can ask.
fn reached_at(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Who answers a newcomer's first question: a small one that is well known, else the newest that chats, the cheapest of those; none that may be gone
/// or changed tomorrow.
fn talker(models: &BTreeMap<String, Model>) -> Option<&str> {
    let price = |model: &Model| model.price.as_ref().map_or(f64::INFINITY, |price| price.output);
    let known = talkers(models).find(|(id, _)| *id == SMALL);
    let newest = || talkers(models).min_by(|(_, a), (_, b)| b.released.cmp(&a.released).then(price(a).total_cmp(&price(b))));
    known.or_else(newest).map(|(id, _)| id)
}

/// The models that answer text with text, and are there to stay, as far as is known.
fn talkers(models: &BTreeMap<String, Model>) -> impl Iterator<Item = (&str, &Model)> {
    let are_described = are_described(models);
    let chat = move |id: &str, model: &Model| if are_described { chats(model) } else { may_chat(id, model) };
    models.iter().map(|(id, model)| (id.as_str(), model)).filter(move |(id, model)| talks(id, model) && chat(id, model))
}

/// Whether somebody has written down of any what it can do.
fn are_described(models: &BTreeMap<String, Model>) -> bool {
    models.values().any(|model| !model.can.is_empty())
}

/// What only embeds, ranks or transcribes can do none of these.
fn chats(model: &Model) -> bool {
    [Capability::Temperature, Capability::Tools, Capability::Reasoning].iter().any(|one| model.can.contains(one))
}

/// The same of models that are not described: what only embeds is paid for what it reads alone.
fn may_chat(id: &str, model: &Model) -> bool {
    let name = id.to_lowercase();
    let is_mute = MUTE.split(' ').any(|word| name.contains(word));
    !is_mute && model.price.as_ref().is_none_or(|price| price.output > 0.0 || price.input == 0.0)
}

/// Whether nothing tells of a model that it answers otherwise than text with text, or is not there to stay.
fn talks(id: &str, model: &Model) -> bool {
    let name = id.to_lowercase();
    let of_text = |modalities: &[Modality]| modalities.is_empty() || modalities.contains(&Modality::Text);
    let speaks_alone = model.gives.iter().all(|modality| *modality == Modality::Text);
    let is_other = OTHERS.split(' ').any(|other| name.contains(other));
    model.status.is_none() && model.max_output != Some(0) && of_text(&model.takes) && speaks_alone && !is_other
}

/// What the first start says where somebody has made keys before it.
fn without_keys(router: &Router) -> String {
    format!(
        "Welcome to Keyward. There are keys already, so that none is made now. Others are made by

  keyward keys create --kind admin --name NAME   to manage the gateway with
  keyward keys create --name NAME                to call models with

{}
",
        providers(router)
    )
}

fn providers(router: &Router) -> String {
    let live: Vec<&str> = router.live().map(|provider| provider.id.as_str()).collect();
    let mut text = format!("Live providers: {}\nOthers are switched on by a variable:\n", live.join(", "));
    for (id, dormant) in router.dormant().filter(|(id, _)| WELL_KNOWN.contains(id)) {
        text.push_str(&format!("  {:<12}{}\n", id, dormant.needs.join(" and ")));
    }
    let more = router.dormant().filter(|(id, _)| !WELL_KNOWN.contains(id)).count();
    text.push_str(&format!("  and {more} more: keyward providers list\n"));
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn a_newcomers_first_model_chats_and_is_there_to_stay() {
        let catalog = Catalog::load(None).unwrap();
        let named: BTreeMap<&str, &str> =
            catalog.iter().filter_map(|provider| Some((provider.id.as_str(), talker(&provider.models)?))).collect();
        for (provider, id) in &named {
            let models = &catalog.get(provider).unwrap().models;
            let model = &models[*id];
            assert!(model.status.is_none() && model.gives.iter().all(|gives| *gives == Modality::Text), "{provider}/{id}");
            assert!(
                !["preview", "beta", "embed", "rerank", "image"].iter().any(|word| id.to_lowercase().contains(word)),
                "{provider}/{id}"
            );
            let newer = talkers(models).find(|(_, other)| other.released > model.released);
            assert!(newer.is_none() || *id == SMALL, "{provider}/{id}: {newer:?}");
        }
        assert!(named.len() > 120 && named["openai"] == SMALL, "{named:?}");
        // They embed and rank.
        assert_eq!(["voyage", "jina"].map(|provider| named.get(provider)), [None, None]);
    }

    #[test]
    fn of_models_that_nobody_has_described_the_first_whose_name_excludes_nothing_is_taken() {
        let first = |models: &str| {
            let models: BTreeMap<String, Model> = toml::from_str(models).unwrap();
            talker(&models).map(str::to_owned)
        };
        let named = ["all-minilm", "embed-2", "flux.1", "large-chat", "small-chat", "whisper-1"];
        assert_eq!(first(&named.map(|name| format!("\"{name}\" = {{ context = 8192 }}")).join("\n")).as_deref(), Some("large-chat"));
        assert_eq!(first("a = { price = { input = 0.1, output = 0.0 } }\nb = { price = { input = 1, output = 2 } }").as_deref(), Some("b"));
        assert_eq!(first("free = { price = { input = 0, output = 0 } }").as_deref(), Some("free"));
        // Where some are described, who says nothing of an ability has none.
        assert_eq!(first("a = {}\nb = { can = [\"tools\"] }").as_deref(), Some("b"));
        assert_eq!((first("whisper-1 = {}"), first("")), (None, None));
    }
}
