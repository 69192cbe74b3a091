//! `::core` can be another crate: the path of a domain, by which the order of domains is checked,
//! is that of the real one.

extern crate self as core;

/// A path that hides which domain it is.
#[macro_export]
macro_rules! module_path {
    () => {
        "somewhere"
    };
}

/// The same for the whole.
#[macro_export]
macro_rules! concat {
    ($($token:tt)*) => {
        "somewhere::Dom"
    };
}

mod levels {
    lockorder::lock_order! { pub(crate) domain Dom; level A; Dom => A; }
}

/// The path `::core` does lead to the macros above, for what names it so.
#[test]
fn the_shadow_is_there() {
    let path: &str = ::core::module_path!();
    assert_eq!(path, "somewhere");
}

#[test]
fn the_path_is_true() {
    use lockorder::Domain;
    assert_eq!(levels::Dom::GRAPH.path(), "attack_core_shadow::levels::Dom");
}
