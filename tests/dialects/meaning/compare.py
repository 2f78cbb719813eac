"""Holds what arrived upstream against what was sent: what is the same, what was dropped and named, and what is wrong."""

import dataclasses

from . import schema
from .dialects import BUILTINS, CLAUDE, HELD, KEYWORDS, REFUSED, called, lacks
from .form import FILLERS, MEDIA, squeeze

USUAL = {"frequency_penalty": 0, "presence_penalty": 0, "n": 1, "logprobs": False, "top_logprobs": 0, "parallel_tool_calls": True, "stream": False}
# Members that a dialect requires, so that something has to stand there.
REQUIRED = {("anthropic_messages", "max_output"), ("bedrock_converse", "max_output")}
# Dialects whose messages hold their calls beside the text, not among it.
CALLS_LAST = ("openai_chat", "cohere_v2", "ollama")


@dataclasses.dataclass
class Verdict:
    """Members that were dropped and named, and everything that is wrong."""

    dropped: list = dataclasses.field(default_factory=list)
    wrong: list = dataclasses.field(default_factory=list)


class Comparison:
    """Of a request between two dialects; `named` is what the gateway says that it dropped."""

    def __init__(self, caller, target, sent, arrived, named):
        self.caller, self.target, self.sent, self.arrived = caller, target, sent, arrived
        self.named = list(named)
        # Names of what was dropped, and those of what arrived.
        self.used, self.idle = set(), {}
        self.verdict = Verdict()

    def names(self, member, names=None):
        """Names of the caller's by which the member is named."""
        names = names or called(self.caller, member)
        return [name for name in self.named if name in names or name.rsplit(".", 1)[-1] in names]

    def member(self, member, value, same, told="", *, lacking=None, names=None):
        """One member: the same, or missing from the target and named; everything else is wrong."""
        is_named = self.names(member, names)
        lacking = lacks(self.target, member, value) if lacking is None else lacking
        if same:
            self.idle.update({name: member for name in is_named})
            return
        self.used.update(is_named)
        if not is_named:
            self.verdict.wrong.append(f"{member}: {told or value}, and not named")
        elif not lacking:
            self.verdict.wrong.append(f"{member}: {told or value}, though the dialect has it")
        else:
            self.verdict.dropped.append(member)

    def run(self):
        self.system()
        self.turns()
        self.tools()
        self.scalars()
        self.form()
        self.thinking()
        self.about_media()
        self.beside()
        for name in self.named:
            if name not in self.used and not (name in self.sent.silent and name not in self.idle):
                what = f"though {self.idle[name]} arrived" if name in self.idle else "which the caller did not send or calls otherwise"
                self.verdict.wrong.append(f"'{name}' is named as dropped, {what}")
        return self.verdict

    def system(self):
        sent, arrived = self.sent, self.arrived
        told = arrived.system
        if sent.system_at and lacks(self.target, "system_position"):
            # A dialect without instructions in the middle may tell them at the top, or as the user's.
            in_turns = all(any(text in turn[2] for turn in arrived.turns if turn[1] == "text") or text in told for _, text in sent.system_at)
            self.member("system_position", sent.system_at, sent.system == "".join(text for _, text in sent.system_at) and not sent.turns)
            if not in_turns:
                self.verdict.wrong.append("system: an instruction in the middle is missing")
            return
        if sent.system != told and not (told.startswith(sent.system) and self.asks_in_words()):
            self.verdict.wrong.append(f"system: {sent.system[:60]!r} became {told[:60]!r}")
        elif places(sent) != {before: text for before, text in places(arrived).items() if not (self.asks_in_words() and "JSON" in text)}:
            self.verdict.wrong.append(f"system: instructions between turns {places(sent)} became {places(arrived)}")

    def asks_in_words(self):
        """Whether the shape of the answer is asked for in an instruction: where it cannot be demanded, or only of who speaks of JSON."""
        return self.sent.members.get("format") and "JSON" in self.arrived.system[len(self.sent.system):]

    def turns(self):
        sent, arrived = without_told_documents(self.sent, self.arrived)
        pair = (self.caller, self.target)
        sent, arrived = in_order(sent, pair), in_order(arrived, pair)
        if sent != arrived:
            self.verdict.wrong.append("turns: " + first_difference(sent, arrived))
        if self.sent.errors or self.arrived.errors:
            self.member("is_error", self.sent.errors, self.sent.errors == self.arrived.errors, f"{self.sent.errors} became {self.arrived.errors}")
        if self.sent.reasoning:
            # Reasoning is taken back by the maker of its signature alone.
            foreign = not (self.caller in CLAUDE and self.target in CLAUDE)
            told = f"{self.sent.reasoning[0]} became {(self.arrived.reasoning or [None])[0]}"
            self.member("reasoning", None, self.sent.reasoning == self.arrived.reasoning, told, lacking=foreign)
        elif self.arrived.reasoning:
            self.verdict.wrong.append(f"reasoning: {self.arrived.reasoning[0]} was added")
        if self.sent.proofs:
            self.member("proof", self.sent.proofs, self.sent.proofs == self.arrived.proofs)
        if self.sent.names:
            self.member("name", self.sent.names, self.sent.names == self.arrived.names)
        if self.sent.server:
            self.member("server", self.sent.server, self.sent.server == self.arrived.server, str(self.sent.server[:3]), lacking=True,
                        names=set(self.sent.server) | {camel(name) for name in self.sent.server})
        if self.sent.cache:
            told = f"{self.sent.cache} became {self.arrived.cache}"
            self.member("cache", self.sent.cache, sorted(map(str, self.sent.cache)) == sorted(map(str, self.arrived.cache)), told[:200])
        elif self.arrived.cache:
            self.verdict.wrong.append("cache: marks were added")

    def tools(self):
        sent, arrived = self.sent, self.arrived
        choice = sent.members.get("tool_choice")
        for name, tool in sent.tools.items():
            # Where only some tools may be called, the others need not be offered.
            is_allowed = choice != "none" if not sent.allowed else name in sent.allowed
            other = arrived.tools.get(name)
            if other is None:
                if is_allowed:
                    self.verdict.wrong.append(f"tool {name} is missing")
                continue
            if tool.description != other.description:
                self.verdict.wrong.append(f"tool {name}: its description {tool.description[:40]!r} became {other.description[:40]!r}")
            if wrong := schema.differences(tool.schema, other.schema):
                self.schema(f"tool {name}'s schema", wrong)
        extra = arrived.tools.keys() - sent.tools.keys()
        if extra and not {turn[3] for turn in sent.turns if turn[1] == "call"} >= extra:
            self.verdict.wrong.append(f"tools {sorted(extra)} were added")
        strict = [name for name, tool in sent.tools.items() if tool.strict and name in arrived.tools]
        if strict:
            kept = [name for name in strict if arrived.tools[name].strict]
            # Cohere's is one for all tools.
            lacking = any(not tool.strict for tool in sent.tools.values()) if self.target == "cohere_v2" else None
            self.member("strict", strict, kept == strict, f"{strict} became {kept}", lacking=lacking)
        loose = [name for name, tool in sent.tools.items() if tool.strict is False and arrived.tools.get(name) and arrived.tools[name].strict]
        if loose:
            self.verdict.wrong.append(f"strict was added to {loose}")
        if self.target == "openai_responses" and (unsaid := [name for name, tool in arrived.tools.items() if tool.strict is None]):
            self.verdict.wrong.append(f"strict is not said of {unsaid}, which means true here")
        for tool, own in sorted(sent.builtin.items()):
            self.member(f"built-in tool {tool}", tool, tool in arrived.builtin, "is missing", lacking=tool not in BUILTINS[self.target],
                        names={tool} | own | {camel(name) for name in own} | called(self.caller, tool))
        if extra := arrived.builtin.keys() - sent.builtin.keys():
            self.verdict.wrong.append(f"built-in tools {sorted(extra)} were added")
        if choice is None:
            return
        alone = arrived.members.get("tool_choice") == "required" and list(arrived.tools) == [choice]
        absent = choice in ("auto", "none") and not arrived.tools and not (sent.tools if choice == "auto" else False)
        usual = choice == "auto" and arrived.members.get("tool_choice") in (None, "validated")
        same = arrived.members.get("tool_choice") == choice or alone or usual or absent and choice == "auto" or not sent.tools and not sent.builtin
        # A tool that is chosen by name leaves the others out; of several that are allowed, no other may be.
        others = (arrived.allowed or set(arrived.tools)) - sent.allowed if sent.allowed and arrived.members.get("tool_choice") not in sent.allowed else set()
        if choice == "none" and lacks(self.target, "tool_choice") and not arrived.tools:
            # Where none can be chosen, offering none is the same: naming that is right, and so is not to.
            self.used.update(self.names("tool_choice"))
            return
        # Gemini's calls that are held to their schemas are nobody else's.
        lacking = True if choice == "validated" else None
        self.member("tool_choice", choice, same and not others, f"{choice} became {arrived.members.get('tool_choice')}", lacking=lacking)

    def schema(self, member, wrong):
        """Keywords that were lost: each has to be named, and to be one that the dialect does not take."""
        paths = [one.split()[0] for one in wrong]
        keywords = {path.rsplit(".", 1)[-1].split("[")[0] for path in paths}
        lacking = all({path, path.rsplit(".", 1)[-1]} & KEYWORDS.get(self.target, set()) for path in paths)
        names = keywords | {"oneOf"} if "anyOf" in keywords else keywords
        self.member(member, wrong, False, "; ".join(wrong[:3]), lacking=lacking and all(self.names(member, {keyword, "oneOf"}) for keyword in keywords), names=names)

    def scalars(self):
        sent, arrived = self.sent.members, self.arrived.members
        for name in ("max_output", "temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty", "stop", "n", "logprobs", "top_logprobs",
                     "parallel_tool_calls", "user", "metadata", "service_tier", "stream"):
            value, other = sent.get(name), arrived.get(name)
            if value is None:
                if other not in (None, USUAL.get(name)) and (self.target, name) not in REQUIRED and not (name == "logprobs" and sent.get("top_logprobs")):
                    self.verdict.wrong.append(f"{name}: {other} was added")
                continue
            usual = value == USUAL.get(name) or name == "service_tier" and value in ("auto", "default") and lacks(self.target, name)
            usual = usual or name == "parallel_tool_calls" and not self.sent.tools
            if other is None and usual:
                # To name it does no harm.
                self.used.update(self.names(name))
                continue
            self.member(name, value, value == other, f"{str(value)[:80]} became {str(other)[:80]}")

    def form(self):
        sent, arrived = self.sent.members.get("format"), self.arrived.members.get("format")
        if sent is None:
            if arrived is not None:
                self.verdict.wrong.append("format: a shape of the answer was added")
            return
        # Cohere takes it beside neither tools nor documents.
        lacking = bool(self.sent.tools or self.arrived.plain) if self.target == "cohere_v2" else None
        if sent == "json" or arrived in (None, "json"):
            self.member("format", sent, sent == arrived, f"{str(sent)[:60]} became {str(arrived)[:60]}", lacking=lacking)
            return
        if wrong := schema.differences(sent["schema"], arrived["schema"]):
            self.schema("format", wrong)
            return
        wrong = []
        for name in ("name", "strict"):
            if sent[name] and self.target in ("openai_chat", "openai_responses") and sent[name] != arrived[name]:
                wrong.append(f"{name} {sent[name]} became {arrived[name]}")
        self.member("format", sent, not wrong, "; ".join(wrong[:3]))

    def thinking(self):
        sent, arrived = self.sent.members.get("thinking"), self.arrived.members.get("thinking")
        if sent is None:
            # Who asks to be shown the thoughts asks for some.
            if arrived and arrived["on"] and not self.sent.members.get("thoughts_shown"):
                self.verdict.wrong.append(f"thinking: {arrived} was added")
        else:
            other = arrived or {"on": False, "effort": None, "budget": None}
            kept = [other[name] == sent[name] for name in ("effort", "budget") if sent[name] is not None and other[name] is not None]
            # A budget may become an effort, but not nothing.
            is_lost = sent["budget"] and not sent["effort"] and not other["budget"] and not other["effort"]
            if sent["budget"] and other["effort"] and not sent["effort"]:
                # The nearest effort stands for it: naming that is right, and so is not to.
                self.used.update(self.names("thinking"))
            self.member("thinking", sent, sent["on"] == other["on"] and all(kept) and not is_lost, f"{sent} became {arrived}")
        shown = self.sent.members.get("thoughts_shown")
        if sent and sent["on"] and not (arrived and arrived["on"]):
            # Of thoughts that nobody thinks none are shown.
            self.used.update(self.names("thoughts_shown"))
        elif shown is not None and (sent is None or sent["on"]):
            # Where nothing says so, thoughts are shown by whoever has them.
            usual = shown and arrived and arrived["on"] and self.target in ("cohere_v2", "ollama", *CLAUDE)
            other = self.arrived.members.get("thoughts_shown", True if usual else None)
            self.member("thoughts_shown", shown, bool(other) == shown, f"{shown} became {other}")

    def about_media(self):
        sent, arrived = self.sent, self.arrived
        words = "".join(turn[2] for turn in arrived.turns if turn[1] == "text") + "".join(str(turn[3]) for turn in arrived.turns if turn[1] == "result")
        for member, mine, theirs in (("title", sent.titles, arrived.titles), ("context", sent.contexts, arrived.contexts), ("detail", sent.details, arrived.details)):
            if mine:
                lost = [value for found, value in mine.items() if letters(theirs.get(found)) != letters(value) and squeeze(value) not in words]
                self.member(member, mine, not lost, f"{lost} became {list(theirs.values())}")
        if sent.citable:
            self.member("citable", sent.citable, sent.citable == arrived.citable)

    def beside(self):
        """What only the caller's dialect has: named by its own name."""
        for name, value in self.sent.rest.items():
            names = {name, name.rsplit(".", 1)[-1], *(value if isinstance(value, dict) else ())}
            same = self.arrived.rest.get(name) == value
            self.member(name, value, same, str(value)[:80], lacking=True, names=names | {camel(one) for one in names})


def camel(name):
    """As Gemini's callers may write it."""
    first, *others = name.split("_")
    return first + "".join(other.title() for other in others)


def places(meaning):
    """Instructions that stand between turns, by how many atoms stand before them."""
    found = {}
    for before, text in meaning.system_at:
        found[before] = found.get(before, "") + text
    return found


def letters(text):
    """A title without what a dialect's names may not hold."""
    return "".join(letter for letter in text or "" if letter.isalnum())


def without_told_documents(sent, arrived):
    """The turns without the plain-text documents whose every word arrived as text, below the title or alone."""
    left, turns = [], list(arrived.turns)
    for turn in sent.turns:
        text = sent.plain.get(turn[2], "") if turn[1] == "document" else ""
        title = squeeze(sent.titles.get(turn[2], "")) if text else ""
        place = next((number for number, told in enumerate(turns) if text and told[1] in ("text", "result") and text in told[-1]), None)
        if place is None or any(told[1:3] == turn[1:3] for told in turns):
            left.append(turn)
            continue
        told = f"{title}:{text}" if f"{title}:{text}" in turns[place][-1] else text
        turns[place] = (*turns[place][:-1], turns[place][-1].replace(told, "", 1))
    # What was nothing but a document is no turn without it.
    return left, [turn for turn in turns if turn[1] != "text" or turn[2] not in FILLERS]


def in_order(turns, pair):
    """The atoms in the one order in which all can say them: results before what else the caller says, each beside its media."""
    out, run = [], []
    for turn in [*turns, None]:
        side = None if turn is None else turn[0] == "assistant"
        if run and side != (run[0][0] == "assistant"):
            out += arranged(run, pair)
            run = []
        if turn is not None:
            run.append(turn)
    if "cohere_v2" in pair:
        # Documents stand beside the conversation.
        out = [turn for turn in out if turn[1] == "document"] + [turn for turn in out if turn[1] != "document"]
    joined = []
    for turn in out:
        if turn[1] == "text" and joined and joined[-1][:2] == turn[:2]:
            joined[-1] = (*turn[:2], joined[-1][2] + turn[2])
        else:
            joined.append(turn)
    return joined


def arranged(run, pair):
    if run[0][0] == "assistant":
        calls_last = any(dialect in CALLS_LAST for dialect in pair)
        return [*(turn for turn in run if turn[1] != "call"), *(turn for turn in run if turn[1] == "call")] if calls_last else run
    results = sorted((turn for turn in run if turn[0] == "tool"), key=lambda turn: str(turn[2] if turn[1] == "result" else turn[3]))
    others = [turn for turn in run if turn[0] != "tool"]
    if "ollama" in pair:
        # A message's images are a list of their own.
        others = [*(turn for turn in others if turn[1] not in MEDIA), *(turn for turn in others if turn[1] in MEDIA)]
    return results + others


def first_difference(sent, arrived):
    for number, (one, other) in enumerate(zip(sent, arrived)):
        if one != other:
            return f"{number}: {str(one)[:120]} became {str(other)[:120]}"
    longer, word = (sent, "is missing") if len(sent) > len(arrived) else (arrived, "was added")
    return f"{str(longer[min(len(sent), len(arrived))])[:120]} {word}"


def judge(caller, target, sent, arrived, named):
    """The verdict on a request that was sent on."""
    return Comparison(caller, target, sent, arrived, named).run()


def refused_for(target, sent, said):
    """The member that a request was rightly refused for, by what the refusal says; `None` where nothing in it may be refused."""
    members = {turn[1] for turn in sent.turns if turn[1] in ("audio", "video") or turn[1] == "document" and turn[2] not in sent.plain}
    for member in sorted(members):
        if any(word in said for word in REFUSED.get((target, member), ())):
            return member
    return next((member for member in sorted(sent.held) if any(word in said for word in HELD[member])), None)
