//! Random orders: random legal walks on many threads never stall, and each random illegal
//! step is refused by the compiler.
//!
//! The programs are made from seeds, and kept in the repository so that the compiler sees
//! them: `legal` here, and `tests/ui_random`. A test checks that they are what the
//! generator makes; `LOCKORDER_GENERATE=1` writes them anew (and `TRYBUILD=overwrite` the
//! compiler's answers).

mod generate;
#[rustfmt::skip]
mod legal {
    pub(crate) mod seed_1;
    pub(crate) mod seed_2;
    pub(crate) mod seed_3;
    pub(crate) mod seed_4;
    pub(crate) mod seed_5;
    pub(crate) mod seed_6;
    pub(crate) mod seed_7;
    pub(crate) mod seed_8;
}

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use generate::{REFUSED, Random};
use lockorder::Key;

const LEGAL: std::ops::Range<u64> = 1..9;
const ILLEGAL: std::ops::Range<u64> = 1..9;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

#[test]
fn the_programs_are_what_the_seeds_make() {
    let mut files = Vec::new();
    for seed in LEGAL {
        let name = format!("random_orders/legal/seed_{seed}.rs");
        files.push((tests().join(name), generate::legal(seed)));
    }
    for seed in ILLEGAL {
        let name = format!("ui_random/seed_{seed}.rs");
        files.push((tests().join(name), generate::illegal(seed)));
    }
    for (path, text) in files {
        if std::env::var_os("LOCKORDER_GENERATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(
            kept == text,
            "{} is not what its seed makes",
            path.display()
        );
    }
}

#[test]
fn illegal_steps_are_refused() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui_random/*.rs");
    drop(cases);
    // The compiler's answer is as it was. Now that it is right: an error at each line that
    // must be refused, and at no other.
    let mut steps = 0;
    for seed in ILLEGAL {
        let path = tests().join(format!("ui_random/seed_{seed}.rs"));
        let program = std::fs::read_to_string(&path).unwrap();
        let answer = std::fs::read_to_string(path.with_extension("stderr")).unwrap();
        let mut refused: Vec<usize> = answer
            .split("\nerror")
            .filter(|error| error.contains("may not be acquired while holding"))
            .filter_map(|error| {
                let place = error.split(&format!("seed_{seed}.rs:")).nth(1)?;
                place.split(':').next()?.parse().ok()
            })
            .collect();
        refused.sort_unstable();
        let expected: Vec<usize> = program
            .lines()
            .enumerate()
            .filter(|(_, line)| line.ends_with(REFUSED))
            .map(|(index, _)| index + 1)
            .collect();
        assert_eq!(refused, expected, "seed {seed}");
        assert_eq!(
            answer.matches("error[").count(),
            expected.len(),
            "seed {seed}"
        );
        steps += expected.len();
    }
    assert_eq!(steps, 64);
}

/// Four threads walk at random through the same locks. Should they ever wait for each other
/// for ever, the test fails instead of hanging; the time is a bound for that only.
macro_rules! stress {
    ($($module:ident)*) => {
        #[test]
        fn legal_walks_never_stall() {
            $(
                let (done, finished) = mpsc::channel();
                thread::spawn(move || {
                    let locks = legal::$module::Locks::default();
                    thread::scope(|s| {
                        for thread in 0..4 {
                            let locks = &locks;
                            s.spawn(move || {
                                let mut random = Random::new(thread + 77);
                                let mut key = Key::take().unwrap();
                                for _ in 0..4_000 {
                                    let walks = &legal::$module::WALKS;
                                    walks[random.below(walks.len())](locks, &mut key);
                                }
                            });
                        }
                    });
                    done.send(()).unwrap();
                });
                let stalled = concat!("the walks of ", stringify!($module), " stalled");
                finished.recv_timeout(Duration::from_secs(100)).expect(stalled);
            )*
        }
    };
}

stress!(seed_1 seed_2 seed_3 seed_4 seed_5 seed_6 seed_7 seed_8);
