//! Writes the folder that each target begins with: `corpus/<target>/`, where `cargo fuzz` looks for it.

use std::fs;
use std::path::Path;

use keyward::catalog::Dialect;
use keyward_fuzz::seeds::{Seeds, folder};

fn main() -> std::io::Result<()> {
    let Some(recorded) = folder() else {
        eprintln!("There is no ../shared/traffic, so the targets begin with nothing.");
        return Ok(());
    };
    for dialect in Dialect::ALL {
        let Seeds { requests, answers, streams } = Seeds::of(dialect, &recorded);
        for (part, inputs) in [("request", requests), ("answer", answers), ("stream", streams)] {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format!("{}_{part}", dialect.as_str()));
            fs::create_dir_all(&corpus)?;
            for (index, input) in inputs.iter().enumerate() {
                fs::write(corpus.join(format!("recorded-{index}")), input)?;
            }
        }
    }
    Ok(())
}
