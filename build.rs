//! Compiles `providers/*.toml` in, so that a provider is added with one file and no Rust.

use std::fmt::Write;
use std::path::Path;

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=providers");
    println!("cargo::rerun-if-changed=src/store/sqlite/migrations");
    let root = std::env::var("CARGO_MANIFEST_DIR").map_err(std::io::Error::other)?;
    let out = std::env::var("OUT_DIR").map_err(std::io::Error::other)?;
    let folder = Path::new(&root).join("providers");
    let mut ids: Vec<String> = std::fs::read_dir(&folder)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.strip_suffix(".toml").map(str::to_owned))
        .collect();
    ids.sort();
    let mut code = String::from("/// The compiled-in provider files: id and text.\npub(crate) const BUILTIN: &[(&str, &str)] = &[\n");
    for id in ids {
        // The folder is looked up when the crate is compiled: clones that share a target folder share this file.
        let name = format!("/providers/{id}.toml");
        writeln!(code, "    ({id:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {name:?}))),").map_err(std::io::Error::other)?;
    }
    code.push_str("];\n");
    std::fs::write(Path::new(&out).join("builtin_providers.rs"), code)
}
