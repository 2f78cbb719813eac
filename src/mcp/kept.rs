//! Calls of who can be asked by results alone, to a server that asks in the middle of a call: the call is kept until its caller comes again.
//!
//! Source: "Multi Round-Trip Requests" of the MCP specification, revision 2026-07-28.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use rmcp::ErrorData;
use rmcp::model::{ClientRequest, InputRequests, InputRequiredResult, InputResponses, ServerResult};
use rmcp::service::ServiceError;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::calls::{Called, Way, ask, carried, heard};
use super::federation::{Asking, Link, Turn, UNMASKED};
use super::holder::Holder;
use crate::hex::hex;
use crate::key::KeyId;

/// All calls that wait for their callers, by the state that these repeat.
#[derive(Debug, Default)]
pub struct Kept(Mutex<HashMap<String, Call>>);

/// A call that runs, and what its server wants to know.
#[derive(Debug)]
pub struct Call {
    key: KeyId,
    holder: Holder,
    /// What stands for all that was asked: who comes again asks the same.
    asked: [u8; 32],
    link: Arc<Link>,
    number: u64,
    /// Its one task, which ends with this.
    running: JoinSet<Result<ServerResult, ServiceError>>,
    asking: mpsc::Receiver<Asking>,
    open: BTreeMap<String, Asking>,
    questions: usize,
    until: Instant,
}

/// Calls of one key that wait for it.
const MOST_OF_A_KEY: usize = 16;
/// Questions of one call that wait for their answers.
const MOST_QUESTIONS: usize = 16;
/// What a state begins with that was made by this process: another gateway behind it makes states of its own.
static OURS: LazyLock<String> = LazyLock::new(|| format!("keyward-call-{}-", hex(&random().unwrap_or_default())));

/// Where what is asked in the middle of a call goes.
pub fn questions() -> (mpsc::Sender<Asking>, mpsc::Receiver<Asking>) {
    mpsc::channel(MOST_QUESTIONS)
}

/// Whether a request may be answered by a result that wants input.
pub fn may_ask(request: &ClientRequest) -> bool {
    matches!(request, ClientRequest::CallToolRequest(_) | ClientRequest::GetPromptRequest(_) | ClientRequest::ReadResourceRequest(_))
}

/// The answers and the state that a request repeats, where it goes on with a call that was kept here.
pub fn repeated(request: &mut ClientRequest) -> Option<(String, InputResponses)> {
    let (responses, state) = match request {
        ClientRequest::CallToolRequest(request) => (&mut request.params.input_responses, &mut request.params.request_state),
        ClientRequest::GetPromptRequest(request) => (&mut request.params.input_responses, &mut request.params.request_state),
        ClientRequest::ReadResourceRequest(request) => (&mut request.params.input_responses, &mut request.params.request_state),
        _ => return None,
    };
    let ours = state.take_if(|state| state.starts_with(&*OURS))?;
    Some((ours, responses.take().unwrap_or_default()))
}

fn random() -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).ok().map(|()| bytes)
}

// === impl Kept ===

impl Kept {
    /// Lets go of what nobody has come for in time, or may come for any more.
    pub async fn sweep(&self) {
        let all: Vec<_> = self.all().iter().map(|(state, call)| (state.clone(), call.until, call.holder.clone())).collect();
        for (state, until, holder) in all {
            if until <= Instant::now() || !holder.is_good().await {
                let ended = self.all().remove(&state);
                drop(ended);
            }
        }
    }

    /// Keeps a call; tells under which state.
    fn keep(&self, call: Call) -> Result<String, ErrorData> {
        let bytes = random().ok_or_else(|| ErrorData::internal_error("The system has no randomness to give.", None))?;
        let state = format!("{}{}", *OURS, hex(&bytes));
        let mut all = self.all();
        if all.values().filter(|other| other.key == call.key).count() >= MOST_OF_A_KEY {
            let told = format!("{MOST_OF_A_KEY} calls of this key wait for answers, which is the most: go on with one of them first.");
            return Err(ErrorData::invalid_request(told, None));
        }
        all.insert(state.clone(), call);
        Ok(state)
    }

    /// The call that waits under a state, for who began it and asks the same.
    fn take(&self, state: &str, key: KeyId, asked: [u8; 32]) -> Result<Call, ErrorData> {
        let mut all = self.all();
        let is_theirs = all.get(state).is_some_and(|call| call.key == key && call.asked == asked && call.until > Instant::now());
        let call = if is_theirs { all.remove(state) } else { None };
        call.ok_or_else(|| {
            let told =
                "No such call waits for these answers: it is another one or another key's, it has ended, or it waited too long. Call anew.";
            ErrorData::invalid_params(told, None)
        })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Call ===

impl Call {
    /// Begins a call whose questions come by `asking`.
    pub fn begin(called: &Called, way: &Way<'_>, turn: Turn, request: ClientRequest, asking: mpsc::Receiver<Asking>) -> Call {
        let (link, number, limit) = (Arc::clone(&turn.link), turn.number(), way.server.call_timeout);
        let (asked, meta) = (digest_of(way, &request), carried(&called.context.meta));
        let mut running = JoinSet::new();
        running.spawn(async move {
            let answer = tokio::time::timeout(limit, ask(&turn, request, meta)).await;
            let answer = answer.unwrap_or(Err(ServiceError::Timeout { timeout: limit }));
            turn.passed_on().await;
            if matches!(answer, Ok(_) | Err(ServiceError::McpError(_))) {
                turn.over();
            }
            answer
        });
        let (key, holder, until) = (called.caller.id(), Holder::of(way.gateway, called), Instant::now() + limit);
        Call { key, holder, asked, link, number, running, asking, open: BTreeMap::new(), questions: 0, until }
    }

    /// Goes on until there is the server's answer, or something that its caller has to answer first.
    pub async fn run(mut self, called: &Called, way: &Way<'_>) -> Result<ServerResult, ErrorData> {
        let holder = self.holder.clone();
        let mut gone = std::pin::pin!(called.gone(&holder));
        while self.open.is_empty() {
            tokio::select! {
                Some(asking) = self.asking.recv() => self.wants(asking),
                answer = self.running.join_next() => {
                    let answer = answer.and_then(Result::ok).unwrap_or(Err(ServiceError::TransportClosed));
                    return heard(way.server, answer);
                }
                why = &mut gone => return Err(why),
            }
            while let Ok(asking) = self.asking.try_recv() {
                self.wants(asking);
            }
            // What the server no longer wants to know is asked nobody.
            self.open.retain(|_, asking| !asking.answer.is_closed());
        }
        let secrets = way.server.secrets();
        let questions = self.open.iter().map(|(name, asking)| Some((name.clone(), secrets.masked_in(asking.question.clone())?)));
        let questions: Option<InputRequests> = questions.collect();
        let questions = questions.ok_or_else(|| way.server.trouble(UNMASKED).0)?;
        // What comes from now on has no request that it could be told to.
        self.link.relay.hush(self.number);
        self.link.relay.passed_on(self.number).await;
        let state = way.gateway.mcp.kept.keep(self)?;
        Ok(ServerResult::InputRequiredResult(InputRequiredResult::new(Some(questions), Some(state))))
    }

    fn wants(&mut self, asking: Asking) {
        // No other call begins by this connection: its questions could not be told from this one's.
        self.link.retire();
        self.questions += 1;
        self.open.insert(format!("question-{}", self.questions), asking);
    }
}

/// Goes on with the call that was kept under a state, by the answers to what its server wanted to know.
pub async fn go_on(
    called: &Called,
    way: &Way<'_>,
    request: &ClientRequest,
    (state, answers): (String, InputResponses),
) -> Result<ServerResult, ErrorData> {
    let kept = &way.gateway.mcp.kept;
    let mut call = kept.take(&state, called.caller.id(), digest_of(way, request))?;
    let mut given = Vec::new();
    for (name, answer) in answers {
        let Some(asking) = call.open.get(&name) else { continue };
        match asking.read(answer) {
            Ok(answer) => given.push((name, answer)),
            Err(why) => {
                kept.all().insert(state, call);
                return Err(ErrorData::invalid_params(format!("The answer '{name}' is none to what was asked: {why}."), None));
            }
        }
    }
    call.link.relay.turn_to(call.number, called.toward(way, request));
    for (name, answer) in given {
        // Whoever no longer wants to know it has withdrawn the question.
        let _ = call.open.remove(&name).map(|asking| asking.answer.send(answer));
    }
    call.run(called, way).await
}

/// What stands for a request to a server, without what goes on with it.
fn digest_of(way: &Way<'_>, request: &ClientRequest) -> [u8; 32] {
    let mut asked = serde_json::to_value(request).unwrap_or_default();
    if let Some(params) = asked.pointer_mut("/params").and_then(Value::as_object_mut) {
        ["_meta", "inputResponses", "requestState"].iter().for_each(|name| drop(params.shift_remove(*name)));
    }
    asked.sort_all_objects();
    let mut whole = [0; 32];
    whole.copy_from_slice(digest(&SHA256, serde_json::json!([way.server.name, asked]).to_string().as_bytes()).as_ref());
    whole
}
