//! Tables for people and JSON for scripts.

use std::io::{self, Write};

use serde::Serialize;

use super::CliError;
use crate::hidden::{is_hidden, visible};
use crate::steps::Compared;

/// Prints a value as JSON.
pub fn json<T: Serialize>(value: &T) -> Result<(), CliError> {
    print(&as_json(value)?)
}

/// A value as JSON, with nothing in it that steers a terminal.
pub fn as_json<T: Serialize>(value: &T) -> Result<String, CliError> {
    Ok(format!("{}\n", visible(&serde_json::to_string_pretty(value)?)))
}

/// Prints columns, each as wide as its widest cell. Callers choose some names: what would steer a terminal is shown as an escape.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> Result<(), CliError> {
    print(&laid_out(head, rows))
}

fn laid_out(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| harmless(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(head.to_vec());
    for row in &rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

/// A text in which nothing steers a terminal.
pub fn harmless(cell: &str) -> String {
    let steers = |c: char| c.is_control() || is_hidden(c);
    cell.chars().fold(String::with_capacity(cell.len()), |mut shown, c| {
        match steers(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
        shown
    })
}

/// Prints a line with names in it that callers chose: what would steer a terminal or begin another line is shown as an escape.
pub fn say(line: &str) -> Result<(), CliError> {
    print(&format!("{}\n", harmless(line)))
}

/// Prints text; a reader that has gone away, such as `head`, is no error.
pub fn print(text: &str) -> Result<(), CliError> {
    match show(text) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// Prints text that somebody has to have seen.
pub fn show(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints how two versions differ.
pub fn compared(compared: &Compared) -> Result<(), CliError> {
    let Compared { from, to, diff } = compared;
    if diff.is_empty() { print(&format!("{from} and {to} are the same.\n")) } else { print(diff) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_steers_a_terminal_or_makes_a_line_of_its_own() {
        let rows = [vec!["a\u{1b}[2Jb\nc".to_owned(), "ü".to_owned()], vec!["\u{202e}x".to_owned(), "y".to_owned()]];
        let text = laid_out(&["NAME", "B"], &rows);
        assert_eq!(text, "NAME            B\na\\u{1b}[2Jb\\nc  ü\n\\u{202e}x       y\n");
    }
}
