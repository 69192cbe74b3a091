//! How long builds take, as processor time, which depends less on what else the machine does.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

use crate::peers::{Peers, cargo, ours, package};

/// The least of several measurements.
const ROUNDS: usize = 3;

/// Returns the processor time, user's and system's, of the processes that `f` starts and waits for.
fn processor_time<R>(f: impl FnOnce() -> R) -> (R, Duration) {
    let now = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        let micros = |time: nix::sys::time::TimeVal| {
            u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0)
        };
        Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
    };
    let begin = now();
    let result = f();
    (result, now() - begin)
}

/// Writes a program with a chain of that many levels, which locks the first and the last one.
type Chain = fn(levels: usize) -> String;

fn lockorder(levels: usize) -> String {
    let names: Vec<String> = (0..levels).map(|level| format!("L{level}")).collect();
    format!(
        "mod levels {{ lockorder::lock_order! {{ pub domain Deep; level {}; Deep => {}; }} }}
        use levels::*;
        use lockorder::{{Key, Mutex}};
        fn main() {{
            let (a, b) = (Mutex::<L0, u64>::new(0), Mutex::<L{last}, u64>::new(0));
            let mut key = Key::<Deep>::take().unwrap();
            a.with(&mut key.ctx(), |_, ctx| b.with(ctx, |b, _| *b += 1));
        }}",
        names.join(", "),
        names.join(" => "),
        last = levels - 1,
    )
}

fn lock_tree(levels: usize) -> String {
    let mut source = String::from(
        "use lock_tree::{impl_lock_after, lock::LockFor, relation::LockAfter, Locked, Unlocked};
        use std::sync::{Mutex, MutexGuard};
        impl LockAfter<Unlocked> for L0 {}
        #[derive(Default)]
        struct S { a: Mutex<u64>, b: Mutex<u64> }\n",
    );
    for level in 0..levels {
        writeln!(source, "pub struct L{level};").unwrap();
        if level > 0 {
            writeln!(source, "impl_lock_after!(L{} => L{level});", level - 1).unwrap();
        }
    }
    for (level, field) in [(0, "a"), (levels - 1, "b")] {
        writeln!(
            source,
            "impl LockFor<L{level}> for S {{
                type Data = u64;
                type Guard<'l> = MutexGuard<'l, u64> where Self: 'l;
                fn lock(&self) -> MutexGuard<'_, u64> {{ self.{field}.lock().unwrap() }}
            }}"
        )
        .unwrap();
    }
    write!(
        source,
        "fn main() {{
            let s = S::default();
            let mut root = Locked::new(&s);
            let (_a, mut held) = root.lock_and::<L0>();
            let _b = held.lock::<L{}>();
        }}",
        levels - 1
    )
    .unwrap();
    source
}

fn lock_ordering(levels: usize) -> String {
    let mut source = String::from(
        "use lock_ordering::{impl_transitive_lock_order, LockLevel, LockedAt, MutualExclusion, Unlocked};
        use lock_ordering::{lock::MutexLockLevel, relation::LockAfter};
        use std::sync::Mutex;
        impl LockAfter<Unlocked> for L0 {}\n",
    );
    for level in 0..levels {
        writeln!(
            source,
            "pub struct L{level};
            impl LockLevel for L{level} {{ type Method = MutualExclusion; }}
            impl MutexLockLevel for L{level} {{ type Mutex = Mutex<u64>; }}"
        )
        .unwrap();
        if level > 0 {
            let before = level - 1;
            writeln!(
                source,
                "impl LockAfter<L{before}> for L{level} {{}}
                impl_transitive_lock_order!(L{before} => L{level});"
            )
            .unwrap();
        }
    }
    write!(
        source,
        "fn main() {{
            let (a, b) = (Mutex::new(0u64), Mutex::new(0u64));
            let mut root = LockedAt::new();
            let (mut held, _a) = root.with_lock::<L0>(&a).unwrap();
            let _b = held.lock::<L{}>(&b).unwrap();
        }}",
        levels - 1
    )
    .unwrap();
    source
}

const LIMIT: &str = "#![recursion_limit = \"1024\"]\n";

/// A library, its program, the attribute at its head, its levels, and whether that compiles.
const CHAINS: &[(&str, Chain, &str, usize, bool)] = &[
    ("lockorder", lockorder, "", 300, true),
    ("lock_tree", lock_tree, "", 64, true),
    ("lock_tree", lock_tree, "", 65, false),
    ("lock_tree", lock_tree, LIMIT, 300, true),
    ("lock_ordering", lock_ordering, "", 128, true),
    ("lock_ordering", lock_ordering, "", 129, false),
    ("lock_ordering", lock_ordering, LIMIT, 300, true),
];

/// Builds programs with long chains of levels. Returns how many did not end as written.
pub(crate) fn chains(peers: &Peers) -> usize {
    println!("| library | levels in one chain | processor time, s |\n|---|---|---|");
    let mut surprises = 0;
    for (library, program, head, levels, compiles) in CHAINS {
        let source = head.to_string() + &program(*levels);
        let mut least = Duration::MAX;
        for _ in 0..if *compiles { ROUNDS } else { 1 } {
            let name = format!("chain_{library}_{levels}");
            let ((output, _), took) = processor_time(|| peers.compile(&name, &source));
            least = least.min(took);
            let words = String::from_utf8_lossy(&output.stderr);
            let expected = output.status.success() == *compiles
                && (*compiles || words.contains("error[E0275]"));
            if !expected {
                surprises += 1;
                println!("| `{library}` | {levels} | **not as written**: {words} |");
            }
        }
        let head = if head.is_empty() {
            ""
        } else {
            ", `recursion_limit = \"1024\"`"
        };
        if *compiles {
            println!(
                "| `{library}` | {levels}{head} | {:.1} |",
                least.as_secs_f64()
            );
        } else {
            println!("| `{library}` | {levels}{head} | refused, E0275 |");
        }
    }
    println!();
    surprises
}

/// Builds packages that do nothing but depend on something, from nothing.
pub(crate) fn clean_builds() {
    println!("| clean build of | processor time, s |\n|---|---|");
    let builds = [
        ("`parking_lot`", "parking_lot = \"0.13\"\n".to_owned()),
        ("`lockorder`, which includes it", ours()),
        (
            "`parking_lot`, `syn`, `quote` and `proc-macro2`",
            "parking_lot = \"0.13\"\nsyn = { version = \"2\", features = [\"full\"] }\nquote = \"1\"\nproc-macro2 = \"1\"\n".to_owned(),
        ),
    ];
    let mut least = [Duration::MAX; 3];
    for _ in 0..ROUNDS {
        for ((_, dependencies), least) in builds.iter().zip(&mut least) {
            let folder = package("lock-build", dependencies);
            let target = folder.join("target");
            if target.exists() {
                std::fs::remove_dir_all(&target).unwrap();
            }
            let mut build = cargo(&folder, &target);
            build.args(["--jobs", "1"]);
            let (status, took) = processor_time(|| build.status().unwrap());
            assert!(status.success(), "{dependencies} does not build");
            *least = (*least).min(took);
        }
    }
    for ((name, _), least) in builds.iter().zip(least) {
        println!("| {name} | {:.1} |", least.as_secs_f64());
    }
    println!("\n{}", machine());
}

/// Returns the compiler's version.
fn machine() -> String {
    let output = Command::new("rustc").arg("--version").output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
