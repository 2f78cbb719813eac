"""The official SDKs, each unmodified but for base URL and key: asks one question and says in OpenAI's terms what it makes of the answer."""

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

    def ask(self, model, stream):
        asked = {"model": model, "messages": [{"role": "user", "content": QUESTION}]}
        try:
            return self.stream(asked) if stream else self.whole(asked)
        except openai.APIStatusError as error:
            return Seen(error=(error.status_code, error.message))
        except openai.APIError as error:
            return Seen(error=(None, error.message))

    def whole(self, asked):
        answer = self.client.chat.completions.create(**asked)
        choice, usage = answer.choices[0], answer.usage
        extra = choice.message.model_extra or {}
        calls = [(call.function.name, arguments(call.function.arguments)) for call in choice.message.tool_calls or []]
        assert answer.id and answer.model and answer.object == "chat.completion" and len({call.id for call in choice.message.tool_calls or []}) == len(calls)
        return Seen((choice.message.content or "") + (choice.message.refusal or ""), extra.get("reasoning_content") or "", calls,
                    choice.finish_reason, usage and (usage.prompt_tokens, usage.completion_tokens),
                    usage and usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens)

    def stream(self, asked):
        seen, calls = Seen(), {}
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
        return seen


class OpenAiResponses(OpenAiChat):
    def whole(self, asked):
        return self.read(self.client.responses.create(model=asked["model"], input=QUESTION))

    def stream(self, asked):
        deltas = ""
        with self.client.responses.stream(model=asked["model"], input=QUESTION) as events:
            final = None
            for number, event in enumerate(events):
                if event.type == "response.output_text.delta":
                    deltas += event.delta
                elif event.type in ("response.completed", "response.incomplete", "response.failed"):
                    final = event.response
        assert final is not None, "the stream has no last event"
        seen = self.read(final)
        text = "".join(part.text for item in final.output if item.type == "message" for part in item.content if part.type == "output_text")
        assert deltas == text, f"deltas {deltas!r} are not the text {text!r}"
        return seen

    @staticmethod
    def read(response):
        if response.error:
            return Seen(error=(None, response.error.message))
        seen = Seen()
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
        return seen


class Anthropic:
    FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter"}

    def __init__(self, url, key):
        self.client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, timeout=20)

    def ask(self, model, stream):
        asked = {"model": model, "max_tokens": 1024, "messages": [{"role": "user", "content": QUESTION}]}
        try:
            if not stream:
                return self.read(self.client.messages.create(**asked))
            with self.client.messages.stream(**asked) as events:
                return self.read(events.get_final_message())
        except anthropic.APIStatusError as error:
            return Seen(error=(error.status_code, error.message))
        except anthropic.APIError as error:
            return Seen(error=(None, error.message))

    def read(self, message):
        assert message.id and message.type == "message" and message.role == "assistant"
        seen = Seen(finish=self.FINISH.get(message.stop_reason, message.stop_reason))
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
        return seen


class Gemini:
    FINISH = {"STOP": "stop", "MAX_TOKENS": "length"}

    def __init__(self, url, key):
        options = google.genai.types.HttpOptions(base_url=url, timeout=20_000, retry_options=google.genai.types.HttpRetryOptions(attempts=1))
        self.client = google.genai.Client(api_key=key, http_options=options)

    def ask(self, model, stream):
        try:
            asked = {"model": f"models/{model}", "contents": QUESTION}
            parts = list(self.client.models.generate_content_stream(**asked)) if stream else [self.client.models.generate_content(**asked)]
        except google.genai.errors.APIError as error:
            return Seen(error=(error.code, error.message))
        seen = Seen()
        for answer in parts:
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
        if seen.finish == "stop" and seen.calls:
            seen.finish = "tool_calls"
        return seen


class Bedrock:
    FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls",
              "guardrail_intervened": "content_filter", "content_filtered": "content_filter"}

    def __init__(self, url, key):
        # boto3 sends a bearer token over https alone; over http it shows the key as the id of one that it signs with.
        config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=20)
        self.client = boto3.client("bedrock-runtime", endpoint_url=url, region_name="us-east-1", config=config, aws_access_key_id=key, aws_secret_access_key="unused")

    def ask(self, model, stream):
        asked = {"modelId": model, "messages": [{"role": "user", "content": [{"text": QUESTION}]}]}
        try:
            return self.stream(asked) if stream else self.whole(asked)
        except botocore.exceptions.EventStreamError as error:
            return Seen(error=(None, error.response["Error"]["Message"]))
        except botocore.exceptions.ClientError as error:
            return Seen(error=(error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Message"]))

    def usage(self, seen, usage):
        seen.cached = usage.get("cacheReadInputTokens")
        seen.usage = (usage["inputTokens"] + (seen.cached or 0) + (usage.get("cacheWriteInputTokens") or 0), usage["outputTokens"])

    def whole(self, asked):
        answer = self.client.converse(**asked)
        seen = Seen(finish=self.FINISH.get(answer["stopReason"], answer["stopReason"]))
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
        return seen

    def stream(self, asked):
        seen, calls = Seen(), {}
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
        return seen


class Cohere:
    FINISH = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}

    def __init__(self, url, key):
        self.client = cohere.ClientV2(api_key=key, base_url=url, timeout=20)

    def ask(self, model, stream):
        asked = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "request_options": {"max_retries": 0}}
        try:
            return self.stream(asked) if stream else self.whole(asked)
        except cohere.core.ApiError as error:
            return Seen(error=(error.status_code, str(error.body)))

    def usage(self, seen, usage):
        tokens = usage and (usage.tokens or usage.billed_units)
        if tokens:
            seen.usage = (int(tokens.input_tokens or 0), int(tokens.output_tokens or 0))
            seen.cached = usage.cached_tokens and int(usage.cached_tokens)

    def whole(self, asked):
        answer = self.client.chat(**asked)
        seen = Seen(finish=self.FINISH.get(answer.finish_reason, "content_filter"))
        for block in answer.message.content or []:
            if block.type == "text":
                seen.text += block.text
            else:
                seen.reasoning += block.thinking
        seen.reasoning += answer.message.tool_plan or ""
        seen.calls = [(call.function.name, arguments(call.function.arguments)) for call in answer.message.tool_calls or []]
        self.usage(seen, answer.usage)
        return seen

    def stream(self, asked):
        seen, calls = Seen(), {}
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
                seen.finish = self.FINISH.get(event.delta.finish_reason, "content_filter")
                self.usage(seen, event.delta.usage)
        seen.calls = [(name, arguments(text)) for name, text in calls.values()]
        return seen


class Ollama:
    def __init__(self, url, key):
        self.client = ollama.Client(host=url, headers={"Authorization": f"Bearer {key}"}, timeout=20)

    def ask(self, model, stream):
        seen = Seen()
        try:
            answer = self.client.chat(model=model, messages=[{"role": "user", "content": QUESTION}], stream=stream)
            for part in answer if stream else [answer]:
                seen.text += part.message.content or ""
                seen.reasoning += part.message.thinking or ""
                seen.calls += [(call.function.name, dict(call.function.arguments)) for call in part.message.tool_calls or []]
                seen.finish = part.done_reason or seen.finish
                if part.done:
                    seen.usage = (part.prompt_eval_count or 0, part.eval_count or 0)
        except ollama.ResponseError as error:
            return Seen(error=(error.status_code, error.error))
        except httpx.HTTPError as error:
            return Seen(error=(None, str(error)))
        if seen.finish == "stop" and seen.calls:
            seen.finish = "tool_calls"
        return seen


CLIENTS = {
    "openai_chat": OpenAiChat, "openai_responses": OpenAiResponses, "anthropic_messages": Anthropic, "gemini": Gemini,
    "bedrock_converse": Bedrock, "cohere_v2": Cohere, "ollama": Ollama,
}
