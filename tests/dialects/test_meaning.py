"""The measure itself: it sees what is lost, swapped or altered, and forgives only what is named by the caller's name and has no place."""

import copy
import inspect
import json

import anthropic
import boto3
import cohere
import google.genai
import ollama
import openai
import pytest

import made
import meaning
import recorded
from meaning import dialects

CASES = [pytest.param(case, id=case.id) for dialect in recorded.DIALECTS for case in recorded.load(dialect) if case.has_request]
MADE = {case.id.removeprefix("made-"): case for case in made.CASES}


def body_of(name):
    return copy.deepcopy(MADE[name].request["body"])


def judged(name, change=None, named=(), target=None):
    """The verdict on a made request that arrives in its own dialect's words, after a change; `target` is held to be the dialect that it went to."""
    caller = MADE[name].dialect
    arrived = body_of(name)
    if change:
        arrived = change(arrived) or arrived
    read = meaning.READ[caller]
    return meaning.judge(caller, target or caller, read(body_of(name)), read(arrived), list(named))


def within(path):
    """A change of the member at the end of a path, which is taken out."""
    def change(body):
        for step in path[:-1]:
            body = body[step]
        del body[path[-1]]
    return change


def to(path, value):
    def change(body):
        for step in path[:-1]:
            body = body[step]
        body[path[-1]] = value
    return change


def swap(path, one, other):
    def change(body):
        for step in path:
            body = body[step]
        body[one], body[other] = body[other], body[one]
    return change


def both(one, other):
    def change(body):
        one(body)
        other(body)
    return change


def swap_results(body):
    results = [message for message in body["messages"] if message["role"] == "tool"]
    results[0]["tool_call_id"], results[1]["tool_call_id"] = results[1]["tool_call_id"], results[0]["tool_call_id"]


PARAMETERS = ["tools", 0, "function", "parameters", "properties"]
SEEN = {
    "results of calls, swapped": ("openai_chat-loop", swap_results),
    "a result without a call": ("openai_chat-loop", to(["messages", 2, "tool_call_id"], "call_x")),
    "two calls with one id": ("openai_chat-loop", to(["messages", 1, "tool_calls", 1, "id"], "call_p")),
    "a call's arguments": ("openai_chat-loop", to(["messages", 1, "tool_calls", 0, "function", "arguments"], "{}")),
    "a call": ("openai_chat-loop", within(["messages", 1, "tool_calls", 1])),
    "a result's words": ("openai_chat-loop", to(["messages", 2, "content"], "noon")),
    "results, swapped, of Anthropic's": ("anthropic_messages-loop", both(
        to(["messages", 2, "content", 0, "tool_use_id"], "toolu_p"), to(["messages", 2, "content", 1, "tool_use_id"], "toolu_r"))),
    "results, swapped, of Responses'": ("openai_responses-loop", both(to(["input", 3, "call_id"], "call_p"), to(["input", 4, "call_id"], "call_r"))),
    "results, swapped, of Gemini's": ("gemini-loop", both(
        to(["contents", 2, "parts", 0, "functionResponse", "id"], "p"), to(["contents", 2, "parts", 1, "functionResponse", "id"], "r"))),
    "results, swapped, of Bedrock's": ("bedrock_converse-loop", both(
        to(["messages", 2, "content", 0, "toolResult", "toolUseId"], "tu_p"), to(["messages", 2, "content", 1, "toolResult", "toolUseId"], "tu_r"))),
    "results, swapped, of Ollama's": ("ollama-loop", both(to(["messages", 2, "tool_name"], "weather"), to(["messages", 3, "tool_name"], "time"))),
    "a failure": ("anthropic_messages-failed", within(["messages", 2, "content", 1, "is_error"])),
    "a failure of Bedrock's": ("bedrock_converse-failed", to(["messages", 2, "content", 1, "toolResult", "status"], "success")),
    "a failure of Gemini's": ("gemini-failed", to(["contents", 2, "parts", 1, "functionResponse", "response"], {"output": "two o'clock"})),
    "reasoning": ("anthropic_messages-reasoning", within(["messages", 1, "content", 0])),
    "reasoning's words": ("anthropic_messages-reasoning", to(["messages", 1, "content", 0, "thinking"], "They")),
    "a signature": ("anthropic_messages-reasoning", to(["messages", 1, "content", 0, "signature"], "other")),
    "sealed reasoning": ("anthropic_messages-reasoning", to(["messages", 1, "content", 1, "data"], "other")),
    "reasoning's place": ("anthropic_messages-reasoning", lambda body: body["messages"][1]["content"].append(body["messages"][1]["content"].pop(0))),
    "sealed reasoning of Responses'": ("openai_responses-reasoning", within(["input", 1, "encrypted_content"])),
    "a call's signature": ("gemini-reasoning", within(["contents", 1, "parts", 1, "thoughtSignature"])),
    "reasoning of Bedrock's": ("bedrock_converse-reasoning", within(["messages", 1, "content", 0])),
    **{name: ("openai_chat-sampling", within([name])) for name in ("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty", "stop", "max_completion_tokens")},
    "one stop sequence of two": ("openai_chat-sampling", to(["stop"], ["END"])), "a seed, altered": ("openai_chat-sampling", to(["seed"], 8)),
    "top_k": ("anthropic_messages-sampling", within(["top_k"])), "top_k of Gemini's": ("gemini-sampling", within(["generationConfig", "topK"])),
    "top_k of Cohere's": ("cohere_v2-sampling", within(["k"])), "top_k of Ollama's": ("ollama-sampling", within(["options", "top_k"])),
    "several answers": ("openai_chat-several", within(["n"])), "logprobs": ("openai_chat-logprobs", within(["logprobs"])),
    "top_logprobs": ("openai_chat-logprobs", to(["top_logprobs"], 1)), "logprobs of Responses'": ("openai_responses-logprobs", within(["include"])),
    "logprobs of Gemini's": ("gemini-logprobs", within(["generationConfig", "logprobs"])),
    "that it is streamed": ("openai_chat-streamed", within(["stream"])),
    "an enum": ("openai_chat-required", within([*PARAMETERS, "unit", "enum"])), "one of an enum": ("openai_chat-required", to([*PARAMETERS, "unit", "enum"], ["celsius"])),
    **{f"the keyword {keyword}": ("openai_chat-required", within([*PARAMETERS, *path, keyword])) for path, keyword in (
        (["days"], "minimum"), (["days"], "maximum"), (["name"], "minLength"), (["name"], "maxLength"), (["name"], "pattern"), (["when"], "format"), (["tags"], "minItems"),
        (["tags"], "maxItems"), (["tags", "items"], "enum"), (["kind"], "const"), (["place"], "anyOf"), (["unit"], "description"))},
    "that it may be null": ("openai_chat-required", to([*PARAMETERS, "note", "type"], "string")),
    "a branch": ("openai_chat-required", within([*PARAMETERS, "place", "anyOf", 1])),
    "what is required": ("openai_chat-required", within(["tools", 0, "function", "parameters", "required", 0])),
    "that a schema is closed": ("openai_chat-required", within(["tools", 0, "function", "parameters", "additionalProperties"])),
    "a keyword, added": ("openai_chat-required", to([*PARAMETERS, "note", "maxLength"], 3)),
    "a tool": ("openai_chat-required", within(["tools", 1])), "a tool's description": ("openai_chat-required", within(["tools", 0, "function", "description"])),
    "strict": ("openai_chat-strict", within(["tools", 0, "function", "strict"])), "a choice": ("openai_chat-required", within(["tool_choice"])),
    "the tool that is chosen": ("openai_chat-chosen", to(["tool_choice", "function", "name"], "weather")),
    "one call at a time": ("openai_chat-required", within(["parallel_tool_calls"])),
    "one call at a time, of Anthropic's": ("anthropic_messages-required", within(["tool_choice", "disable_parallel_tool_use"])),
    "which tools are allowed": ("gemini-both", within(["toolConfig", "functionCallingConfig", "allowedFunctionNames", 1])),
    "the answer's schema": ("openai_chat-schema", within(["response_format"])),
    "an enum of the answer's schema": ("openai_chat-schema", within(["response_format", "json_schema", "schema", "properties", "mood", "enum"])),
    "the schema's name": ("openai_chat-schema", to(["response_format", "json_schema", "name"], "answer")), "JSON": ("openai_chat-json", within(["response_format"])),
    "that a schema is strict": ("openai_chat-schema", within(["response_format", "json_schema", "strict"])),
    "an image's bytes": ("openai_chat-images", to(["messages", 0, "content", 1, "image_url", "url"], f"data:image/png;base64,{made.GIF}")),
    "an image's URL": ("openai_chat-images", to(["messages", 0, "content", 5, "image_url", "url"], "https://example.com/dog.png")),
    "the order of images": ("openai_chat-images", swap(["messages", 0, "content"], 1, 3)),
    "the order of parts": ("openai_chat-images", swap(["messages", 0, "content"], 2, 4)),
    "an image's place in the text": ("openai_chat-images", swap(["messages", 0, "content"], 1, 2)),
    "an image's detail": ("openai_chat-images", within(["messages", 0, "content", 1, "image_url", "detail"])),
    "a document's bytes": ("openai_chat-pdf", to(["messages", 0, "content", 1, "file", "file_data"], f"data:application/pdf;base64,{made.PNG}")),
    "a document's name": ("openai_chat-pdf", within(["messages", 0, "content", 1, "file", "filename"])), "audio": ("openai_chat-audio", within(["messages", 0, "content", 1])),
    "a document's context": ("anthropic_messages-pdf", within(["messages", 0, "content", 0, "context"])),
    "that a document may be cited": ("anthropic_messages-pdf", within(["messages", 0, "content", 0, "citations"])),
    "a result's image": ("anthropic_messages-shown", within(["messages", 2, "content", 1, "content", 1])),
    "whose result an image is of": ("anthropic_messages-shown", lambda body: body["messages"][2]["content"][0].update(
        content=[{"type": "text", "text": "one o'clock"}, body["messages"][2]["content"][1]["content"].pop(1)])),
    "an effort": ("openai_chat-effort", within(["reasoning_effort"])), "an effort, altered": ("openai_chat-effort", to(["reasoning_effort"], "high")),
    "no effort": ("openai_chat-no_effort", to(["reasoning_effort"], "low")), "a budget": ("anthropic_messages-budget", to(["thinking", "budget_tokens"], 1024)),
    "that thoughts are shown": ("gemini-budget", within(["generationConfig", "thinkingConfig", "includeThoughts"])),
    "a mark of the cache": ("anthropic_messages-cache", within(["messages", 0, "content", 0, "cache_control"])),
    "a mark's time": ("anthropic_messages-cache", within(["tools", 1, "cache_control", "ttl"])),
    "a mark of the instructions": ("bedrock_converse-cache", within(["system", 1])),
    "an effort of Bedrock's": ("bedrock_converse-effort", within(["outputConfig", "effort"])),
    "a mark of OpenAI's": ("openai_responses-breakpoint", within(["input", 0, "content", 0, "prompt_cache_breakpoint"])),
    "a mark of the tools": ("bedrock_converse-cache", within(["toolConfig", "tools", 2])),
    "a mark's place": ("bedrock_converse-cache", swap(["toolConfig", "tools"], 1, 2)),
    "the user": ("openai_chat-about", within(["user"])),
    "the tier": ("openai_chat-about", within(["service_tier"])),
    "a participant's name": ("openai_chat-about", within(["messages", 0, "name"])),
    "notes": ("openai_chat-notes", within(["metadata"])), "an instruction": ("openai_chat-system", within(["messages", 0])),
    "an instruction's place": ("openai_chat-system", swap(["messages"], 2, 3)), "a search": ("openai_chat-search", within(["web_search_options"])),
    "what no other dialect knows": ("openai_chat-unknown", within(["logit_bias"])),
    "a model's own members": ("bedrock_converse-top_k", within(["additionalModelRequestFields"])),
}


@pytest.mark.parametrize("what", SEEN)
def test_what_is_lost_or_altered_is_seen(what):
    name, change = SEEN[what]
    assert judged(name).wrong == []
    assert judged(name, change).wrong


@pytest.mark.parametrize("name", MADE)
def test_what_arrives_as_it_was_sent_is_faithful(name):
    verdict = judged(name)
    assert (verdict.wrong, verdict.dropped) == ([], [])


def test_what_has_no_place_is_dropped_if_it_is_named_by_the_callers_name():
    def verdict(named, target="openai_responses"):
        return judged("anthropic_messages-sampling", within(["stop_sequences"]), named, target)

    assert verdict(["stop_sequences"]).dropped == ["stop"] and not verdict(["stop_sequences"]).wrong
    assert verdict([]).wrong
    # Another dialect's name of it.
    assert verdict(["stop"]).wrong
    # A dialect that has it has no excuse.
    assert verdict(["stop_sequences"], "gemini").wrong


def test_what_is_named_as_dropped_must_not_arrive_and_must_have_been_sent():
    assert judged("openai_chat-sampling", named=["seed"]).wrong
    assert judged("openai_chat-sampling", named=["top_k"]).wrong


def test_the_path_of_a_name_may_be_told():
    drop = within(["messages", 2, "content", 1, "is_error"])
    assert judged("anthropic_messages-failed", drop, ["messages.content.is_error"], "ollama").wrong == []
    assert judged("anthropic_messages-failed", drop, ["messages.content"], "ollama").wrong


def test_what_was_not_sent_is_not_added():
    for member, value in {"temperature": 0.1, "seed": 1, "stop": ["x"], "response_format": {"type": "json_object"}, "reasoning_effort": "low", "web_search_options": {}}.items():
        assert judged("openai_chat-about", to([member], value)).wrong, member


def refused(target, name, said):
    return meaning.refused_for(target, meaning.READ[MADE[name].dialect](body_of(name)), said)


def test_a_request_is_refused_only_for_what_is_listed_and_named():
    assert refused("anthropic_messages", "openai_chat-audio", "Claude does not take audio.") == "audio"
    assert refused("gemini", "openai_chat-audio", "Gemini does not take audio.") is None
    assert refused("anthropic_messages", "openai_chat-audio", "It does not work.") is None
    assert refused("anthropic_messages", "openai_chat-sampling", "Claude does not take audio.") is None
    assert refused("openai_chat", "bedrock_converse-guarded", "'guardrailConfig' cannot be said.") == "guardrailConfig"


def test_whatever_may_be_dropped_has_a_name_in_some_dialect():
    known = {member for names in dialects.NAMES.values() for member in names}
    assert {member for lacking in dialects.LACKS.values() for member in lacking} <= known


def parameters():
    """What the makers' own SDKs let a request ask for, by dialect."""
    bedrock = boto3.client("bedrock-runtime", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x").meta.service_model
    converse = bedrock.operation_model("Converse").input_shape.members
    return {
        "openai_chat": set(openai.types.chat.completion_create_params.CompletionCreateParamsBase.__annotations__),
        "openai_responses": set(openai.types.responses.response_create_params.ResponseCreateParamsBase.__annotations__),
        "anthropic_messages": set(anthropic.types.message_create_params.MessageCreateParamsBase.__annotations__),
        "gemini": set(google.genai.types.GenerateContentConfig.model_fields),
        "bedrock_converse": {*converse, *converse["inferenceConfig"].members, *converse["toolConfig"].members},
        "cohere_v2": set(inspect.signature(cohere.ClientV2.chat).parameters),
        "ollama": {*inspect.signature(ollama.Client.chat).parameters, *ollama.Options.model_fields},
    }


# OpenAI takes notes with stored answers alone, Anthropic a user's id only, and Vertex labels where Gemini takes none.
ONLY_BY_NAME = {("openai_chat", "metadata"), ("anthropic_messages", "metadata"), ("gemini", "metadata")}


def test_what_a_dialect_lacks_is_no_parameter_of_its_makers_sdk():
    top = ("top_k", "seed", "frequency_penalty", "presence_penalty", "stop", "n", "logprobs", "top_logprobs", "user", "metadata", "parallel_tool_calls", "service_tier", "tool_choice")
    for dialect, known in parameters().items():
        lacking = {member for member in top if dialects.LACKS[dialect].get(member) is True and (dialect, member) not in ONLY_BY_NAME}
        assert not {member for member in lacking if dialects.called(dialect, member) & known}, dialect


def contents():
    """The kinds of content that the makers' own SDKs know in what a caller says."""
    bedrock = boto3.client("bedrock-runtime", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x").meta.service_model
    blocks = bedrock.operation_model("Converse").input_shape.members["messages"].member.members["content"].member
    return {
        "openai_chat": str(openai.types.chat.chat_completion_content_part_param.ChatCompletionContentPartParam),
        "openai_responses": str(openai.types.responses.ResponseInputContentParam), "anthropic_messages": str(anthropic.types.ContentBlockParam),
        "gemini": str(list(google.genai.types.Part.model_fields)), "bedrock_converse": str(list(blocks.members)),
        "cohere_v2": str([cohere.types.TextContent, cohere.types.ImageUrlContent, cohere.types.DocumentContent]), "ollama": str(list(ollama.Message.model_fields)),
    }


def test_what_may_be_refused_is_no_content_in_its_makers_sdk():
    known = contents()
    for dialect, member in dialects.REFUSED:
        # Cohere's documents are texts.
        assert member not in known[dialect].lower() or (dialect, member) == ("cohere_v2", "document"), (dialect, member)
    assert "audio" in known["openai_chat"].lower() and "video" in known["bedrock_converse"] and "document" in known["anthropic_messages"].lower()


@pytest.mark.parametrize("case", CASES or [pytest.param(None, marks=pytest.mark.skip(reason="no recorded traffic"))])
def test_every_recorded_request_can_be_read(case):
    read = meaning.READ[case.dialect](case.request["body"])
    assert read.turns or read.system
    # In its own words it is what it was.
    again = meaning.READ[case.dialect](json.loads(json.dumps(case.request["body"])))
    assert meaning.judge(case.dialect, case.dialect, read, again, []).wrong == []


def test_a_document_may_be_told_as_text_but_not_lost():
    document = {"type": "document", "title": "Rules", "source": {"type": "text", "media_type": "text/plain", "data": "No running.\nNo shouting."}}
    sent = meaning.READ["anthropic_messages"]({"messages": [{"role": "user", "content": [{"type": "text", "text": "What is not allowed?"}, document]}]})

    def wrong(*texts, named=()):
        told = meaning.READ["ollama"]({"messages": [{"role": "user", "content": text} for text in texts], "stream": False})
        return meaning.judge("anthropic_messages", "ollama", sent, told, named).wrong

    assert wrong("What is not allowed?\nRules:\nNo running.\nNo shouting.") == []
    assert wrong("What is not allowed?", "No running.\nNo shouting.", named=["title"]) == []
    for texts in [("What is not allowed?",), ("What is not allowed?\nNo running.",), ("What is not allowed?\nNo running.\nNo shouting.\nNo eating.",)]:
        assert wrong(*texts), texts


def test_a_document_of_coheres_is_compared():
    ask = [{"role": "user", "content": "What is not allowed?"}]
    read = meaning.READ["cohere_v2"]
    sent = read({"messages": ask, "documents": [{"data": {"text": "No running.", "title": "Rules"}}]})
    assert meaning.judge("cohere_v2", "ollama", sent, read({"messages": ask, "documents": ["No running."]}), ["title"]).wrong == []
    assert meaning.judge("cohere_v2", "ollama", sent, read({"messages": ask}), ["title"]).wrong


def test_media_of_a_result_may_follow_it_where_it_is_introduced():
    sent = meaning.READ["anthropic_messages"](body_of("anthropic_messages-shown"))
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{made.PNG}"}}

    def wrong(told, call="call_p"):
        messages = made.chat_loop()
        messages[1]["content"] = None
        messages[3]["content"] = "look"
        messages.insert(4, {"role": "user", "content": [{"type": "text", "text": told.format(call)}, image]})
        return meaning.judge("anthropic_messages", "openai_chat", sent, meaning.READ["openai_chat"]({"messages": messages, "tools": made.functions(), "max_tokens": 1000}), []).wrong

    assert wrong("This belongs to the result of the tool call {}:") == []
    assert wrong("This belongs to the result of the tool call {}:", "call_r")
    assert wrong("Look, {}:")
