"""The official SDKs, each unmodified but for base URL and key: each asks one question, and notes in OpenAI's terms what it makes of the answer.

`ask(model, stream, seen)` fills `seen` as the answer comes, so that what was told before an error is known."""

import dataclasses
import json

import anthropic
import boto3
import botocore.config
import botocore.exceptions
import cohere
import cohere.core
import google.genai
import google.genai.errors
import google.genai.types
import httpx
import ollama
import openai

# Tools by these names may be called in recorded answers; SDKs do not mind which were offered.
QUESTION = "Say it."


@dataclasses.dataclass
class Seen:
    """What an SDK makes of an answer; `error` is set where it raised one."""

    text: str = ""
    reasoning: str = ""
    calls: list = dataclasses.field(default_factory=list)
    finish: str | None = None
    usage: tuple | None = None
    cached: int | None = None
    error: tuple | None = None


def arguments(text):
    return json.loads(text) if text else {}


class OpenAiChat:
    def __init__(self, url, key):
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=20)

    def ask(self, model, stream, seen):
        asked = {"model": model, "messages": [{"role": "user", "content": QUESTION}]}
        try:
            self.stream(asked, seen) if stream else self.whole(asked, seen)
        except openai.APIStatusError as error:
            seen.error = (error.status_code, error.message)
        except openai.APIError as error:
            seen.error = (None, error.message)

    def whole(self, asked, seen):
        answer = self.client.chat.completions.create(**asked)
        choice, usage = answer.choices[0], answer.usage
        extra = choice.message.model_extra or {}
        calls = [(call.function.name, arguments(call.function.arguments)) for call in choice.message.tool_calls or []]
        assert answer.id and answer.model and answer.object == "chat.completion" and len({call.id for call in choice.message.tool_calls or []}) == len(calls)
        seen.text, seen.reasoning = (choice.message.content or "") + (choice.message.refusal or ""), extra.get("reasoning_content") or ""
        seen.calls, seen.finish, seen.usage = calls, choice.finish_reason, usage and (usage.prompt_tokens, usage.completion_tokens)
        seen.cached = usage and usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens

    def stream(self, asked, seen):
        calls = {}
        for chunk in self.client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
            assert chunk.id and chunk.object == "chat.completion.chunk"
            if chunk.usage:
                seen.usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
                seen.cached = chunk.usage.prompt_tokens_details and chunk.usage.prompt_tokens_details.cached_tokens
            for choice in chunk.choices:
                seen.text += (choice.delta.content or "") + (choice.delta.refusal or "")
                seen.reasoning += (choice.delta.model_extra or {}).get("reasoning_content") or ""
                for call in choice.delta.tool_calls or []:
                    known = calls.setdefault(call.index, ["", ""])
                    known[0] += call.function.name or ""
                    known[1] += call.function.arguments or ""
                seen.finish = choice.finish_reason or seen.finish
        seen.calls = [(name, arguments(text)) for name, text in calls.values()]


class OpenAiResponses(OpenAiChat):
    def whole(self, asked, seen):
        self.read(self.client.responses.create(model=asked["model"], input=QUESTION), seen)

    def stream(self, asked, seen):
        with self.client.responses.stream(model=asked["model"], input=QUESTION) as events:
            final = None
            for event in events:
                if event.type == "response.output_text.delta":
                    seen.text += event.delta
                elif event.type == "error":
                    seen.error = (None, event.message)
                    return
                elif event.type in ("response.completed", "response.incomplete", "response.failed"):
                    final = event.response
        assert final is not None, "the stream has no last event"
        deltas, seen.text = seen.text, ""
        self.read(final, seen)
        if seen.error:
            seen.text = deltas
            return
        text = "".join(part.text for item in final.output if item.type == "message" for part in item.content if part.type == "output_text")
        assert deltas == text, f"deltas {deltas!r} are not the text {text!r}"

    @staticmethod
    def read(response, seen):
        if response.error:
            seen.error = (None, response.error.message)
            return
        for item in response.output:
            if item.type == "message":
                seen.text += "".join(part.text if part.type == "output_text" else part.refusal for part in item.content)
            elif item.type == "function_call":
                seen.calls.append((item.name, arguments(item.arguments)))
            elif item.type == "reasoning":
                seen.reasoning += "".join(part.text for part in (item.content or item.summary or []))
        reason = response.incomplete_details and response.incomplete_details.reason
        seen.finish = {"max_output_tokens": "length", "content_filter": "content_filter"}.get(reason, "tool_calls" if seen.calls else "stop")
        if usage := response.usage:
            seen.usage = (usage.input_tokens, usage.output_tokens)
            seen.cached = usage.input_tokens_details.cached_tokens


class Anthropic:
    FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter"}

    def __init__(self, url, key):
        self.client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, timeout=20)

    def ask(self, model, stream, seen):
        asked = {"model": model, "max_tokens": 1024, "messages": [{"role": "user", "content": QUESTION}]}
        try:
            self.stream(asked, seen) if stream else self.read(self.client.messages.create(**asked), seen)
        except anthropic.APIStatusError as error:
            seen.error = (error.status_code, error.message)
        except anthropic.APIError as error:
            seen.error = (None, error.message)

    def stream(self, asked, seen):
        with self.client.messages.stream(**asked) as events:
            for event in events:
                if event.type == "text":
                    seen.text += event.text
            deltas, seen.text = seen.text, ""
            self.read(events.get_final_message(), seen)
        assert deltas == seen.text, f"deltas {deltas!r} are not the text {seen.text!r}"

    def read(self, message, seen):
        assert message.id and message.type == "message" and message.role == "assistant"
        seen.finish = self.FINISH.get(message.stop_reason, message.stop_reason)
        for block in message.content:
            if block.type == "text":
                seen.text += block.text
            elif block.type == "thinking":
                seen.reasoning += block.thinking
            elif block.type == "tool_use":
                seen.calls.append((block.name, block.input))
        usage = message.usage
        cached = usage.cache_read_input_tokens or 0
        seen.usage = (usage.input_tokens + cached + (usage.cache_creation_input_tokens or 0), usage.output_tokens)
        seen.cached = cached


class Gemini:
    FINISH = {"STOP": "stop", "MAX_TOKENS": "length"}

    def __init__(self, url, key):
        options = google.genai.types.HttpOptions(base_url=url, timeout=20_000, retry_options=google.genai.types.HttpRetryOptions(attempts=1))
        self.client = google.genai.Client(api_key=key, http_options=options)

    def ask(self, model, stream, seen):
        asked = {"model": f"models/{model}", "contents": QUESTION}
        try:
            for answer in self.client.models.generate_content_stream(**asked) if stream else [self.client.models.generate_content(**asked)]:
                self.read(answer, seen)
        except google.genai.errors.APIError as error:
            seen.error = (error.code, error.message)
        if seen.finish == "stop" and seen.calls:
            seen.finish = "tool_calls"

    def read(self, answer, seen):
        for candidate in answer.candidates or []:
            for part in (candidate.content and candidate.content.parts) or []:
                if part.function_call:
                    seen.calls.append((part.function_call.name, part.function_call.args or {}))
                elif part.text and part.thought:
                    seen.reasoning += part.text
                elif part.text:
                    seen.text += part.text
            if candidate.finish_reason:
                seen.finish = self.FINISH.get(candidate.finish_reason.value, "content_filter")
        if usage := answer.usage_metadata:
            given = (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0)
            seen.usage = (given, (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0))
            seen.cached = usage.cached_content_token_count


class Bedrock:
    FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls",
              "guardrail_intervened": "content_filter", "content_filtered": "content_filter"}

    def __init__(self, url, key):
        # boto3 sends a bearer token over https alone; over http it shows the key as the id of one that it signs with.
        config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=20)
        self.client = boto3.client("bedrock-runtime", endpoint_url=url, region_name="us-east-1", config=config, aws_access_key_id=key, aws_secret_access_key="unused")

    def ask(self, model, stream, seen):
        asked = {"modelId": model, "messages": [{"role": "user", "content": [{"text": QUESTION}]}]}
        try:
            self.stream(asked, seen) if stream else self.whole(asked, seen)
        except botocore.exceptions.EventStreamError as error:
            seen.error = (None, error.response["Error"]["Message"])
        except botocore.exceptions.ClientError as error:
            seen.error = (error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Message"])

    def usage(self, seen, usage):
        seen.cached = usage.get("cacheReadInputTokens")
        seen.usage = (usage["inputTokens"] + (seen.cached or 0) + (usage.get("cacheWriteInputTokens") or 0), usage["outputTokens"])

    def whole(self, asked, seen):
        answer = self.client.converse(**asked)
        seen.finish = self.FINISH.get(answer["stopReason"], answer["stopReason"])
        for block in answer["output"]["message"]["content"]:
            if "text" in block:
                seen.text += block["text"]
            elif "citationsContent" in block:
                seen.text += "".join(part["text"] for part in block["citationsContent"].get("content", []))
            elif "toolUse" in block:
                seen.calls.append((block["toolUse"]["name"], block["toolUse"]["input"]))
            elif "reasoningText" in block.get("reasoningContent", {}):
                seen.reasoning += block["reasoningContent"]["reasoningText"]["text"]
        self.usage(seen, answer["usage"])

    def stream(self, asked, seen):
        calls = {}
        for event in self.client.converse_stream(**asked)["stream"]:
            if start := event.get("contentBlockStart"):
                if "toolUse" in start["start"]:
                    calls[start["contentBlockIndex"]] = [start["start"]["toolUse"]["name"], ""]
            elif block := event.get("contentBlockDelta"):
                delta = block["delta"]
                seen.text += delta.get("text", "")
                seen.reasoning += delta.get("reasoningContent", {}).get("text", "")
                if "toolUse" in delta:
                    calls[block["contentBlockIndex"]][1] += delta["toolUse"]["input"]
            elif stop := event.get("messageStop"):
                seen.finish = self.FINISH.get(stop["stopReason"], stop["stopReason"])
            elif metadata := event.get("metadata"):
                self.usage(seen, metadata["usage"])
        seen.calls = [(name, arguments(text)) for name, text in calls.values()]


class Cohere:
    FINISH = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}

    def __init__(self, url, key):
        self.client = cohere.ClientV2(api_key=key, base_url=url, timeout=20)

    def ask(self, model, stream, seen):
        asked = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "request_options": {"max_retries": 0}}
        try:
            self.stream(asked, seen) if stream else self.whole(asked, seen)
        except cohere.core.ApiError as error:
            seen.error = (error.status_code, str(error.body))

    def usage(self, seen, usage):
        tokens = usage and (usage.tokens or usage.billed_units)
        if tokens:
            seen.usage = (int(tokens.input_tokens or 0), int(tokens.output_tokens or 0))
            seen.cached = usage.cached_tokens and int(usage.cached_tokens)

    def whole(self, asked, seen):
        answer = self.client.chat(**asked)
        seen.finish = self.FINISH.get(answer.finish_reason, "content_filter")
        for block in answer.message.content or []:
            if block.type == "text":
                seen.text += block.text
            else:
                seen.reasoning += block.thinking
        seen.reasoning += answer.message.tool_plan or ""
        seen.calls = [(call.function.name, arguments(call.function.arguments)) for call in answer.message.tool_calls or []]
        self.usage(seen, answer.usage)

    def stream(self, asked, seen):
        calls = {}
        for event in self.client.chat_stream(**asked):
            message = getattr(getattr(event, "delta", None), "message", None)
            if event.type == "content-delta":
                seen.text += message.content.text or ""
                seen.reasoning += getattr(message.content, "thinking", None) or ""
            elif event.type == "tool-plan-delta":
                seen.reasoning += message.tool_plan
            elif event.type == "tool-call-start":
                calls[event.index] = [message.tool_calls.function.name, message.tool_calls.function.arguments or ""]
            elif event.type == "tool-call-delta":
                calls[event.index][1] += message.tool_calls.function.arguments
            elif event.type == "message-end":
                if getattr(event.delta, "error", None):
                    seen.error = (None, event.delta.error)
                    return
                seen.finish = self.FINISH.get(event.delta.finish_reason, "content_filter")
                self.usage(seen, event.delta.usage)
        seen.calls = [(name, arguments(text)) for name, text in calls.values()]


class Ollama:
    FINISH = {"refusal": "content_filter"}

    def __init__(self, url, key):
        self.client = ollama.Client(host=url, headers={"Authorization": f"Bearer {key}"}, timeout=20)

    def ask(self, model, stream, seen):
        try:
            answer = self.client.chat(model=model, messages=[{"role": "user", "content": QUESTION}], stream=stream)
            for part in answer if stream else [answer]:
                seen.text += part.message.content or ""
                seen.reasoning += part.message.thinking or ""
                seen.calls += [(call.function.name, dict(call.function.arguments)) for call in part.message.tool_calls or []]
                seen.finish = self.FINISH.get(part.done_reason, part.done_reason) or seen.finish
                if part.done:
                    seen.usage = (part.prompt_eval_count or 0, part.eval_count or 0)
        except ollama.ResponseError as error:
            seen.error = (error.status_code, error.error)
        except httpx.HTTPError as error:
            seen.error = (None, str(error))
        if seen.finish == "stop" and seen.calls:
            seen.finish = "tool_calls"


CLIENTS = {
    "openai_chat": OpenAiChat, "openai_responses": OpenAiResponses, "anthropic_messages": Anthropic, "gemini": Gemini,
    "bedrock_converse": Bedrock, "cohere_v2": Cohere, "ollama": Ollama,
}
