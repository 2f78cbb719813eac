//! REST services: other people's APIs behind keys, each a file that says where it is and an OpenAPI description that says what it has.

pub mod arguments;
pub mod description;
pub mod edit;
mod entry;
mod masking;
mod offer;
mod path;
mod schema;
pub mod secrets;
mod served;
mod shelf;
pub mod subscriptions;
#[cfg(test)]
mod tests;
mod told;

pub use description::{Description, Operation};
pub use entry::{Access, Credential, Service, Texts, Upstream};
pub use masking::Masking;
pub use path::Path;
pub use shelf::{Folder, Services, Shelf};
pub use subscriptions::{Standing, Subscription, Subscriptions};
