//! What a JSON Schema may be that a caller gives: so small with all that it refers to, and so little recursive, that checking by it ends soon.

use std::collections::HashMap;
use std::rc::Rc;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// Parts of a schema, with each `$ref` replaced by what it refers to.
const MOST_PARTS: u64 = 20_000;
/// How deep they are nested.
const DEEPEST: usize = 128;
/// How many steps are looked at to see whether two of them lead to the same part of a value.
const MOST_LOOKS: usize = 1_000_000;

/// Keywords below which schemas stand by names of their own.
const MAPS: [&str; 3] = ["properties", "patternProperties", "dependentSchemas"];
/// What is checked where something refers to it.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];
/// Values, and no schemas.
const VALUES: [&str; 5] = ["enum", "const", "default", "examples", "example"];
/// Names that another `$ref` could mean.
const NAMES: [&str; 6] = ["$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "$recursiveAnchor"];

/// What a part comes to.
#[derive(Clone, Copy, Default)]
struct Whole {
    parts: u64,
    depth: usize,
}

/// A step into a value, to the part that a schema below is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Step<'a> {
    Property(&'a str),
    /// Any property.
    Properties,
    Item(usize),
    /// Any item.
    Items,
    /// A property's name, which has no parts.
    Name,
}

/// How often each step leads on to what comes again.
type Steps<'a> = HashMap<Step<'a>, u64>;

/// That a schema leads to another one; both are numbers.
struct Edge<'a> {
    from: usize,
    /// None where both check the same part of a value.
    step: Option<Step<'a>>,
    to: usize,
}

struct Looking<'a> {
    root: &'a Value,
    known: HashMap<&'a str, Whole>,
    /// What refers to what is being looked at.
    within: Vec<&'a str>,
    /// The numbers of what is referred to; the whole schema is 0.
    numbers: HashMap<&'a str, usize>,
    /// How many numbers are given.
    count: usize,
    edges: Vec<Edge<'a>>,
}

/// Refuses a schema that checking would not come to an end with soon.
pub fn check(schema: &Value) -> Result<(), String> {
    let (numbers, within) = (HashMap::from([("#", 0)]), vec!["#"]);
    let mut looking = Looking { root: schema, known: HashMap::new(), within, numbers, count: 1, edges: Vec::new() };
    looking.schema(schema, 0, 0)?;
    check_returns(looking.count, &looking.edges)
}

fn too_large() -> String {
    format!("with all that it refers to it has more than {MOST_PARTS} parts")
}

/// Refuses what comes to itself without a step into the value, or more than once for the same part of it: each level would double the time.
fn check_returns(count: usize, edges: &[Edge<'_>]) -> Result<(), String> {
    let in_place: Vec<(usize, usize)> = edges.iter().filter(|edge| edge.step.is_none()).map(|edge| (edge.from, edge.to)).collect();
    let order = ending(count, &in_place);
    if order.len() < count {
        return Err("it refers to itself without end".to_owned());
    }
    let (on, back): (Vec<_>, Vec<_>) = edges.iter().map(|edge| ((edge.from, edge.to), (edge.to, edge.from))).unzip();
    // All numbers are below `count`, here and below.
    let mut is_again = vec![true; count];
    for number in ending(count, &on).into_iter().chain(ending(count, &back)) {
        is_again[number] = false;
    }
    let mut onwards: Vec<Vec<&Edge<'_>>> = vec![Vec::new(); count];
    for edge in edges.iter().filter(|edge| is_again[edge.from] && is_again[edge.to]) {
        onwards[edge.from].push(edge);
    }
    let none = Rc::new(Steps::new());
    let mut steps: Vec<Rc<Steps<'_>>> = vec![none; count];
    let mut looks = 0;
    // What is referred to in place comes before what refers to it.
    for number in order {
        if let [Edge { step: None, to, .. }] = onwards[number].as_slice() {
            steps[number] = Rc::clone(&steps[*to]);
            continue;
        }
        let mut own = Steps::new();
        for edge in &onwards[number] {
            let leads = |step: Step<'_>| step != Step::Name;
            match edge.step {
                Some(step) if leads(step) => *own.entry(step).or_default() += 1,
                Some(_) => {}
                None => steps[edge.to].iter().for_each(|(step, times)| *own.entry(*step).or_default() += times),
            }
            looks += if edge.step.is_none() { steps[edge.to].len() } else { 1 };
        }
        if looks > MOST_LOOKS {
            return Err(too_large());
        }
        if meet(&own) {
            return Err("it refers to itself in more than one place for the same part of a value".to_owned());
        }
        steps[number] = Rc::new(own);
    }
    Ok(())
}

/// Whether two of the steps may lead to the same part.
fn meet(steps: &Steps<'_>) -> bool {
    let any = |step| steps.get(&step).copied().unwrap_or(0);
    let (properties, items) = (any(Step::Properties), any(Step::Items));
    steps.iter().any(|(step, times)| match step {
        Step::Property(_) => times + properties > 1,
        Step::Item(_) => times + items > 1,
        Step::Properties | Step::Items | Step::Name => *times > 1,
    })
}

/// The numbers below `count` from which each way comes to an end, each after those that it leads to.
fn ending(count: usize, ways: &[(usize, usize)]) -> Vec<usize> {
    let (mut left, mut before) = (vec![0_usize; count], vec![Vec::new(); count]);
    // Both ends of a way are below `count`.
    for (from, to) in ways {
        left[*from] += 1;
        before[*to].push(*from);
    }
    let mut ended: Vec<usize> = (0..count).filter(|number| left[*number] == 0).collect();
    let mut at = 0;
    while let Some(number) = ended.get(at).copied() {
        for from in &before[number] {
            left[*from] -= 1;
            if left[*from] == 0 {
                ended.push(*from);
            }
        }
        at += 1;
    }
    ended
}

/// The step from a keyword to what its schema is for; none where that is the value itself.
fn step_of(keyword: &str) -> Option<Step<'_>> {
    match keyword {
        "patternProperties" | "additionalProperties" | "unevaluatedProperties" => Some(Step::Properties),
        "items" | "prefixItems" | "additionalItems" | "contains" | "unevaluatedItems" => Some(Step::Items),
        "propertyNames" => Some(Step::Name),
        _ => None,
    }
}

// === impl Whole ===

impl Whole {
    fn add(&mut self, other: Whole) -> Result<(), String> {
        self.parts = self.parts.saturating_add(other.parts);
        self.depth = self.depth.max(other.depth + 1);
        match self {
            Whole { parts, .. } if *parts > MOST_PARTS => Err(too_large()),
            Whole { depth, .. } if *depth > DEEPEST => Err(format!("it is nested more than {DEEPEST} deep")),
            _ => Ok(()),
        }
    }
}

// === impl Looking ===

impl<'a> Looking<'a> {
    /// A schema, or a list of schemas, that belongs to a number and is so `deep` in what refers to it.
    fn schema(&mut self, schema: &'a Value, number: usize, deep: usize) -> Result<Whole, String> {
        let mut whole = Whole { parts: 1, ..Whole::default() };
        if deep > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep"));
        }
        match schema {
            Value::Object(members) => self.members(members, number, deep, &mut whole)?,
            Value::Array(list) => list.iter().try_for_each(|one| whole.add(self.schema(one, number, deep + 1)?))?,
            _ => {}
        }
        Ok(whole)
    }

    fn members(&mut self, members: &'a Map<String, Value>, number: usize, deep: usize, whole: &mut Whole) -> Result<(), String> {
        // Its own name changes nothing of what a '#' means.
        let is_root = self.root.as_object().is_some_and(|root| std::ptr::eq(root, members));
        for (name, member) in members {
            match (name.as_str(), member) {
                ("$ref", Value::String(target)) => whole.add(self.target(target, number, deep + 1)?)?,
                ("$id", Value::String(_)) if is_root => {}
                (name, Value::String(_)) if NAMES.contains(&name) => {
                    return Err(format!("'{name}' is not taken: refer to parts of it by '$ref' and their place, as #/$defs/name"));
                }
                (name, _) if DEFINITIONS.contains(&name) => {}
                (name, _) if VALUES.contains(&name) => whole.add(Whole { parts: values(member), ..Whole::default() })?,
                (name, Value::Object(all)) if MAPS.contains(&name) => {
                    for (key, one) in all {
                        let step = if name == "properties" { Some(Step::Property(key)) } else { step_of(name) };
                        let inner = self.onwards(number, step);
                        whole.add(self.schema(one, inner, deep + 1)?)?;
                    }
                }
                ("items" | "prefixItems", Value::Array(list)) => {
                    for (place, one) in list.iter().enumerate() {
                        let inner = self.onwards(number, Some(Step::Item(place)));
                        whole.add(self.schema(one, inner, deep + 1)?)?;
                    }
                }
                (name, _) => {
                    let inner = self.onwards(number, step_of(name));
                    whole.add(self.schema(member, inner, deep + 1)?)?;
                }
            }
        }
        Ok(())
    }

    /// The number of what is a step further into the value: the same without a step.
    fn onwards(&mut self, from: usize, step: Option<Step<'a>>) -> usize {
        if step.is_none() {
            return from;
        }
        let to = self.number();
        self.edges.push(Edge { from, step, to });
        to
    }

    fn number(&mut self) -> usize {
        self.count += 1;
        self.count - 1
    }

    /// What a `$ref` refers to.
    fn target(&mut self, target: &'a str, from: usize, deep: usize) -> Result<Whole, String> {
        let known = self.numbers.get(target).copied();
        let to = known.unwrap_or_else(|| self.number());
        self.numbers.insert(target, to);
        self.edges.push(Edge { from, step: None, to });
        if self.within.contains(&target) {
            return Ok(Whole { parts: 1, depth: 0 });
        }
        if let Some(known) = self.known.get(target) {
            return Ok(*known);
        }
        let pointer = target.strip_prefix('#').and_then(|pointer| percent_decode_str(pointer).decode_utf8().ok());
        let found = pointer.and_then(|pointer| self.root.pointer(&pointer)).ok_or_else(|| format!("there is nothing at '{target}'"))?;
        self.within.push(target);
        let whole = self.schema(found, to, deep)?;
        self.within.pop();
        self.known.insert(target, whole);
        Ok(whole)
    }
}

/// How many parts a value has.
fn values(value: &Value) -> u64 {
    match value {
        Value::Array(list) => 1 + list.iter().map(values).sum::<u64>(),
        Value::Object(members) => 1 + members.values().map(values).sum::<u64>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn what_people_mean_is_taken() {
        for schema in [
            json!({ "type": "object", "properties": { "a": { "$ref": "#/$defs/b" }, "$id": { "type": "string" } }, "$defs": { "b": { "enum": [1, 2] } } }),
            json!({ "$ref": "#/$defs/node", "$defs": { "node": { "properties": { "children": { "items": { "$ref": "#/$defs/node" } } } } } }),
            json!({ "properties": { "next": { "$ref": "#" } } }),
            json!({ "$id": "https://example.com/note", "properties": { "next": { "$ref": "#" } } }),
            // A tree, as Pydantic and zod write it, and one whose branches stand in an object of their own.
            json!({ "$ref": "#/$defs/tree", "$defs": { "tree": { "properties": {
                "left": { "anyOf": [{ "$ref": "#/$defs/tree" }, { "type": "null" }] },
                "right": { "anyOf": [{ "$ref": "#/$defs/tree" }, { "type": "null" }] },
            } } } }),
            json!({ "properties": { "both": { "properties": { "left": { "$ref": "#" }, "right": { "$ref": "#" } } } } }),
            // A linked list whose node is used twice, also for the same part.
            json!({ "properties": { "a": { "$ref": "#/$defs/node" }, "b": { "allOf": [{ "$ref": "#/$defs/node" }, { "$ref": "#/$defs/node" }] } },
                "$defs": { "node": { "properties": { "next": { "anyOf": [{ "$ref": "#/$defs/node" }, { "type": "null" }] } } } } }),
            json!({ "prefixItems": [{ "$ref": "#" }, { "$ref": "#" }] }),
            json!({ "enum": (0..5_000).collect::<Vec<_>>() }),
            json!(true),
        ] {
            check(&schema).unwrap();
        }
    }

    #[test]
    fn what_would_not_end_is_refused() {
        let mut doubled: Map<String, Value> = (0..40)
            .map(|n| {
                (
                    format!("a{n}"),
                    json!({ "allOf": [{ "$ref": format!("#/$defs/a{}", n + 1) }, { "$ref": format!("#/$defs/a{}", n + 1) }] }),
                )
            })
            .collect();
        doubled.insert("a40".to_owned(), json!({ "type": "string" }));
        let mut hidden = doubled.clone();
        hidden.insert("properties".to_owned(), json!({ "$defs": { "$ref": "#/$defs/a0" } }));
        let deep: Map<String, Value> = (0..3_000).map(|n| (format!("a{n}"), json!({ "$ref": format!("#/$defs/a{}", n + 1) }))).collect();
        for (schema, why) in [
            (json!({ "$ref": "#/$defs/a0", "$defs": doubled.clone() }), "more than 20000 parts"),
            (json!({ "properties": { "$defs": { "$ref": "#/$defs/a0" } }, "$defs": doubled }), "more than 20000 parts"),
            (json!({ "$ref": "#/$defs/a0", "$defs": deep }), "more than 128 deep"),
            (json!({ "allOf": [{ "$ref": "#" }] }), "without end"),
            (
                json!({ "$ref": "#/$defs/a", "$defs": { "a": { "anyOf": [{ "$ref": "#/$defs/b" }] }, "b": { "not": { "$ref": "#/$defs/a" } } } }),
                "without end",
            ),
            (
                json!({ "items": { "$ref": "#/$defs/b" }, "allOf": [{ "$ref": "#/$defs/b" }], "$defs": { "b": { "not": { "$ref": "#" } } } }),
                "without end",
            ),
            (json!({ "properties": { "a": { "allOf": [{ "$ref": "#" }, { "$ref": "#" }] } } }), "in more than one place"),
            (
                json!({ "$ref": "#/$defs/n", "$defs": { "n": { "anyOf": [
                    { "type": "array", "items": { "$ref": "#/$defs/n" } },
                    { "type": "array", "items": { "$ref": "#/$defs/n" } },
                ] } } }),
                "in more than one place",
            ),
            (json!({ "properties": { "a": { "$ref": "#" } }, "patternProperties": { "": { "$ref": "#" } } }), "in more than one place"),
            // Once each, and through another one twice.
            (
                json!({ "$ref": "#/$defs/t", "$defs": {
                    "t": { "allOf": [{ "items": { "$ref": "#/$defs/t" } }, { "items": { "$ref": "#/$defs/u" } }] },
                    "u": { "items": { "$ref": "#/$defs/t" } },
                } }),
                "in more than one place",
            ),
            (json!({ "$ref": "#/$defs/nothing" }), "there is nothing at"),
            (json!({ "$ref": "https://example.com/schema" }), "there is nothing at"),
            (json!({ "properties": { "a": { "$id": "b" } } }), "'$id' is not taken"),
            (json!({ "$anchor": "a", "properties": { "b": { "$ref": "#a" } } }), "'$anchor' is not taken"),
        ] {
            let told = check(&schema).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
