#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;name=x.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n\
    \r\n-\r\n--\r\n-b\r\n\r\n--b\r\ncontent-disposition: form-data; name=model\r\n\r\ntest/whisper-1\r\n--b--\r\n";

fn scan(form: &str, cuts: &[usize]) -> Result<Option<Field>, Refusal> {
    let mut scanner = Scanner::new("b", "model");
    let mut done = 0;
    for cut in cuts.iter().copied().chain([form.len()]) {
        scanner.observe(&form.as_bytes()[done..cut])?;
        done = cut;
    }
    scanner.finish().map(|()| scanner.found().cloned())
}

fn form(parts: &[&str]) -> String {
    parts.iter().map(|part| format!("--b\r\n{part}\r\n")).collect::<String>() + "--b--\r\n"
}

#[test]
fn the_model_is_found_wherever_the_form_is_torn() {
    let start = FORM.find("test/whisper-1").unwrap() as u64;
    let right = Some(Field { value: "test/whisper-1".to_owned(), at: start..start + 14 });
    for first in 0..=FORM.len() {
        for second in [first, (first + 1).min(FORM.len()), FORM.len()] {
            assert_eq!(scan(FORM, &[first, second]).unwrap(), right, "{first} {second}");
        }
    }
    let every: Vec<usize> = (0..FORM.len()).collect();
    assert_eq!(scan(FORM, &every).unwrap(), right);
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    const MODEL: &str = "Content-Disposition: form-data; name=\"model\"\r\n\r\na/b";
    assert_eq!(scan(&form(&[MODEL]), &[]).unwrap().unwrap().value, "a/b");
    let others = [
        form(&[MODEL, MODEL]),
        form(&[MODEL, "Content-Disposition: form-data; name=\"Model\"\r\n\r\nc"]),
        form(&[MODEL, "Content-Disposition: form-data; name=\"model[]\"\r\n\r\nc"]),
        form(&[MODEL, "Content-Disposition: form-data; name*=utf-8''model\r\n\r\nc"]),
        form(&[MODEL, "Content-Disposition: form-data; name=\"a\"; name=\"model\"\r\n\r\nc"]),
        form(&[MODEL, "Content-Disposition: form-data; name = \"model\"\r\n\r\nc"]),
        form(&[MODEL, "Content-Disposition: form-data; name=\t\"model\"\r\n\r\nc"]),
        form(&[MODEL, "Content-Disposition: form-data; name =model\r\n\r\nc"]),
        form(&[MODEL, "Content-Disposition: form-data; name='a\"model\"'\r\n\r\nc"]),
        form(&[MODEL, "Content-Disposition: form-data; name=\"a\"; name*0=\"mo\"; name*1=\"del\"\r\n\r\nc"]),
        form(&[MODEL, "Content-Disposition: form-data;\r\n name=\"model\"\r\n\r\nc"]),
        form(&[MODEL, "Content-Disposition: form-data; name=\"a\"\nContent-Disposition: form-data; name=\"model\"\r\n\r\nc"]),
        form(&[MODEL, "Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64\r\n\r\nc"]),
        form(&[MODEL, "\r\nc"]),
        form(&["Content-Disposition: form-data; name=\"a\"\r\n\r\nc\n--b\nContent-Disposition: form-data; name=\"model\"\n\nc", MODEL]),
        form(&[MODEL]).replace("--b--\r\n", "--b--\r\n--b\r\n"),
        form(&[MODEL]).replace("--b--\r\n", ""),
        format!("preamble\r\n{}", form(&[MODEL])),
    ];
    for broken in others {
        let refused = scan(&broken, &[]).unwrap_err();
        assert_eq!((refused.code, refused.status.as_u16()), ("form_broken", 400), "{broken}");
    }
}

#[test]
fn a_content_type_has_to_name_its_boundary_once() {
    let read = |text: &'static str| {
        let headers = http::HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(text))]);
        multipart::boundary(&headers).map_err(|refusal| refusal.code)
    };
    assert_eq!(read("multipart/form-data; boundary=b"), Ok("b".to_owned()));
    assert_eq!(read("Multipart/Form-Data; charset=utf-8; Boundary=\"b c\""), Ok("b c".to_owned()));
    assert_eq!(read("multipart/form-data"), Err("form_broken"));
    assert_eq!(read("multipart/form-data; boundary=a; boundary=b"), Err("form_broken"));
    assert_eq!(read("application/json"), Err("content_type"));
}

async fn sent(form: Vec<u8>, cut: usize, announced: bool) -> (Vec<u8>, Option<u64>, bool) {
    let folder = tempfile::tempdir().unwrap();
    let share = crate::surface::shares::Shares::new(64, "limits.uploads_mib").of(crate::key::KeyId::parse("abcdefgh2345").unwrap());
    let config = Config { data: folder.path().to_owned(), ..Config::default() };
    let mut request = http::Request::new(()).into_parts().0;
    request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("multipart/form-data; boundary=b"));
    if announced {
        request.headers.insert(header::CONTENT_LENGTH, form.len().into());
    }
    let pieces: Vec<Result<Bytes, io::Error>> = form.chunks(cut).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    let upload = Upload::read(body, &request, Wants::Model, &config, share).await.unwrap();
    assert_eq!(upload.model(), Some("test/whisper-1"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "an upload's file has no name");
    let (sink, mut pieces) = mpsc::channel(2);
    let (length, is_whole) = (upload.length_with("m"), upload.is_whole());
    let sending = async move { upload.send("m", &sink).await.unwrap() };
    let receiving = async {
        let mut all = Vec::new();
        while let Some(Some(piece)) = pieces.recv().await {
            all.extend_from_slice(&piece);
        }
        all
    };
    let ((), all) = tokio::join!(sending, receiving);
    (all, length, is_whole)
}

#[tokio::test]
async fn a_form_goes_on_with_nothing_but_its_model_changed() {
    let filler = "\r\n-".repeat(1 << 20);
    let large = FORM.replacen("\r\n-b", &filler, 1);
    for (form, cut, announced, is_whole) in
        [(FORM, 1, true, true), (FORM, 7, false, false), (&large, 40_000, true, false), (&large, 100_001, false, false)]
    {
        let expected = form.replace("test/whisper-1", "m");
        let (all, length, whole) = sent(form.as_bytes().to_vec(), cut, announced).await;
        assert!(all == expected.as_bytes(), "{} bytes instead of {}", all.len(), expected.len());
        assert_eq!(length, announced.then_some(expected.len() as u64));
        assert_eq!(whole, is_whole);
    }
}

proptest! {
    #[test]
    fn nothing_panics(form in prop::collection::vec(prop::sample::select(vec!["--b", "\r\n", "\r", "--", ":", "name=\"model\"", "content-disposition: form-data;", "\"", "\\", "x", "ü"]), 0..40), cut in 1usize..9) {
        let form: String = form.concat();
        let mut scanner = Scanner::new("b", "model");
        let is_right = form.as_bytes().chunks(cut).try_for_each(|piece| scanner.observe(piece)).is_ok();
        prop_assert_eq!(is_right && scanner.finish().is_ok(), scan(&form, &[]).is_ok());
    }
}
