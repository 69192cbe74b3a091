//! Reads which source file of `netstack` uses which other one, and finds circles.
//!
//! An arrow goes from a file to each file whose items it names: by `crate::…`, `super::…` or
//! `self::…`, or through a name that a `use` brought in. Code for tests (`#[cfg(test)]`) and module
//! declarations make no arrows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// The files below some folders of a crate, and the arrows between them.
#[derive(Debug, Default)]
pub struct FileGraph {
    arrows: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
}

impl FileGraph {
    /// Reads the files of `folders` below `src`, the root of a crate's sources.
    ///
    /// # Panics
    /// A file cannot be read, or is not Rust.
    pub fn read(src: &Path, folders: &[&str]) -> Self {
        let mut sources = BTreeMap::new();
        for folder in folders {
            collect(src, &src.join(folder), &mut sources);
        }
        Self::of(&sources)
    }

    /// Reads sources given as text, by their path below the root of a crate's sources.
    ///
    /// # Panics
    /// A source is not Rust.
    pub fn of(sources: &BTreeMap<PathBuf, String>) -> Self {
        let modules: BTreeMap<Vec<String>, PathBuf> = sources
            .keys()
            .map(|file| (module_of(file), file.clone()))
            .collect();
        let mut arrows = BTreeMap::new();
        for (file, text) in sources {
            let parsed = syn::parse_file(text).unwrap_or_else(|e| panic!("{file:?}: {e}"));
            let mut reader = Reader {
                module: module_of(file),
                names: BTreeMap::new(),
                paths: BTreeSet::new(),
            };
            // Twice: a name may be used above the `use` that brings it in.
            reader.visit_file(&parsed);
            reader.visit_file(&parsed);
            let targets = reader
                .paths
                .iter()
                .filter_map(|path| file_of(&modules, path))
                .filter(|target| target != file)
                .collect();
            arrows.insert(file.clone(), targets);
        }
        Self { arrows }
    }

    /// Returns the number of files.
    pub fn files(&self) -> usize {
        self.arrows.len()
    }

    /// Returns the number of arrows.
    pub fn arrows(&self) -> usize {
        self.arrows.values().map(BTreeSet::len).sum()
    }

    /// Returns every circle: the sets of two or more files that reach each other.
    pub fn circles(&self) -> Vec<Vec<&Path>> {
        let reach: BTreeMap<&Path, BTreeSet<&Path>> = self
            .arrows
            .keys()
            .map(|file| (file.as_path(), self.reachable(file)))
            .collect();
        let mut circles: BTreeSet<Vec<&Path>> = BTreeSet::new();
        for (&file, targets) in &reach {
            if targets.contains(file) {
                let circle = targets
                    .iter()
                    .filter(|target| reach.get(*target).is_some_and(|back| back.contains(file)))
                    .copied()
                    .collect();
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }

    fn reachable(&self, from: &Path) -> BTreeSet<&Path> {
        let mut found = BTreeSet::new();
        let mut open = vec![from];
        while let Some(file) = open.pop() {
            for target in self.arrows.get(file).into_iter().flatten() {
                if found.insert(target.as_path()) {
                    open.push(target);
                }
            }
        }
        found
    }
}

fn collect(src: &Path, dir: &Path, sources: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{dir:?}: {e}")) {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            collect(src, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
            let file = path.strip_prefix(src).unwrap_or(&path).to_owned();
            sources.insert(file, text);
        }
    }
}

/// `stack/tcp/inbound.rs` → `stack`, `tcp`, `inbound`; `stack/mod.rs` → `stack`.
fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<String> = file
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

/// Returns the file of the longest prefix of `path` that is a module.
fn file_of(modules: &BTreeMap<Vec<String>, PathBuf>, path: &[String]) -> Option<PathBuf> {
    (1..=path.len())
        .rev()
        .find_map(|len| modules.get(&path[..len]).cloned())
}

/// Collects the paths that a file names, from the crate's root.
struct Reader {
    module: Vec<String>,
    /// Names that a `use` brought in.
    names: BTreeMap<String, Vec<String>>,
    paths: BTreeSet<Vec<String>>,
}

impl Reader {
    /// Resolves `crate`, `self`, `super` and names that a `use` brought in; `None` for other paths.
    fn resolve(&self, path: &[String]) -> Option<Vec<String>> {
        let (first, mut rest) = path.split_first()?;
        let mut resolved = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.module.clone(),
            "super" => {
                let mut module = self.module.clone();
                module.pop();
                module
            }
            name => self.names.get(name)?.clone(),
        };
        while rest.first().is_some_and(|segment| segment == "super") {
            resolved.pop();
            rest = &rest[1..];
        }
        resolved.extend(rest.iter().filter(|segment| *segment != "self").cloned());
        Some(resolved)
    }

    fn add_use(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |ident: &syn::Ident| {
            let mut path = prefix.to_vec();
            path.push(ident.to_string());
            path
        };
        match tree {
            syn::UseTree::Path(path) => self.add_use(&with(&path.ident), &path.tree),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_use(prefix, tree);
                }
            }
            syn::UseTree::Name(name) => self.add_name(&with(&name.ident), None),
            syn::UseTree::Rename(rename) => {
                self.add_name(&with(&rename.ident), Some(rename.rename.to_string()));
            }
            syn::UseTree::Glob(_) => self.add_name(prefix, None),
        }
    }

    fn add_name(&mut self, path: &[String], name: Option<String>) {
        if let Some(resolved) = self.resolve(path) {
            if let Some(name) = name.or_else(|| resolved.last().cloned()) {
                self.names.insert(name, resolved.clone());
            }
            self.paths.insert(resolved);
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|ident| ident == "test")
    })
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_for_tests(&item.attrs) {
            return;
        }
        // `host::Host` below `mod host;` names the file of that module.
        let mut child = self.module.clone();
        child.push(item.ident.to_string());
        self.names.insert(item.ident.to_string(), child);
        if item.content.is_none() {
            return;
        }
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.add_use(&[], &item.tree);
        }
    }

    /// `pub(in crate::stack)` names who may use an item, not what it uses.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if segments.len() > 1
            && let Some(resolved) = self.resolve(&segments)
        {
            self.paths.insert(resolved);
        }
        visit::visit_path(self, path);
    }
}
