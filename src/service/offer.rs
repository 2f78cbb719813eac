//! What a version of a service offers its callers: once it is published, that stays as it is.

use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Access;
use super::told::METHODS;
use crate::hex::hex;
use crate::money::Usd;

/// What callers rely on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Offer {
    /// What people call it.
    pub title: String,
    /// What it does.
    pub description: Option<String>,
    /// Who may call it.
    pub subscription: Access,
    /// What a call costs.
    pub price: Usd,
    /// The hash of what is described, however it is written.
    pub openapi: String,
}

/// What of a description says where an API is and how it is reached, which is the operator's.
const OPERATORS: [&str; 2] = ["servers", "security"];

/// The hash of a description but for what is the operator's.
pub fn hash(document: &Value) -> String {
    let mut offered = document.clone();
    if let Some(whole) = offered.as_object_mut() {
        strip(whole);
        if let Some(components) = whole.get_mut("components").and_then(Value::as_object_mut) {
            components.shift_remove("securitySchemes");
        }
        let paths = whole.get_mut("paths").and_then(Value::as_object_mut);
        for item in paths.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
            strip(item);
            let members = item.iter_mut().filter(|(name, _)| METHODS.contains(&name.as_str()));
            members.filter_map(|(_, operation)| operation.as_object_mut()).for_each(strip);
        }
    }
    hex(digest::digest(&digest::SHA256, offered.to_string().as_bytes()).as_ref())
}

fn strip(members: &mut Map<String, Value>) {
    OPERATORS.iter().for_each(|name| drop(members.shift_remove(*name)));
}

// === impl Offer ===

impl Offer {
    /// The field of a service's file in which another offer is not this one.
    pub fn differs_in(&self, other: &Offer) -> Option<&'static str> {
        let differing = [
            ("openapi", self.openapi != other.openapi),
            ("title", self.title != other.title),
            ("description", self.description != other.description),
            ("price", self.price != other.price),
            ("subscription", self.subscription != other.subscription),
        ];
        differing.iter().find(|(_, differs)| *differs).map(|(field, _)| *field)
    }
}
