//! The ways to one provider: one for each credential that there is for it, taken in turn by their weights, each the others' stand-in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{LiveProvider, Target};

/// A provider that can be called, by one credential or several.
#[derive(Debug)]
pub struct Lines {
    /// At least one.
    lines: Vec<(u32, Arc<LiveProvider>)>,
    turn: AtomicU32,
}

// === impl Lines ===

impl Lines {
    /// One line.
    pub fn new(weight: u32, line: Arc<LiveProvider>) -> Lines {
        Lines { lines: vec![(weight.max(1), line)], turn: AtomicU32::new(0) }
    }

    /// Adds another.
    pub fn add(&mut self, weight: u32, line: Arc<LiveProvider>) {
        self.lines.push((weight.max(1), line));
    }

    /// The first: what is the same of all can be asked of it.
    pub fn first(&self) -> &Arc<LiveProvider> {
        &self.lines[0].1 // `new` puts one in, and none is ever taken out.
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<LiveProvider>> {
        self.lines.iter().map(|(_, line)| line)
    }

    /// The one of that name.
    pub fn named(&self, name: &str) -> Option<&Arc<LiveProvider>> {
        self.all().find(|line| line.line == name)
    }

    /// Where a request goes: to the line whose turn it is, and to the others if that one fails.
    pub fn targets(&self, model: &Arc<str>) -> impl Iterator<Item = Target> {
        let begin = if self.lines.len() == 1 { 0 } else { self.whose_turn() };
        let in_order = self.lines[begin..].iter().chain(&self.lines[..begin]);
        in_order.map(|(_, line)| Target { provider: Arc::clone(line), model: Arc::clone(model) })
    }

    fn whose_turn(&self) -> usize {
        let all: u32 = self.lines.iter().map(|(weight, _)| weight).sum();
        let mut place = self.turn.fetch_add(1, Ordering::Relaxed) % all;
        for (index, (weight, _)) in self.lines.iter().enumerate() {
            match place.checked_sub(*weight) {
                Some(rest) => place = rest,
                None => return index,
            }
        }
        0
    }
}
