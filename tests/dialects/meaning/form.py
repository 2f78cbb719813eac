"""The plain form that a request is read into: what was said, in order, and every member that asks for something."""

import dataclasses
import json
import re

from .media import print_of, text_of

# What stands where a dialect wants some text.
FILLERS = {"", ".", "Continue.", "The result is in the next message.", "The tool failed.", "See attached document(s).", "See the attached document(s).",
           "See the attached file(s).", "See attached file(s)."}
MEDIA = ("image", "audio", "video", "document")
# Told before media of a result where results are text, with the call that it is of.
INTRODUCTION = re.compile(r"(?:This belongs to the result of the|The (?:image|document) that|From the result of \S+) (?:tool call )?\(?([^\s()]+)\)?(?: gave)?:")
# Built-in tools by the names that dialects give them.
BUILTIN = {
    "web_search": "web_search", "web_search_preview": "web_search", "web_search_20250305": "web_search", "web_search_20260209": "web_search",
    "googleSearch": "web_search", "google_search": "web_search", "code_interpreter": "code_execution", "codeExecution": "code_execution",
    "code_execution": "code_execution", "urlContext": "web_fetch", "url_context": "web_fetch", "nova_code_interpreter": "code_execution",
    "code_execution_20250825": "code_execution", "web_fetch_20250910": "web_fetch",
}
# Signatures that say that there is none, as Gemini's documentation has them.
NO_PROOF = {"skip_thought_signature_validator", "context_engineering_is_the_way_to_go",
            "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=", "Y29udGV4dF9lbmdpbmVlcmluZ19pc190aGVfd2F5X3RvX2dv"}


@dataclasses.dataclass
class Tool:
    """A function that may be called."""

    description: str
    schema: object
    strict: bool | None = None


@dataclasses.dataclass
class Meaning:
    """`turns` are atoms in order: ("user", "text", …), ("assistant", "call", number, name, arguments), ("tool", "result", number of the call, text), …"""

    system: str = ""
    # How many atoms stand before each instruction that comes after some.
    system_at: list = dataclasses.field(default_factory=list)
    turns: list = dataclasses.field(default_factory=list)
    tools: dict = dataclasses.field(default_factory=dict)
    # Tools that the provider runs, and what their dialect calls them.
    builtin: dict = dataclasses.field(default_factory=dict)
    # The tools that may be called, where not all may.
    allowed: set = dataclasses.field(default_factory=set)
    # Members with one value each: max_output, seed, stop, tool_choice, …
    members: dict = dataclasses.field(default_factory=dict)
    # What a dialect has beside all this, by its own names.
    rest: dict = dataclasses.field(default_factory=dict)
    # Numbers of the calls whose results tell of a failure.
    errors: list = dataclasses.field(default_factory=list)
    # Reasoning that is sent back: how many calls stand before it, its text, and its signature or encrypted form.
    reasoning: list = dataclasses.field(default_factory=list)
    # Signatures of calls, by the call's number.
    proofs: dict = dataclasses.field(default_factory=dict)
    # What each mark of the prompt's cache stands behind.
    cache: list = dataclasses.field(default_factory=list)
    # Of media, by its print.
    details: dict = dataclasses.field(default_factory=dict)
    titles: dict = dataclasses.field(default_factory=dict)
    contexts: dict = dataclasses.field(default_factory=dict)
    citable: set = dataclasses.field(default_factory=set)
    # Documents that are plain text, by their print: the text.
    plain: dict = dataclasses.field(default_factory=dict)
    # Calls to tools that the provider runs, and their results, by what their dialect calls them.
    server: list = dataclasses.field(default_factory=list)
    # Participants' names.
    names: list = dataclasses.field(default_factory=list)
    # Members that make the request depend on what a provider holds.
    held: set = dataclasses.field(default_factory=set)
    # Members that were not read, also those that say nothing.
    silent: set = dataclasses.field(default_factory=set)
    calls: list = dataclasses.field(default_factory=list)

    # What is said.

    def instruct(self, text):
        if not text:
            return
        if before := len([turn for turn in self.turns if turn[1] in ("text", "call", "result")]):
            self.system_at.append((before, squeeze(text)))
        self.system = squeeze(self.system + text)

    def text(self, role, text):
        """Neighbouring texts of one side are one: dialects that want alternating roles merge them."""
        if not text or text.strip() in FILLERS:
            return
        last = self.turns[-1] if self.turns else None
        if last and last[:2] == (role, "text"):
            self.turns[-1] = (role, "text", last[2] + squeeze(text))
        else:
            self.turns.append((role, "text", squeeze(text)))

    def media(self, role, kind, data, *, mime=None, of=None, title=None, context=None, detail=None, citable=False):
        """Media, `of` a call where it is part of its result."""
        if kind == "document" and (text := text_of(data, mime)) is not None:
            self.document(role, text, of=of, title=title, context=context, citable=citable)
            return
        found = print_of(data)
        self.turns.append((role, kind, found) if of is None else ("tool", kind, found, of))
        self.about(found, title, context, detail, citable)

    def document(self, role, text, *, of=None, title=None, context=None, citable=False):
        """A document that is plain text: where a dialect knows none, its words may stand as text, below its title."""
        found = print_of(f"data:text/plain,{text}")
        self.plain[found] = squeeze(text)
        self.turns.append((role, "document", found) if of is None else ("tool", "document", found, of))
        self.about(found, title, context, None, citable)

    def about(self, found, title, context, detail, citable):
        for where, value in ((self.titles, title), (self.contexts, context), (self.details, None if detail == "auto" else detail)):
            if value:
                where[found] = value
        if detail == "auto":
            self.silent.add("detail")
        if citable:
            self.citable.add(found)

    def call(self, call_id, name, arguments, proof=None):
        number = len(self.calls)
        self.calls.append([call_id, name, False])
        self.turns.append(("assistant", "call", number, name, as_object(arguments)))
        if proof and proof not in NO_PROOF:
            self.proofs[number] = proof

    def called(self, call_id, name=None):
        """The number of the call that a result belongs to: by the id, else the first of its name that has no result yet."""
        ids = [number for number, call in enumerate(self.calls) if call_id and call[0] == call_id]
        if len(ids) > 1:
            return f"any of the calls {ids}, which have one id"
        waiting = [number for number, call in enumerate(self.calls) if not call[2] and name in (None, call[1])]
        found = ids or ([] if call_id and any(call[0] for call in self.calls) else waiting)
        if not found:
            return "no call"
        self.calls[found[0]][2] = True
        return found[0]

    def result(self, call_id, text, *, name=None, failed=False):
        """A tool's result; gives the number of its call."""
        of = self.called(call_id, name)
        words = result_text(text)
        self.turns.append(("tool", "result", of, "" if words.strip() in FILLERS | {"{}"} else squeeze(words)))
        if failed:
            self.errors.append(of)
        return of

    def introduced(self, text):
        """The call whose media comes next, where a text says so; `None` of any other text."""
        told = INTRODUCTION.fullmatch(text)
        return told and next((number for number, call in enumerate(self.calls) if call[0] == told[1]), "no call")

    def reason(self, text, proof=None):
        proof = None if proof in NO_PROOF else proof
        if text or proof:
            self.reasoning.append((len(self.calls), squeeze(text or ""), proof))

    def mark(self, control, kind="turn", name=""):
        """A mark of the cache behind the tool of a name, the instructions so far, or what was said last."""
        if control is None:
            return
        behind = {"tool": name, "system": self.system[-40:]}.get(kind)
        if behind is None and self.turns:
            last = self.turns[-1]
            behind = last[2][-40:] if last[1] == "text" else str(last[2:])
        # OpenAI's marks last longer at least; how long a mark lasts is compared between those that know the same times.
        self.cache.append((kind, behind, (control or {}).get("ttl", "5m").replace("30m", "5m").replace("12h", "1h")))

    # What is asked for.

    def tool(self, name, description, schema, strict=None):
        self.tools[name] = Tool(squeeze(description or ""), schema or {}, strict)

    def ask(self, name, value):
        if value is not None:
            self.members[name] = value

    def offer(self, kind, *names):
        """A tool that the provider runs, of a kind, and what else the caller calls it."""
        known = next((BUILTIN[name] for name in (kind, *names) if name in BUILTIN), kind)
        self.builtin.setdefault(known, set()).update({kind, *names})

    def think(self, *, on=None, effort=None, budget=None, shown=None):
        """Whether and how much to reason; `shown` is whether the readable part is wanted."""
        if effort == "none" or budget == 0:
            on = False
        if on is None and (effort or budget):
            on = True
        if on is not None:
            self.members["thinking"] = {"on": on, "effort": effort if on else None, "budget": budget if on else None}
        if shown is not None:
            self.members["thoughts_shown"] = bool(shown)

    def keep(self, body, known, within=None):
        """Members that were not read, where they say something; all that stand `within` one member go by its name, where nothing of it was read."""
        left = {name: value for name, value in body.items() if name not in known}
        self.silent |= {f"{within}.{name}" if within else name for name in left} | ({within} if left else set())
        left = {name: value for name, value in left.items() if value not in (None, False, [], {}, "", "disabled")}
        if within and left and not any(body.get(name) is not None for name in known):
            self.rest[within] = left
        else:
            self.rest.update({f"{within}.{name}" if within else name: value for name, value in left.items()})


def squeeze(text):
    """Without white space, in which dialects that join texts may differ."""
    return re.sub(r"\s+", "", text)


def as_object(arguments):
    if isinstance(arguments, str):
        try:
            return json.dumps(json.loads(arguments or "{}"), sort_keys=True)
        except ValueError:
            return json.dumps({"input": arguments})
    return json.dumps(arguments or {}, sort_keys=True)


def texts(content):
    """The text of a string or of blocks, whatever they are called."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return as_text(content)
    return "".join(block if isinstance(block, str) else as_text(block) for block in content or [])


def as_text(block):
    if isinstance(block.get("text"), str):
        return block["text"]
    if "json" in block:
        return json.dumps(block["json"], sort_keys=True)
    # What a tool found, told as it is.
    return json.dumps(block, sort_keys=True) if block.get("type") in ("tool_reference", "search_result") else ""


def result_text(response):
    """A function's response: its own words where it is wrapped, or all of it; data that stands in a text is read."""
    if isinstance(response, str):
        try:
            response = json.loads(response)
        except ValueError:
            return response
    if isinstance(response, list) and len(response) == 1:
        return result_text(response[0])
    if isinstance(response, dict) and len(response) == 1:
        value = next(iter(response.values()))
        if next(iter(response)) in ("result", "output", "return_value", "content", "error", "call_error"):
            return result_text(value)
    return response if isinstance(response, str) else json.dumps(response, sort_keys=True)


def common(meaning, body, *, temperature="temperature", top_p="top_p", top_k="top_k", stop="stop", seed="seed",
           frequency="frequency_penalty", presence="presence_penalty"):
    """The members that most dialects have, by their names there."""
    names = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "seed": seed, "frequency_penalty": frequency, "presence_penalty": presence}
    for member, name in names.items():
        meaning.ask(member, body.get(name))
    stops = body.get(stop)
    meaning.ask("stop", [stops] if isinstance(stops, str) else stops or None)
