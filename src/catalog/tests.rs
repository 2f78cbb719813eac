#![allow(clippy::unwrap_used)]

use super::model::{Modality, PriceList, Within};
use super::*;
use crate::ledger::record::Usage;
use crate::money::{Price, Usd};

#[test]
fn variables_are_filled_in() {
    let env: Environment = [("HOST", "https://a.b/"), ("EMPTY", " ")].map(|(a, b)| (a.to_owned(), b.to_owned())).into_iter().collect();
    let cases = [
        ("https://${HOST}/v1", Ok("https://a.b/v1")),
        ("${HOST}/v1", Ok("https://a.b/v1")),
        ("${EMPTY:-http://x:1}/v1", Ok("http://x:1/v1")),
        ("https://x/${NONE}/y", Err("NONE")),
        ("https://x/$y", Ok("https://x/$y")),
    ];
    for (template, expected) in cases {
        let expanded = env.expand(template);
        assert_eq!(expanded.as_deref().map_err(|unset| unset.0.as_str()), expected, "{template}");
    }
}

#[test]
fn a_variable_within_an_address_makes_no_other_of_it() {
    let address = |value: &str, template: &str| {
        let env: Environment = [("X".to_owned(), value.to_owned())].into_iter().collect();
        env.address(template)
    };
    let host = "https://${X}.example.com/v1/projects/${X}/models";
    assert_eq!(address("eu-1", host).unwrap(), "https://eu-1.example.com/v1/projects/eu-1/models");
    assert_eq!(address("https://a.b:8443/", "https://${X}/v1").unwrap(), "https://a.b:8443/v1");
    assert_eq!(address("http://a.b/c?d", "${X}/v1").unwrap(), "http://a.b/c?d/v1", "an address of its own");
    for value in
        ["evil.host/x?", "evil.host#", "a@evil.host", "evil.host\\", "a/../../b", "evil.host/?://x", "x?://y", "..", "%2e%2e", "http://a"]
    {
        assert!(address(value, host).unwrap_err().starts_with("X is no part of an address"), "{value}");
    }
    assert!(address("a.b/c", "https://${X}/v1").is_err());
    assert_eq!(address("", host).unwrap_err(), "X is not set, which its address needs");
}

#[test]
fn each_part_of_the_usage_has_its_price() {
    let price: PriceList = toml::from_str(
        "input = 2\noutput = 8\ncache_read = 0.5\nreasoning = 10\ntiers = [{ above = 200000, input = 4, output = 16, cache_read = 1 }]",
    )
    .unwrap();
    let usage = Usage { input: 1000, cached: 400, output: 100, reasoning: 50, ..Usage::default() };
    // 600 at 2, 400 at 0.5, 50 at 8, 50 at 10: in dollars a million, so micro-dollars.
    assert_eq!(price.cost(&usage), Usd((1200 + 200 + 400 + 500) * 1000));
    let long = Usage { input: 200_001, ..Usage::default() };
    assert_eq!(price.cost(&long), Usd(200_001 * 4 * 1000));
}

#[test]
fn what_a_tier_has_no_price_for_is_no_cheaper_there_than_the_rest() {
    // As `google/gemini-2.5-pro` is listed, and with sound that is dearer than either, and cheaper.
    let model: Model = toml::from_str(
        "price = { input = 1.25, output = 10, reasoning = 10, input_audio = 3, output_audio = 12, tiers = [{ above = 200000, input = 2.5, output = 15 }] }",
    )
    .unwrap();
    let cost = |usage: Usage| model.cost(&usage).unwrap();
    let long = Usage { input: 200_001, output: 100, ..Usage::default() };
    let read = 200_001 * 2500;
    assert_eq!(cost(Usage { reasoning: 90, ..long }), Usd(read + 100 * 15_000));
    assert_eq!(cost(Usage { output_audio: 90, ..long }), Usd(read + 100 * 15_000));
    assert_eq!(cost(Usage { input_audio: 1000, ..long }), Usd(read + 1000 * 500 + 100 * 15_000), "its own price is the dearer one");
    let [input, output] = model.dearest(Within::ANYTHING).unwrap();
    assert_eq!((input, output), (Price::per_million(3.0), Price::per_million(15.0)), "what is reserved is no less");
    // Below the tier each has its own price.
    assert_eq!(cost(Usage { input: 1000, output: 100, reasoning: 90, ..Usage::default() }), Usd(1_250_000 + 100 * 10_000));
    assert_eq!(cost(Usage { input: 1000, output: 100, output_audio: 90, ..Usage::default() }), Usd(1_250_000 + 10 * 10_000 + 90 * 12_000));
}

#[test]
fn a_users_folder_adds_and_overrides_and_its_mistakes_are_placed() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let good = "name = \"Mine\"\ndialects = [\"openai_chat\"]\nbase_url = \"http://x/v1\"\nauth = \"bearer\"\ncredential = [\"X\"]\n";
    write("openai.toml", good);
    assert_eq!(Catalog::load(Some(folder.path())).unwrap().get("openai").unwrap().name, "Mine");

    let mistakes = [
        (good.replace("base_url", "base_ulr"), "bad.toml:3: unknown field `base_ulr`", "did you mean `base_url`?"),
        (good.replace("bearer", "bearr"), "bad.toml:4: unknown auth 'bearr'", "azure-entra, none"),
        (good.replace("openai_chat", "openai"), "bad.toml:2: unknown variant `openai`", "did you mean `openai_chat`?"),
        (good.replace("http://", "ftp://"), "bad.toml: base_url 'ftp://x/v1'", "has to start with"),
        (format!("{good}[models]\n\"m\" = {{ door = \"d\" }}\n"), "bad.toml: the model 'm' names the door 'd'", "no [doors.d]"),
    ];
    for (text, start, end) in mistakes {
        write("bad.toml", &text);
        let message = Catalog::load(Some(folder.path())).unwrap_err().to_string();
        assert!(message.contains(start) && message.contains(end), "{message}");
    }
}

#[test]
fn no_router_that_chooses_is_free_and_what_is_sold_on_at_its_price_has_all_of_it() {
    let catalog = Catalog::load(None).unwrap();
    let makers = ["google", "openai"].map(|maker| &catalog.get(maker).unwrap().models);
    let of_maker = |name: &str| {
        let bare = name.rsplit('/').next().unwrap_or(name).to_lowercase();
        let names = [bare.clone(), bare.trim_end_matches("-preview").to_owned(), format!("{bare}-preview")];
        makers.iter().find_map(|models| names.iter().find_map(|name| models.get(name)?.price.as_ref()))
    };
    let mut sold_on = 0;
    for provider in catalog.iter().filter(|provider| !["google", "openai"].contains(&provider.id.as_str())) {
        for (name, model) in &provider.models {
            let Some(price) = &model.price else { continue };
            let whole = format!("{}/{name}", provider.id);
            let chooses = ["auto", "auto-model", "pareto-code", "bodybuilder"].iter().any(|end| name.ends_with(end));
            assert!(!(chooses && price.input == 0.0 && price.output == 0.0), "{whole} calls models that cost something");
            let Some(maker) = of_maker(name).filter(|maker| maker.input == price.input && maker.output == price.output) else { continue };
            sold_on += 1;
            assert!(price.input_audio >= maker.input_audio.filter(|audio| *audio != maker.input), "{whole} hears");
            assert!(maker.tiers.is_empty() || !price.tiers.is_empty(), "{whole} costs more where more is read");
        }
    }
    assert!(sold_on > 100, "{sold_on}");
    for pictures in ["gemini-2.5-flash-image", "gemini-3-pro-image", "gemini-3.1-flash-image"] {
        for (provider, prefix) in [("openrouter", "google/"), ("vercel", "google/")] {
            let price = catalog.get(provider).unwrap().models[&format!("{prefix}{pictures}")].price.as_ref().unwrap();
            assert!(price.output >= 30.0, "{provider}/{pictures} draws");
        }
    }
}

/// What answers with vectors, an order or a class alone.
const WITHOUT_OUTPUT: [&str; 10] = ["embed", "rerank", "voyage-", "bge-", "minilm", "mini-lm", "distilbert", "gte-", "e5-", "mpnet"];
/// What gives pictures or sound, and is paid for by their tokens.
const BY_TOKENS: [&str; 7] = ["gpt-image-", "-tts", "nano-banana", "gpt-5.4", "qwen-image", "wan2.7-image", "flux"];

#[test]
fn prices_are_of_all_tokens_and_of_tokens_alone() {
    let catalog = Catalog::load(None).unwrap();
    let has = |name: &str, words: &[&str]| words.iter().any(|word| name.contains(word));
    for (provider, name, model) in catalog.iter().flat_map(|of| of.models.iter().map(|(name, model)| (&of.id, name, model))) {
        let Some(price) = model.price.as_ref().filter(|price| price.input > 0.0 || price.output > 0.0) else { continue };
        let (whole, name) = (format!("{provider}/{name}"), name.to_lowercase());
        assert!(price.output > 0.0 || has(&name, &WITHOUT_OUTPUT), "{whole} has a price for what it reads alone");
        let gives_text = model.gives.is_empty() || model.gives.contains(&Modality::Text);
        assert!(gives_text || has(&name, &BY_TOKENS), "{whole} gives no text: is it paid for by the token?");
        assert!(!has(&name, &["whisper", "-asr-", "parakeet", "stable-diffusion"]), "{whole} is paid for by the minute or the picture");
    }
}

#[test]
fn what_searches_or_calls_others_by_itself_is_known_to_cost_more() {
    let catalog = Catalog::load(None).unwrap();
    const WORDS: [&str; 6] = ["sonar", "search-preview", "o3-deep-research", "o4-mini-deep-research", "multi-agent", "exa-"];
    let mut found = 0;
    // Its agent's API searches only where it is told to.
    for provider in catalog.iter().filter(|provider| provider.id != "perplexity-agent") {
        for (name, model) in provider.models.iter().filter(|(name, _)| WORDS.iter().any(|word| name.contains(word))) {
            found += 1;
            let is_hermes = name.contains("hermes");
            assert!(is_hermes || model.charges_besides || provider.quirks.charges_besides, "{}/{name}", provider.id);
        }
    }
    assert!(found > 50, "{found}");
    // Sound that it hears and says, and the pictures that it draws, cost several times as much as its text, whose price alone is known.
    for name in ["gpt-audio", "gpt-5-image", "gpt-5-image-mini"] {
        assert!(catalog.get("openrouter").unwrap().models[&format!("openai/{name}")].charges_besides, "{name}");
    }
}

#[test]
fn what_is_put_before_grok_is_reserved_and_voices_have_a_price_of_their_own() {
    let catalog = Catalog::load(None).unwrap();
    let all = || catalog.iter().flat_map(|of| of.models.iter().map(|(name, model)| (format!("{}/{name}", of.id), model)));
    let priced = || all().filter(|(_, model)| model.price.is_some() && !model.charges_besides);
    let grok: Vec<_> = priced().filter(|(name, _)| name.contains("grok-") && !name.contains("imag")).collect();
    assert!(grok.len() > 80, "{}", grok.len());
    grok.iter().for_each(|(name, model)| assert!(model.adds >= 1024, "{name}"));
    // Facts of these say more than they can: they answer with text alone.
    const TEXT: [&str; 5] = ["gpt-5", "gpt-5.1", "gpt-5.1-chat", "gpt-5.1-codex", "gpt-5.1-codex-mini"];
    for (name, model) in priced().filter(|(_, model)| model.gives.contains(&Modality::Text) && model.gives.contains(&Modality::Audio)) {
        let is_text = TEXT.iter().any(|end| name.ends_with(&format!("/{end}")));
        let price = model.price.as_ref().unwrap();
        assert!(is_text || price.output_audio.is_some() || price.all().all(|usd| usd == 0.0), "{name} speaks at the price of text");
    }
}

#[test]
fn claude_costs_more_on_bedrock_outside_the_global_endpoint() {
    let catalog = Catalog::load(None).unwrap();
    let models = &catalog.get("amazon-bedrock").unwrap().models;
    let mut compared = 0;
    for (name, global) in models.iter().filter_map(|(name, model)| Some((name.strip_prefix("global.anthropic.")?, model))) {
        for prefix in ["", "us.", "eu.", "jp.", "au."] {
            let Some(regional) = models.get(&format!("{prefix}anthropic.{name}")) else { continue };
            let [regional, global] = [regional, global].map(|model| model.price.clone().unwrap());
            compared += 1;
            for (more, less) in regional.all().zip(global.all()) {
                assert!((more / less - 1.1).abs() < 1e-9, "{prefix}anthropic.{name}: {more}, and {less} at the global endpoint");
            }
        }
    }
    assert!(compared > 25, "{compared}");
}

#[test]
fn prices_count_where_they_can_apply() {
    let model: Model = toml::from_str(
        "price = { input = 1, output = 2, input_audio = 9, output_audio = 20, tiers = [{ above = 1000, input = 3, output = 5 }] }",
    )
    .unwrap();
    let dearest = |input, hears, speaks| model.dearest(Within { input, hears, speaks }).unwrap();
    let of = |input, output| [Price::per_million(input), Price::per_million(output)];
    assert_eq!(dearest(1000, false, false), of(1.0, 2.0));
    assert_eq!(dearest(1001, false, false), of(3.0, 5.0));
    assert_eq!(dearest(1000, true, false), of(9.0, 2.0));
    assert_eq!(dearest(1000, false, true), of(1.0, 20.0));
    let voice = Model { gives: vec![Modality::Audio], ..model.clone() };
    assert_eq!(voice.dearest(Within { input: 1, hears: false, speaks: false }).unwrap(), of(1.0, 20.0), "it says nothing else");
}

#[test]
fn whose_limit_is_of_the_answer_alone_is_known_to_think_beside_it() {
    let catalog = Catalog::load(None).unwrap();
    for id in ["alibaba", "alibaba-cn", "byteplus", "siliconflow", "siliconflow-cn", "volcengine"] {
        assert!(catalog.get(id).unwrap().quirks.thinks_beside_max_output, "{id}");
    }
}
