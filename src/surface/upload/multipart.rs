//! Watches a `multipart/form-data` body go by for one field, strictly: what two readers could read differently is refused (RFC 7578, RFC 2046).

use std::ops::Range;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use memchr::memmem::Finder;

use crate::dialect::vocabulary;
use crate::error::{Kind, Refusal};

/// A form between two of its pieces.
pub struct Scanner {
    /// `--boundary`.
    delimiter: Finder<'static>,
    /// The field whose value is wanted.
    wanted: &'static str,
    /// Seen and not yet understood: less than a delimiter's length inside of a part.
    held: Vec<u8>,
    /// Where `held` begins in the whole.
    at: u64,
    state: State,
    found: Option<Field>,
    /// How many pictures it asks for, also such as are not ready yet, as far as it says.
    counts: [Option<u64>; 2],
    /// The name of the first field that nobody here knows.
    unknown: Option<String>,
}

/// The wanted field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its value.
    pub value: String,
    /// Where that stands in the whole.
    pub at: Range<u64>,
}

enum State {
    /// Before the first delimiter.
    Start,
    /// Right after a delimiter.
    Delimited,
    /// In a part's head.
    Head,
    /// In a part's content; which it is and its value so far, where it is one that is read, and where it begins.
    Content(Option<(Read, Vec<u8>, u64)>),
    /// After the last delimiter.
    End,
}

/// A field that is read.
#[derive(Clone, Copy)]
enum Read {
    Wanted,
    /// By its place among those of [`COUNTS`].
    Count(usize),
}

/// Fields that say how many pictures there are to be (OpenAI's "Create image edit").
const COUNTS: [&str; 2] = ["n", "partial_images"];
/// A part's head is never nearly as long.
const LONGEST_HEAD: usize = 16 << 10;
/// Nor is the value of the wanted field.
const LONGEST_VALUE: usize = 1 << 10;
/// RFC 2046, section 5.1.1.
const LONGEST_BOUNDARY: usize = 70;
const CRLF: &[u8] = b"\r\n";

/// The boundary that the head announces.
pub fn boundary(headers: &HeaderMap) -> Result<String, Refusal> {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        let shown: String = essence.trim().chars().take(60).collect();
        return Err(Refusal::new(
            http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::Invalid,
            "content_type",
            format!("The content type is '{shown}': send this as a form, with 'Content-Type: multipart/form-data; boundary=…'."),
        ));
    }
    let found = parameters_of(parameters).and_then(|parameters| {
        let mut boundaries = parameters.into_iter().filter(|(name, _)| name.eq_ignore_ascii_case("boundary"));
        boundaries.next().filter(|_| boundaries.next().is_none())
    });
    let is_right = |boundary: &str| (1..=LONGEST_BOUNDARY).contains(&boundary.len()) && !boundary.contains(['\r', '\n']);
    found.map(|(_, boundary)| boundary).filter(|boundary| is_right(boundary)).ok_or_else(|| broken("its content type names no boundary"))
}

// === impl Scanner ===

impl Scanner {
    /// One for forms with that boundary.
    pub fn new(boundary: &str, wanted: &'static str) -> Scanner {
        let delimiter = Finder::new(format!("--{boundary}").as_bytes()).into_owned();
        Scanner { delimiter, wanted, held: Vec::new(), at: 0, state: State::Start, found: None, counts: [None; 2], unknown: None }
    }

    /// Takes the next piece.
    pub fn observe(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        self.held.extend_from_slice(piece);
        while self.step()? {}
        Ok(())
    }

    /// The wanted field, once all of its value has passed.
    pub fn found(&self) -> Option<&Field> {
        self.found.as_ref()
    }

    /// How many pictures are asked for by what has passed.
    pub fn pictures(&self) -> u64 {
        let [whole, partial] = self.counts;
        whole.unwrap_or(1).max(1).saturating_add(partial.unwrap_or(0))
    }

    /// The first field that has passed and that nobody here knows.
    pub fn unknown(&self) -> Option<&str> {
        self.unknown.as_deref()
    }

    /// The body has ended: so the form has to have, too.
    pub fn finish(&self) -> Result<(), Refusal> {
        match self.state {
            State::End if self.held.iter().all(u8::is_ascii_whitespace) => Ok(()),
            State::End => Err(broken("something follows its end")),
            _ => Err(broken("it ends before its last boundary")),
        }
    }

    /// Whether anything was understood.
    fn step(&mut self) -> Result<bool, Refusal> {
        let length = self.delimiter.needle().len();
        match &mut self.state {
            State::Start if self.held.len() < length => Ok(false),
            State::Start if !self.held.starts_with(self.delimiter.needle()) => Err(broken("it does not begin with its boundary")),
            State::Start => self.go_on(length, State::Delimited),
            State::Delimited => match self.held.get(..2) {
                None => Ok(false),
                Some(b"--") => self.go_on(2, State::End),
                Some(CRLF) => self.go_on(2, State::Head),
                Some(_) => Err(broken("its boundary stands where none can be")),
            },
            State::Head => self.head(),
            State::Content(_) => self.content(),
            State::End if self.held.len() > LONGEST_HEAD => Err(broken("something follows its end")),
            State::End => Ok(false),
        }
    }

    fn head(&mut self) -> Result<bool, Refusal> {
        let Some(end) = memchr::memmem::find(&self.held, b"\r\n\r\n") else {
            return if self.held.len() > LONGEST_HEAD { Err(broken("a part's head is too long")) } else { Ok(false) };
        };
        let name = std::str::from_utf8(&self.held[..end]).ok().and_then(name_in).ok_or_else(|| broken("a part's head is not right"))?;
        let is_wanted = name == self.wanted;
        // What some reader takes for the wanted field is a second one, and so are several of it.
        let alike = name.split('[').next().unwrap_or_default().trim().to_ascii_lowercase();
        if !is_wanted
            && (alike == self.wanted || alike.strip_suffix('s') == Some(self.wanted) || (alike == "fallbacks" && self.wanted == "model"))
        {
            return Err(broken(&format!("its field '{}' is spelled otherwise", self.wanted)));
        }
        if is_wanted && self.found.is_some() {
            return Err(broken(&format!("its field '{}' is given twice", self.wanted)));
        }
        if self.unknown.is_none() && !vocabulary::is_known_in_a_form(&name) {
            self.unknown = Some(name.clone());
        }
        let count = COUNTS.iter().position(|count| *count == name);
        if count.is_some_and(|count| self.counts[count].is_some()) {
            return Err(broken(&format!("its field '{name}' is given twice")));
        }
        let read = if is_wanted { Some(Read::Wanted) } else { count.map(Read::Count) };
        let start = self.at + end as u64 + 4;
        self.go_on(end + 4, State::Content(read.map(|read| (read, Vec::new(), start))))
    }

    fn content(&mut self) -> Result<bool, Refusal> {
        let found = self.delimiter.find(&self.held);
        // What may be the beginning of a delimiter with its line break is left for the next piece.
        let content = match found {
            Some(at) => at.checked_sub(2).filter(|at| self.held[*at..].starts_with(CRLF)),
            None => Some(self.held.len().saturating_sub(self.delimiter.needle().len() + 1)),
        };
        let content = content.ok_or_else(|| broken("its boundary stands inside of a part"))?;
        if let State::Content(Some((read, value, _))) = &mut self.state {
            value.extend_from_slice(&self.held[..content]);
            if value.len() > LONGEST_VALUE {
                return Err(broken(&format!("its field '{}' is too long", read.name(self.wanted))));
            }
        }
        if found.is_none() {
            self.forget(content);
            return Ok(false);
        }
        if let State::Content(Some((read, value, start))) = &mut self.state {
            let (name, end) = (read.name(self.wanted), *start + value.len() as u64);
            let value = String::from_utf8(std::mem::take(value)).map_err(|_| broken(&format!("its field '{name}' is no text")))?;
            match *read {
                Read::Wanted => self.found = Some(Field { value, at: *start..end }),
                Read::Count(at) => {
                    let count = value.trim().parse().map_err(|_| broken(&format!("its field '{name}' is no whole number")))?;
                    self.counts[at] = Some(count);
                }
            }
        }
        self.go_on(content + 2 + self.delimiter.needle().len(), State::Delimited)
    }

    fn go_on(&mut self, past: usize, state: State) -> Result<bool, Refusal> {
        self.forget(past);
        self.state = state;
        Ok(true)
    }

    fn forget(&mut self, count: usize) {
        self.held.drain(..count);
        self.at += count as u64;
    }
}

// === impl Read ===

impl Read {
    fn name(self, wanted: &'static str) -> &'static str {
        match self {
            Read::Wanted => wanted,
            Read::Count(at) => COUNTS[at],
        }
    }
}

/// The name that a part's head gives it: one disposition, nothing folded, nothing encoded.
fn name_in(head: &str) -> Option<String> {
    let mut name = None;
    for line in head.split("\r\n") {
        let (header, value) = line.split_once(':')?;
        if line.contains(['\r', '\n']) || header.is_empty() || header.contains([' ', '\t']) {
            return None;
        }
        if header.eq_ignore_ascii_case("content-transfer-encoding") && !["7bit", "8bit", "binary"].contains(&value.trim()) {
            return None;
        }
        if !header.eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        let (kind, parameters) = value.split_once(';')?;
        // Encoded, or in pieces, as `name*0` is (RFC 2231), some reader puts another together.
        let is_name = |name: &str| name.split('*').next().is_some_and(|name| name.eq_ignore_ascii_case("name"));
        let mut names = parameters_of(parameters)?.into_iter().filter(|(name, _)| is_name(name));
        let (spelled, given) = names.next()?;
        if !kind.trim().eq_ignore_ascii_case("form-data") || names.next().is_some() || spelled.contains('*') || name.is_some() {
            return None;
        }
        // What some reader would unquote once more is no name.
        if given.contains(['"', '\\']) {
            return None;
        }
        name = Some(given);
    }
    name
}

/// `a=b; c="d"` as pairs; a quote or backslash inside of quotes is escaped by a backslash.
fn parameters_of(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        // Some readers pass over it, and some take it for a part of the value.
        if name.ends_with([' ', '\t']) || after.starts_with([' ', '\t']) {
            return None;
        }
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        pairs.push((name.trim().to_owned(), value));
        let after = after.trim_start();
        rest = if after.is_empty() { after } else { after.strip_prefix(';')?.trim_start() };
    }
    Some(pairs)
}

fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(characters.next()?.1),
            (_, character) => value.push(character),
        }
    }
}

fn broken(why: &str) -> Refusal {
    Refusal::invalid("form_broken", format!("The form is not right: {why}. Send multipart/form-data with each field once."))
}
