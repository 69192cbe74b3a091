//! `::std` can be another crate: the slot of a domain is a thread-local of the real one.

extern crate self as std;

/// Makes a new value at each use, and is no thread-local at all.
#[macro_export]
macro_rules! thread_local {
    (static $name:ident: $type:ty = const $value:block;) => {
        struct Fresh;
        impl Fresh {
            fn with<R>(&self, f: impl FnOnce(&$type) -> R) -> R {
                f(&$value)
            }
        }
        #[allow(non_upper_case_globals)]
        static $name: Fresh = Fresh;
    };
}

mod levels {
    lockorder::lock_order! { pub(crate) domain Dom; level A; Dom => A; }
}

/// The path `::std` does lead to the macro above, for what names it so.
#[test]
fn the_shadow_is_there() {
    use core::cell::Cell;
    ::std::thread_local! {
        static COUNT: Cell<u32> = const { Cell::new(0) };
    }
    COUNT.with(|count| count.set(1));
    COUNT.with(|count| assert_eq!(count.get(), 0, "a new value at each use"));
}

#[test]
fn one_key_all_the_same() {
    let first = lockorder::Key::<levels::Dom>::take();
    assert!(first.is_some());
    assert!(lockorder::Key::<levels::Dom>::take().is_none());
}
