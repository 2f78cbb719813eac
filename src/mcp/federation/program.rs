//! A server that is a program: a message is a line of its standard input or output, and what it complains of goes to the log.
//!
//! Source: "stdio" of the MCP specification's transports.

use std::collections::HashSet;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{ClientJsonRpcMessage, ErrorData, RequestId, ServerJsonRpcMessage};
use rmcp::service::RoleClient;
use rmcp::transport::Transport;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

use super::secrets::{MOST_TOLD, Secrets};
use super::tasks;
use crate::route::Secret;

/// What is started.
#[derive(Debug)]
pub struct Program {
    /// The command.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it gets of the environment.
    pub env: Vec<(String, Secret)>,
}

/// A program that runs, with all that it has started itself in its process group: it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Option<Child>,
}

/// A process group that is ended by force when this is dropped.
struct Doomed {
    group: Option<Pid>,
    /// While it is not waited for, nothing else can have the number of its group.
    child: Child,
}

/// Its standard input and output.
pub struct Lines {
    from: BufReader<ChildStdout>,
    to: Arc<tokio::sync::Mutex<Option<ChildStdin>>>,
    line: Vec<u8>,
    /// Of a line that is too long.
    cut: Option<Cut>,
    server: Arc<str>,
    /// Lines that were no messages.
    unread: u32,
    /// Requests that wait for an answer.
    waiting: HashSet<RequestId>,
}

/// What tells whose answer a message is; what else there is in it may be anything.
#[derive(Deserialize)]
struct Head {
    id: Option<RequestId>,
    method: Option<IgnoredAny>,
}

/// The beginning and the end of a line that is too long, by which it is known whose answer it is.
struct Cut {
    head: Vec<u8>,
    tail: Vec<u8>,
    length: usize,
}

/// What of the gateway's environment a program needs to run at all; the rest may hold secrets that are none of its business.
const INHERITED: [&str; 6] = ["PATH", "HOME", "LANG", "TMPDIR", "USER", "SYSTEMROOT"];
/// A line has at most so many bytes, as an answer by HTTP.
const LONGEST: usize = 16 << 20;
/// Of a line that is too long so much is kept at each end.
const ENDS: usize = 256;
/// How long a program has to end by itself.
const GRACE: Duration = Duration::from_secs(1);
/// How many lines go to the log in a while.
const MOST_LINES: u32 = 20;
const WHILE: Duration = Duration::from_secs(10);

// === impl Program ===

impl Program {
    /// Starts it; what it complains of goes to the log.
    pub fn start(&self, server: &Arc<str>, secrets: &Arc<Secrets>) -> Result<(Running, Lines), String> {
        let inherited = INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
        let mut child = Command::new(&self.command)
            .args(&self.args)
            .env_clear()
            .envs(inherited)
            .envs(self.env.iter().map(|(name, value)| (name, value.expose())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // What a wrapper such as npx has started ends with it.
            .process_group(0)
            .spawn()
            .map_err(|e| format!("'{}' cannot be started: {e}", self.command))?;
        if let Some(complaints) = child.stderr.take() {
            tokio::spawn(log(complaints, Arc::clone(server), Arc::clone(secrets)));
        }
        let streams = child.stdout.take().zip(child.stdin.take());
        let (from, to) = streams.ok_or("it has no standard input and output")?;
        Ok((Running { child: Some(child) }, Lines::new(server, from, to)))
    }
}

// === impl Running ===

impl Drop for Running {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else { return };
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let doomed = Doomed { group, child };
        doomed.told(Signal::TERM);
        // Without a runtime nobody waits: it ends at once.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(GRACE).await;
                drop(doomed);
            });
        }
    }
}

// === impl Doomed ===

impl Doomed {
    fn told(&self, signal: Signal) {
        // A group that has ended is told nothing.
        let _ = self.group.map(|group| kill_process_group(group, signal));
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        self.told(Signal::KILL);
        // Its end is waited for by the runtime, since it is killed on drop.
        let _ = self.child.start_kill();
    }
}

/// Writes what a program complains of to the log, as far as that is a line now and then.
async fn log(mut complaints: ChildStderr, server: Arc<str>, secrets: Arc<Secrets>) {
    let (mut piece, mut line) = ([0_u8; 4096], Vec::new());
    let (mut began, mut told, mut left_out) = (Instant::now(), 0, 0_u32);
    let mut say = |line: &[u8]| {
        if began.elapsed() >= WHILE {
            if left_out > 0 {
                tracing::warn!(server = &*server, lines = left_out, "an MCP server's program says too much: lines are left out");
            }
            (began, told, left_out) = (Instant::now(), 0, 0);
        }
        let text = String::from_utf8_lossy(line);
        let says: String = secrets.masked(text.trim()).chars().take(MOST_TOLD).collect();
        match told < MOST_LINES {
            _ if says.is_empty() => {}
            true => {
                told += 1;
                tracing::info!(server = &*server, says, "an MCP server's program");
            }
            false => left_out += 1,
        }
    };
    while let Ok(count @ 1..) = complaints.read(&mut piece).await {
        for part in piece[..count].split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if part.ends_with(b"\n") || line.len() >= piece.len() {
                say(&line);
                line.clear();
            }
        }
    }
    say(&line);
}

// === impl Lines ===

impl Lines {
    fn new(server: &Arc<str>, from: ChildStdout, to: ChildStdin) -> Lines {
        Lines {
            server: Arc::clone(server),
            unread: 0,
            from: BufReader::new(from),
            to: Arc::new(tokio::sync::Mutex::new(Some(to))),
            line: Vec::new(),
            cut: None,
            waiting: HashSet::new(),
        }
    }

    /// Reads on; whether a line is there, whole or cut. Whoever gives up waiting loses nothing of it.
    async fn read(&mut self) -> std::io::Result<Option<bool>> {
        let there = self.from.fill_buf().await?;
        if there.is_empty() {
            return Ok(None);
        }
        let end = memchr::memchr(b'\n', there);
        let (part, used) = match end {
            Some(at) => (&there[..at], at + 1),
            None => (there, there.len()),
        };
        match &mut self.cut {
            Some(cut) => cut.goes_on(part),
            None if self.line.len() + part.len() > LONGEST => {
                let mut cut = Cut::of(&self.line);
                cut.goes_on(part);
                (self.line, self.cut) = (Vec::new(), Some(cut));
            }
            None => self.line.extend_from_slice(part),
        }
        self.from.consume(used);
        Ok(Some(end.is_some()))
    }

    /// The message of the line that is there.
    fn message(&mut self) -> Option<ServerJsonRpcMessage> {
        if let Some(cut) = self.cut.take() {
            return self.too_long(&cut);
        }
        let line = std::mem::take(&mut self.line);
        let read = match tasks::noted(&line) {
            Some(noted) => serde_json::from_value::<ServerJsonRpcMessage>(noted),
            None => serde_json::from_slice(&line),
        };
        let message = match read {
            Ok(message) => message,
            Err(error) => return self.unread(&line, &error),
        };
        match &message {
            ServerJsonRpcMessage::Response(response) => drop(self.waiting.remove(&response.id)),
            ServerJsonRpcMessage::Error(error) => drop(error.id.as_ref().map(|id| self.waiting.remove(id))),
            _ => {}
        }
        Some(message)
    }

    /// Whoever waits for an answer that cannot be read is told so at once.
    fn unread(&mut self, line: &[u8], error: &serde_json::Error) -> Option<ServerJsonRpcMessage> {
        if line.trim_ascii().is_empty() {
            return None;
        }
        // Some programs greet whoever starts them; one that never speaks the protocol does not fill the log.
        self.unread += 1;
        if self.unread <= MOST_LINES {
            tracing::warn!(server = &*self.server, %error, "a line of an MCP server's program is no message, and is left out");
        }
        let Head { id, method } = serde_json::from_slice(line).ok()?;
        let id = id.filter(|id| method.is_none() && self.waiting.remove(id))?;
        let told = "The answer is none that the protocol has: it cannot be read.".to_owned();
        Some(ServerJsonRpcMessage::error(ErrorData::internal_error(told, None), Some(id)))
    }

    fn too_long(&mut self, cut: &Cut) -> Option<ServerJsonRpcMessage> {
        let only = self.waiting.iter().next().filter(|_| self.waiting.len() == 1).cloned();
        let id = cut.id().filter(|id| self.waiting.contains(id)).or(only);
        let mib = cut.length.div_ceil(1 << 20);
        let told = format!("The answer has {mib} MiB, and the most that is taken of a program is {} MiB.", LONGEST >> 20);
        tracing::warn!(server = &*self.server, mib, "an MCP server's program said more in a line than is taken: the line is left out");
        let id = id?;
        self.waiting.remove(&id);
        Some(ServerJsonRpcMessage::error(ErrorData::internal_error(told, None), Some(id)))
    }
}

impl Transport<RoleClient> for Lines {
    type Error = std::io::Error;

    fn send(&mut self, message: ClientJsonRpcMessage) -> impl Future<Output = std::io::Result<()>> + Send + 'static {
        if let ClientJsonRpcMessage::Request(request) = &message {
            self.waiting.insert(request.id.clone());
        }
        let (to, line) = (Arc::clone(&self.to), serde_json::to_vec(&message));
        async move {
            let mut line = line?;
            line.push(b'\n');
            let mut to = to.lock().await;
            let to = to.as_mut().ok_or(std::io::ErrorKind::NotConnected)?;
            to.write_all(&line).await?;
            to.flush().await
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let is_whole = match self.read().await {
                Ok(there) => there?,
                Err(error) => {
                    tracing::debug!(%error, "a program's standard output cannot be read");
                    return None;
                }
            };
            if is_whole && let Some(message) = self.message() {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> std::io::Result<()> {
        drop(self.to.lock().await.take());
        Ok(())
    }
}

// === impl Cut ===

impl Cut {
    fn of(line: &[u8]) -> Cut {
        let mut cut = Cut { head: Vec::new(), tail: Vec::new(), length: 0 };
        cut.goes_on(line);
        cut
    }

    fn goes_on(&mut self, part: &[u8]) {
        self.length += part.len();
        let room = ENDS - self.head.len();
        self.head.extend_from_slice(&part[..part.len().min(room)]);
        self.tail.extend_from_slice(&part[part.len().saturating_sub(ENDS)..]);
        let over = self.tail.len().saturating_sub(ENDS);
        self.tail.drain(..over);
    }

    /// The id, where it stands first or last in the message, as everybody writes it.
    fn id(&self) -> Option<RequestId> {
        let squeezed = |text: &[u8]| String::from_utf8_lossy(text).split_whitespace().collect::<String>();
        let (head, tail) = (squeezed(&self.head), squeezed(&self.tail));
        let first = head.strip_prefix(r#"{"jsonrpc":"2.0","id":"#).or_else(|| head.strip_prefix(r#"{"id":"#));
        let first = first.and_then(|rest| rest.split_once(',').map(|(id, _)| id.to_owned()));
        let last = || Some(tail.strip_suffix('}')?.rsplit_once(r#","id":"#)?.1.to_owned());
        let id = first.or_else(last)?;
        Some(RequestId::Number(id.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_line_that_is_too_long_is_found_at_either_end() {
        let long = "x".repeat(2000);
        let id = |text: String| {
            let mut cut = Cut::of(b"");
            text.as_bytes().chunks(100).for_each(|part| cut.goes_on(part));
            assert_eq!(cut.length, text.len());
            cut.id()
        };
        assert_eq!(id(format!(r#"{{"jsonrpc":"2.0","id":12,"result":{{"x":"{long}"}}}}"#)), Some(RequestId::Number(12)));
        assert_eq!(id(format!(r#"{{"result": {{"x": "{long}"}}, "jsonrpc": "2.0", "id": 7}}"#)), Some(RequestId::Number(7)));
        assert_eq!(id(format!(r#"{{"result":{{"x":"{long}","id":7}},"jsonrpc":"2.0"}}"#)), None, "it is the result's");
        assert_eq!(id(format!(r#"{{"result":{{"x":"{long}","id":7}}}}"#)), None);
    }
}
