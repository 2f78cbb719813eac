//! YAML 1.2 as people write it: `yes` and `NO` are texts, and so is what begins with a zero, such as `010`.

use serde::de::DeserializeOwned;

/// What a text says, nested so deep at the most; the error has the line, from 1 on, and what is wrong there.
pub fn read<T: DeserializeOwned>(text: &str, deepest: usize) -> Result<T, (usize, String)> {
    // Descriptions of whole platforms are larger than what is read by default.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_events: 20_000_000, max_nodes: 10_000_000, max_depth: deepest },
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(1, |location| usize::try_from(location.line()).unwrap_or(1)).max(1);
        let message = error.without_snippet().to_string();
        (line, message.lines().next().unwrap_or_default().to_owned())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_word_or_a_code_is_a_text_unless_yaml_says_otherwise() {
        let read: Value = read("[yes, no, NO, on, y, 010, -007, 1_000, true, 0o10, 0x1f, 10, 0, 0.5, ~]", 9).unwrap();
        assert_eq!(read, json!(["yes", "no", "NO", "on", "y", "010", "-007", "1_000", true, 8, 31, 10, 0, 0.5, null]));
        assert_eq!(super::read::<Value>("a: 1\nb: [", 9).unwrap_err().0, 2);
    }
}
