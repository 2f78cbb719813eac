#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};

use super::sigv4::Keys;
use super::{Signer, Unsigned};
use crate::catalog::{Auth, Environment};
use crate::route::{Credential, Secret};

/// A key made for these tests alone, as PKCS #8.
const KEY: &[u8] = include_bytes!("test-key.der");

fn keys(service: &'static str, session: Option<&str>) -> Keys {
    Keys {
        id: Secret::new("AKIDEXAMPLE"),
        secret: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        session: session.map(Secret::new),
        trace: None,
        region: "us-east-1".to_owned(),
        service,
    }
}

/// `get-vanilla` and `post-x-www-form-urlencoded` of the AWS Signature Version 4 test suite.
#[test]
fn signatures_are_those_of_the_published_test_suite() {
    let url = Url::parse("https://example.amazonaws.com/").unwrap();
    let date = "20150830T123600Z";
    let [host, when] = [("host", "example.amazonaws.com"), ("x-amz-date", date)];
    let get = keys("service", None).authorization(date, "GET", &url, &[host, when], &[]);
    let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    assert_eq!(get, expected);
    let form = ("content-type", "application/x-www-form-urlencoded");
    let body = [Bytes::from_static(b"Param1="), Bytes::from_static(b"value1")];
    let post = keys("service", None).authorization(date, "POST", &url, &[form, host, when], &body);
    assert!(post.ends_with("Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"), "{post}");
}

/// What botocore 1.43 signs at the same moment: a path that is encoded already, a port, a query, a session.
#[test]
fn signatures_are_those_of_botocore() {
    let at: jiff::Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let body = [Bytes::from_static(b"{\"messages\""), Bytes::from_static(b":[]}")];
    let cases = [
        (
            None,
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse",
            "87e114dcbbaf782b0b033c88905b9bf9956d44b2a0f41c3174eac2780fb31277",
        ),
        (
            Some("tok/en=="),
            "http://127.0.0.1:8001/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fx/converse-stream?b=2&a=1",
            "784138a3f65d599423bcdb2167220d537970f64165a3f38cffea12fbbf0f51e7",
        ),
    ];
    for (session, url, signature) in cases {
        let mut headers = HeaderMap::new();
        keys("bedrock", session).sign(at, &Url::parse(url).unwrap(), &body, &mut headers).unwrap();
        let authorization = headers["authorization"].to_str().unwrap();
        assert!(authorization.ends_with(&format!("Signature={signature}")), "{authorization}");
        assert!(headers["authorization"].is_sensitive() && headers["x-amz-date"] == "20260102T030405Z");
        assert_eq!(headers.get("x-amz-security-token").map(|token| token.to_str().unwrap()), session);
    }
}

/// A token server: it grants `token-1`, `token-2`, …, or fails while it is told to, and remembers what it was sent.
#[derive(Clone, Default)]
struct Server {
    url: String,
    asked: Arc<AtomicUsize>,
    fails: Arc<Mutex<bool>>,
    /// What it answers in the place of a token.
    body: Arc<Mutex<Option<String>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone, Debug)]
struct Seen {
    path: String,
    flavor: Option<String>,
    form: HashMap<String, String>,
}

impl Server {
    async fn start(lives: u64) -> Server {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server { url: format!("http://{}", listener.local_addr().unwrap()), ..Server::default() };
        let serving = server.clone();
        let app = axum::Router::new().fallback(move |request| serving.clone().answer(request, lives));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        server
    }

    async fn answer(self, request: Request, lives: u64) -> axum::response::Response {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let pairs = std::str::from_utf8(&body).unwrap().split('&').filter_map(|pair| pair.split_once('='));
        let form = pairs.map(|(name, value)| (decoded(name), decoded(value))).collect();
        let flavor = head.headers.get("metadata-flavor").map(|value| value.to_str().unwrap().to_owned());
        self.seen.lock().unwrap().push(Seen { path: head.uri.path().to_owned(), flavor, form });
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(Duration::from_millis(30)).await;
        if let Some(body) = self.body.lock().unwrap().clone() {
            return body.into_response();
        }
        match *self.fails.lock().unwrap() {
            true => {
                (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant", "error_description": "no such account" }))).into_response()
            }
            false => Json(json!({ "access_token": format!("token-{number}"), "expires_in": lives })).into_response(),
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().unwrap().clone()
    }

    /// The signer of an Entra application that asks here.
    fn entra(&self) -> Arc<Signer> {
        let variables = [("AZURE_AUTHORITY_HOST", self.url.as_str()), ("AZURE_TENANT_ID", "tenant"), ("AZURE_CLIENT_ID", "app")];
        signer(&Auth::AzureEntra, "AZURE_CLIENT_SECRET", "s&cret", &variables).unwrap()
    }
}

fn signer(auth: &Auth, variable: &str, secret: &str, variables: &[(&str, &str)]) -> Result<Arc<Signer>, String> {
    let env: Environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let credential = Credential::new(variable, Secret::new(secret));
    Signer::of(auth, "azure", Some(&credential), &env).map(Option::unwrap)
}

async fn signed(signer: &Signer) -> Result<String, Unsigned> {
    let mut headers = HeaderMap::new();
    signer.sign(&Url::parse("https://a.example/").unwrap(), &[], &mut headers).await?;
    assert!(headers["authorization"].is_sensitive());
    Ok(headers["authorization"].to_str().unwrap().to_owned())
}

#[tokio::test]
async fn many_that_need_a_token_at_once_fetch_one() {
    let server = Server::start(3600).await;
    let signer = server.entra();
    let all: Vec<_> = (0..50)
        .map(|_| {
            tokio::spawn({
                let signer = Arc::clone(&signer);
                async move { signed(&signer).await }
            })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap().unwrap(), "Bearer token-1");
    }
    assert_eq!(server.asked(), 1);
    let form = HashMap::from(
        [
            ("grant_type", "client_credentials"),
            ("client_id", "app"),
            ("client_secret", "s&cret"),
            ("scope", "https://cognitiveservices.azure.com/.default"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    assert_eq!((server.last().path.as_str(), server.last().form), ("/tenant/oauth2/v2.0/token", form));
    signer.refused();
    assert_eq!(signed(&signer).await.unwrap(), "Bearer token-2");
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end_while_it_goes_on() {
    let server = Server::start(2).await;
    let signer = server.entra();
    assert_eq!(signed(&signer).await.unwrap(), "Bearer token-1");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for _ in 0..20 {
        assert_eq!(signed(&signer).await.unwrap(), "Bearer token-1");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((signed(&signer).await.unwrap().as_str(), server.asked()), ("Bearer token-2", 2));
}

#[tokio::test]
async fn a_failure_is_told_and_not_repeated_at_once() {
    let server = Server::start(3600).await;
    *server.fails.lock().unwrap() = true;
    let signer = server.entra();
    for _ in 0..3 {
        let why = signed(&signer).await.unwrap_err();
        assert_eq!((why.told.as_str(), why.is_refused), ("its token server answered with status 400 invalid_grant", true));
        assert_eq!(why.described.as_deref(), Some("no such account"));
    }
    assert_eq!(server.asked(), 1);
    let nowhere = [("AZURE_AUTHORITY_HOST", "http://127.0.0.1:1"), ("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "a")];
    let why = signed(&self::signer(&Auth::AzureEntra, "X", "s", &nowhere).unwrap()).await.unwrap_err();
    assert!(why.told.starts_with("its token server could not be reached") && !why.is_refused, "{why}");
}

#[tokio::test]
async fn a_service_account_signs_for_its_token() {
    let server = Server::start(3600).await;
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(KEY));
    let file = json!({
        "type": "service_account", "client_email": "a@b.example", "private_key_id": "k1", "private_key": pem,
        "token_uri": format!("{}/token", server.url), "project_id": "p",
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("account.json");
    std::fs::write(&path, file.to_string()).unwrap();
    let signer = signer(&Auth::Gcp, "GOOGLE_APPLICATION_CREDENTIALS", path.to_str().unwrap(), &[]).unwrap();
    assert_eq!(signed(&signer).await.unwrap(), "Bearer token-1");
    let form = server.last().form;
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let (told, signature) = form["assertion"].rsplit_once('.').unwrap();
    let (head, claims) = told.split_once('.').unwrap();
    let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    assert_eq!(read(head), json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
    let claims = read(claims);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("a@b.example"), &json!(format!("{}/token", server.url))));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
    let pair = RsaKeyPair::from_pkcs8(KEY).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public().as_ref());
    public.verify(told.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    assert!(!format!("{signer:?}").contains("b.example"));
}

#[tokio::test]
async fn a_user_and_a_machine_get_theirs() {
    let server = Server::start(3600).await;
    let user = json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "1//r", "token_uri": format!("{}/t", server.url),
    });
    let user = signer(&Auth::Gcp, "GOOGLE_APPLICATION_CREDENTIALS", &user.to_string(), &[]).unwrap();
    assert_eq!(signed(&user).await.unwrap(), "Bearer token-1");
    assert_eq!((server.last().form["grant_type"].as_str(), server.last().form["refresh_token"].as_str()), ("refresh_token", "1//r"));
    let host = server.url.strip_prefix("http://").unwrap();
    let machine = signer(&Auth::Gcp, "GCE_METADATA_HOST", host, &[]).unwrap();
    assert_eq!(signed(&machine).await.unwrap(), "Bearer token-2");
    let Seen { path, flavor, .. } = server.last();
    assert_eq!((path.as_str(), flavor.as_deref()), ("/computeMetadata/v1/instance/service-accounts/default/token", Some("Google")));
}

#[test]
fn what_is_missing_is_named() {
    let cases = [
        (Auth::Sigv4, "AKID", "AWS_SECRET_ACCESS_KEY is not set"),
        (Auth::AzureEntra, "s", "AZURE_TENANT_ID is not set"),
        (Auth::Gcp, "/nowhere/at/all.json", "the file that X names cannot be read"),
        (Auth::Gcp, "{\"type\":\"external_account\"}", "the credentials file of X is not right"),
    ];
    for (auth, secret, expected) in cases {
        let why = signer(&auth, "X", secret, &[]).unwrap_err();
        assert!(why.starts_with(expected), "{why}");
    }
}

#[tokio::test]
async fn a_token_has_a_life_however_its_server_tells_it() {
    let lives = [json!(3600), json!("3600"), json!(3600.0), json!(null), json!("soon"), json!(u64::MAX), json!(-1), json!({})];
    let server = Server::start(3600).await;
    for life in lives {
        *server.body.lock().unwrap() = Some(json!({ "access_token": "t", "expires_in": life }).to_string());
        assert_eq!(signed(&server.entra()).await.as_deref(), Ok("Bearer t"), "{life}");
    }
}

#[tokio::test]
async fn an_answer_of_a_token_server_that_is_none_says_what_is_wrong() {
    let server = Server::start(3600).await;
    for (body, told) in [
        ("{\"token\": \"x\"}".to_owned(), "no JSON with an 'access_token' (a member is missing"),
        ("x".repeat(2 << 20), "longer than 1 MiB"),
    ] {
        *server.body.lock().unwrap() = Some(body);
        let why = signed(&server.entra()).await.unwrap_err();
        assert!(why.told.contains(told) && !why.is_refused, "{why}");
    }
}
