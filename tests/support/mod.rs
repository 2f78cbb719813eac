//! The real gateway in a process of its own, and HTTP by hand, so that tests can also send and read what no client would.

#![allow(dead_code, reason = "each test uses its part")]

pub mod recorded;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A running gateway; it ends when this is dropped.
pub struct Gateway {
    process: Child,
    pub address: SocketAddr,
}

/// An HTTP/1 answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// Whether the body came to the end that its head announced.
    pub is_whole: bool,
}

/// How an exchange ended.
#[derive(Debug)]
pub enum Ended {
    Answered(Answer),
    /// Closed without an HTTP/1 answer.
    Closed,
    /// Neither within the deadline.
    Silent,
}

/// What to do once all is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Wait,
    HangUp,
    /// Sends this again and again, until there is an answer.
    Drip(&'static str),
}

/// A command of the binary that is tested, with nothing of this process's environment but what it needs to run.
pub fn keyward(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
    command.env_clear().env("KEYWARD_DATA", data).current_dir(data.parent().unwrap()).stdin(Stdio::null());
    command
}

/// Runs `keyward …` to its end and reads the JSON that it prints.
pub fn keyward_json(data: &Path, arguments: &[&str]) -> Value {
    let output = keyward(data).args(arguments).arg("--json").output().unwrap();
    assert!(output.status.success(), "keyward {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Makes a key, with more arguments such as `--kind test`.
pub fn new_key(data: &Path, more: &[&str]) -> Value {
    keyward_json(data, &[&["keys", "create", "--name", "t"], more].concat())
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Sends bytes and reads one answer.
pub fn exchange(address: SocketAddr, bytes: &[u8], then: Then, deadline: Duration) -> Ended {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(deadline)).unwrap();
    // A gateway that refuses early may close while this still writes.
    let _ = stream.write_all(bytes);
    match then {
        Then::Wait => read_answer(&mut stream, Instant::now() + deadline),
        Then::HangUp => {
            let _ = stream.shutdown(Shutdown::Write);
            read_answer(&mut stream, Instant::now() + deadline)
        }
        Then::Drip(drop) => drip(&mut stream, drop, deadline),
    }
}

fn drip(stream: &mut TcpStream, drop: &'static str, deadline: Duration) -> Ended {
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while writer.write_all(drop.as_bytes()).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let ended = read_answer(stream, Instant::now() + deadline);
        let _ = stream.shutdown(Shutdown::Both);
        ended
    })
}

// === impl Gateway ===

impl Gateway {
    /// Starts the gateway on a free port and waits until it is up.
    pub fn start(data: &Path, variables: &[(&str, &str)]) -> Gateway {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = std::fs::File::create(data.with_extension("log")).unwrap();
        let process = keyward(data)
            .env("KEYWARD_LISTEN", address.to_string())
            .envs(variables.iter().copied())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut gateway = Gateway { process, address };
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_err() {
            let is_up = gateway.process.try_wait().unwrap().is_none() && Instant::now() < end;
            assert!(is_up, "the gateway did not start: {}", std::fs::read_to_string(data.with_extension("log")).unwrap());
            std::thread::yield_now();
        }
        gateway
    }

    /// Sends a request and takes its answer, which there has to be.
    pub fn send(&self, bytes: &[u8]) -> Answer {
        match exchange(self.address, bytes, Then::Wait, Duration::from_secs(20)) {
            Ended::Answered(answer) => answer,
            other => panic!("no answer: {other:?}"),
        }
    }

    /// Resident memory in KiB.
    pub fn resident(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// === impl Answer ===

impl Answer {
    /// A header of the answer, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// A header in the text of a head, by its lower-case name.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Reads until a head's end; `None` where the other side closes before.
pub fn read_head(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<usize> {
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            return Some(end + 4);
        }
        if !read_more(stream, read) {
            return None;
        }
    }
}

/// Reads what is there; false where the other side has closed.
pub fn read_more(stream: &mut TcpStream, read: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 16 << 10];
    match stream.read(&mut buffer) {
        Ok(0) | Err(_) => false,
        Ok(n) => {
            read.extend_from_slice(&buffer[..n]);
            true
        }
    }
}

fn read_answer(stream: &mut TcpStream, end: Instant) -> Ended {
    let mut read = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        if let Some(answer) = parse(&read, false) {
            return Ended::Answered(answer);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ended::Silent;
        }
        stream.set_read_timeout(Some(left)).unwrap();
        match stream.read(&mut buffer) {
            Ok(n) if n > 0 => read.extend_from_slice(&buffer[..n]),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => return Ended::Silent,
            _ => return parse(&read, true).map_or(Ended::Closed, Ended::Answered),
        }
    }
}

/// The answer in what was read, once it is whole or the connection has ended.
fn parse(read: &[u8], has_ended: bool) -> Option<Answer> {
    let head_end = read.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&read[..head_end]).into_owned();
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let rest = &read[head_end..];
    let (body, is_whole) = if header(&head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        dechunk(rest)
    } else {
        let length = header(&head, "content-length").and_then(|value| value.parse::<usize>().ok());
        let is_whole = length.map_or(has_ended, |length| rest.len() >= length);
        (rest[..rest.len().min(length.unwrap_or(usize::MAX))].to_vec(), is_whole)
    };
    (is_whole || has_ended).then_some(Answer { status, head, body, is_whole })
}

/// The chunks' content, and whether the last one was there.
pub fn dechunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(line_end) = rest.windows(2).position(|two| two == b"\r\n") else { return (body, false) };
        let size = std::str::from_utf8(&rest[..line_end]).ok().and_then(|line| usize::from_str_radix(line.trim(), 16).ok());
        let Some(size) = size else { return (body, false) };
        if size == 0 {
            return (body, rest.len() >= line_end + 4);
        }
        let Some(chunk) = rest.get(line_end + 2..line_end + 2 + size) else { return (body, false) };
        body.extend_from_slice(chunk);
        let Some(after) = rest.get(line_end + 4 + size..) else { return (body, false) };
        rest = after;
    }
}
