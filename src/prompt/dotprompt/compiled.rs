//! Compiled templates made Dotprompt's: variables that are called as a foreign helper is are variables, values are written as JavaScript does, and each
//! block, each turn of a loop and each partial tells that it is a step, also where it writes nothing.

use handlebars::template::{HelperTemplate, Parameter, Subexpression, TemplateElement};
use handlebars::{Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderError, ScopedJson, Template};
use serde_json::Value;

use super::helpers::{CONTEXT, FOREIGN, KNOWN};
use super::javascript;

/// The helper that tells a step: whoever counts, counts what is written, be it nothing.
const STEP: &str = "__step";
/// The helper that writes a value.
const TEXT: &str = "__text";
/// The helpers that give any value, and do not write it themselves.
const GIVING: [&str; 2] = ["lookup", CONTEXT];
/// The helper that goes through a list.
const LOOP: &str = "each";

struct Step;
struct Text;

/// Makes all templates of a registry so.
pub fn make(registry: &mut Handlebars<'_>) {
    registry.register_helper(STEP, Box::new(Step));
    registry.register_helper(TEXT, Box::new(Text));
    // It cannot fail: the text is always the same.
    let told = Template::compile(&format!("{{{{{STEP}}}}}")).ok();
    let Some(step) = told.and_then(|told| told.elements.into_iter().next()) else { return };
    let mut templates = registry.get_templates().clone();
    for (name, mut template) in templates.drain() {
        within(&mut template, &step);
        registry.register_template(&name, template);
    }
}

/// Goes through a text: a step is put at its beginning, and before all in it that may write nothing.
fn within(template: &mut Template, step: &TemplateElement) {
    let (elements, mappings) = (std::mem::take(&mut template.elements), std::mem::take(&mut template.mapping));
    // A chain of `else if` has no places in the text.
    let mut put = |element: TemplateElement, at: usize| {
        template.elements.push(element);
        template.mapping.extend(mappings.get(at).cloned());
    };
    put(step.clone(), 0);
    for (at, mut element) in elements.into_iter().enumerate() {
        if let TemplateElement::HelperBlock(block) = &mut element {
            [&mut block.template, &mut block.inverse].into_iter().flatten().for_each(|inner| within(inner, step));
        }
        if matches!(element, TemplateElement::HelperBlock(_) | TemplateElement::PartialExpression(_)) {
            put(step.clone(), at);
        }
        if let TemplateElement::Expression(tag) | TemplateElement::HtmlExpression(tag) = &mut element {
            name_variable(tag);
            write_as_text(tag);
        }
        put(element, at);
    }
}

/// A tag of one word that is a foreign helper's name.
fn name_variable(tag: &mut HelperTemplate) {
    let is_bare = tag.params.is_empty() && tag.hash.is_empty();
    let Some(name) = tag.name.as_name().filter(|name| is_bare && FOREIGN.contains(name)) else { return };
    let variable = Template::compile(&format!("{{{{this.{name}}}}}")).ok().and_then(|read| read.elements.into_iter().next());
    if let Some(TemplateElement::Expression(variable)) = variable
        && matches!(variable.name, Parameter::Path(_))
    {
        tag.name = variable.name.clone();
    }
}

/// A tag that writes a value: it becomes one that writes it as text.
fn write_as_text(tag: &mut HelperTemplate) {
    let is_bare = tag.params.is_empty() && tag.hash.is_empty();
    let gives = match tag.name.as_name() {
        Some(name) if is_bare => !KNOWN.contains(&name),
        Some(name) => GIVING.contains(&name),
        None => is_bare,
    };
    if !gives {
        return;
    }
    let name = std::mem::replace(&mut tag.name, Parameter::Name(TEXT.to_owned()));
    let (params, hash) = (std::mem::take(&mut tag.params), std::mem::take(&mut tag.hash));
    let value = if is_bare { name } else { Parameter::Subexpression(Subexpression::new(name, params, hash)) };
    tag.params.push(value);
}

/// Whether a text goes through a list, be it in a chain of `else`.
pub fn has_loops(template: &Template) -> bool {
    let loops = |inner: &Option<Template>| inner.as_ref().is_some_and(has_loops);
    template.elements.iter().any(|element| match element {
        TemplateElement::HelperBlock(block) => block.name.as_name() == Some(LOOP) || loops(&block.template) || loops(&block.inverse),
        TemplateElement::DecoratorBlock(block) | TemplateElement::PartialBlock(block) => loops(&block.template),
        _ => false,
    })
}

/// Whether a text that was made so has nothing in it but comments and white space.
pub fn says_nothing(template: &Template) -> bool {
    let says = |element: &TemplateElement| match element {
        TemplateElement::RawString(text) => !text.trim().is_empty(),
        TemplateElement::Comment(_) => false,
        TemplateElement::Expression(tag) => tag.name.as_name() != Some(STEP),
        _ => true,
    };
    !template.elements.iter().any(says)
}

// === impl Step ===

impl HelperDef for Step {
    fn call<'reg: 'rc, 'rc>(
        &self,
        _: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        Ok(out.write("")?)
    }
}

// === impl Text ===

impl HelperDef for Text {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let text = helper.param(0).map_or_else(String::new, |param| javascript::text(param.value()));
        Ok(ScopedJson::Derived(Value::from(text)))
    }
}
