//! Programs that must not compile, with the compiler's words: one file in `tests/ui` for
//! each hole that a lock order can have. `TRYBUILD=overwrite` writes the words down anew.

#[test]
fn programs_that_must_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*/*.rs");
    #[cfg(feature = "tokio")]
    cases.compile_fail("tests/ui_tokio/*.rs");
}
