//! What a version of a service offers its callers: once it is published, that stays as it is.

use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::told::{self, METHODS};
use super::{Access, Service};
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

/// The hash of a description but for what is the operator's, in whatever order its members are written, and of what callers are not told.
pub fn hash(document: &Value) -> String {
    let mut offered = told::stripped(&offered(document), false);
    offered.sort_all_objects();
    hash_of(&offered)
}

/// The same as it was noted at first, of all members in their order.
pub fn hash_as_written(document: &Value) -> String {
    hash_of(&offered(document))
}

fn hash_of(offered: &Value) -> String {
    hex(digest::digest(&digest::SHA256, offered.to_string().as_bytes()).as_ref())
}

fn offered(document: &Value) -> Value {
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
    offered
}

fn strip(members: &mut Map<String, Value>) {
    OPERATORS.iter().for_each(|name| drop(members.shift_remove(*name)));
}

// === impl Offer ===

impl Offer {
    /// The field of a service's file in which what it offers is not this.
    pub fn differs_in(&self, service: &Service) -> Option<&'static str> {
        let other = &service.offer;
        let differing = [
            ("openapi", self.openapi != other.openapi && self.openapi != hash_as_written(&service.description.document)),
            ("title", self.title != other.title),
            ("description", self.description != other.description),
            ("price", self.price != other.price),
            ("subscription", self.subscription != other.subscription),
        ];
        differing.iter().find(|(_, differs)| *differs).map(|(field, _)| *field)
    }
}
