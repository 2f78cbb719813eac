#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, Notify};

use super::*;
use crate::config::RequestLimits;

struct Server {
    listener: TcpListener,
    workers: Workers,
}

impl Server {
    async fn start(workers: usize, router: axum::Router, limits: &RequestLimits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let workers = Workers::start(workers, &Connections::new(router, limits, Arc::default())).unwrap();
        Server { listener, workers }
    }

    /// A connection that a worker has.
    async fn connect(&self) -> TcpStream {
        let (ours, theirs) = tokio::join!(TcpStream::connect(self.listener.local_addr().unwrap()), accept(&self.listener));
        self.workers.hand(theirs);
        ours.unwrap()
    }

    fn spread(&self) -> Vec<usize> {
        self.workers.0.iter().map(Worker::open).collect()
    }

    async fn until_spread(&self, expected: &[usize]) {
        for _ in 0..500 {
            if self.spread() == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?} instead of {expected:?}", self.spread());
    }
}

async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Answers with the worker's name.
fn named() -> axum::Router {
    axum::Router::new().route("/", get(async || std::thread::current().name().unwrap_or_default().to_owned()))
}

#[tokio::test]
async fn few_connections_are_spread_evenly() {
    let server = Server::start(3, named(), &RequestLimits::default()).await;
    let mut open = Vec::new();
    for _ in 0..6 {
        open.push(server.connect().await);
    }
    assert_eq!(server.spread(), [2, 2, 2]);
    let mut answers = Vec::new();
    for stream in &mut open {
        answers.push(ask(stream).await.rsplit("\r\n").next().unwrap().to_owned());
    }
    answers.sort();
    assert_eq!(answers, ["worker-0", "worker-0", "worker-1", "worker-1", "worker-2", "worker-2"]);
    server.until_spread(&[0, 0, 0]).await;
}

#[tokio::test]
async fn a_connection_goes_where_others_have_ended() {
    let server = Server::start(2, named(), &RequestLimits::default()).await;
    let mut first = server.connect().await;
    let _second = server.connect().await;
    assert!(ask(&mut first).await.ends_with("worker-0"));
    server.until_spread(&[0, 1]).await;
    let mut third = server.connect().await;
    assert!(ask(&mut third).await.ends_with("worker-0"));
}

#[tokio::test]
async fn answers_of_all_workers_end_before_the_server_does() {
    let (begun, go_on) = (Arc::new(Barrier::new(3)), Arc::new(Notify::new()));
    let (reached, wait) = (Arc::clone(&begun), Arc::clone(&go_on));
    let handler = async move || {
        let waiting = wait.notified();
        reached.wait().await;
        waiting.await;
        "to the end"
    };
    let server = Server::start(2, axum::Router::new().route("/", get(handler)), &RequestLimits::default()).await;
    let (mut one, mut two) = (server.connect().await, server.connect().await);
    let answers = tokio::spawn(async move { tokio::join!(ask(&mut one), ask(&mut two)) });
    begun.wait().await;
    let drained = tokio::spawn(server.workers.drain());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!drained.is_finished());
    go_on.notify_waiters();
    let (one, two) = answers.await.unwrap();
    assert!(one.ends_with("to the end") && two.ends_with("to the end"));
    assert!(drained.await.unwrap(), "all ended in time");
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_cut_off() {
    let limits = RequestLimits { drain_timeout: Duration::from_millis(50), ..RequestLimits::default() };
    let begun = Arc::new(Notify::new());
    let reached = Arc::clone(&begun);
    let handler = async move || {
        reached.notify_one();
        std::future::pending::<()>().await;
    };
    let server = Server::start(1, axum::Router::new().route("/", get(handler)), &limits).await;
    let mut stream = server.connect().await;
    let answer = tokio::spawn(async move { ask(&mut stream).await });
    begun.notified().await;
    assert!(!server.workers.drain().await);
    assert_eq!(answer.await.unwrap(), "");
}

#[test]
fn the_caller_is_whoever_the_last_trusted_proxy_heard_from() {
    let trusted: Vec<Network> = vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.1".parse().unwrap()];
    let cases = [
        ("192.0.2.1", "203.0.113.5", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.5, 10.9.9.9", "203.0.113.5"),
        ("10.0.0.1", "", "10.0.0.1 at the most"),
        ("10.0.0.1", "203.0.113.5, unknown", "10.0.0.1 at the most"),
        ("10.0.0.1", "203.0.113.5,", "10.0.0.1 at the most"),
        ("10.0.0.1", "203.0.113.5, \u{e9}, 10.1.1.1", "10.1.1.1 at the most"),
        ("10.0.0.1", "\u{e9}, 203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "203.0.113.5:4711", "203.0.113.5"),
        ("10.0.0.1", "[2001:db8::1]:4711, 10.9.9.9:80", "2001:db8::1"),
        ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ("::ffff:127.0.0.1", "2001:db8::1", "2001:db8::1"),
    ];
    for (connection, forwarded, expected) in cases {
        let forwarded = http::HeaderValue::from_bytes(forwarded.as_bytes()).unwrap();
        let headers = HeaderMap::from_iter([(FORWARDED_FOR, forwarded.clone())]);
        let Peer { address, is_callers } = Peer::of(connection.parse().unwrap(), &headers, &trusted);
        let told = if is_callers { address.to_string() } else { format!("{address} at the most") };
        assert_eq!(told, expected, "{connection} {forwarded:?}");
        let untrusted = Peer::of(connection.parse().unwrap(), &headers, &[]);
        assert_eq!((untrusted.address, untrusted.is_callers), (connection.parse::<IpAddr>().unwrap().to_canonical(), true));
    }
    assert!(!Peer::of("10.0.0.1".parse().unwrap(), &HeaderMap::new(), &trusted).is_callers);
    assert!(Peer::of("192.0.2.1".parse().unwrap(), &HeaderMap::new(), &trusted).is_callers);
}
