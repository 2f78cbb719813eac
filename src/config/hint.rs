//! Makes a TOML error useful: the file and line it is on, and the valid name nearest to a wrong one.

use std::ops::Range;

/// The standard library's sentence, which tells not how an address is written.
const NO_ADDRESS: &str = "invalid socket address syntax";

/// `file:line` of a span in a file's text.
pub fn place(file: &str, text: &str, span: Option<Range<usize>>) -> String {
    match span.and_then(|span| text.get(..span.start)) {
        Some(before) => format!("{file}:{}", before.matches('\n').count() + 1),
        None => file.to_owned(),
    }
}

/// The message, and where it says ``unknown field `x`, expected one of …``, the nearest name among those.
pub fn with_nearest(message: &str) -> String {
    if message.starts_with(NO_ADDRESS) {
        return format!("{message}: an address and a port, such as \"127.0.0.1:8080\" or \"0.0.0.0:8080\"");
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let (true, Some(wrong)) = (message.starts_with("unknown "), names.next()) else {
        return message.to_owned();
    };
    match nearest(wrong, names) {
        Some(near) => format!("{message}; did you mean `{near}`?"),
        None => message.to_owned(),
    }
}

/// The name most like `wrong`, where one is like it at all.
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
