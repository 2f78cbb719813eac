#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn only_addresses_of_the_internet_are_public() {
    let public = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101", "::ffff:8.8.8.8"];
    let others = [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "2001:db8::1",
        "2001::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
    ];
    public.iter().for_each(|ip| assert!(is_public(ip.parse().unwrap()), "{ip}"));
    others.iter().for_each(|ip| assert!(!is_public(ip.parse().unwrap()), "{ip}"));
}

#[test]
fn what_is_not_https_to_a_public_address_is_not_asked() {
    let checked = |url: &str| check(&Url::parse(url).unwrap(), false);
    assert!(matches!(checked("http://example.com/a.png"), Err(Unfetched::Scheme)));
    assert!(matches!(checked("file:///etc/passwd"), Err(Unfetched::Scheme)));
    for url in ["https://127.0.0.1/a", "https://2130706433/a", "https://0x7f.1/a", "https://[::1]/a", "https://[::ffff:7f00:1]/a"] {
        assert!(matches!(checked(url), Err(Unfetched::Private)), "{url}");
    }
    assert!(checked("https://example.com/a.png").is_ok());
}

#[tokio::test]
async fn a_name_of_our_own_is_not_resolved() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fetcher = Fetcher::new(&config::Fetch::default()).unwrap();
    let left = AtomicUsize::new(TOGETHER);
    let refusal =
        fetcher.fetch("https://localhost/a.png?token=secret", &left).await.unwrap_err().refusal("https://localhost/a.png?token=secret");
    assert!(refusal.message.contains("no public address") && !refusal.message.contains("secret"), "{}", refusal.message);
}

/// A server of 1,000 bytes a request, and how often it was asked.
fn server() -> (SocketAddr, Arc<AtomicUsize>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read(&mut [0; 4096]);
            let head = "HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(&[head.as_bytes(), &[7; 1000]].concat());
        }
    });
    (address, asked)
}

#[tokio::test]
async fn media_is_fetched_once_a_request_and_within_its_bytes() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fetcher = Fetcher::new(&config::Fetch { private_addresses: true, ..config::Fetch::default() }).unwrap();
    let (address, asked) = server();
    let urls: Vec<String> = (0..9).map(|n| format!("http://{address}/{n}.png")).collect();
    let fetched = Fetched::default();
    for _attempt in 0..3 {
        fetcher.fetch_all(&urls, &fetched).await.unwrap();
    }
    assert_eq!((asked.load(Ordering::SeqCst), fetched.lock().len()), (9, 9));
    let left = AtomicUsize::new(1_500);
    assert!(fetcher.fetch(&urls[0], &left).await.is_ok());
    assert!(matches!(fetcher.fetch(&urls[1], &left).await, Err(Unfetched::TooLargeTogether)));
}
