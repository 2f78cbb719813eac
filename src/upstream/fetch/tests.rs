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
    let refusal = fetcher.fetch("https://localhost/a.png?token=secret").await.unwrap_err().refusal("https://localhost/a.png?token=secret");
    assert!(refusal.message.contains("no public address") && !refusal.message.contains("secret"), "{}", refusal.message);
}
