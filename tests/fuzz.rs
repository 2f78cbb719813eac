//! Every decoder, for a moment, over recorded traffic that is damaged in ways that have broken decoders before. `fuzz/` searches further.

#[path = "../fuzz/src/checks.rs"]
mod checks;
#[path = "../fuzz/src/seeds.rs"]
mod seeds;

use std::panic::{AssertUnwindSafe, catch_unwind};

use keyward::catalog::Dialect;
use seeds::Seeds;

/// Damaged inputs for each decoder; `KEYWARD_FUZZ=50000` for more.
const INPUTS: usize = 600;
/// Longer ones take long and break nothing that shorter ones do not.
const LONGEST: usize = 6000;

/// What values are replaced with: of another type, at the ends of their ranges, hard to decode.
const VALUES: [&str; 20] = [
    "null",
    "true",
    "[]",
    "{}",
    "[null]",
    "[{}]",
    "{\"type\":null}",
    "\"\"",
    "\"x\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\"鍵\\n\\n\"",
    "0",
    "-1",
    "1.5",
    "1e999",
    "18446744073709551616",
    "-9223372036854775809",
    "[[[[[[[[]]]]]]]]",
    "\"data:,\"",
];

/// Numbers that are the same in every run (Marsaglia's xorshift64), so that what is found is found again.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

#[test]
fn no_request_breaks_a_decoder() {
    damage_all("request", |seeds| &seeds.requests, checks::request);
}

#[test]
fn no_answer_breaks_a_decoder() {
    damage_all("answer", |seeds| &seeds.answers, checks::answer);
}

#[test]
fn no_stream_breaks_a_decoder() {
    damage_all("stream", |seeds| &seeds.streams, checks::stream);
}

fn damage_all(part: &str, of: fn(&Seeds) -> &Vec<Vec<u8>>, check: fn(Dialect, &[u8])) {
    let Some(folder) = seeds::folder() else {
        println!("SKIPPED: ../shared/traffic is not there, so there is nothing to damage");
        return;
    };
    let count = std::env::var("KEYWARD_FUZZ").ok().and_then(|count| count.parse().ok()).unwrap_or(INPUTS);
    let mut broken = Vec::new();
    for dialect in Dialect::ALL {
        let seeds = Seeds::of(dialect, &folder);
        let inputs: Vec<&Vec<u8>> = of(&seeds).iter().filter(|input| input.len() < LONGEST).collect();
        assert!(inputs.len() > 5, "{dialect:?} has {} inputs", inputs.len());
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        for round in 0..count {
            // Each as it is before any is damaged.
            let mut input = inputs[round % inputs.len()].clone();
            for _ in 0..(round / inputs.len()).min(1 + random.below(4)) {
                damage(&mut input, &inputs, &mut random);
            }
            if catch_unwind(AssertUnwindSafe(|| check(dialect, &input))).is_err() {
                broken.push(format!("{dialect:?}: {}", String::from_utf8_lossy(&input)));
                break;
            }
        }
    }
    assert!(broken.is_empty(), "a decoder breaks over this {part}:\n{}", broken.join("\n"));
}

/// Once: a byte, a piece taken out or doubled, the end cut off, a piece of another input, or a value that is another.
fn damage(input: &mut Vec<u8>, others: &[&Vec<u8>], random: &mut Random) {
    let at = random.below(input.len());
    let end = (at + 1 + random.below(64)).min(input.len());
    match random.below(8) {
        _ if input.is_empty() => {}
        0 => input[at] ^= 1 << random.below(8),
        1 => input.truncate(at),
        2 => drop(input.drain(at..end)),
        3 => input.extend_from_within(at..end),
        4 => {
            let other = others[random.below(others.len())];
            let from = random.below(other.len());
            input.splice(at..end, other[from..].iter().copied().take(200));
        }
        _ => replace_value(input, random),
    }
}

/// Finds a `:` or a `,` and puts another value behind it, up to where the old one seems to end.
fn replace_value(input: &mut Vec<u8>, random: &mut Random) {
    let marks: Vec<usize> = (0..input.len()).filter(|at| matches!(input[*at], b':' | b',' | b'[')).collect();
    if marks.is_empty() {
        return;
    }
    let start = marks[random.below(marks.len())] + 1;
    let (mut depth, mut quoted, mut end) = (0, false, start);
    while end < input.len() {
        match input[end] {
            b'\\' if quoted => end += 1,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' | b',' if !quoted && depth == 0 => break,
            b'}' | b']' if !quoted => depth -= 1,
            _ => {}
        }
        end += 1;
    }
    input.splice(start..end.min(input.len()), VALUES[random.below(VALUES.len())].bytes());
}
