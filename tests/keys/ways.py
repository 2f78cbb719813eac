"""The table: every way to present a bad key, with what its sender is told. A way is one line.

`k.good` is a good key for the surface: an admin key for management, a live key elsewhere. `says` is a piece of the sentence.
"""

import base64
import dataclasses
import urllib.parse
from collections.abc import Callable

import surfaces as on

DAY = 24 * 3600


@dataclasses.dataclass
class Way:
    """How a key is presented, and the answer: `headers` and `query` are made of the keys, `stage` names what is done before."""

    name: str
    code: str
    says: str
    headers: Callable = lambda k: []
    status: int = 401
    query: Callable = lambda k: ""
    on: Callable = on.everywhere
    stage: str = ""
    authority: Callable = lambda k: ""
    wait: int = 120


def sent(name, code, says, text, header="Authorization", scheme="Bearer ", **more):
    """A way by one header; `text` is a text or is made of the keys."""
    made = text if callable(text) else lambda k: text
    return Way(name, code, says, lambda k: [(header, scheme + made(k))], **more)


def whole(name, code, says, text, header="Authorization", **more):
    """The whole value of a header, with whatever scheme is in it."""
    return sent(name, code, says, text, header, "", **more)


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


def at(key, place, text):
    """The key with one character replaced."""
    return key[:place] + text + key[place + 1:]


def body_at(key):
    return key.index("_", 3) + 1


def with_another(key, place):
    return at(key, place, "A" if key[place] != "A" else "B")


def swapped(key):
    place = next(i for i in range(body_at(key) + 3, len(key) - 1) if key[i] != key[i + 1])
    return key[:place] + key[place + 1] + key[place] + key[place + 2:]


def taken_for_another(key):
    """One character read as another that looks like it."""
    alike = {"0": "O", "O": "0", "o": "0", "1": "l", "l": "1", "I": "1", "5": "S", "S": "5", "2": "Z", "Z": "2", "8": "B", "B": "8", "6": "G", "G": "6", "u": "v", "v": "u"}
    place = next(i for i in range(body_at(key), len(key)) if key[i] in alike)
    return at(key, place, alike[key[place]])


def fullwidth(text):
    return "".join(chr(ord(c) + 0xFEE0) for c in text)


def environment_changed(key):
    return key.replace("kw_live_", "kw_test_") if key.startswith("kw_live_") else key.replace("kw_admin_", "kw_live_")


MISSING = [
    Way("nothing", "key_missing", "No API key was sent"),
    whole("an empty header", "key_empty", "is empty", ""),
    whole("Bearer alone", "key_empty", "is empty", "Bearer"),
    whole("Bearer and spaces", "key_empty", "is empty", "Bearer    "),
    sent("two quotes", "key_empty", "is empty", '""'),
    sent("an invisible character alone", "key_empty", "is empty", "\u200b"),
    whole("an empty x-api-key", "key_empty", "check that the variable", "", "x-api-key"),
    whole("an empty api-key", "key_empty", "is empty", "", "api-key"),
    whole("an empty x-goog-api-key", "key_empty", "is empty", "", "x-goog-api-key"),
    Way("an empty ?key=", "key_empty", "is empty", query=lambda k: "key=", on=on.reads_query),
]

SCHEME = [
    whole("no scheme", "key_without_bearer", "put 'Bearer ' before it", lambda k: k.good),
    whole("Basic, as the user", "key_wrong_scheme", "'Basic'", lambda k: basic(f"{k.good}:")),
    whole("Basic, as the password", "key_wrong_scheme", "'Basic'", lambda k: basic(f"user:{k.good}")),
    whole("Token", "key_wrong_scheme", "one space", lambda k: f"Token {k.good}"),
    whole("ApiKey", "key_wrong_scheme", "one space", lambda k: f"ApiKey {k.good}"),
    whole("Api-Key", "key_wrong_scheme", "one space", lambda k: f"Api-Key {k.good}"),
    whole("a scheme that nobody has", "key_wrong_scheme", "one space", lambda k: f"Keyward {k.good}"),
    whole("Bearer misspelt", "key_wrong_scheme", "begin with 'Bearer'", lambda k: f"Beaer {k.good}"),
    whole("Bearer and a colon", "key_wrong_scheme", "one space", lambda k: f"Bearer: {k.good}"),
    whole("bearer and a colon, no space", "key_wrong_scheme", "one space", lambda k: f"bearer:{k.good}"),
    whole("Bearer and an equals sign", "key_wrong_scheme", "one space", lambda k: f"Bearer={k.good}"),
    whole("Bearer and a tab", "key_wrong_scheme", "one space", lambda k: f"Bearer\t{k.good}"),
    whole("Bearer and no space", "key_wrong_scheme", "one space", lambda k: f"Bearer{k.good}"),
    whole("Digest", "key_wrong_scheme", "does not begin with", 'Digest username="kw", realm="x"'),
    whole("Negotiate", "key_wrong_scheme", "does not begin with", "Negotiate YIIabcdefghij"),
    whole("an AWS signature", "key_wrong_scheme", "does not begin with", lambda k: k.aws_signature, on=on.but("bedrock")),
    whole("an AWS signature, to Bedrock", "request_is_signed", "AWS_BEARER_TOKEN_BEDROCK", lambda k: k.aws_signature, on=on.only("bedrock")),
    sent("Bearer twice", "key_doubled_bearer", "adds it by itself", lambda k: f"Bearer {k.good}"),
    sent("Bearer twice, once small", "key_doubled_bearer", "adds it by itself", lambda k: f"bearer {k.good}"),
    sent("Bearer twice, with a colon", "key_doubled_bearer", "adds it by itself", lambda k: f"Bearer: {k.good}"),
    whole("Bearer in x-api-key", "key_needless_bearer", "leave out 'Bearer'", lambda k: f"Bearer {k.good}", "x-api-key"),
    whole("bearer in api-key", "key_needless_bearer", "leave out 'Bearer'", lambda k: f"bearer {k.good}", "api-key"),
    whole("Bearer and a colon in x-goog-api-key", "key_needless_bearer", "leave out 'Bearer'", lambda k: f"Bearer: {k.good}", "x-goog-api-key"),
]

AROUND = [
    sent("in quotes", "key_quoted", "remove them", lambda k: f'"{k.good}"'),
    sent("in single quotes", "key_quoted", "remove them", lambda k: f"'{k.good}'"),
    sent("in backticks", "key_quoted", "remove them", lambda k: f"`{k.good}`"),
    sent("in typographic quotes", "key_quoted", "remove them", lambda k: f"“{k.good}”"),
    sent("in guillemets", "key_quoted", "remove them", lambda k: f"«{k.good}»"),
    sent("a quote at the end", "key_quoted", "remove them", lambda k: f'{k.good}"'),
    whole("the whole header in quotes", "key_quoted", "remove them", lambda k: f'"Bearer {k.good}"'),
    whole("in quotes in x-api-key", "key_quoted", "remove them", lambda k: f'"{k.good}"', "x-api-key"),
    sent("key= before it", "key_not_alone", "'key='", lambda k: f"key={k.good}"),
    sent("a line of .env", "key_not_alone", "configuration", lambda k: f"KEYWARD_KEY={k.good}"),
    sent("a line of .env with quotes", "key_not_alone", "configuration", lambda k: f'KEYWARD_KEY="{k.good}"'),
    sent("a line of a shell", "key_not_alone", "configuration", lambda k: f"export KEYWARD_KEY='{k.good}'"),
    sent("a line of YAML", "key_not_alone", "configuration", lambda k: f"api_key: {k.good}"),
    sent("JSON", "key_not_alone", "JSON", lambda k: f'{{"key": "{k.good}"}}'),
    sent("what keys create --json prints", "key_not_alone", "JSON", lambda k: f'{{"key":"{k.good}","id":"{k.id}","name":"ci"}}'),
    sent("the whole header as the key", "key_not_alone", "to its last letter", lambda k: f"Authorization: Bearer {k.good}"),
    sent("curl's argument as the key", "key_not_alone", "to its last letter", lambda k: f'-H "Authorization: Bearer {k.good}"'),
    sent("in angle brackets", "key_not_alone", "to its last letter", lambda k: f"<{k.good}>"),
    sent("a word before it", "key_not_alone", "to its last letter", lambda k: f"mykey{k.good}"),
    sent("a comma after it", "key_wrong_character", "has a ','", lambda k: f"{k.good},"),
    sent("a semicolon after it", "key_wrong_character", "has a ';'", lambda k: f"{k.good};"),
    sent("a full stop after it", "key_wrong_character", "has a '.'", lambda k: f"{k.good}."),
    sent("an escaped line break after it", "key_wrong_character", "has a '\\'", lambda k: k.good + "\\n"),
    sent("a comment after it", "key_whitespace", "without spaces", lambda k: f"{k.good} # for CI"),
]

BLANKS = [
    sent("a space inside", "key_whitespace", "without spaces", lambda k: f"{k.good[:20]} {k.good[20:]}"),
    sent("a tab inside", "key_whitespace", "without spaces", lambda k: f"{k.good[:20]}\t{k.good[20:]}"),
    sent("a no-break space after it", "key_whitespace", "invisible", lambda k: f"{k.good}\u00a0"),
    sent("a byte order mark before it", "key_whitespace", "byte order mark", lambda k: f"\ufeff{k.good}"),
    sent("a zero-width space inside", "key_whitespace", "invisible", lambda k: f"{k.good[:20]}\u200b{k.good[20:]}"),
    sent("a zero-width joiner after it", "key_whitespace", "invisible", lambda k: f"{k.good}\u200d"),
    sent("a soft hyphen inside", "key_whitespace", "invisible", lambda k: f"{k.good[:30]}\u00ad{k.good[30:]}"),
    sent("a line separator after it", "key_whitespace", "invisible", lambda k: f"{k.good}\u2028"),
    sent("a direction mark before it", "key_whitespace", "invisible", lambda k: f"\u202a{k.good}"),
    sent("an ideographic space inside", "key_whitespace", "invisible", lambda k: f"{k.good[:20]}\u3000{k.good[20:]}"),
    sent("a carriage return inside", "", "", lambda k: f"{k.good[:20]}\r{k.good[20:]}", status=400),
    sent("a folded line", "", "", lambda k: f"{k.good[:20]}\r\n {k.good[20:]}", status=400),
    sent("a NUL inside", "", "", lambda k: f"{k.good[:20]}\0{k.good[20:]}", status=400),
]

CHANGED = [
    sent("a Cyrillic letter", "key_wrong_character", "U+0430", lambda k: at(k.good, 25, "а")),
    sent("a Greek letter", "key_wrong_character", "U+03BF", lambda k: at(k.good, 25, "ο")),
    sent("a Cyrillic letter in the prefix", "key_wrong_character", "U+043A", lambda k: "к" + k.good[1:]),
    sent("a dash in the prefix that looks like an underscore", "key_wrong_character", "U+2013", lambda k: at(k.good, 2, "–")),
    sent("all in fullwidth letters", "key_wrong_character", "U+FF4B", lambda k: fullwidth(k.good)),
    sent("a fullwidth letter", "key_wrong_character", "U+FF21", lambda k: at(k.good, 25, "Ａ")),
    sent("an emoji inside", "key_wrong_character", "U+1F511", lambda k: at(k.good, 25, "🔑")),
    sent("a dash inside", "key_wrong_character", "has a '-'", lambda k: at(k.good, 25, "-")),
    sent("one letter taken for another", "key_wrong_checksum", "0 and O, 1 and l", lambda k: taken_for_another(k.good)),
    sent("two letters swapped", "key_wrong_checksum", "had not changed places", lambda k: swapped(k.good)),
    sent("one letter off", "key_wrong_checksum", "checksum does not fit", lambda k: with_another(k.good, 30)),
    sent("the last letter off", "key_wrong_checksum", "checksum does not fit", lambda k: with_another(k.good, len(k.good) - 1)),
    sent("a letter of the id off", "key_wrong_checksum", "checksum does not fit", lambda k: with_another(k.good, body_at(k.good))),
    sent("another key's checksum", "key_wrong_checksum", "checksum does not fit", lambda k: k.good[:-6] + k.other[-6:]),
    sent("all capitals", "key_wrong_case", "case-sensitive", lambda k: k.good.upper()),
    sent("all small letters", "key_wrong_case", "case-sensitive", lambda k: k.good.lower()),
    sent("the prefix in capitals", "key_wrong_case", "case-sensitive", lambda k: k.good[:body_at(k.good)].upper() + k.good[body_at(k.good):]),
    sent("the first letter cut off", "key_wrong_prefix", "beginning", lambda k: k.good[1:]),
    sent("without its prefix", "key_wrong_prefix", "beginning", lambda k: k.good[body_at(k.good):]),
    sent("dashes in the prefix", "key_wrong_prefix", "beginning", lambda k: k.good.replace("_", "-")),
    sent("a prefix that there is not", "key_wrong_prefix", "beginning", lambda k: "kw_prod_" + k.good[body_at(k.good):]),
    sent("another environment's prefix", "key_wrong_prefix", "beginning", lambda k: environment_changed(k.good)),
    sent("the last letter cut off", "key_wrong_length", "47 characters", lambda k: k.good[:-1]),
    sent("half of it", "key_wrong_length", "cut short", lambda k: k.good[:30]),
    sent("the prefix alone", "key_wrong_length", "cut short: 0", lambda k: k.good[:body_at(k.good)]),
    sent("the id in place of the key", "key_wrong_length", "cut short: 12", lambda k: k.good[:body_at(k.good) + 12]),
    sent("the bare id", "key_malformed", "not a Keyward key", lambda k: k.id),
    sent("letters after it", "key_wrong_length", "too long: 51", lambda k: f"{k.good}abc"),
    sent("backwards", "key_malformed", "not a Keyward key", lambda k: k.good[::-1]),
    sent("pasted twice", "key_doubled", "pasted twice", lambda k: k.good * 2),
    sent("pasted twice with a space", "key_doubled", "pasted twice", lambda k: f"{k.good} {k.good}"),
    sent("pasted twice with a comma", "key_doubled", "pasted twice", lambda k: f"{k.good},{k.good}"),
    sent("pasted one and a half times", "key_doubled", "pasted twice", lambda k: k.good + k.good[:20]),
    sent("escaped for a URL", "key_url_encoded", "'%'", lambda k: k.good.replace("_", "%5F")),
    sent("an escaped line break at its end", "key_url_encoded", "'%'", lambda k: f"{k.good}%0A"),
    Way("escaped in the URL", "key_url_encoded", "'%'", query=lambda k: f"key=%20{k.good}", on=on.reads_query),
]

STAND_INS = [
    *(sent(f"{text} in its place", "key_placeholder", "placeholder", text) for text in (
        "YOUR_API_KEY", "your-api-key-here", "<key>", "<YOUR_KEYWARD_KEY>", "sk-dummy", "$KEYWARD_KEY", "${KEYWARD_KEY}", "{{KEYWARD_KEY}}",
        "${{ secrets.KEYWARD_KEY }}", "%KEYWARD_KEY%", 'os.environ["KEYWARD_KEY"]', "os.getenv('KEYWARD_KEY')", "process.env.KEYWARD_KEY",
        "import.meta.env.VITE_KEY", "None", "null", "undefined", "NaN", "[object Object]", "EMPTY", "not-needed", "lm-studio", "ollama",
        "OPENAI_API_KEY", "KEYWARD_KEY", "sk-xxxxxxxxxxxxxxxxxxxx", "kw_live_xxxxxxxxxxxx", "kw_live_YOUR_KEY", "kw_live_<your key>", "kw_…",
        "changeme", "test", "dummy", "op://vault/keyward/key", "string", "insert your key here", "...",
    )),
    *(sent(f"the short form {name}", "key_masked", "short form", text) for name, text in {
        "with an ellipsis": lambda k: f"{k.good[:12]}…{k.good[-4:]}",
        "with dots": lambda k: f"{k.good[:12]}...{k.good[-4:]}",
        "with asterisks": lambda k: f"{k.good[:12]}******{k.good[-4:]}",
        "of asterisks alone": lambda k: "*" * 20,
        "of dots for passwords": lambda k: "•" * 20,
    }.items()),
    sent("a word", "key_malformed", "starts with kw_live_", "letmein"),
    sent("a UUID", "key_malformed", "starts with kw_live_", "6f1ed002-ab5d-4f3c-9a5e-1d2c3b4a5e6f"),
    sent("a hash", "key_malformed", "starts with kw_live_", "d41d8cd98f00b204e9800998ecf8427e"),
    sent("an address", "key_malformed", "starts with kw_live_", "someone@example.com"),
]

ELSEWHERE = [
    Way("?api_key=", "key_misplaced", "in the URL", query=lambda k: f"api_key={k.good}"),
    Way("?access_token=", "key_misplaced", "in the URL", query=lambda k: f"access_token={k.good}"),
    Way("?token=", "key_misplaced", "in the URL", query=lambda k: f"token={k.good}"),
    Way("?key= where it is not read", "key_misplaced", "in the URL", query=lambda k: f"key={k.good}", on=on.reads_no_query),
    Way("a header and a service's ?key=", "key_misplaced", "in the URL", lambda k: [("Authorization", f"Bearer {k.good}")],
        query=lambda k: f"key={k.other}", on=on.calls_service),
    Way("before the host's name", "key_misplaced", "in the URL", authority=lambda k: f"{k.good}@"),
    Way("as a password before the host's name", "key_misplaced", "in the URL", authority=lambda k: f"user:{k.good}@"),
    whole("in x-auth-token", "key_misplaced", "in a header", lambda k: k.good, "X-Auth-Token"),
    whole("in proxy-authorization", "key_misplaced", "in a header", lambda k: f"Bearer {k.good}", "Proxy-Authorization"),
    whole("in authentication", "key_misplaced", "in a header", lambda k: f"Bearer {k.good}", "Authentication"),
    whole("in apikey", "key_misplaced", "in a header", lambda k: k.good, "apikey"),
    whole("in a cookie", "key_misplaced", "in a header", lambda k: f"key={k.good}", "Cookie"),
    whole("in x-request-id", "key_misplaced", "in a header", lambda k: k.good, "X-Request-Id"),
    whole("in openai-organization", "key_misplaced", "in a header", lambda k: k.good, "OpenAI-Organization"),
]

TWO = [
    Way("two headers that disagree", "key_conflicting", "two different", lambda k: [("Authorization", f"Bearer {k.good}"), ("x-api-key", k.other)]),
    Way("the same header twice", "key_conflicting", "two different", lambda k: [("Authorization", f"Bearer {k.good}"), ("Authorization", f"Bearer {k.other}")]),
    Way("x-api-key twice", "key_conflicting", "two different", lambda k: [("x-api-key", k.good), ("x-api-key", k.other)]),
    Way("api-key and x-goog-api-key", "key_conflicting", "two different", lambda k: [("api-key", k.good), ("x-goog-api-key", k.other)]),
    Way("a header and ?key=", "key_conflicting", "two different", lambda k: [("Authorization", f"Bearer {k.good}")], query=lambda k: f"key={k.other}", on=on.reads_query),
    Way("a stand-in beside it", "key_conflicting", "a tool", lambda k: [("Authorization", "Bearer sk-dummy"), ("x-api-key", k.good)]),
    Way("another service's beside it", "key_conflicting", "two different", lambda k: [("Authorization", f"Bearer {k.foreign['OpenAI']}"), ("x-api-key", k.good)]),
    sent("two in one header", "key_conflicting", "two different", lambda k: f"{k.good},{k.other}"),
]

FOREIGN = [
    *(sent(f"a key of {name}", "key_of_another_service", says, lambda k, name=name: k.foreign[name]) for name, says in {
        "OpenAI": "an OpenAI key", "OpenAI, of old": "OpenAI's", "OpenAI's service accounts": "an OpenAI key", "Anthropic": "an Anthropic key",
        "Anthropic's OAuth": "OAuth token", "Google": "a Google key", "Google's OAuth": "OAuth token", "AWS": "an AWS key", "AWS, temporary": "AWS key",
        "Bedrock": "a Amazon Bedrock key".replace("a A", "an A"), "GitHub": "a GitHub token", "GitHub, fine-grained": "a GitHub token", "GitLab": "a GitLab token",
        "Slack": "a Slack token", "Hugging Face": "a Hugging Face token", "Groq": "a Groq key", "xAI": "an xAI key", "OpenRouter": "an OpenRouter key",
        "Perplexity": "a Perplexity key", "Replicate": "a Replicate token", "NVIDIA": "an NVIDIA key", "Stripe": "a Stripe key", "npm": "an npm token",
        "PyPI": "a PyPI token", "a JWT's issuer": "a JSON Web Token", "PEM": "a private key in PEM form",
    }.items()),
    whole("Anthropic's in x-api-key", "key_of_another_service", "was not forwarded or logged", lambda k: k.foreign["Anthropic"], "x-api-key"),
    whole("Google's in x-goog-api-key", "key_of_another_service", "was not forwarded or logged", lambda k: k.foreign["Google"], "x-goog-api-key"),
    whole("OpenAI's in api-key", "key_of_another_service", "was not forwarded or logged", lambda k: k.foreign["OpenAI"], "api-key"),
    whole("OpenAI's without Bearer", "key_of_another_service", "was not forwarded or logged", lambda k: k.foreign["OpenAI"]),
    sent("OpenAI's in quotes", "key_of_another_service", "was not forwarded or logged", lambda k: f'"{k.foreign["OpenAI"]}"'),
    sent("OpenAI's with a space after it", "key_of_another_service", "was not forwarded or logged", lambda k: f"{k.foreign['OpenAI']}\u00a0"),
    sent("a line of .env with OpenAI's", "key_of_another_service", "was not forwarded or logged", lambda k: f"OPENAI_API_KEY={k.foreign['OpenAI']}"),
    Way("Google's in ?key=", "key_of_another_service", "a Google key", query=lambda k: f"key={k.foreign['Google']}", on=on.reads_query),
]

STATES = [
    sent("never issued here", "invalid_api_key", "never issued by this gateway", lambda k: k.stranger, stage="strangers"),
    sent("the right id with another secret", "invalid_api_key", "never issued by this gateway", lambda k: k.wrong_secret, stage="strangers"),
    whole("never issued here, in x-api-key", "invalid_api_key", "ask for a new key", lambda k: k.stranger, "x-api-key", stage="strangers"),
    sent("expired", "key_expired", "expired on 20", lambda k: k.expired),
    sent("not yet valid", "key_not_yet_valid", "is not valid before 20", lambda k: k.not_yet),
    sent("disabled", "key_disabled", "enable it", lambda k: k.disabled),
    sent("of an owner who is disabled", "key_owner_disabled", "All API keys of 'ann of", lambda k: k.of_owner),
    sent("made for an owner who was disabled before", "key_owner_disabled", "are disabled for now", lambda k: k.later_of_owner),
    sent("of a project that is disabled", "key_group_disabled", "The project 'idle', which", lambda k: k.of_project, on=on.data),
    sent("of a project whose team is disabled", "key_group_disabled", "The team 'idle-team', which", lambda k: k.of_team, on=on.data),
    sent("from an address that is not allowed", "address_not_allowed", "from the address 127.0.0.1", lambda k: k.from_elsewhere, status=403),
    sent("from an address that its project does not allow", "address_not_allowed", "from the address 127.0.0.1", lambda k: k.of_elsewhere, status=403, on=on.data),
    sent("a path that is not allowed", "path_not_allowed", "it may call GET /nowhere.", lambda k: k.other_path, status=403),
    sent("a method that is not allowed", "path_not_allowed", "it may call DELETE /*.", lambda k: k.other_method, status=403),
    sent("revoked", "key_revoked", "was revoked on 20", lambda k: k.revoked),
    sent("rotated, past its grace", "key_rotated", "use the new key", lambda k: k.rotated),
    sent("an admin key where models are called", "key_is_admin", "use a kw_live_ key", lambda k: k.of_other_plane, status=403, on=on.data),
    sent("a live key for management", "key_not_admin", "needs an admin key", lambda k: k.of_other_plane, status=403, on=on.admin),
    sent("a test key for management", "key_not_admin", "needs an admin key", lambda k: k.test, status=403, on=on.admin),
    sent("a test key for a model that costs money", "key_test_only", "simulator", lambda k: k.test, status=403, on=on.calls_something),
    sent("a model that it may not use", "model_not_allowed", "GET /v1/models lists them", lambda k: k.limited, status=403, on=on.calls_model),
    sent("a service that it may not call", "operation_not_allowed", "GET /services lists", lambda k: k.limited, status=403, on=on.calls_service),
    sent("over its requests a minute", "rate_limit_exceeded", "requests a minute", lambda k: k.out_of_requests, status=429, on=on.calls, stage="used up"),
    sent("over its tokens a minute", "rate_limit_exceeded", "tokens a minute", lambda k: k.out_of_tokens, status=429, on=on.calls, stage="used up"),
    sent("over its input tokens a day", "rate_limit_exceeded", "100 input tokens a day", lambda k: k.out_of_input, status=429, on=on.calls, wait=DAY),
    sent("over its output tokens a day", "rate_limit_exceeded", "100 output tokens a day", lambda k: k.out_of_output, status=429, on=on.calls, wait=DAY),
    sent("over its requests an hour", "rate_limit_exceeded", "1 requests an hour", lambda k: k.out_of_hour, status=429, on=on.calls, wait=DAY),
    sent("over its requests a day", "rate_limit_exceeded", "1 requests a day", lambda k: k.out_of_day, status=429, on=on.calls, wait=DAY),
    sent("over its budget", "budget_exceeded", "has spent its budget of $0", lambda k: k.out_of_money, status=402, on=on.calls_priced),
    sent("a budget, and a model without a price", "model_without_price", "set its price", lambda k: k.out_of_money, status=403, on=on.calls_unpriced),
    sent("a budget, and a model of which nobody knows how much it answers", "model_without_limit", "its max_output", lambda k: k.out_of_money, status=403, on=on.calls_unbounded),
    sent("over its parallel requests", "parallel_limit_exceeded", "at a time", lambda k: k.at_work, status=429, on=on.calls, stage="at work"),
    sent("one of too many guesses", "key_too_many_guesses", "a valid key is then let in", lambda k: k.stranger, status=429, stage="guessing"),
]

RAW = [
    sent("bytes that are not UTF-8", "key_not_text", "not plain text", lambda k: k.good[:20] + "\udcff\udcfe"),
    sent("a no-break space in Latin-1", "key_not_text", "not plain text", lambda k: k.good + "\udca0"),
    whole("bytes that are not UTF-8 in x-api-key", "key_not_text", "not plain text", "\udcff", "x-api-key"),
    sent("16 KB of letters", "key_malformed", "not a Keyward key", "a" * 16384),
    sent("16 KB after a good beginning", "key_wrong_length", "too long", lambda k: k.good + "a" * 16384),
    sent("16 KB of prefixes", "key_doubled", "pasted twice", "kw_live_" * 2048),
    whole("70 KB of letters", "", "", "a" * 70_000, "x-api-key", status=431),
    Way("10,000 headers", "", "", lambda k: [("x-api-key", k.good)] * 10_000, status=431),
]

ALL = [*MISSING, *SCHEME, *AROUND, *BLANKS, *CHANGED, *STAND_INS, *ELSEWHERE, *TWO, *FOREIGN, *STATES, *RAW]

# What is not a mistake, or is one that changes nothing: these keys are let in.
FINE = {
    "once": lambda k: [("Authorization", f"Bearer {k.good}")],
    "in a small scheme": lambda k: [("authorization", f"bearer {k.good}")],
    "with more spaces": lambda k: [("Authorization", f"Bearer   {k.good}  ")],
    "in x-api-key": lambda k: [("x-api-key", k.good)],
    "in x-goog-api-key": lambda k: [("x-goog-api-key", k.good)],
    "in api-key": lambda k: [("api-key", k.good)],
    "the same twice": lambda k: [("Authorization", f"Bearer {k.good}"), ("x-api-key", k.good)],
    "with an empty one beside it": lambda k: [("Authorization", f"Bearer {k.good}"), ("x-api-key", "")],
}


def quoted(text):
    return urllib.parse.quote(text, safe="")
