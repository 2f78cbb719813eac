//! Google's batches and files: what a batch asks for is the key's to ask, and what their answers name is the key's to see.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Served, aim, batch};
use crate::dialect::ask::{Edit, splice};
use crate::error::Refusal;
use crate::exchange::keeping;
use crate::exchange::naming::files_named;
use crate::gateway::Gateway;
use crate::held::Kind;
use crate::key::caller::Caller;
use crate::route::Target;
use crate::upstream::Load;

/// `models.batchGenerateContent` and `models.asyncBatchEmbedContent`, as far as they are read; JSON of Google's may be in either case.
#[derive(Deserialize)]
struct Order<'a> {
    #[serde(borrow)]
    batch: Batch<'a>,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow, rename = "inputConfig", alias = "input_config")]
    input: Input<'a>,
}

#[derive(Deserialize)]
struct Input<'a> {
    #[serde(rename = "fileName", alias = "file_name")]
    file: Option<String>,
    #[serde(borrow)]
    requests: Option<Requests<'a>>,
}

#[derive(Deserialize)]
struct Requests<'a> {
    #[serde(borrow)]
    requests: Vec<Inlined<'a>>,
}

#[derive(Deserialize)]
struct Inlined<'a> {
    #[serde(borrow)]
    request: Request<'a>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

/// What an answer of a file or a batch names: itself, and the file that a batch has made.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Told {
    name: Option<String>,
    file: Option<Box<Told>>,
    metadata: Option<Box<Told>>,
    response: Option<Box<Told>>,
    output: Option<Box<Told>>,
    responses_file: Option<String>,
}

const NEED: &str = "'batch' has to be {\"inputConfig\": …} with 'fileName', a file that this key uploaded, or with 'requests.requests', a list of {\"request\": {…}}";

/// The provider that serves a batch, and the batch with the names that it has for the models.
pub(super) async fn aim(gateway: &Gateway, served: &Served, caller: &Caller, load: &mut Load, model: &str) -> Result<Vec<Target>, Refusal> {
    let Load::Json(body, _) = load else { return Err(invalid(format!("{NEED}."))) };
    let body = body.clone();
    let Order { batch } = serde_json::from_slice(&body).map_err(|e| invalid(format!("{NEED} ({e}).")))?;
    let mut kept = files_named(&body)?;
    kept.extend(batch.input.file.iter().map(|file| (Kind::File, file.clone())));
    let holder = keeping::holder(gateway, caller.id(), &kept).await?;
    let target = match (&batch.input.file, holder) {
        (None, None) => batch::target(gateway, served, caller, model, None)?,
        (None, Some(holder)) => at_holder(gateway, served, caller, model, &holder)?,
        (Some(file), _) => {
            let found = aim::holder(gateway, caller, Kind::File, file).await?;
            // Its lines may name models by themselves: whoever may send it may use any.
            found.iter().try_for_each(|target| aim::may_use_any(caller, &target.provider))?;
            let holder = found.first().map(|target| target.provider.holder()).unwrap_or_default();
            at_holder(gateway, served, caller, model, &holder)?
        }
    };
    let inlined = batch.input.requests.iter().flat_map(|all| &all.requests).map(|one| one.request.model);
    let mut edits = Vec::new();
    for raw in std::iter::once(batch.model).chain(inlined).flatten().map(RawValue::get) {
        let name: String = serde_json::from_str(raw).map_err(|_| invalid("A request's 'model' has to be a string.".to_owned()))?;
        let asked = batch::target(gateway, served, caller, name.strip_prefix("models/").unwrap_or(&name), Some(&target.provider.holder()))?;
        edits.push(Edit::of(raw, &body, &format!("models/{}", asked.model)));
    }
    *load = Load::Json(splice(&body, edits).concat().into(), None);
    Ok(vec![target])
}

/// The name of what an answer is about: `files/ID` or `batches/ID`.
pub(in crate::exchange) fn name_of(json: &[u8]) -> Option<String> {
    let told: Told = serde_json::from_slice(json).ok()?;
    told.file.and_then(|file| file.name).or(told.name)
}

/// The file that a batch has made, where its answer names one.
pub(in crate::exchange) fn file_of(batch: &[u8]) -> Option<String> {
    let told: Told = serde_json::from_slice(batch).ok()?;
    let parts = [told.metadata, told.response].into_iter().flatten();
    let within = parts.flat_map(|part| [part.output.and_then(|output| output.responses_file), part.responses_file]);
    within.flatten().next()
}

/// The model at the provider that keeps what a batch is about.
fn at_holder(gateway: &Gateway, served: &Served, caller: &Caller, model: &str, holder: &str) -> Result<Target, Refusal> {
    aim::at(gateway, holder)?;
    batch::target(gateway, served, caller, model, Some(holder))
}

fn invalid(message: String) -> Refusal {
    Refusal::invalid("invalid_value", message).with_param("batch")
}
