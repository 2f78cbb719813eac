//! Knows other services' keys by their prefix, and tools' stand-ins for keys, so that one sent here by mistake is named, and never kept.

/// Prefixes in the order they are tried: a longer one stands before the shorter one that it begins with.
const PREFIXES: &[(&str, &str)] = &[
    ("sk-ant-oat", "an Anthropic OAuth token"),
    ("sk-ant-admin", "an Anthropic admin key"),
    ("sk-ant-", "an Anthropic key"),
    ("sk-or-", "an OpenRouter key"),
    ("sk-proj-", "an OpenAI key"),
    ("sk-svcacct-", "an OpenAI key"),
    ("sk-admin-", "an OpenAI admin key"),
    ("sk-lf-", "a Langfuse key"),
    ("pk-lf-", "a Langfuse key"),
    ("sk-helicone-", "a Helicone key"),
    ("sess-", "an OpenAI session key"),
    ("AIza", "a Google key"),
    ("ya29.", "a Google OAuth token"),
    ("GOCSPX-", "a Google OAuth secret"),
    ("AKIA", "an AWS key"),
    ("ASIA", "a temporary AWS key"),
    ("ABSK", "an Amazon Bedrock key"),
    ("bedrock-api-key-", "an Amazon Bedrock key"),
    ("ghp_", "a GitHub token"),
    ("gho_", "a GitHub token"),
    ("ghu_", "a GitHub token"),
    ("ghs_", "a GitHub token"),
    ("ghr_", "a GitHub token"),
    ("github_pat_", "a GitHub token"),
    ("glpat-", "a GitLab token"),
    ("gldt-", "a GitLab token"),
    ("glrt-", "a GitLab token"),
    ("gsk_", "a Groq key"),
    ("xai-", "an xAI key"),
    ("pplx-", "a Perplexity key"),
    ("hf_", "a Hugging Face token"),
    ("r8_", "a Replicate token"),
    ("nvapi-", "an NVIDIA key"),
    ("fw_", "a Fireworks key"),
    ("csk-", "a Cerebras key"),
    ("tgp_v1_", "a Together key"),
    ("pa-", "a Voyage key"),
    ("jina_", "a Jina key"),
    ("dapi", "a Databricks token"),
    ("vck_", "a Vercel AI Gateway key"),
    ("lsv2_", "a LangSmith key"),
    ("tvly-", "a Tavily key"),
    ("xoxb-", "a Slack token"),
    ("xoxp-", "a Slack token"),
    ("xapp-", "a Slack token"),
    ("sk_live_", "a Stripe key"),
    ("sk_test_", "a Stripe key"),
    ("rk_live_", "a Stripe key"),
    ("SG.", "a SendGrid key"),
    ("npm_", "an npm token"),
    ("pypi-", "a PyPI token"),
    ("dckr_pat_", "a Docker token"),
    ("dop_v1_", "a DigitalOcean token"),
    ("ntn_", "a Notion token"),
    ("lin_api_", "a Linear key"),
    ("eyJ", "a JSON Web Token"),
    ("-----BEGIN", "a private key in PEM form"),
    ("sk_", "an ElevenLabs key"),
    ("sk-", "a key of OpenAI's or of a service like it"),
];

/// The bytes that a prefix begins with: each model's name is asked about, and hardly any begins so.
const FIRST: [bool; 256] = {
    let (mut first, mut at) = ([false; 256], 0);
    while at < PREFIXES.len() {
        first[PREFIXES[at].0.as_bytes()[0] as usize] = true;
        at += 1;
    }
    first
};

/// The shortest text that is taken for another service's key where more stands around it: words are shorter.
const SHORTEST_WITHIN: usize = 16;

/// Texts that tools fill in where a person has not set a key yet.
const PLACEHOLDERS: &[&str] = &[
    "sk-dummy",
    "sk-xxx",
    "sk-1234",
    "sk-test",
    "sk-fake",
    "sk-placeholder",
    "sk-no-key-required",
    "dummy",
    "dummy-key",
    "fake",
    "fake-key",
    "none",
    "null",
    "nil",
    "undefined",
    "nan",
    "false",
    "true",
    "empty",
    "no-key",
    "no_key",
    "not-needed",
    "not-required",
    "n/a",
    "test",
    "test-key",
    "changeme",
    "change-me",
    "placeholder",
    "redacted",
    "secret",
    "token",
    "key",
    "apikey",
    "api-key",
    "api_key",
    "my-api-key",
    "my_api_key",
    "lm-studio",
    "ollama",
    "string",
    "...",
    "…",
    "kw_…",
    "kw_...",
];

/// How a place begins that a key should have been read from.
const SOURCES: &[&str] = &[
    "$",
    "{{",
    "%",
    "<",
    "os.environ",
    "os.getenv",
    "process.env",
    "import.meta.env",
    "env.",
    "env:",
    "env[",
    "ENV[",
    "op://",
    "secrets.",
    "[object",
];

/// Whose key it looks like, with its article (`"an OpenAI key"`), or `None`.
pub fn issuer(text: &str) -> Option<&'static str> {
    let first = text.bytes().next().filter(|byte| FIRST[usize::from(*byte)])?;
    // One byte tells most of them apart, and every request's model is looked at.
    PREFIXES.iter().find(|(prefix, _)| prefix.as_bytes()[0] == first && text.starts_with(prefix)).map(|(_, issuer)| *issuer)
}

/// Whose key stands somewhere in the text, as in a line of a configuration or JSON.
pub fn issuer_within(text: &str) -> Option<&'static str> {
    let words = text.split(|c: char| c.is_whitespace() || "\"'`=:,;{}()[]<>".contains(c));
    words.filter(|word| word.len() >= SHORTEST_WITHIN).find_map(issuer)
}

/// Whether it is a tool's stand-in for a key, or the name of the place where the key is, rather than a key.
pub fn is_placeholder(text: &str) -> bool {
    let bare = text.trim_matches(|c| matches!(c, '<' | '>' | '$' | '{' | '}' | '[' | ']' | '%' | '(' | ')' | ' '));
    PLACEHOLDERS.iter().any(|placeholder| bare.eq_ignore_ascii_case(placeholder))
        || SOURCES.iter().any(|source| text.starts_with(source))
        || is_variable_name(bare)
        || is_filled_in(bare)
}

/// Whether it says that a key belongs in its place: `YOUR_API_KEY`, `xxxxxxxx`.
pub fn is_filled_in(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let names_a_key = ["key", "token", "secret"].iter().any(|word| lower.contains(word));
    let is_asking = ["your", "insert", "replace", "paste", "enter", "put"].iter().any(|word| lower.starts_with(word));
    (names_a_key && is_asking) || lower.contains("xxxx") || text.starts_with('<')
}

/// `OPENAI_API_KEY`: the name instead of what it stands for.
fn is_variable_name(text: &str) -> bool {
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    is_name && ["_KEY", "_TOKEN", "_SECRET", "APIKEY"].iter().any(|end| text.ends_with(end))
}
