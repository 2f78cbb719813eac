"""What a chat request means, read from each dialect's body into one plain form, so that two bodies can be compared."""

import base64
import dataclasses
import hashlib
import json
import re

# What stands where a dialect wants some text.
FILLERS = {"", ".", "The result is in the next message.", "See attached document(s).", "See the attached document(s).", "See the attached file(s).", "See attached file(s)."}
# Built-in tools by the names that dialects give them.
BUILTIN = {
    "web_search": "web_search", "web_search_preview": "web_search", "web_search_20250305": "web_search", "web_search_20260209": "web_search",
    "googleSearch": "web_search", "google_search": "web_search", "code_interpreter": "code", "codeExecution": "code", "code_execution": "code",
    "urlContext": "web_fetch", "url_context": "web_fetch", "nova_code_interpreter": "code",
}


@dataclasses.dataclass
class Meaning:
    """`turns` are atoms in order: ("user", "text", …), ("assistant", "call", name, arguments), ("tool", "result", text), …"""

    system: str = ""
    turns: list = dataclasses.field(default_factory=list)
    tools: dict = dataclasses.field(default_factory=dict)
    builtin: set = dataclasses.field(default_factory=set)
    choice: object = None
    # The tools that may be called, where not all may.
    allowed: set = dataclasses.field(default_factory=set)
    schema: object = None
    limits: dict = dataclasses.field(default_factory=dict)
    # Documents that are plain text, by their print: the title that they were given, and the text.
    plain: dict = dataclasses.field(default_factory=dict)

    def document(self, role, text, title=""):
        """A document that is plain text: where a dialect knows none, its words may stand as text, below its title."""
        self.plain[print_of(text)] = (squeeze(title or ""), squeeze(text))
        self.add(role, "document", print_of(text))

    def add(self, role, kind, *what):
        if kind == "result":
            what = (result_text(what[0]),)
            what = ("",) if what[0].strip() in FILLERS else what
        if kind == "text" and what[0].strip() in FILLERS:
            return
        if kind in ("text", "result") and not what[-1]:
            if kind == "text":
                return
        # Dialects in which the user comes first are given an empty word of theirs.
        last = self.turns[-1] if self.turns else None
        # Neighbouring texts of one side are one: dialects that want alternating roles merge them.
        if kind == "text" and last and last[:2] == (role, "text"):
            self.turns[-1] = (role, "text", squeeze(last[2] + what[0]))
        else:
            self.turns.append((role, kind, *(squeeze(part) if kind in ("text", "result") else part for part in what)))

    def instruct(self, text):
        self.system = squeeze(self.system + text)

    def tool(self, name, description, schema):
        self.tools[name] = (squeeze(description or ""), fields_of(schema))


def squeeze(text):
    """Without white space, in which dialects that join texts may differ."""
    return re.sub(r"\s+", "", text)


def fields_of(schema):
    """The names and types of a schema's fields, as deep as they go; enough to see whether a schema arrived."""
    if not isinstance(schema, dict):
        return ()
    found = []
    for name, field in sorted((schema.get("properties") or {}).items()):
        kind = field.get("type") if isinstance(field, dict) else None
        kind = kind.lower() if isinstance(kind, str) else None
        found.append((name, kind, fields_of(field) or fields_of(field.get("items")) if isinstance(field, dict) else ()))
    return (tuple(found), tuple(sorted(schema.get("required") or [])))


def print_of(data):
    """What media says, short: its text where it is text, its base64, what its URL is answered with here, or its URL."""
    data = re.sub(r"^data:[^,]*,", "", data or "")
    if data.startswith(FETCHED):
        data = base64.b64encode(media_at(data)).decode()
    data = data.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(data + "=" * (-len(data) % 4), validate=True).decode()
    except ValueError:
        pass
    return hashlib.sha1(data.encode()).hexdigest()[:12]


def media_at(url):
    """What the provider of the tests answers to a URL of its own: bytes that are no text."""
    return b"\xff" + url.encode()


def with_own_urls(body, base):
    """A request whose media is named by URLs that can be fetched here."""
    def own(found):
        kind = re.search(r"\.(png|jpe?g|webp|webm|gif|pdf|wav|mp3|mp4|mkv|txt|csv|md)$", found[1].split("?")[0])
        return json.dumps(f"{base}/media/{hashlib.sha1(found[1].encode()).hexdigest()[:8]}.{kind[1] if kind else 'png'}")

    return json.loads(re.sub(r'(?<=: )"(https://[^"\s]+)"', own, json.dumps(body)))


FETCHED = "http://127.0.0.1"


def as_object(arguments):
    if isinstance(arguments, str):
        try:
            return json.dumps(json.loads(arguments or "{}"), sort_keys=True)
        except ValueError:
            return squeeze(arguments)
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
    return json.dumps(block, sort_keys=True) if block.get("type") == "tool_reference" else ""


def limit(meaning, name, value):
    if value is not None:
        meaning.limits[name] = value


def openai_chat(body, _path=""):
    meaning = Meaning()
    for message in body["messages"]:
        role, content = message["role"], message.get("content")
        if role in ("system", "developer"):
            meaning.instruct(texts(content))
            continue
        if role in ("tool", "function"):
            meaning.add("tool", "result", texts(content))
            continue
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or []:
            match part["type"]:
                case "text":
                    meaning.add(role, "text", part["text"])
                case "refusal":
                    meaning.add(role, "text", part["refusal"])
                case "image_url":
                    url = part["image_url"]
                    meaning.add(role, "image", print_of(url if isinstance(url, str) else url["url"]))
                case "input_audio":
                    meaning.add(role, "audio", print_of(part["input_audio"]["data"]))
                case "file":
                    meaning.add(role, "document", print_of(part["file"].get("file_data") or part["file"].get("file_id")))
                case "document_url":
                    meaning.add(role, "document", print_of(part["document_url"]))
                case "video_url":
                    meaning.add(role, "video", print_of(part["video_url"]["url"]))
        for call in message.get("tool_calls") or []:
            inner = call.get("function") or {"name": call["custom"]["name"], "arguments": call["custom"]["input"]}
            meaning.add(role, "call", inner["name"], as_object(inner["arguments"]))
    for tool in body.get("tools") or []:
        # Mistral's tools may leave out what they are.
        kind = tool.get("type", "function")
        inner = tool.get(kind) or {}
        if kind in ("function", "custom"):
            meaning.tool(inner["name"], inner.get("description"), inner.get("parameters"))
        else:
            meaning.builtin.add(BUILTIN.get(kind, kind))
    if body.get("web_search_options") is not None:
        meaning.builtin.add("web_search")
    choice = body.get("tool_choice")
    meaning.choice, meaning.allowed = openai_choice(choice), openai_allowed(choice)
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        meaning.schema = fields_of(form["json_schema"].get("schema"))
    limit(meaning, "max_output", body.get("max_completion_tokens") or body.get("max_tokens"))
    common_limits(meaning, body)
    return meaning


def openai_choice(choice):
    """A mode, a tool's name, or the mode of several allowed ones; `any` is Mistral's."""
    if isinstance(choice, dict):
        inner = choice.get(choice.get("type"))
        inner = inner if isinstance(inner, dict) else choice
        return {"any": "required"}.get(inner.get("mode"), inner.get("mode") or inner.get("name"))
    return {"any": "required"}.get(choice, choice)


def openai_allowed(choice):
    if not isinstance(choice, dict):
        return set()
    inner = choice.get(choice.get("type"))
    inner = inner if isinstance(inner, dict) else choice
    return {(tool.get("function") or tool).get("name") for tool in inner.get("tools") or []} or {inner.get("name")}


def common_limits(meaning, body, temperature="temperature", top_p="top_p", stop="stop"):
    limit(meaning, "temperature", body.get(temperature))
    limit(meaning, "top_p", body.get(top_p))
    stops = body.get(stop)
    limit(meaning, "stop", [stops] if isinstance(stops, str) else stops or None)


def openai_responses(body, _path=""):
    meaning = Meaning()
    if body.get("instructions"):
        meaning.instruct(body["instructions"])
    items = body.get("input") or []
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        kind, role = item.get("type", "message"), item.get("role")
        if kind == "message" and role in ("system", "developer"):
            meaning.instruct(texts(item["content"]))
        elif kind == "message":
            for part in [{"type": "input_text", "text": item["content"]}] if isinstance(item["content"], str) else item["content"]:
                match part["type"]:
                    case "input_text" | "output_text" | "text":
                        meaning.add(role, "text", part["text"])
                    case "refusal":
                        meaning.add(role, "text", part["refusal"])
                    case "input_image":
                        meaning.add(role, "image", print_of(part.get("image_url") or part.get("file_id")))
                    case "input_audio":
                        meaning.add(role, "audio", print_of(part["input_audio"]["data"]))
                    case "input_file":
                        meaning.add(role, "document", print_of(part.get("file_data") or part.get("file_url") or part.get("file_id")))
        elif kind in ("function_call", "custom_tool_call"):
            meaning.add("assistant", "call", item["name"], as_object(item.get("arguments", item.get("input"))))
        elif kind in ("function_call_output", "custom_tool_call_output"):
            meaning.add("tool", "result", texts(item["output"]))
            for part in item["output"] if isinstance(item["output"], list) else []:
                if part["type"] == "input_image":
                    meaning.add("user", "image", print_of(part.get("image_url")))
                elif part["type"] == "input_file":
                    meaning.add("user", "document", print_of(part.get("file_data") or part.get("file_url")))
    for tool in body.get("tools") or []:
        if tool["type"] in ("function", "custom"):
            meaning.tool(tool["name"], tool.get("description"), tool.get("parameters"))
        else:
            meaning.builtin.add(BUILTIN.get(tool["type"], tool["type"]))
    choice = body.get("tool_choice")
    meaning.choice, meaning.allowed = openai_choice(choice), openai_allowed(choice)
    form = (body.get("text") or {}).get("format") or {}
    if form.get("type") == "json_schema":
        meaning.schema = fields_of(form.get("schema"))
    limit(meaning, "max_output", body.get("max_output_tokens"))
    common_limits(meaning, body)
    return meaning


def anthropic_media(meaning, role, block):
    source = block["source"]
    if source["type"] in ("text", "content"):
        meaning.document(role, source.get("data") or texts(source.get("content")), block.get("title"))
    else:
        meaning.add(role, block["type"], print_of(source.get("data") or source.get("url") or source.get("file_id")))


def anthropic_messages(body, _path=""):
    meaning = Meaning()
    meaning.instruct(texts(body.get("system")))
    for message in body["messages"]:
        role, content = message["role"], message["content"]
        if role == "system":
            meaning.instruct(texts(content))
            continue
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            match block["type"]:
                case "text":
                    meaning.add(role, "text", block["text"])
                case "image" | "document":
                    anthropic_media(meaning, role, block)
                case "tool_use":
                    meaning.add(role, "call", block["name"], as_object(block["input"]))
                case "tool_result":
                    inner = block.get("content")
                    meaning.add("tool", "result", texts(inner))
                    for part in inner if isinstance(inner, list) else []:
                        if part["type"] in ("image", "document"):
                            anthropic_media(meaning, "user", part)
    for tool in body.get("tools") or []:
        if tool.get("type", "custom") == "custom":
            meaning.tool(tool["name"], tool.get("description"), tool.get("input_schema"))
        else:
            meaning.builtin.add(BUILTIN.get(tool["type"], BUILTIN.get(tool.get("name"), tool["type"])))
    choice = body.get("tool_choice") or {}
    meaning.allowed = {choice["name"]} if "name" in choice else set()
    meaning.choice = {"any": "required"}.get(choice.get("type"), choice.get("name") or choice.get("type"))
    form = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    if form.get("type") == "json_schema":
        meaning.schema = fields_of(form.get("schema"))
    limit(meaning, "max_output", body.get("max_tokens"))
    common_limits(meaning, body, stop="stop_sequences")
    return meaning


def snake(value, keep=()):
    """A body with all names in snake case; below the names in `keep` nothing is touched."""
    if isinstance(value, list):
        return [snake(part, keep) for part in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for name, part in value.items():
        named = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match[1].lower(), name)
        out[named] = part if named in keep else snake(part, keep)
    return out


def gemini(body, _path=""):
    schemas = ("parameters", "parameters_json_schema", "response_schema", "response_json_schema", "args", "response")
    body, meaning = snake(body, schemas), Meaning()
    instruction = body.get("system_instruction")
    meaning.instruct(texts(instruction.get("parts")) if isinstance(instruction, dict) else texts(instruction))
    contents = body["contents"]
    for content in contents if isinstance(contents, list) else [contents]:
        role = {"model": "assistant"}.get(content.get("role"), "user")
        for part in content.get("parts") or []:
            if call := part.get("function_call"):
                meaning.add(role, "call", call["name"], as_object(call.get("args")))
            elif result := part.get("function_response"):
                meaning.add("tool", "result", result_text(result.get("response")))
                for inner in result.get("parts") or []:
                    data = inner.get("inline_data") or {}
                    meaning.add("user", kind_of(data.get("mime_type")), print_of(data.get("data")))
            elif data := part.get("inline_data") or part.get("file_data"):
                meaning.add(role, kind_of(data.get("mime_type")), print_of(data.get("data") or data.get("file_uri")))
            elif part.get("text") and not part.get("thought"):
                meaning.add(role, "text", part["text"])
    for tool in body.get("tools") or []:
        for name, inner in tool.items():
            if name == "function_declarations":
                for function in inner:
                    schema = function.get("parameters_json_schema") or function.get("parameters")
                    meaning.tool(function["name"], function.get("description"), schema)
            elif inner is not None:
                meaning.builtin.add(BUILTIN.get(name, name))
    calling = (body.get("tool_config") or {}).get("function_calling_config") or {}
    names = calling.get("allowed_function_names") or []
    meaning.allowed = set(names)
    mode = (calling.get("mode") or "").lower()
    meaning.choice = names[0] if mode == "any" and len(names) == 1 else {"any": "required", "validated": "auto"}.get(mode, mode or None)
    config = body.get("generation_config") or {}
    if schema := config.get("response_json_schema") or config.get("response_schema"):
        meaning.schema = fields_of(schema)
    limit(meaning, "max_output", config.get("max_output_tokens"))
    common_limits(meaning, config, stop="stop_sequences")
    return meaning


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
            return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return response if isinstance(response, str) else json.dumps(response, sort_keys=True)


def kind_of(mime):
    kind = (mime or "").split("/")[0]
    return kind if kind in ("image", "audio", "video") else "document"


def bedrock_converse(body, _path=""):
    meaning = Meaning()
    meaning.instruct("".join(block.get("text", "") for block in body.get("system") or []))
    for message in body["messages"]:
        role = message["role"]
        for block in message["content"]:
            bedrock_block(meaning, role, block)
    config = body.get("toolConfig") or {}
    for tool in config.get("tools") or []:
        if spec := tool.get("toolSpec"):
            meaning.tool(spec["name"], spec.get("description"), spec["inputSchema"]["json"])
        elif system := tool.get("systemTool"):
            meaning.builtin.add(BUILTIN.get(system["name"], system["name"]))
    choice = config.get("toolChoice") or {}
    meaning.allowed = {name for name in [choice.get("tool", {}).get("name")] if name}
    meaning.choice = choice.get("tool", {}).get("name") or ("required" if "any" in choice else "auto" if "auto" in choice else None)
    form = ((body.get("outputConfig") or {}).get("textFormat") or {}).get("structure") or {}
    if schema := (form.get("jsonSchema") or {}).get("schema"):
        meaning.schema = fields_of(json.loads(schema))
    inference = body.get("inferenceConfig") or {}
    limit(meaning, "max_output", inference.get("maxTokens"))
    common_limits(meaning, inference, top_p="topP", stop="stopSequences")
    return meaning


def bedrock_block(meaning, role, block):
    if "text" in block:
        meaning.add(role, "text", block["text"])
    elif "toolUse" in block and block["toolUse"].get("type") == "server_tool_use" or block.get("toolResult", {}).get("type"):
        return
    elif "toolUse" in block:
        meaning.add(role, "call", block["toolUse"]["name"], as_object(block["toolUse"]["input"]))
    elif "toolResult" in block:
        inner = block["toolResult"].get("content") or []
        meaning.add("tool", "result", texts(inner))
        for part in inner:
            if not ("text" in part or "json" in part):
                bedrock_block(meaning, "user", part)
    for kind in ("image", "document", "video", "audio"):
        if kind in block:
            source = block[kind]["source"]
            plain = source.get("text") or texts(source.get("content")) or plain_bytes(block[kind])
            if plain:
                meaning.document(role, plain, block[kind].get("name"))
            else:
                meaning.add(role, kind, print_of(source.get("bytes") or (source.get("s3Location") or {}).get("uri")))


def plain_bytes(document):
    """The text of a file of Bedrock's that is plain text."""
    is_text = document.get("format") in ("txt", "md", "csv", "html")
    return base64.b64decode(document["source"].get("bytes") or "").decode() if is_text else ""


def cohere_v2(body, _path=""):
    meaning = Meaning()
    for document in body.get("documents") or []:
        document = {"data": document} if isinstance(document, str) else document
        title = document["data"].get("title") if isinstance(document["data"], dict) else None
        meaning.document("user", cohere_document(document), title)
    for message in body["messages"]:
        role, content = message["role"], message.get("content")
        if role == "system":
            meaning.instruct(texts(content))
        elif role == "tool":
            parts = content if isinstance(content, list) else []
            text = "".join(cohere_document(part["document"]) if part["type"] == "document" else part["text"] for part in parts)
            meaning.add("tool", "result", text if parts else content or "")
        else:
            meaning.add(role, "text", message.get("tool_plan") or "")
            for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or []:
                if part["type"] == "text":
                    meaning.add(role, "text", part["text"])
                elif part["type"] == "image_url":
                    meaning.add(role, "image", print_of(part["image_url"]["url"]))
            for call in message.get("tool_calls") or []:
                meaning.add(role, "call", call["function"]["name"], as_object(call["function"]["arguments"]))
    for tool in body.get("tools") or []:
        meaning.tool(tool["function"]["name"], tool["function"].get("description"), tool["function"].get("parameters"))
    meaning.choice = (body.get("tool_choice") or "").lower() or None
    form = body.get("response_format") or {}
    if schema := form.get("json_schema") or form.get("schema"):
        meaning.schema = fields_of(schema)
    limit(meaning, "max_output", body.get("max_tokens"))
    common_limits(meaning, body, top_p="p", stop="stop_sequences")
    return meaning


def cohere_document(document):
    """The words of a document: all that it has but for its title, where that is one text; else its fields."""
    data = document.get("data")
    if isinstance(data, str):
        return data
    words = [value for name, value in data.items() if name in ("text", "content", "snippet", "data")]
    alone = len(words) == 1 and isinstance(words[0], str) and set(data) <= {"text", "content", "snippet", "data", "title"}
    return words[0] if alone else json.dumps(data, sort_keys=True)


def ollama(body, _path=""):
    meaning = Meaning()
    for message in body["messages"]:
        role = message["role"]
        if role == "system":
            meaning.instruct(message.get("content") or "")
        elif role == "tool":
            meaning.add("tool", "result", message.get("content") or "")
        else:
            meaning.add(role, "text", message.get("content") or "")
            for image in message.get("images") or []:
                meaning.add(role, "image", print_of(image))
            for call in message.get("tool_calls") or []:
                meaning.add(role, "call", call["function"]["name"], as_object(call["function"]["arguments"]))
    for tool in body.get("tools") or []:
        meaning.tool(tool["function"]["name"], tool["function"].get("description"), tool["function"].get("parameters"))
    if isinstance(body.get("format"), dict):
        meaning.schema = fields_of(body["format"])
    options = body.get("options") or {}
    limit(meaning, "max_output", options.get("num_predict"))
    common_limits(meaning, options)
    return meaning


READ = {name: globals()[name] for name in (
    "openai_chat", "openai_responses", "anthropic_messages", "gemini", "bedrock_converse", "cohere_v2", "ollama")}


def differences(sent, arrived, named):
    """How what arrived differs from what was sent, but for what the gateway named as dropped."""
    found = []
    sent_turns, arrived_turns = without_told_documents(sent, arrived)
    if sent.system and sent.system not in arrived.system:
        # A dialect without instructions in the middle may tell them as the user's.
        if sent.system not in arrived.system + "".join(turn[2] for turn in arrived.turns if turn[1] == "text"):
            found.append(f"system: {sent.system[:60]!r} became {arrived.system[:60]!r}")
    if without_media_order(sent_turns) != without_media_order(arrived_turns):
        found.append("turns: " + first_difference(without_media_order(sent_turns), without_media_order(arrived_turns)))
    for name, tool in sent.tools.items():
        # Where only some tools may be called, the others need not be offered.
        is_allowed = sent.choice != "none" if not sent.allowed else name in sent.allowed
        if name not in arrived.tools and not is_allowed:
            continue
        if name not in arrived.tools:
            found.append(f"tool {name} is missing")
        elif tool != arrived.tools[name]:
            found.append(f"tool {name}: {tool} became {arrived.tools[name]}")
    if lost := {tool for tool in sent.builtin - arrived.builtin if not any(tool.split("_")[0] in name or name == "tools.builtin" for name in named)}:
        found.append(f"built-in tools {sorted(lost)} are missing, and not named")
    alone = arrived.choice == "required" and list(arrived.tools) == [sent.choice]
    if sent.choice not in (None, "auto", arrived.choice) and not alone and not any("tool_choice" in name for name in named):
        found.append(f"tool choice {sent.choice} became {arrived.choice}")
    if sent.schema and sent.schema != arrived.schema and not any("format" in name for name in named):
        found.append("the output's schema did not arrive")
    for name, value in sent.limits.items():
        if value != arrived.limits.get(name) and not any(name in dropped for dropped in named):
            found.append(f"{name} {value} became {arrived.limits.get(name)}")
    return found


def without_told_documents(sent, arrived):
    """The turns without the plain-text documents whose every word arrived as text, below the title or alone."""
    left, turns = [], list(arrived.turns)
    for turn in sent.turns:
        title, text = sent.plain.get(turn[2], ("", "")) if turn[1] == "document" else ("", "")
        place = next((number for number, told in enumerate(turns) if text and told[1] in ("text", "result") and text in told[2]), None)
        if place is None or any(told[1:] == turn[1:] for told in turns):
            left.append(turn)
            continue
        told = f"{title}:{text}" if f"{title}:{text}" in turns[place][2] else text
        turns[place] = (*turns[place][:2], turns[place][2].replace(told, "", 1))
    # What was nothing but a document is no turn without it.
    return left, [turn for turn in turns if turn[1] != "text" or turn[2] not in FILLERS]


def without_media_order(turns):
    """Media of a tool's result may stand in it or after it: they are compared by side, after all other atoms."""
    media = [(turn[1], turn[2]) for turn in turns if turn[1] in ("image", "document", "audio", "video")]
    rest = []
    for turn in turns:
        if turn[1] in ("image", "document", "audio", "video"):
            continue
        if turn[1] == "text" and rest and rest[-1][:2] == turn[:2]:
            rest[-1] = (*turn[:2], rest[-1][2] + turn[2])
        else:
            rest.append(turn)
    return rest + sorted(media)


def first_difference(sent, arrived):
    for number, (one, other) in enumerate(zip(sent, arrived)):
        if one != other:
            return f"{number}: {str(one)[:120]} became {str(other)[:120]}"
    longer, word = (sent, "is missing") if len(sent) > len(arrived) else (arrived, "was added")
    return f"{str(longer[min(len(sent), len(arrived))])[:120]} {word}"
