//! The variables that a template names outside of its loops.

use std::collections::BTreeSet;

use handlebars::Template;
use handlebars::template::{Parameter, TemplateElement};

use super::helpers::{FOREIGN, KNOWN};

/// Blocks within which names are those of their elements.
const WITHIN: [&str; 2] = ["each", "with"];

/// The names of the variables; none of a template that cannot be read.
pub fn variables(body: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if let Ok(template) = Template::compile(body) {
        elements(&template, &mut found);
    }
    found
}

fn elements(template: &Template, found: &mut BTreeSet<String>) {
    for element in &template.elements {
        match element {
            TemplateElement::Expression(tag) | TemplateElement::HtmlExpression(tag) | TemplateElement::HelperBlock(tag) => {
                let is_variable = !tag.block && tag.params.is_empty() && tag.hash.is_empty();
                if is_variable {
                    name(&tag.name, found);
                }
                tag.params.iter().chain(tag.hash.values()).for_each(|value| parameter(value, found));
                let is_within = tag.name.as_name().is_some_and(|name| WITHIN.contains(&name));
                let blocks = [&tag.template, &tag.inverse].into_iter().flatten();
                blocks.filter(|_| !is_within).for_each(|block| elements(block, found));
            }
            TemplateElement::PartialExpression(partial) => {
                partial.params.iter().chain(partial.hash.values()).for_each(|value| parameter(value, found));
            }
            _ => {}
        }
    }
}

fn parameter(value: &Parameter, found: &mut BTreeSet<String>) {
    match value {
        Parameter::Path(_) => name(value, found),
        Parameter::Subexpression(within) => {
            if let TemplateElement::Expression(tag) = within.as_element() {
                tag.params.iter().chain(tag.hash.values()).for_each(|value| parameter(value, found));
            }
        }
        _ => {}
    }
}

fn name(value: &Parameter, found: &mut BTreeSet<String>) {
    let first = value.as_name().and_then(|name| name.split(['.', '[', '/']).next()).unwrap_or_default();
    let is_name = first.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && first != "this"
        && (!KNOWN.contains(&first) || FOREIGN.contains(&first));
    if is_name {
        found.insert(first.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_of_loops_are_found() {
        let body = "{{a}} {{#if b.c}}{{d}}{{else}}{{e}}{{/if}} {{#each f}}{{x}}{{this}}{{/each}} {{json g}} {{@root.y}} {{media url=h}}{{> p z=i}} {{role \"user\"}}{{history}}";
        assert_eq!(variables(body).into_iter().collect::<String>(), "abdefghi");
    }
}
