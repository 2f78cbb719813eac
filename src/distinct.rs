//! A list without what it has had already, in its order.

use std::collections::HashSet;
use std::hash::Hash;

/// Keeps each the first time that it comes.
pub fn distinct<T: Clone + Eq + Hash>(mut list: Vec<T>) -> Vec<T> {
    let mut seen = HashSet::new();
    list.retain(|one| seen.insert(one.clone()));
    list
}
