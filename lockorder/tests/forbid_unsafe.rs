//! A crate that forbids `unsafe` can declare a domain: what is unsafe is the macro's.
#![forbid(unsafe_code)]

use lockorder::{Domain, Key, Mutex};

#[test]
fn a_domain_inside_a_function_of_a_crate_without_unsafe() {
    lockorder::lock_order! {
        domain Local;
        /// A name that is a keyword.
        #[allow(non_camel_case_types)]
        level r#type;
        level Other;
        Local => r#type => Other;
    }
    let lock = Mutex::<r#type, _>::new(1);
    let mut key = Key::<Local>::take().unwrap();
    assert_eq!(lock.with(&mut key.ctx(), |n, _| *n), 1);
    let names: Vec<_> = Local::graph().levels().iter().map(|l| l.name).collect();
    assert_eq!(names, ["Local", "type", "Other"]);
}
