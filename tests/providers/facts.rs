//! The catalogue facts that the provider files are made from, compared with what was made of them.

use std::path::Path;

use keyward::catalog::model::{Model, PriceList};
use keyward::catalog::{Catalog, Provider};
use serde_json::{Map, Value, json};

/// Routers that choose a model, which costs something: the facts have them for nothing.
const CHOOSING: [&str; 4] = ["auto", "auto-model", "pareto-code", "bodybuilder"];
/// Who makes models that others sell on.
const MAKERS: [&str; 2] = ["google", "openai"];
/// Where other providers of the same model, and its maker, know better.
const KNOWN_BETTER: [[&str; 2]; 1] = [["amazon-bedrock", "amazon.nova-2-lite-v1:0"]];
/// What is paid for otherwise than by the tokens in and out that the facts have a price for: by the minute, by the picture, for whatever it calls.
const NOT_BY_TOKENS: [(&str, &[&str]); 14] = [
    ("alibaba", &["qwen3-asr-flash"]),
    ("alibaba-cn", &["qwen3-asr-flash"]),
    ("azure", &["model-router"]),
    ("azure-cognitive-services", &["model-router"]),
    (
        "cloudflare-ai-gateway",
        &[
            "workers-ai/@cf/deepgram/aura-2-en",
            "workers-ai/@cf/deepgram/aura-2-es",
            "workers-ai/@cf/deepgram/nova-3",
            "workers-ai/@cf/myshell-ai/melotts",
        ],
    ),
    ("digitalocean", &["stable-diffusion-3.5-large", "wan2-2-t2v-a14b"]),
    ("evroc", &["KBLab/kb-whisper-large", "mistralai/Voxtral-Small-24B-2507", "openai/whisper-large-v3", "openai/whisper-large-v3-turbo"]),
    ("kilo", &["google/lyria-3-clip-preview", "google/lyria-3-pro-preview"]),
    ("llmgateway", &["custom"]),
    ("nearai", &["openai/whisper-large-v3", "black-forest-labs/FLUX.2-klein-4B"]),
    ("openrouter", &["google/lyria-3-clip-preview", "google/lyria-3-pro-preview"]),
    ("privatemode-ai", &["whisper-large-v3"]),
    ("regolo-ai", &["qwen-image"]),
    ("scaleway", &["whisper-large-v3"]),
];
/// What Claude costs on Bedrock and Vertex outside their global endpoints, from Sonnet 4.5 on ("Pricing" in Anthropic's documentation).
const REGIONAL: f64 = 1.1;
/// Of Vertex a region's endpoint alone is asked.
const ON_VERTEX: [&str; 2] = ["google-vertex", "google-vertex-anthropic"];
/// Those of before have one price.
const BEFORE: [&str; 4] = ["claude-3-", "claude-opus-4@", "claude-opus-4-1@", "claude-sonnet-4@"];

/// What sound costs where its maker's own facts leave it out ("Gemini Developer API pricing").
const HEARD: [(&str, &str, f64); 3] =
    [("google", "gemini-2.0-flash", 0.7), ("google", "gemini-flash-lite-latest", 0.3), ("google-vertex", "gemini-flash-lite-latest", 0.3)];

/// The facts by provider, or `None` where this checkout stands without them.
pub fn read() -> Option<Map<String, Value>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/catalogue/models-dev.json");
    let text = std::fs::read_to_string(path).ok()?;
    let mut facts: Value = serde_json::from_str(&text).unwrap();
    match facts["providers"].take() {
        Value::Object(mut providers) => {
            complete(&mut providers);
            Some(providers)
        }
        other => panic!("'providers' is {other}"),
    }
}

/// Gives the facts what they leave out and without which no hard budget would hold: what is sold on at its maker's price costs what that costs
/// for sound, pictures and a long context too.
fn complete(providers: &mut Map<String, Value>) {
    for [provider, model] in KNOWN_BETTER {
        let facts = &mut providers[provider]["models"][model];
        (facts["context"], facts["max_output"]) = (json!(1_000_000), json!(65_535));
    }
    for (provider, model, usd) in HEARD {
        providers[provider]["models"][model]["usd_per_mtok"]["input_audio"] = json!(usd);
    }
    for (provider, models) in NOT_BY_TOKENS {
        for model in models {
            assert!(!providers[provider]["models"][model]["usd_per_mtok"].is_null(), "{provider}/{model} has no price to take out");
            providers[provider]["models"][model]["usd_per_mtok"] = Value::Null;
        }
    }
    raise_regional(providers["amazon-bedrock"]["models"].as_object_mut().unwrap());
    for provider in ON_VERTEX {
        let models = providers[provider]["models"].as_object_mut().unwrap();
        let is_later = |name: &str| name.starts_with("claude-") && !BEFORE.iter().any(|before| name.starts_with(before));
        models.iter_mut().filter(|(name, _)| is_later(name)).for_each(|(_, model)| raise_all(model));
    }
    let makers = MAKERS.map(|maker| providers[maker]["models"].clone());
    for (_, provider) in providers.iter_mut().filter(|(id, _)| !MAKERS.contains(&id.as_str())) {
        for (name, model) in provider["models"].as_object_mut().unwrap() {
            let price = |model: &Value, part: &str| model["usd_per_mtok"][part].as_f64();
            let chooses =
                CHOOSING.iter().any(|end| name.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with(['/', '-'])));
            if chooses && price(model, "input") == Some(0.0) && price(model, "output") == Some(0.0) {
                model["usd_per_mtok"] = Value::Null;
                continue;
            }
            let bare = name.rsplit('/').next().unwrap_or(name).to_lowercase();
            let bare = bare.split(['@', ':']).next().unwrap_or_default();
            let names = [bare.to_owned(), bare.replace("-preview", ""), format!("{bare}-preview")];
            let found =
                makers.iter().find_map(|models| names.iter().find(|name| models.get(name).is_some()).map(|name| (&models[name], name)));
            let Some((maker, made)) = found.filter(|(maker, _)| price(maker, "input").is_some()) else { continue };
            if !is_close(price(maker, "input"), price(model, "input")) {
                // The latest of a maker may be another one elsewhere.
                if !name.ends_with("-latest") {
                    hear_in_proportion(model, maker);
                }
                continue;
            }
            if made.contains("image") && price(model, "output") < price(maker, "output").map(|output| output * 0.7) {
                model["usd_per_mtok"]["output"] = maker["usd_per_mtok"]["output"].clone();
            }
            if price(model, "input_audio").is_none()
                && price(maker, "input_audio") != price(maker, "input")
                && price(maker, "input_audio").is_some()
            {
                model["usd_per_mtok"]["input_audio"] = maker["usd_per_mtok"]["input_audio"].clone();
            }
            let has_tiers = |model: &Value| model["price_tiers"].as_array().is_some_and(|tiers| !tiers.is_empty());
            if has_tiers(maker) && !has_tiers(model) && price(model, "output") == price(maker, "output") {
                model["price_tiers"] = maker["price_tiers"].clone();
            }
        }
    }
}

/// Who sells at another price than the maker's has it raised or lowered for sound too.
fn hear_in_proportion(model: &mut Value, maker: &Value) {
    let price = |model: &Value, part: &str| model["usd_per_mtok"][part].as_f64();
    let hears = model["in"].as_array().is_some_and(|taken| taken.iter().any(|kind| kind == "audio"));
    let [own, made] = [&*model, maker].map(|model| price(model, "input").filter(|usd| *usd > 0.0));
    let (Some(own), Some(made), Some(heard)) = (own, made, price(maker, "input_audio").filter(|heard| Some(*heard) != made)) else {
        return;
    };
    if hears && price(model, "input_audio").is_none() {
        model["usd_per_mtok"]["input_audio"] = json!((own * heard / made * 1e6).round() / 1e6);
    }
}

/// Who stays within a region pays more than at the global endpoint of the same model, which some of the facts forget.
fn raise_regional(models: &mut Map<String, Value>) {
    let global = |name: &str| Some((name.strip_prefix("global.")?.to_owned(), models[name]["usd_per_mtok"].as_object()?.clone()));
    let global: Vec<(String, Map<String, Value>)> = models.keys().filter_map(|name| global(name)).collect();
    for (name, prices) in global.iter().filter(|(name, _)| name.starts_with("anthropic.")) {
        let regional = |other: &str| other != format!("global.{name}") && (other == name || other.ends_with(&format!(".{name}")));
        for (_, model) in models.iter_mut().filter(|(other, _)| regional(other)) {
            let raised = prices.iter().map(|(part, usd)| (part.clone(), json!(usd.as_f64().unwrap() * REGIONAL)));
            model["usd_per_mtok"] = raised.collect();
        }
    }
}

/// All prices of a model, in each tier.
fn raise_all(model: &mut Value) {
    const PARTS: [&str; 4] = ["input", "output", "cache_read", "cache_write"];
    let raise = |prices: &mut Value| {
        for part in PARTS {
            if let Some(usd) = prices[part].as_f64() {
                prices[part] = json!(usd * REGIONAL);
            }
        }
    };
    raise(&mut model["usd_per_mtok"]);
    model["price_tiers"].as_array_mut().into_iter().flatten().for_each(raise);
}

/// Everything in which a provider and its facts differ.
pub fn differences(catalog: &Catalog, id: &str, facts: &Value) -> Vec<String> {
    let Some(provider) = catalog.get(id) else { return vec![format!("{id}: has no file")] };
    let models = facts["models"].as_object().unwrap();
    models.iter().flat_map(|(model, facts)| of_model(provider, model, facts)).map(|what| format!("{id}/{what}")).collect()
}

fn of_model(provider: &Provider, id: &str, facts: &Value) -> Vec<String> {
    let Some(model) = provider.models.get(id) else { return vec![format!("{id}: is not in the file")] };
    let mut found = Vec::new();
    let mut compare = |what: &str, is_same: bool| {
        if !is_same {
            found.push(format!("{id}: {what} differs"));
        }
    };
    compare("context", facts["context"].as_u64() == model.context);
    compare("max_output", facts["max_output"].as_u64() == model.max_output);
    compare("max_input", facts["max_input"].as_u64() == model.max_input);
    compare("released", facts["released"].as_str() == model.released.as_deref());
    compare("name", one_spaced(facts["name"].as_str().unwrap_or_default()) == one_spaced(model.name.as_deref().unwrap_or(id)));
    compare("in", modalities(&facts["in"]) == modalities(&serde_json::to_value(&model.takes).unwrap()));
    compare("out", modalities(&facts["out"]) == modalities(&serde_json::to_value(&model.gives).unwrap()));
    compare("price", has_price(facts, model));
    found
}

/// Some names there have a space too many.
fn one_spaced(name: &str) -> Vec<&str> {
    name.split_whitespace().collect()
}

fn modalities(list: &Value) -> Vec<&str> {
    let listed: Vec<&str> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if listed.is_empty() { vec!["text"] } else { listed }
}

fn has_price(facts: &Value, model: &Model) -> bool {
    let (told, price) = match (facts.get("usd_per_mtok").filter(|told| !told.is_null()), &model.price) {
        (None, None) => return true,
        (Some(told), Some(price)) => (told, price),
        _ => return false,
    };
    // Some providers' cache prices are under other names there.
    let one_of = |names: &[&str]| names.iter().find_map(|name| told[*name].as_f64());
    let parts = [
        (one_of(&["input"]), Some(price.input)),
        (one_of(&["output"]), Some(price.output)),
        (one_of(&["cache_read", "cached_input", "cache_input"]), price.cache_read),
        (one_of(&["cache_write", "cached_write"]), price.cache_write),
        (one_of(&["reasoning"]), price.reasoning),
        (one_of(&["input_audio"]), price.input_audio),
        (one_of(&["output_audio"]), price.output_audio),
    ];
    parts.iter().all(|(told, written)| is_close(*told, *written)) && has_tiers(facts, price)
}

fn has_tiers(facts: &Value, price: &PriceList) -> bool {
    let told: Vec<&Value> = facts["price_tiers"].as_array().into_iter().flatten().collect();
    told.len() == price.tiers.len()
        && told.iter().all(|told| {
            let written = price.tiers.iter().find(|tier| told["tier"]["size"].as_u64() == Some(tier.above));
            written.is_some_and(|tier| {
                is_close(told["input"].as_f64(), Some(tier.input))
                    && is_close(told["output"].as_f64(), Some(tier.output))
                    && is_close(told["cache_read"].as_f64(), tier.cache_read)
                    && is_close(told["cache_write"].as_f64(), tier.cache_write)
            })
        })
}

/// The files' numbers are rounded to what a person would write.
fn is_close(told: Option<f64>, written: Option<f64>) -> bool {
    match (told, written) {
        (None, None) => true,
        (Some(told), Some(written)) => (told - written).abs() <= 1e-9 * told.abs().max(1.0),
        _ => false,
    }
}
