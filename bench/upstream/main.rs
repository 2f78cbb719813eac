//! A very cheap upstream for `bench/run`, in OpenAI's words and in Anthropic's.
//!
//! What a gateway costs shows only in front of a server that costs far less. So this one builds its
//! answers once and writes them as they are, and reads a request only to find where it ends and
//! whether it asks for a stream.

#![forbid(unsafe_code)]

mod answers;

use std::env;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use answers::{Answer, Answers, CHUNKS};

const LONGEST_REQUEST: usize = 64 << 20;
const READ: usize = 16 << 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let options = Options::parse(env::args().skip(1))?;
    let listener = TcpListener::bind(options.listen).await?;
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    let answers = Arc::new(Answers::new(options.stream_writes));
    loop {
        let (socket, _) = listener.accept().await?;
        let answers = Arc::clone(&answers);
        // A caller that hangs up or does not speak HTTP has had its answer: the closed connection.
        tokio::spawn(async move {
            let connection = Connection::new(socket)?;
            connection.serve(&answers, options.chunk_delay).await
        });
    }
}

#[derive(Clone, Copy)]
struct Options {
    listen: SocketAddr,
    /// How many writes the chunks of a stream are sent in.
    stream_writes: usize,
    /// The pause behind each of these writes.
    chunk_delay: Duration,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> io::Result<Self> {
        let mut options = Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), stream_writes: CHUNKS, chunk_delay: Duration::ZERO };
        while let Some(flag) = args.next() {
            let value = args.next().unwrap_or_default();
            let known = match flag.as_str() {
                "--listen" => value.parse().map(|at| options.listen = at).is_ok(),
                "--stream-writes" => value.parse().map(|writes: usize| options.stream_writes = writes.clamp(1, CHUNKS)).is_ok(),
                "--chunk-delay-us" => value.parse().map(|us| options.chunk_delay = Duration::from_micros(us)).is_ok(),
                _ => false,
            };
            if !known {
                let usage = "usage: bench-upstream [--listen IP:PORT] [--stream-writes N] [--chunk-delay-us N]";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, usage));
            }
        }
        Ok(options)
    }
}

enum Framing {
    Length(usize),
    Chunked,
}

struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        Ok(Self { socket, buffer: Vec::with_capacity(READ) })
    }

    /// Answers requests until the caller goes away, which is an error like any other.
    async fn serve(mut self, answers: &Answers, chunk_delay: Duration) -> io::Result<()> {
        loop {
            let answer = self.request().await?;
            for part in answers.parts(answer) {
                self.socket.write_all(part).await?;
                if answer.is_stream() && !chunk_delay.is_zero() {
                    tokio::time::sleep(chunk_delay).await;
                }
            }
        }
    }

    /// Reads one request off the connection and says what it is to be answered.
    async fn request(&mut self) -> io::Result<Answer> {
        let body = self.until(0, b"\r\n\r\n").await?;
        let end = match framing(&self.buffer[..body])? {
            Framing::Length(length) => {
                let end = bounded(body, length)?;
                self.fill(end).await?;
                end
            }
            Framing::Chunked => self.dechunk(body).await?,
        };
        let (head, body) = self.buffer[..end].split_at(body);
        let answer = answer(head, asks_for_stream(body));
        self.buffer.drain(..end);
        Ok(answer)
    }

    /// Strips the chunk framing of the body that starts at `end` and returns where that body ends.
    async fn dechunk(&mut self, mut end: usize) -> io::Result<usize> {
        loop {
            let data = self.until(end, b"\r\n").await?;
            let size = chunk_size(&self.buffer[end..data])?;
            self.buffer.drain(end..data);
            if size == 0 {
                break;
            }
            let next = bounded(end, size)?;
            self.fill(next + 2).await?;
            self.buffer.drain(next..next + 2);
            end = next;
        }
        loop {
            let trailer = self.until(end, b"\r\n").await?;
            self.buffer.drain(end..trailer);
            if trailer == end + 2 {
                return Ok(end);
            }
        }
    }

    /// Reads until `mark` is found at or after `from`; returns the position behind it.
    async fn until(&mut self, from: usize, mark: &[u8]) -> io::Result<usize> {
        loop {
            if let Some(at) = memmem::find(&self.buffer[from..], mark) {
                return Ok(from + at + mark.len());
            }
            let more = bounded(self.buffer.len(), 1)?;
            self.fill(more).await?;
        }
    }

    /// Reads until there are at least `length` bytes.
    async fn fill(&mut self, length: usize) -> io::Result<()> {
        while self.buffer.len() < length {
            self.buffer.reserve(READ.max(length - self.buffer.len()));
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

fn bounded(start: usize, length: usize) -> io::Result<usize> {
    start.checked_add(length).filter(|end| *end <= LONGEST_REQUEST).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn framing(head: &[u8]) -> io::Result<Framing> {
    let mut framing = Framing::Length(0);
    for line in text(head)?.lines().skip(1) {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Ok(Framing::Chunked);
        }
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.trim().parse().map_err(invalid)?;
            framing = Framing::Length(length);
        }
    }
    Ok(framing)
}

fn chunk_size(line: &[u8]) -> io::Result<usize> {
    let size = text(line)?.split(';').next().unwrap_or_default();
    usize::from_str_radix(size.trim(), 16).map_err(invalid)
}

fn text(bytes: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(bytes).map_err(invalid)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn answer(head: &[u8], stream: bool) -> Answer {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let is_post_to = |path: &str| line.starts_with(b"POST ") && memmem::find(line, path.as_bytes()).is_some();
    match () {
        () if is_post_to("/chat/completions") => Answer::OpenAi { stream },
        () if is_post_to("/messages") => Answer::Anthropic { stream },
        () => Answer::NotFound,
    }
}

fn asks_for_stream(body: &[u8]) -> bool {
    const NAME: &[u8] = br#""stream""#;
    memmem::find_iter(body, NAME).any(|at| {
        let rest = body[at + NAME.len()..].iter();
        let dense = rest.filter(|byte| !byte.is_ascii_whitespace());
        dense.take(5).eq(b":true")
    })
}
