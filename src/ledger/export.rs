//! Requests one by one as CSV (RFC 4180) or JSON lines, a page at a time: memory holds one page, and nothing is locked between two.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use crate::hidden::{is_hidden, visible};
use crate::store::{LedgerStore, PAGE, Place, Request, RowsQuery, StoreError};

/// How a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line of columns each, below a line of their names.
    Csv,
    /// An object on a line of its own each.
    JsonLines,
}

/// What is left of an export.
pub struct Export {
    store: Arc<dyn LedgerStore>,
    query: RowsQuery,
    format: Format,
    after: Option<Place>,
}

// === impl Format ===

impl Format {
    /// The format of that name: `csv` or `jsonl`.
    pub fn parse(name: &str) -> Result<Format, String> {
        match name {
            "csv" => Ok(Format::Csv),
            "jsonl" => Ok(Format::JsonLines),
            other => Err(format!("'{other}' is no format: it is csv or jsonl.")),
        }
    }

    /// For the header `content-type`.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Csv => "text/csv; charset=utf-8; header=present",
            Format::JsonLines => "application/jsonl",
        }
    }
}

// === impl Export ===

impl Export {
    /// All that `query` asks for.
    pub fn new(store: Arc<dyn LedgerStore>, query: RowsQuery, format: Format) -> Export {
        Export { store, query, format, after: None }
    }

    /// A page's text, and what is left after it.
    pub async fn next(self) -> Result<(String, Option<Export>), StoreError> {
        let page = self.store.rows(&self.query, self.after).await?;
        let mut text = String::new();
        if self.after.is_none() && self.format == Format::Csv {
            text.push_str(&head()?);
        }
        page.iter().try_for_each(|request| self.write(request, &mut text))?;
        let is_full = page.len() >= PAGE as usize;
        let last = page.last().filter(|_| is_full).map(|last| last.place);
        Ok((text, last.map(|place| Export { after: Some(place), ..self })))
    }

    fn write(&self, request: &Request, to: &mut String) -> Result<(), StoreError> {
        match self.format {
            Format::JsonLines => to.push_str(&visible(&serde_json::to_string(request).map_err(|e| StoreError(e.to_string()))?)),
            Format::Csv => to.push_str(&columns(request)?.iter().map(|(_, value)| cell(value)).collect::<Vec<_>>().join(",")),
        }
        to.push_str(if self.format == Format::Csv { "\r\n" } else { "\n" });
        Ok(())
    }
}

fn head() -> Result<String, StoreError> {
    let names: Vec<String> = columns(&Request::default())?.into_iter().map(|(name, _)| name).collect();
    Ok(names.join(",") + "\r\n")
}

fn columns(request: &Request) -> Result<Vec<(String, Value)>, StoreError> {
    match serde_json::to_value(request) {
        Ok(Value::Object(members)) => Ok(members.into_iter().collect()),
        _ => Err(StoreError("a request is no object".to_owned())),
    }
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text,
        other => return other.to_string(),
    };
    // Of a file that is shown, such a character would steer the terminal; JSON escapes it too.
    let steers = |c: char| (c.is_control() && !matches!(c, '\t' | '\r' | '\n')) || is_hidden(c);
    let text: Cow<'_, str> = match text.contains(steers) {
        true => text.chars().map(|c| if steers(c) { c.escape_default().to_string() } else { c.to_string() }).collect(),
        false => Cow::Borrowed(text),
    };
    // A spreadsheet takes such a text for a formula, and callers choose the names of models.
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{guard}{}\"", text.replace('"', "\"\"")),
        false => format!("{guard}{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_steers_a_terminal() {
        let of = |text: &str| cell(&Value::from(text));
        assert_eq!(of("a\u{1b}[2Jb\u{9b}"), "a\\u{1b}[2Jb\\u{9b}");
        assert_eq!(of("a\u{202e}b\u{feff}"), "a\\u{202e}b\\u{feff}");
        assert_eq!((of("a\tb"), of("a\nb"), of("\"é\"")), ("a\tb".to_owned(), "\"a\nb\"".to_owned(), "\"\"\"é\"\"\"".to_owned()));
    }
}
