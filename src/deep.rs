//! Work that goes as deep as what it is given: done on a stack that has room for it.

/// Bytes; the system gives only what of it is used.
const STACK: usize = 128 << 20;

/// What the work gives; the error says why it was not done.
pub fn done<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).map_err(|error| error.to_string())?;
        thread.join().map_err(|_| "what reads it failed".to_owned())
    })
}
