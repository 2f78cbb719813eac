//! How often each kind of what callers see has changed.

/// Counts that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Of tools.
    pub tools: u64,
    /// Of prompts.
    pub prompts: u64,
    /// Of resources and their templates.
    pub resources: u64,
}

// === impl Changes ===

impl Changes {
    /// Counts one more of each kind that has changed.
    pub fn count(&mut self, [tools, prompts, resources]: [bool; 3]) {
        self.tools += u64::from(tools);
        self.prompts += u64::from(prompts);
        self.resources += u64::from(resources);
    }
}
