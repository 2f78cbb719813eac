//! The first start: an admin key and a first key, shown once, with lines that work when pasted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use super::{CliError, output};
use crate::admin::keys::{self, NewKeyOrder};
use crate::key::{Kind, Pepper};
use crate::route::Router;
use crate::store::audit::Actor;
use crate::store::sqlite::Sqlite;

/// Providers that a newcomer is most likely to have a credential of.
const WELL_KNOWN: [&str; 8] = ["openai", "openrouter", "mistral", "groq", "deepseek", "xai", "togetherai", "ollama"];

/// Where the store has no key yet: makes the first two and shows them. Otherwise nothing.
pub async fn greet(store: &Sqlite, pepper: &Pepper, router: &Router, address: SocketAddr) -> Result<(), CliError> {
    if store.has_keys().await? {
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
    let live: Vec<&str> = router.live().map(|provider| provider.id.as_str()).collect();
    let model = router.live().find(|provider| !provider.is_simulator()).and_then(|provider| {
        let first = provider.models.keys().next()?;
        let small = provider.models.keys().find(|model| model.as_str() == "gpt-4o-mini").unwrap_or(first);
        Some(format!("{}/{small}", provider.id))
    });
    let model = model.as_deref().unwrap_or("simulator/echo");
    let address = reached_at(address);
    let shown = output::show(&format!(
        "Welcome to Keyward. These two keys are shown once and kept nowhere:

  admin key   {admin}
  first key   {key}

Live providers: {}
{}
Try it:

  curl http://{address}/v1/chat/completions -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{{\"model\": \"{model}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'

  python3 -c 'from openai import OpenAI; print(OpenAI(base_url=\"http://{address}/v1\", api_key=\"{key}\").chat.completions.create(model=\"{model}\", messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}]).choices[0].message.content)'

",
        live.join(", "),
        others(router),
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

fn others(router: &Router) -> String {
    let mut text = String::from("Others are switched on by a variable:\n");
    for (id, dormant) in router.dormant().filter(|(id, _)| WELL_KNOWN.contains(id)) {
        text.push_str(&format!("  {:<12}{}\n", id, dormant.needs.join(" and ")));
    }
    let more = router.dormant().filter(|(id, _)| !WELL_KNOWN.contains(id)).count();
    text.push_str(&format!("  and {more} more: keyward providers list\n"));
    text
}
