//! For tests: stops a reading of a store once it is done, before it is told.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

/// Where the next reading stops, if it does.
#[derive(Default)]
pub struct Gates(Mutex<Option<Arc<Gate>>>);

/// A reading that has stopped.
#[derive(Default)]
pub struct Gate {
    /// Told once it has.
    pub is_reached: Notify,
    /// Told so that it goes on.
    pub opens: Notify,
}

// === impl Gates ===

impl Gates {
    /// The next reading stops here.
    pub fn close(&self) -> Arc<Gate> {
        Arc::clone(self.0.lock().unwrap().insert(Arc::default()))
    }

    /// A reading is done: it stops where it is to.
    pub async fn pass(&self) {
        let gate = self.0.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.is_reached.notify_one();
            gate.opens.notified().await;
        }
    }
}
