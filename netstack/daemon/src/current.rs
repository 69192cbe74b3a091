//! The stack that serves now, and its services.
//!
//! * **Define.** A daemon that keeps a ring of recordings goes on with another stack where each part begins; any other daemon
//!   has one stack from the beginning to the end. A [`Current`] is a handle of whichever stack serves.
//! * **Enforce.** The stack is private here: whoever needs it asks for it each time it is used. [`Current::replace`] alone
//!   changes it, before the stack that was there ends.
//! * **Consume.** Control socket, metrics, dashboard and main thread know nothing of parts.

// Held for calls of the services, none of which waits for another holder.
#[allow(clippy::disallowed_types)]
use std::sync::Mutex;
use std::sync::{Arc, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use netstack::net::Stack;

use crate::services::Running;

/// A handle of the stack that serves now.
#[derive(Clone, Debug)]
pub(crate) struct Current(Arc<Shared>);

struct Shared {
    stack: ArcSwap<Numbered>,
    #[allow(clippy::disallowed_types)]
    services: Mutex<Running>,
    /// Called when another stack has taken the place of the one before, and has not begun.
    replaced: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("stack", &self.stack)
            .field("services", &self.services)
            .finish_non_exhaustive()
    }
}

/// A stack, and its number among those that have served.
#[derive(Debug)]
struct Numbered {
    stack: Stack,
    number: u64,
}

impl Current {
    /// Begins with the first stack.
    pub(crate) fn new(stack: &Stack, services: Running) -> Self {
        let stack = stack.clone();
        #[allow(clippy::disallowed_types)]
        let services = Mutex::new(services);
        Self(Arc::new(Shared {
            stack: ArcSwap::from_pointee(Numbered { stack, number: 0 }),
            services,
            replaced: OnceLock::new(),
        }))
    }

    /// Returns the stack that serves now. Another one may take its place at any time: keep it for one use.
    pub(crate) fn stack(&self) -> Stack {
        self.numbered().0
    }

    /// Returns the stack that serves now, and its number, from 0.
    pub(crate) fn numbered(&self) -> (Stack, u64) {
        let now = self.0.stack.load();
        (now.stack.clone(), now.number)
    }

    /// Calls `f` with the services of the stack.
    pub(crate) fn with_services<R>(&self, f: impl FnOnce(&mut Running) -> R) -> R {
        let services = self.0.services.lock();
        f(&mut services.unwrap_or_else(PoisonError::into_inner))
    }

    /// Has `f` called each time another stack has taken the place of the one before. The first call counts.
    pub(crate) fn on_replaced(&self, f: impl Fn() + Send + Sync + 'static) {
        // There is one who wants to know.
        let _ = self.0.replaced.set(Box::new(f));
    }

    /// Puts another stack, which has not begun, and its services in the place of those that serve. Returns the services
    /// before.
    pub(crate) fn replace(&self, stack: &Stack, services: Running) -> Running {
        let number = self.numbered().1 + 1;
        let stack = stack.clone();
        self.0.stack.store(Arc::new(Numbered { stack, number }));
        let before = self.with_services(|current| std::mem::replace(current, services));
        if let Some(replaced) = self.0.replaced.get() {
            replaced();
        }
        before
    }
}
