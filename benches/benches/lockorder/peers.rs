//! The libraries, built once without optimisation, for programs that are compiled one by one.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The crates that the programs can name. The versions are those of this package's manifest, as
/// the lock file of the workspace has them.
const DEPENDENCIES: &str = r#"
happylock = "0.5"
lock_ordering = { version = "0.2", default-features = false, features = ["std", "parking_lot"] }
lock_tree = "0.1"
ordered-locks = "0.2"
surelock = "0.1"
tracing-mutex = { version = "0.3", features = ["parking_lot"] }
"#;

pub(crate) struct Peers {
    folder: PathBuf,
    /// The arguments of rustc that make the libraries known.
    arguments: Vec<String>,
}

/// Returns the workspace's folder.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in the workspace")
}

/// Writes a package without code of its own, outside of the workspace. Crates have the versions of
/// the workspace's lock file.
pub(crate) fn package(name: &str, dependencies: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [profile.dev]\ndebug = 0\nincremental = false\n\n[dependencies]\n{dependencies}"
    );
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    std::fs::write(folder.join("src/lib.rs"), "").unwrap();
    std::fs::copy(workspace().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    folder
}

/// Returns the line of a manifest for this workspace's `lockorder`.
pub(crate) fn ours() -> String {
    format!(
        "lockorder = {{ path = {:?} }}\n",
        workspace().join("lockorder")
    )
}

/// Returns a command that runs cargo on such a package.
pub(crate) fn cargo(folder: &Path, target: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(folder)
        .args(["build", "--quiet", "--target-dir"])
        .arg(target);
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PROFILE_") || name == "CARGO_TARGET_DIR" {
            command.env_remove(name);
        }
    }
    command
}

impl Peers {
    /// Builds the libraries.
    pub(crate) fn build() -> Peers {
        let folder = package("lock-peers", &(ours() + DEPENDENCIES));
        let target = folder.join("target");
        let built = cargo(&folder, &target)
            .arg("--message-format=json")
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(built.status.success(), "the libraries do not build");
        let mut arguments = vec![
            "-L".into(),
            format!("dependency={}", target.join("debug/deps").display()),
        ];
        let messages = String::from_utf8(built.stdout).unwrap();
        for message in messages.lines() {
            let message: serde_json::Value = serde_json::from_str(message).unwrap();
            let name = message["target"]["name"].as_str().unwrap_or_default();
            let files = message["filenames"].as_array().into_iter().flatten();
            let library = files
                .filter_map(|file| file.as_str())
                .find(|file| file.ends_with(".rlib"));
            let known = DEPENDENCIES.lines().any(|line| {
                let dependency = line.split(' ').next().unwrap_or_default();
                dependency.replace('-', "_") == name
            });
            if let Some(library) = library
                && (known || name == "lockorder")
            {
                arguments.extend(["--extern".into(), format!("{name}={library}")]);
            }
        }
        Peers { folder, arguments }
    }

    /// Compiles a program. Returns what rustc says, and the file of the program.
    pub(crate) fn compile(&self, name: &str, source: &str) -> (Output, PathBuf) {
        let file = self.folder.join(format!("{name}.rs"));
        std::fs::write(&file, source).unwrap();
        let program = self.folder.join(name);
        let output = Command::new("rustc")
            .args([
                "--edition=2024",
                "-Awarnings",
                "-Cdebug-assertions=on",
                "--crate-name",
                name,
            ])
            .args(&self.arguments)
            .arg("-o")
            .arg(&program)
            .arg(&file)
            .current_dir(&self.folder)
            .output()
            .unwrap();
        (output, program)
    }
}

/// The end of a program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Ran,
    Panicked,
    StoodStill,
}

/// Runs a program for no longer than `limit`.
pub(crate) fn run(program: &Path, limit: Duration) -> End {
    let mut child = Command::new(program)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    loop {
        match child.try_wait().unwrap() {
            Some(status) if status.success() => return End::Ran,
            // Programs that notice it themselves.
            Some(status) if status.code() == Some(3) => return End::StoodStill,
            Some(_) => return End::Panicked,
            None if begin.elapsed() > limit => {
                child.kill().unwrap();
                child.wait().unwrap();
                return End::StoodStill;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}
