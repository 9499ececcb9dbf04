//! Parses the modules of a crate and resolves what they import to the files that define it.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Macro, UseTree, VisRestricted, Visibility};

/// Path of a file in the source folder, such as `hub/mod.rs`, and its text.
pub(crate) type Sources = BTreeMap<String, String>;

/// The modules of one crate by path, such as `["hub", "rooms"]`. The crate root has an empty path.
pub(crate) struct ModuleTree {
    modules: BTreeMap<Vec<String>, Module>,
}

#[derive(Default)]
struct Module {
    file: String,
    /// Whether only tests contain this module.
    is_test: bool,
    uses: Vec<Use>,
    /// Paths in code, such as `super::hook::call`.
    paths: Vec<Vec<String>>,
}

/// One name of a `use` declaration. A name of `*` imports all names.
struct Use {
    name: String,
    path: Vec<String>,
    is_reexport: bool,
}

/// One import of a file from another file of the crate, or from another crate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    pub(crate) file: String,
    pub(crate) path: String,
    pub(crate) target: Target,
    /// Whether the path goes through a re-export in another file than that of the definition.
    pub(crate) through_reexport: bool,
    pub(crate) is_reexport: bool,
    pub(crate) in_test: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    File(String),
    /// The name of another crate, or of something that is not a crate, such as a primitive type.
    External(String),
}

/// A definition, found by following a path.
struct Definition {
    file: String,
    through_reexport: bool,
}

impl ModuleTree {
    /// Parses the crate whose root is the file `root`.
    pub(crate) fn parse(root: &str, sources: &Sources) -> Self {
        let mut tree = Self { modules: BTreeMap::new() };
        tree.parse_file(root, Vec::new(), false, sources);
        tree
    }

    /// Returns the files of the crate, except files that only tests contain.
    pub(crate) fn shipped_files(&self) -> impl Iterator<Item = &str> {
        let files: BTreeSet<_> =
            self.modules.values().filter(|module| !module.is_test).map(|module| &*module.file).collect();
        files.into_iter()
    }

    /// Returns all imports, except those of a file from itself.
    pub(crate) fn imports(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for (at, module) in &self.modules {
            let uses = module.uses.iter().map(|import| (&import.path, import.is_reexport));
            for (path, is_reexport) in uses.chain(module.paths.iter().map(|path| (path, false))) {
                let (target, through_reexport) = match self.resolve(at, path, 0) {
                    Some(Definition { file, .. }) if file == module.file => continue,
                    Some(Definition { file, through_reexport }) => (Target::File(file), through_reexport),
                    None => (Target::External(path[0].clone()), false),
                };
                let (file, in_test) = (module.file.clone(), module.is_test);
                imports.push(Import { file, path: path.join("::"), target, through_reexport, is_reexport, in_test });
            }
        }
        imports.sort();
        imports.dedup();
        imports
    }

    fn parse_file(&mut self, file: &str, at: Vec<String>, is_test: bool, sources: &Sources) {
        let text = sources.get(file).unwrap_or_else(|| panic!("{file} does not exist"));
        let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        self.parse_module(file, at, is_test, &parsed.items, sources);
    }

    fn parse_module(&mut self, file: &str, at: Vec<String>, is_test: bool, items: &[Item], sources: &Sources) {
        let mut collector = Collector::default();
        items.iter().for_each(|item| collector.visit_item(item));
        let Collector { uses, paths, modules } = collector;
        self.modules.insert(at.clone(), Module { file: file.to_owned(), is_test, uses, paths });
        for module in modules {
            let name = module.ident.to_string();
            let child = [at.clone(), vec![name.clone()]].concat();
            let is_test = is_test || module.attrs.iter().any(is_cfg_test);
            match &module.content {
                Some((_, items)) => self.parse_module(file, child, is_test, items, sources),
                None => self.parse_file(&child_file(file, &name, sources), child, is_test, sources),
            }
        }
    }

    /// Finds the file that defines what `path` means in the module `at`. `None` if it is not in this crate.
    fn resolve(&self, at: &[String], path: &[String], depth: usize) -> Option<Definition> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.descend(&[], rest, depth),
            "self" => self.descend(at, rest, depth),
            "super" => match rest.first().map(String::as_str) {
                Some("super") => self.resolve(at.split_last()?.1, rest, depth),
                _ => self.descend(at.split_last()?.1, rest, depth),
            },
            _ if self.modules.contains_key(&join(at, first)) => self.descend(at, path, depth),
            _ => None,
        }
    }

    fn descend(&self, at: &[String], path: &[String], depth: usize) -> Option<Definition> {
        let module = self.modules.get(at)?;
        let here = || Definition { file: module.file.clone(), through_reexport: false };
        let Some((name, rest)) = path.split_first() else { return Some(here()) };
        let child = join(at, name);
        if self.modules.contains_key(&child) {
            return self.descend(&child, rest, depth);
        }
        for import in module.uses.iter().filter(|import| import.name == *name) {
            // Two imports can name each other.
            let found = if depth < 8 { self.resolve(at, &[&*import.path, rest].concat(), depth + 1) } else { None };
            if let Some(found) = found {
                let through_reexport = found.through_reexport || found.file != module.file;
                return Some(Definition { through_reexport, ..found });
            }
        }
        Some(here())
    }
}

/// Collects what one module contains, without what its inner modules contain.
#[derive(Default)]
struct Collector<'a> {
    uses: Vec<Use>,
    paths: Vec<Vec<String>>,
    modules: Vec<&'a ItemMod>,
}

impl<'a> Visit<'a> for Collector<'a> {
    fn visit_item_mod(&mut self, module: &'a ItemMod) {
        self.modules.push(module);
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        let is_reexport = !matches!(item.vis, Visibility::Inherited);
        flatten(&item.tree, &mut Vec::new(), &mut |name, path| self.uses.push(Use { name, path, is_reexport }));
    }

    /// `pub(in crate::hub)` is not an import.
    fn visit_vis_restricted(&mut self, _: &'a VisRestricted) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.segments.len() > 1 {
            self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, macro_call: &'a Macro) {
        self.paths.extend(paths_in(&macro_call.tokens.to_string()));
        visit::visit_macro(self, macro_call);
    }
}

/// Finds the paths in the arguments of a macro, which are tokens and not parsed Rust.
fn paths_in(tokens: &str) -> Vec<Vec<String>> {
    let words = tokens.replace(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'), " ");
    let (mut paths, mut path, mut continues) = (Vec::new(), Vec::new(), false);
    for word in words.split_whitespace() {
        if word == "::" {
            continues = !path.is_empty();
            continue;
        }
        if !std::mem::take(&mut continues) {
            paths.push(std::mem::take(&mut path));
        }
        path.extend(is_name(word).then(|| word.to_owned()));
    }
    paths.push(path);
    paths.retain(|path| path.len() > 1);
    paths
}

/// Calls `found` with the name and the path of everything that a `use` tree imports.
fn flatten(tree: &UseTree, path: &mut Vec<String>, found: &mut impl FnMut(String, Vec<String>)) {
    match tree {
        UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            flatten(&inner.tree, path, found);
            path.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, path, found)),
        UseTree::Glob(_) => found("*".to_owned(), path.clone()),
        UseTree::Name(name) if name.ident == "self" => found(path.last().cloned().unwrap_or_default(), path.clone()),
        UseTree::Name(name) => found(name.ident.to_string(), with(path, name.ident.to_string())),
        UseTree::Rename(name) => found(name.rename.to_string(), with(path, name.ident.to_string())),
    }
}

fn with(path: &[String], name: String) -> Vec<String> {
    [path, &[name]].concat()
}

fn join(at: &[String], name: &str) -> Vec<String> {
    with(at, name.to_owned())
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_') && word.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn is_cfg_test(attribute: &Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    let tokens = list.tokens.to_string();
    let mut words = tokens.split(|c: char| !c.is_alphanumeric());
    list.path.is_ident("cfg") && words.clone().all(|word| word != "not") && words.any(|word| word == "test")
}

/// Returns the file of the module that `mod name;` in `parent` declares.
fn child_file(parent: &str, name: &str, sources: &Sources) -> String {
    let (folder, file) = parent.rsplit_once('/').map_or(("", parent), |(folder, file)| (folder, file));
    let mut folder = folder.to_owned();
    if !matches!(file, "mod.rs" | "lib.rs" | "main.rs") {
        folder = format!("{folder}/{}", file.trim_end_matches(".rs"));
    }
    let file = format!("{folder}/{name}.rs").trim_start_matches('/').to_owned();
    if sources.contains_key(&file) {
        file
    } else {
        format!("{folder}/{name}/mod.rs").trim_start_matches('/').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources;

    /// Returns the targets of the imports of `file`, as `path -> target`.
    fn imports(files: &[(&str, &str)], file: &str) -> Vec<String> {
        let imports = ModuleTree::parse("lib.rs", &sources(files)).imports();
        let imports = imports.into_iter().filter(|import| import.file == file);
        let shown = imports.map(|import| match import.target {
            Target::File(target) => format!("{} -> {target}", import.path),
            Target::External(name) => format!("{} -> crate {name}", import.path),
        });
        shown.collect()
    }

    #[test]
    fn paths_resolve_to_the_file_that_defines_the_name() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::inner::Deep as Renamed;"),
            ("a/mod.rs", "pub mod inner; pub use inner::{Deep, other}; pub struct Own; use std::fmt;"),
            ("a/inner.rs", "pub struct Deep; pub fn other() { super::Own; } mod tests { use super::*; }"),
            ("b.rs", "use crate::{Renamed, a::{self, Own}}; use crate::a::Deep; fn f() { crate::a::inner::other() }"),
        ];
        assert_eq!(
            imports(&files, "b.rs"),
            [
                "crate::Renamed -> a/inner.rs",
                "crate::a -> a/mod.rs",
                "crate::a::Deep -> a/inner.rs",
                "crate::a::Own -> a/mod.rs",
                "crate::a::inner::other -> a/inner.rs",
            ]
        );
        assert_eq!(imports(&files, "a/inner.rs"), ["super::Own -> a/mod.rs"]);
        assert_eq!(imports(&files, "a/mod.rs")[2], "std::fmt -> crate std");
    }

    #[test]
    fn super_in_an_inline_module_is_the_module_around_it() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "mod inline { use super::Own; use super::super::b::B; } pub(in crate::a) struct Own;"),
            ("b.rs", "pub struct B;"),
        ];
        assert_eq!(imports(&files, "a.rs"), ["super::super::b::B -> b.rs"]);
    }

    #[test]
    fn paths_in_macros_and_of_child_modules_are_found() {
        let files = [
            ("lib.rs", r#"mod a; mod b; fn f() { a::f(); println!("{} {}", crate::b::f(1), "crate::c"); }"#),
            ("a.rs", "pub fn f() {}"),
            ("b.rs", "pub fn f(_: u8) {}"),
        ];
        assert_eq!(imports(&files, "lib.rs"), ["a::f -> a.rs", "crate::b::f -> b.rs"]);
    }

    #[test]
    fn only_modules_of_tests_are_marked_as_tests() {
        let files = [
            ("lib.rs", "#[cfg(test)] mod a; #[cfg(all(test, shuttle))] mod b; #[cfg(not(test))] mod c; mod d;"),
            ("a.rs", "use crate::d::D;"),
            ("b.rs", "use crate::d::D;"),
            ("c.rs", "use crate::d::D;"),
            ("d.rs", "pub struct D;"),
        ];
        let imports = ModuleTree::parse("lib.rs", &sources(&files)).imports();
        let in_test: Vec<_> = imports.iter().map(|import| (&*import.file, import.in_test)).collect();
        assert_eq!(in_test, [("a.rs", true), ("b.rs", true), ("c.rs", false)]);
    }

    #[test]
    fn import_through_a_reexport_of_another_file_is_marked() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "pub mod inner; pub use inner::Deep;"),
            ("a/inner.rs", "pub use own::Deep; mod own { pub struct Deep; }"),
            ("b.rs", "use crate::a::Deep; use crate::a::inner::Deep as Direct;"),
        ];
        let imports = ModuleTree::parse("lib.rs", &sources(&files)).imports();
        let marked = imports.iter().filter(|import| import.through_reexport).map(|import| &*import.path);
        assert_eq!(marked.collect::<Vec<_>>(), ["crate::a::Deep"]);
    }
}
