//! The events of a streamed response, in OpenAI's order.

use async_openai::types::responses::{
    OutputContent, OutputItem, OutputStatus, Response, ResponseCompletedEvent, ResponseContentPartAddedEvent, ResponseContentPartDoneEvent,
    ResponseCreatedEvent, ResponseFunctionCallArgumentsDeltaEvent, ResponseFunctionCallArgumentsDoneEvent, ResponseInProgressEvent,
    ResponseIncompleteEvent, ResponseOutputItemAddedEvent, ResponseOutputItemDoneEvent, ResponseStreamEvent, ResponseTextDeltaEvent,
    ResponseTextDoneEvent,
};

use super::responses::{Told, message, output_text};
use super::to_value;

/// The text of the whole stream.
pub(super) fn events(told: &Told<'_>) -> String {
    let mut events = Events { told, count: 0, text: String::new() };
    let start = told.response(false);
    events.send(|sequence_number| ResponseStreamEvent::ResponseCreated(ResponseCreatedEvent { sequence_number, response: start.clone() }));
    events.send(|sequence_number| ResponseStreamEvent::ResponseInProgress(ResponseInProgressEvent { sequence_number, response: start }));
    match &told.item {
        OutputItem::FunctionCall(call) => {
            let item = OutputItem::FunctionCall(async_openai::types::responses::FunctionToolCall {
                arguments: String::new(),
                status: Some(OutputStatus::InProgress),
                ..call.clone()
            });
            events.item_added(item);
            events.arguments(&call.name, &call.arguments);
        }
        _ => {
            events.item_added(message(&told.item_id, Vec::new(), OutputStatus::InProgress));
            events.message_text();
        }
    }
    events.send(|sequence_number| {
        ResponseStreamEvent::ResponseOutputItemDone(ResponseOutputItemDoneEvent {
            sequence_number,
            output_index: 0,
            item: told.item.clone(),
        })
    });
    let response: Response = told.response(true);
    events.send(|sequence_number| match told.is_cut {
        true => ResponseStreamEvent::ResponseIncomplete(ResponseIncompleteEvent { sequence_number, response }),
        false => ResponseStreamEvent::ResponseCompleted(ResponseCompletedEvent { sequence_number, response }),
    });
    events.text
}

struct Events<'a> {
    told: &'a Told<'a>,
    count: u64,
    text: String,
}

// === impl Events ===

impl Events<'_> {
    fn send(&mut self, event: impl FnOnce(u64) -> ResponseStreamEvent) {
        let event = event(self.count);
        self.count += 1;
        let mut value = to_value(&event);
        let whole = match &event {
            ResponseStreamEvent::ResponseCreated(event) => Some(&event.response),
            ResponseStreamEvent::ResponseInProgress(event) => Some(&event.response),
            ResponseStreamEvent::ResponseCompleted(event) => Some(&event.response),
            ResponseStreamEvent::ResponseIncomplete(event) => Some(&event.response),
            _ => None,
        };
        if let Some(response) = whole {
            value["response"] = self.told.as_json(response);
        }
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|_, field| !field.is_null());
        }
        let name = value["type"].as_str().unwrap_or_default();
        self.text.push_str(&format!("event: {name}\ndata: {value}\n\n"));
    }

    fn item_added(&mut self, item: OutputItem) {
        self.send(|sequence_number| {
            ResponseStreamEvent::ResponseOutputItemAdded(ResponseOutputItemAddedEvent { sequence_number, output_index: 0, item })
        });
    }

    fn arguments(&mut self, name: &str, arguments: &str) {
        let item_id = &self.told.item_id;
        for delta in &self.told.pieces {
            self.send(|sequence_number| {
                ResponseStreamEvent::ResponseFunctionCallArgumentsDelta(ResponseFunctionCallArgumentsDeltaEvent {
                    sequence_number,
                    item_id: item_id.clone(),
                    output_index: 0,
                    delta: delta.clone(),
                })
            });
        }
        self.send(|sequence_number| {
            ResponseStreamEvent::ResponseFunctionCallArgumentsDone(ResponseFunctionCallArgumentsDoneEvent {
                name: Some(name.to_owned()),
                sequence_number,
                item_id: item_id.clone(),
                output_index: 0,
                arguments: arguments.to_owned(),
            })
        });
    }

    fn message_text(&mut self) {
        let item_id = &self.told.item_id;
        let part = |text: String| OutputContent::OutputText(output_text(text));
        self.send(|sequence_number| {
            ResponseStreamEvent::ResponseContentPartAdded(ResponseContentPartAddedEvent {
                sequence_number,
                item_id: item_id.clone(),
                output_index: 0,
                content_index: 0,
                part: part(String::new()),
            })
        });
        for delta in &self.told.pieces {
            self.send(|sequence_number| {
                ResponseStreamEvent::ResponseOutputTextDelta(ResponseTextDeltaEvent {
                    sequence_number,
                    item_id: item_id.clone(),
                    output_index: 0,
                    content_index: 0,
                    delta: delta.clone(),
                    logprobs: Some(Vec::new()),
                })
            });
        }
        let whole = self.told.pieces.concat();
        self.send(|sequence_number| {
            ResponseStreamEvent::ResponseOutputTextDone(ResponseTextDoneEvent {
                sequence_number,
                item_id: item_id.clone(),
                output_index: 0,
                content_index: 0,
                text: whole.clone(),
                logprobs: Some(Vec::new()),
            })
        });
        self.send(|sequence_number| {
            ResponseStreamEvent::ResponseContentPartDone(ResponseContentPartDoneEvent {
                sequence_number,
                item_id: item_id.clone(),
                output_index: 0,
                content_index: 0,
                part: part(whole),
            })
        });
    }
}
