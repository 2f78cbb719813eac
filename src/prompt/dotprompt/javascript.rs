//! Values as JavaScript writes them: Dotprompt's own implementation is in it, and templates are written for what that renders.

use serde_json::{Number, Value};

/// Numbers from here on are written with an exponent.
const LARGE: f64 = 1e21;
/// And so are those below this one.
const SMALL: f64 = 1e-6;
/// Up to here each whole number is one of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What a value is in a text: `1` for 1.0, `a,b` for a list, nothing for null.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => number(value),
        Value::String(value) => value.clone(),
        Value::Array(all) => all.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Object(_) => "[object Object]".to_owned(),
    }
}

/// Makes numbers such as 1.0 whole, which JSON has as `1` there.
pub fn make_whole(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(whole) = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT) {
                *number = Number::from(whole as i64);
            }
        }
        Value::Array(all) => all.iter_mut().for_each(make_whole),
        Value::Object(members) => members.values_mut().for_each(make_whole),
        _ => {}
    }
}

fn number(number: &Number) -> String {
    // Whole numbers are written whole, also those that are too large for JavaScript.
    let Some(value) = number.as_f64().filter(|_| number.is_f64()) else { return number.to_string() };
    let size = value.abs();
    if size == 0.0 {
        "0".to_owned()
    } else if (SMALL..LARGE).contains(&size) {
        value.to_string()
    } else {
        let written = format!("{value:e}");
        if size < SMALL { written } else { written.replace('e', "e+") }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_as_in_javascript() {
        // As `String(value)` has them, but for null.
        for (value, wanted) in [
            (json!(1.0), "1"),
            (json!(-0.0), "0"),
            (json!(0.1), "0.1"),
            (json!(1e6), "1000000"),
            (json!(1e20), "100000000000000000000"),
            (json!(1.5e21), "1.5e+21"),
            (json!(-1e300), "-1e+300"),
            (json!(0.000_001), "0.000001"),
            (json!(0.000_000_15), "1.5e-7"),
            (json!(9_007_199_254_740_993_u64), "9007199254740993"),
            (json!(["a", 1.0, null, [true, []], { "b": 1 }]), "a,1,,true,,[object Object]"),
            (json!(null), ""),
            (json!(false), "false"),
        ] {
            assert_eq!(text(&value), wanted, "{value}");
        }
        let mut value = json!({ "a": [1.0, 0.5, -2.0], "b": 1e30, "c": 7 });
        make_whole(&mut value);
        assert_eq!(value, json!({ "a": [1, 0.5, -2], "b": 1e30, "c": 7 }));
    }
}
