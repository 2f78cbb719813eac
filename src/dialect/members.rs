//! The top level of a JSON object with the place of each value in its bytes: read in one pass, nothing below is built.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::pointers::Pointers;
use super::scan;

/// One member: its name, and where its value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The name, unescaped.
    pub name: Cow<'a, str>,
    /// The value as written.
    pub raw: &'a str,
    /// Where the value stands in the whole.
    pub range: Range<usize>,
}

/// The members of an object, in order.
#[derive(Debug)]
pub struct Members<'a> {
    list: Vec<Member<'a>>,
    pointers: Pointers,
}

/// No dialect's request or answer has nearly as many; each name is compared with those before it.
pub(super) const MOST_MEMBERS: usize = 512;

// === impl Members ===

impl<'a> Members<'a> {
    /// Reads the members of the object that `json` is; the whole of it has to be right, and no name may come twice.
    pub fn read(json: &'a [u8]) -> Result<Members<'a>, serde_json::Error> {
        if let Some((list, pointers)) = scan::members(json) {
            return Ok(Members { list, pointers });
        }
        Members::read_carefully(json)
    }

    /// The same, slower, and with an error that says what is wrong and where.
    pub(super) fn read_carefully(json: &'a [u8]) -> Result<Members<'a>, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let members = reader.deserialize_map(TopLevel { base: json.as_ptr() as usize })?;
        reader.end()?;
        Ok(members)
    }

    /// The member of that name.
    pub fn get(&self, name: &str) -> Option<&Member<'a>> {
        self.list.iter().find(|member| member.name == name)
    }

    /// The same, unless it is `null`.
    pub fn given(&self, name: &str) -> Option<&Member<'a>> {
        self.get(name).filter(|member| member.raw != "null")
    }

    /// A name that comes twice where upper and lower case are the same: to readers in Go, which take the last, it does.
    pub fn twice_but_for_case(&self) -> Option<&str> {
        let is_alike = |at: usize, name: &str| self.list[..at].iter().any(|member| member.name.eq_ignore_ascii_case(name));
        self.list.iter().enumerate().find(|(at, member)| is_alike(*at, &member.name)).map(|(_, member)| &*member.name)
    }

    /// Whether something in it may point to what is not in it, or be no text: files, pictures, what a provider keeps or finds by itself.
    pub fn points_out(&self) -> bool {
        self.pointers.any()
    }

    /// Whether something in it may name a file that a provider keeps.
    pub fn may_name_files(&self) -> bool {
        self.pointers.may_name_files()
    }

    /// Whether something in it may be a file, or point to one.
    pub fn may_have_documents(&self) -> bool {
        self.pointers.may_have_documents()
    }

    /// Whether something in it hands tools to a model beside the members that are there for that, or may do so where nobody sees it.
    pub(super) fn tools_within(&self) -> [bool; 2] {
        self.pointers.tools()
    }

    /// All members.
    pub fn iter(&self) -> std::slice::Iter<'_, Member<'a>> {
        self.list.iter()
    }
}

struct TopLevel {
    base: usize,
}

impl<'de> Visitor<'de> for TopLevel {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members: Vec<Member<'de>> = Vec::with_capacity(12);
        while let Some(Name(name)) = map.next_key()? {
            if members.len() == MOST_MEMBERS {
                return Err(serde::de::Error::custom(format!("it has more than {MOST_MEMBERS} fields")));
            }
            if members.iter().any(|member| member.name == name) {
                // Two readers could each take another of the two: what was checked has to be what is sent.
                return Err(serde::de::Error::custom(format!("'{name}' is given twice")));
            }
            let raw = map.next_value::<&'de RawValue>()?.get();
            let start = raw.as_ptr() as usize - self.base;
            members.push(Member { name, raw, range: start..start + raw.len() });
        }
        // What this reader takes and the other does not is hardly ever sent.
        Ok(Members { list: members, pointers: Pointers::UNSEEN })
    }
}

/// A name, borrowed unless it has escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Name<'de>, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Text)
    }
}
