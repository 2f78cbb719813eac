//! Files that a request names, by their ids or, Google's, by their addresses, found without building anything of it.

use std::borrow::Cow;
use std::fmt;

use memchr::memmem;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::catalog::Dialect;
use crate::dialect::Meant;
use crate::dialect::ask::broken;
use crate::dialect::ir::MediaSource;
use crate::distinct::distinct;
use crate::error::Refusal;
use crate::held::Kind;
use crate::upstream::media_of;

/// Looks through JSON for files, and builds nothing of it.
struct FilesNamed<'a> {
    into: &'a mut Vec<String>,
    by: By,
    /// The value that comes names some.
    is_name: bool,
}

/// How files are named.
#[derive(Clone, Copy)]
enum By {
    /// Google's, one a member.
    Address,
    /// The others', one a member or a list of them.
    Id,
}

/// What the name of a file of Google's begins with.
const FOLDER: &str = "files/";

/// Google's files that a body names by their addresses, wherever it does: `"fileUri": "https://…/files/ID"`.
pub(super) fn files_named(body: &[u8]) -> Result<Vec<(Kind, String)>, Refusal> {
    let has = |text: &str| memmem::find(body, text.as_bytes()).is_some();
    // An escape may stand for any letter of the name; nearly all bodies have neither.
    let has_letter = || memmem::find_iter(body, b"\\u00").any(|at| matches!(body.get(at + 4), Some(b'4'..=b'7')));
    if has("fileUri") || has("file_uri") || has_letter() { look_through(body, By::Address) } else { Ok(Vec::new()) }
}

/// Files of the other dialects that a body names by their ids, wherever it does: `"file_id": "file-1"`.
pub(super) fn file_ids(body: &[u8]) -> Result<Vec<(Kind, String)>, Refusal> {
    look_through(body, By::Id)
}

fn look_through(body: &[u8], by: By) -> Result<Vec<(Kind, String)>, Refusal> {
    let mut found = Vec::new();
    let looking = FilesNamed { into: &mut found, by, is_name: false };
    let looked = looking.deserialize(&mut serde_json::Deserializer::from_slice(body));
    // What was not looked through to its end may name any file.
    looked.map_err(|e| broken(body, &e))?;
    Ok(distinct(found).into_iter().map(|file| (Kind::File, file)).collect())
}

/// Each `files/ID` in an address, or as the whole of it: which of several its provider takes is its own affair.
fn files_at(address: &str) -> Vec<String> {
    let address = percent_encoding::percent_decode_str(address).decode_utf8_lossy();
    let begins = |at: usize| address[..at].is_empty() || address[..at].ends_with(|c: char| !c.is_ascii_alphanumeric());
    let places = address.match_indices(FOLDER).filter(|(at, _)| begins(*at)).map(|(at, folder)| at + folder.len());
    let ids = places.map(|start| address[start..].split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').next());
    ids.flatten().filter(|id| !id.is_empty()).map(|id| format!("{FOLDER}{id}")).collect()
}

/// The same of a request that is to be translated.
pub(super) fn files_meant(meant: &Meant) -> Vec<(Kind, String)> {
    let Meant::Chat(asked) = meant else { return Vec::new() };
    let files = media_of(&asked.request).flat_map(|media| match &media.source {
        MediaSource::Url(uri) | MediaSource::File { of: Dialect::Gemini, id: uri } => files_at(uri),
        _ => Vec::new(),
    });
    files.map(|file| (Kind::File, file)).collect()
}

// === impl FilesNamed ===

impl<'de> DeserializeSeed<'de> for FilesNamed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FilesNamed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let is_name = match self.by {
                By::Address => matches!(&*name, "fileUri" | "file_uri"),
                By::Id => matches!(&*name, "file_id" | "file_ids"),
            };
            map.next_value_seed(FilesNamed { into: self.into, by: self.by, is_name })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let is_name = self.is_name && matches!(self.by, By::Id);
        while list.next_element_seed(FilesNamed { into: self.into, by: self.by, is_name })?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        match self.by {
            _ if !self.is_name => {}
            By::Address => self.into.extend(files_at(text)),
            By::Id => self.into.push(text.to_owned()),
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn googles_files_are_found_wherever_a_body_names_them() {
        let named = |body: &str| files_named(body.as_bytes()).unwrap().into_iter().map(|(_, id)| id).collect::<Vec<_>>();
        let part = r#"{"contents":[{"parts":[{"text":"see https://x/files/none"},{"fileData":{"fileUri":"https://g.example/v1beta/files/abc-1?alt=media"}}]}]}"#;
        assert_eq!(named(part), ["files/abc-1"]);
        assert_eq!(named(r#"{"a":{"file_uri":"files/b"},"n":[1,-1,1.5,null,true]}"#), ["files/b"]);
        assert_eq!(named(r#"{"\u0066ileUri":"https:\/\/g.example\/v1\/files\/c"}"#), ["files/c"]);
        assert_eq!(named(r#"{"fileUri":"https://g.example/v1/files/%61bc"}"#), ["files/abc"]);
        assert_eq!(named(r#"{"fileUri":"https://g.example/v1/files/a?x=/files/b#files/c"}"#), ["files/a", "files/b", "files/c"]);
        let ids = |body: &str| file_ids(body.as_bytes()).unwrap().into_iter().map(|(_, id)| id).collect::<Vec<_>>();
        assert_eq!(
            ids(r#"{"a":[{"file":{"file_id":"file-1"}}],"tools":[{"container":{"file_ids":["file-2","file-3"]}}],"text":"file_id"}"#),
            ["file-1", "file-2", "file-3"]
        );
        assert_eq!(ids(r#"{"\u0066ile_id":"file-1","x":["file-9"]}"#), ["file-1"]);
        for none in [r#"{"fileUri":"gs://bucket/profiles/a"}"#, r#"{"fileUri":"https://youtu.be/x"}"#, r#"{"text":"\u00e4 files/a"}"#] {
            assert!(named(none).is_empty(), "{none}");
        }
        let deep = format!(r#"{{"x":{}{},"fileUri":"files/a"}}"#, "[".repeat(200), "]".repeat(200));
        assert!(files_named(deep.as_bytes()).is_err());
    }
}
