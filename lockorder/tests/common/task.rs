//! Helpers of tests with scopes of tasks.

use std::thread;

use lockorder::Domain;
use lockorder::task::{TaskCtx, scope};

/// The message about a context in a scope that is not its own.
pub(crate) const FOREIGN: &str = "was used outside of its scope";

/// Creates a runtime on this thread.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

/// Runs `f` in a second scope, on a thread that the first scope's context is lent to.
pub(crate) fn in_second_scope<D: Domain, R: Send>(
    f: impl AsyncFnOnce(&mut TaskCtx<'_, D>, &mut TaskCtx<'_, D>) -> R + Send,
) -> R {
    let ended = runtime().block_on(scope::<D, _>(async |first| {
        thread::scope(|s| {
            s.spawn(|| runtime().block_on(scope::<D, _>(async |second| f(first, second).await)))
                .join()
        })
    }));
    match ended.expect("the key is free") {
        Ok(result) => result.expect("the key is free"),
        Err(payload) => std::panic::resume_unwind(payload),
    }
}
