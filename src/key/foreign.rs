//! Knows other services' keys by their prefix, so that one pasted here by mistake is named, and never kept.

/// Prefixes in the order they are tried: a longer one stands before the shorter one that it begins with.
const PREFIXES: &[(&str, &str)] = &[
    ("sk-ant-", "an Anthropic"),
    ("sk-or-", "an OpenRouter"),
    ("sk-proj-", "an OpenAI"),
    ("sk-svcacct-", "an OpenAI"),
    ("sk-admin-", "an OpenAI admin"),
    ("sk-lf-", "a Langfuse"),
    ("sess-", "an OpenAI session"),
    ("AIza", "a Google"),
    ("ya29.", "a Google OAuth"),
    ("AKIA", "an AWS"),
    ("ASIA", "an AWS temporary"),
    ("ABSK", "an Amazon Bedrock"),
    ("ghp_", "a GitHub"),
    ("gho_", "a GitHub"),
    ("ghu_", "a GitHub"),
    ("ghs_", "a GitHub"),
    ("github_pat_", "a GitHub"),
    ("glpat-", "a GitLab"),
    ("gsk_", "a Groq"),
    ("xai-", "an xAI"),
    ("pplx-", "a Perplexity"),
    ("hf_", "a Hugging Face"),
    ("r8_", "a Replicate"),
    ("nvapi-", "an NVIDIA"),
    ("fw_", "a Fireworks"),
    ("csk-", "a Cerebras"),
    ("tgp_v1_", "a Together"),
    ("pa-", "a Voyage"),
    ("jina_", "a Jina"),
    ("dapi", "a Databricks"),
    ("vck_", "a Vercel AI Gateway"),
    ("xoxb-", "a Slack"),
    ("eyJ", "a JSON Web Token, not a Keyward"),
    ("sk-", "an OpenAI"),
];

/// Texts that tools fill in where a person has not set a key yet.
const PLACEHOLDERS: &[&str] = &[
    "sk-dummy",
    "sk-xxx",
    "sk-1234",
    "dummy",
    "none",
    "null",
    "undefined",
    "empty",
    "no-key",
    "not-needed",
    "test",
    "changeme",
    "api-key",
    "your-api-key",
    "your_api_key",
    "lm-studio",
    "ollama",
    "sk-no-key-required",
    "kw_…",
    "kw_...",
];

/// Whose key it looks like, with its article (`"an OpenAI"`), or `None`.
pub fn issuer(text: &str) -> Option<&'static str> {
    PREFIXES.iter().find(|(prefix, _)| text.starts_with(prefix)).map(|(_, issuer)| *issuer)
}

/// Whether it is a tool's stand-in for a key rather than a key.
pub fn is_placeholder(text: &str) -> bool {
    let bare = text.trim_matches(|c| matches!(c, '<' | '>' | '$' | '{' | '}'));
    PLACEHOLDERS.iter().any(|placeholder| bare.eq_ignore_ascii_case(placeholder)) || text.starts_with("${")
}
