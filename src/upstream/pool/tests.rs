#![allow(clippy::unwrap_used)]

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const LAST: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n";
const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no";

/// A provider that gives each connection its answers, one a request, and closes it when it has none left; all are open side by side.
async fn provider(connections: &'static [&'static [&'static str]]) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::of(&format!("http://{}/v1/chat", listener.local_addr().unwrap()).parse().unwrap()).unwrap();
    tokio::spawn(async move {
        for answers in connections {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                for answer in *answers {
                    read_request(&mut stream).await;
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

async fn read_request(stream: &mut TcpStream) {
    let mut read = Vec::new();
    while !read.ends_with(b"question") {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "a whole request");
    }
}

fn connector() -> Connector {
    keep();
    Connector::new(Duration::from_secs(5)).unwrap()
}

async fn ask(connector: &Connector, address: &Address) -> Result<Result<Bytes, Fault>, SendError> {
    let response = connector.post(address, &HeaderMap::new(), &["ques".into(), "tion".into()]).await?;
    Ok(response.into_body().collect().await.map(|body| body.to_bytes()))
}

fn idle(address: &Address) -> usize {
    POOL.with_borrow(|pool| pool.as_ref().and_then(|pool| pool.get(&address.origin)).map_or(0, |origin| origin.idle.len()))
}

macro_rules! assert_answered {
    ($asked:expr) => {
        assert_eq!($asked.ok().expect("an answer").unwrap(), "ok")
    };
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let address = provider(&[&[WHOLE, CHUNKED, WHOLE, WHOLE]]).await;
    let connector = connector();
    for _ in 0..3 {
        assert_answered!(ask(&connector, &address).await);
        assert_eq!(idle(&address), 1);
    }
}

#[tokio::test]
async fn a_connection_that_its_provider_announces_to_close_is_not_kept() {
    let address = provider(&[&[LAST], &[WHOLE]]).await;
    let connector = connector();
    assert_answered!(ask(&connector, &address).await);
    assert_eq!(idle(&address), 0);
    assert_answered!(ask(&connector, &address).await);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::of(&format!("http://{}/v1/chat", listener.local_addr().unwrap()).parse().unwrap()).unwrap();
    let (close, closing) = tokio::sync::oneshot::channel::<()>();
    let provider = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        read_request(&mut first).await;
        first.write_all(WHOLE.as_bytes()).await.unwrap();
        closing.await.unwrap();
        first.shutdown().await.unwrap();
        let (mut second, _) = listener.accept().await.unwrap();
        read_request(&mut second).await;
        second.write_all(WHOLE.as_bytes()).await.unwrap();
    });
    let connector = connector();
    assert_answered!(ask(&connector, &address).await);
    assert_eq!(idle(&address), 1, "it is kept while it is open");
    close.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let answered = tokio::time::timeout(Duration::from_secs(5), ask(&connector, &address)).await;
    assert_answered!(answered.expect("no waiting for what cannot come"));
    provider.await.unwrap();
}

#[tokio::test]
async fn a_used_connection_that_ends_without_a_word_is_replaced() {
    let address = provider(&[&[WHOLE, ""], &[WHOLE]]).await;
    let connector = connector();
    assert_answered!(ask(&connector, &address).await);
    assert_answered!(ask(&connector, &address).await);
}

#[tokio::test]
async fn a_request_is_sent_twice_at_the_most_however_many_connections_end_without_a_word() {
    let address = provider(&[&[WHOLE, ""], &[WHOLE, ""], &[WHOLE, ""], &[""], &[WHOLE]]).await;
    let connector = connector();
    let (first, second, third) = tokio::join!(ask(&connector, &address), ask(&connector, &address), ask(&connector, &address));
    [first, second, third].into_iter().for_each(|asked| assert_answered!(asked));
    assert_eq!(idle(&address), 3);
    assert!(matches!(ask(&connector, &address).await, Err(SendError::Http(Fault::Silent))));
    assert_eq!(idle(&address), 2, "the others were not tried");
}

#[tokio::test]
async fn a_new_connection_that_ends_without_a_word_is_an_error() {
    let address = provider(&[&[""], &[WHOLE]]).await;
    assert!(matches!(ask(&connector(), &address).await, Err(SendError::Http(Fault::Silent))));
}

#[tokio::test]
async fn half_an_answer_is_no_reason_to_ask_again() {
    let address = provider(&[&[WHOLE, HALF], &[WHOLE]]).await;
    let connector = connector();
    assert_answered!(ask(&connector, &address).await);
    assert!(matches!(ask(&connector, &address).await, Ok(Err(_))));
    assert_eq!(idle(&address), 0);
}

#[tokio::test]
async fn what_nobody_needs_and_what_is_closed_is_swept() {
    let address = provider(&[&[WHOLE, WHOLE]]).await;
    let connector = connector();
    assert_answered!(ask(&connector, &address).await);
    sweep(Instant::now());
    assert_eq!(idle(&address), 1);
    sweep(Instant::now() + KEPT_FOR);
    assert_eq!(idle(&address), 0);

    let address = provider(&[&[WHOLE]]).await;
    assert_answered!(ask(&connector, &address).await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    sweep(Instant::now());
    assert_eq!(idle(&address), 0);
}

#[tokio::test]
async fn outside_of_a_worker_the_general_client_is_asked() {
    let address = provider(&[&[WHOLE]]).await;
    let connector = Connector::new(Duration::from_secs(5)).unwrap();
    assert!(matches!(ask(&connector, &address).await, Err(SendError::Elsewhere)));
}

#[tokio::test]
async fn nobody_listening_is_a_failure_to_connect() {
    let address = Address::of(&"http://127.0.0.1:1/".parse().unwrap()).unwrap();
    assert!(matches!(ask(&connector(), &address).await, Err(SendError::Connect(_))));
}
