//! Recorded traffic of real providers, read and written again.

use serde_json::{Value, json};

use super::*;
use crate::dialect::gemini::messages::is_placeholder;

/// Beside the repository, or beside the folder of its worktrees.
const TRAFFIC: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/traffic/gemini.jsonl"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traffic/gemini.jsonl"),
];

fn cases() -> Vec<Value> {
    let Some(text) = TRAFFIC.iter().find_map(|path| std::fs::read_to_string(path).ok()) else {
        eprintln!("skipped: there is no recorded traffic at {TRAFFIC:?}");
        return Vec::new();
    };
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|case| case["op"] == "chat").collect()
}

/// Neighbouring pieces of the same block joined: tearing may not change anything else.
fn answer_of(case: &Value) -> Answer {
    let response = &case["response"];
    match response.get("text").and_then(Value::as_str) {
        Some(text) => collect(read_stream(&[text.as_bytes()])),
        None => Gemini.decode_answer(response["body"].to_string().as_bytes()).unwrap(),
    }
}

/// A request's body as far as it means something: one spelling, one form of each shorthand.
fn meaning(value: &Value) -> Value {
    let mut body = spelled(value);
    let object = body.as_object_mut().unwrap();
    object.remove("model");
    // Text alone is the default.
    if let Some(config) = object.get_mut("generationConfig").and_then(Value::as_object_mut) {
        if config.get("responseModalities") == Some(&json!(["TEXT"])) {
            config.remove("responseModalities");
        }
        if config.is_empty() {
            object.remove("generationConfig");
        }
    }
    // An instruction's role means nothing.
    if let Some(instruction) = object.get_mut("systemInstruction").and_then(Value::as_object_mut) {
        instruction.remove("role");
    }
    let mut contents: Vec<Value> = Vec::new();
    for content in object["contents"].as_array().unwrap() {
        let mut content = content.clone();
        content.as_object_mut().unwrap().entry("role").or_insert(json!("user"));
        for part in content["parts"].as_array_mut().unwrap() {
            if let Some(call) = part.get_mut("functionCall").and_then(Value::as_object_mut) {
                call.entry("args").or_insert(json!({}));
            }
        }
        match contents.last_mut().filter(|last| last["role"] == content["role"]) {
            // Neighbours of one role are one.
            Some(last) => last["parts"].as_array_mut().unwrap().extend(content["parts"].as_array().unwrap().clone()),
            None => contents.push(content),
        }
    }
    object["contents"] = Value::Array(contents);
    // Functions may be declared one by one.
    if let Some(tools) = object.get_mut("tools").and_then(Value::as_array_mut) {
        for tool in tools.iter_mut() {
            for function in tool.get_mut("functionDeclarations").and_then(Value::as_array_mut).into_iter().flatten() {
                let function = function.as_object_mut().unwrap();
                if let Some(schema) = function.remove("parameters") {
                    function.insert("parametersJsonSchema".to_owned(), crate::dialect::gemini::schema::from_google(schema));
                }
            }
        }
        let (mut functions, mut rest): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
        for mut tool in std::mem::take(tools) {
            match tool.get_mut("functionDeclarations") {
                Some(list) => functions.append(list.as_array_mut().unwrap()),
                None => rest.push(tool),
            }
        }
        tools.push(json!({ "functionDeclarations": functions, "others": rest }));
    }
    body
}

/// camelCase outside of what the caller names, and base64 in one alphabet.
fn spelled(value: &Value) -> Value {
    const OPAQUE: [&str; 6] = ["args", "response", "parametersJsonSchema", "responseJsonSchema", "parameters", "fileSearch"];
    match value {
        Value::Object(object) => {
            let member = |(name, value): (&String, &Value)| {
                let name = crate::dialect::gemini::fields::camel(name);
                let value = match value {
                    value if OPAQUE.contains(&name.as_str()) => value.clone(),
                    Value::String(text) if name == "data" => json!(crate::dialect::gemini::carry::standard(text)),
                    value => spelled(value),
                };
                (name, value)
            };
            Value::Object(object.iter().map(member).collect())
        }
        Value::Array(list) => list.iter().map(spelled).collect(),
        other => other.clone(),
    }
}

#[test]
fn recorded_requests_keep_their_meaning() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for case in cases() {
        let body = &case["request"]["body"];
        let model = case["request"]["path"].as_str().unwrap().rsplit('/').next().unwrap().split(':').next().unwrap().to_owned();
        seen += 1;
        let (mut again, _) = encode_for(&model, &decode(body));
        // What is put there for want of a signature says nothing.
        strip_placeholders(&mut again);
        let mut given = body.clone();
        strip_placeholders(&mut given);
        if meaning(&given) != meaning(&again) {
            wrong.push(format!("{}\n{}\n{}", case["id"], meaning(&given), meaning(&again)));
        }
    }
    eprintln!("{} of {seen} recorded requests", seen - wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn strip_placeholders(body: &mut Value) {
    for part in body["contents"].as_array_mut().into_iter().flatten().flat_map(|content| content["parts"].as_array_mut().unwrap()) {
        if part.get("thoughtSignature").and_then(Value::as_str).is_some_and(is_placeholder) {
            part.as_object_mut().unwrap().remove("thoughtSignature");
        }
    }
}

#[test]
fn recorded_answers_say_what_they_said() {
    let mut wrong = Vec::new();
    let cases: Vec<Value> = cases().into_iter().filter(|case| case["truth"].get("error").is_none()).collect();
    for case in &cases {
        let (answer, truth) = (answer_of(case), &case["truth"]);
        let choice = &answer.choices[0];
        let reasoning: String = choice
            .content
            .iter()
            .filter_map(|block| if let Content::Reasoning(reasoning) = &block.content { Some(reasoning.text.as_str()) } else { None })
            .collect();
        let calls: Vec<Value> = choice
            .content
            .iter()
            .filter_map(|block| if let Content::ToolCall(call) = &block.content { Some(call) } else { None })
            .map(|call| json!({ "name": call.name, "arguments": serde_json::from_str::<Value>(&call.arguments).unwrap() }))
            .collect();
        let finish = match &choice.finish {
            Finish::Stop => json!("stop"),
            Finish::ToolCalls => json!("tool_calls"),
            Finish::Length => json!("length"),
            Finish::ContentFilter => json!("content_filter"),
            Finish::Other(name) => json!(name),
            other => json!(format!("{other:?}")),
        };
        let usage = answer.usage.unwrap();
        let cached = truth["usage"]["cached"].as_u64().unwrap_or(0);
        let mut said = json!({ "text": choice.text(), "reasoning": reasoning, "tool_calls": calls, "finish_reason": finish,
            "usage": { "input": usage.input, "output": usage.output, "cached": usage.cached } });
        let told = &truth["usage"];
        let mut expected = json!({ "text": truth["text"], "reasoning": truth["reasoning"], "tool_calls": truth["tool_calls"],
            "finish_reason": truth["finish_reason"],
            "usage": { "input": told["input"], "output": told["output"].as_u64().unwrap_or(0), "cached": cached } });
        // The truth leaves out calls whose arguments come in pieces: they are checked by a test of their own.
        if truth["builtin"].as_array().is_some_and(|list| list.contains(&json!("partialArgs"))) {
            for side in [&mut said, &mut expected] {
                side.as_object_mut().unwrap().retain(|name, _| !matches!(name.as_str(), "tool_calls" | "finish_reason"));
            }
        }
        if said != expected {
            wrong.push(format!("{}\n{said}\n{expected}", case["id"]));
        }
    }
    eprintln!("{} of {} recorded answers", cases.len() - wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn recorded_streams_torn_anywhere_read_alike() {
    for case in cases() {
        let Some(text) = case["response"].get("text").and_then(Value::as_str) else { continue };
        let whole = read_stream(&[text.as_bytes()]);
        assert!(matches!(whole.last(), Some(Event::End)), "{}", case["id"]);
        if text.len() < 4000 {
            for at in 0..text.len() {
                let (first, rest) = text.as_bytes().split_at(at);
                assert_eq!(read_stream(&[first, rest]), whole, "{} at {at}", case["id"]);
            }
        }
        for size in [1, 2, 3, 5, 7, 64, 1000] {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            assert_eq!(read_stream(&pieces), whole, "{} by {size}", case["id"]);
        }
    }
}

#[test]
fn recorded_answers_written_again_say_the_same() {
    for case in cases().into_iter().filter(|case| case["truth"].get("error").is_none()) {
        let mut answer = answer_of(&case);
        let written = Gemini.encode_answer(answer.clone(), &asked(), &mut Dropped::default());
        let again = Gemini.decode_answer(&written).unwrap();
        assert_eq!(again, answer, "{}", case["id"]);
        let (mut writer, mut out) = (Gemini.stream_writer(&asked()), Vec::new());
        answer.clone().into_events().into_iter().for_each(|event| writer.write(event, &mut out));
        let streamed = collect(read_stream(&[&out]));
        // What stands beside the candidates of a whole answer alone.
        answer.created = 0;
        answer.service_tier = None;
        answer.extra = Extra::default();
        assert_eq!(cited_where_said(streamed), answer, "{}", case["id"]);
    }
}

/// A stream tells what it cites at its end, when the text that cites it may be closed: then it stands in an empty text of its own.
fn cited_where_said(mut answer: Answer) -> Answer {
    for choice in &mut answer.choices {
        let is_late =
            |block: &Block| matches!(&block.content, Content::Text { text, citations } if text.is_empty() && !citations.is_empty());
        let Some(at) = choice.content.iter().position(is_late) else { continue };
        let Content::Text { citations: late, .. } = choice.content.remove(at).content else { unreachable!("it was found as text") };
        let last = choice
            .content
            .iter_mut()
            .rev()
            .find_map(|block| if let Content::Text { citations, .. } = &mut block.content { Some(citations) } else { None });
        last.unwrap().extend(late);
    }
    answer
}

#[test]
fn recorded_errors_are_read() {
    for case in cases().into_iter().filter(|case| case["truth"].get("error").is_some()) {
        let status = u16::try_from(case["response"]["status"].as_u64().unwrap()).unwrap();
        let trouble = Gemini.decode_trouble(status, case["response"]["body"].to_string().as_bytes());
        assert_eq!(json!(trouble.message), case["truth"]["error"]["message"]);
        assert_eq!(trouble.kind, TroubleKind::of_status(status));
    }
}
