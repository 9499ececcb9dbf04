//! Imports point inward: between the layers of the crate, and between the files of the hub. No files import each other.

mod cycles;
mod module_tree;
mod rules;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use cycles::{Graph, find_cycle};
use module_tree::{Import, ModuleTree, Sources, Target};
use rules::{CRATES, HUB_ORDER, LAYERS};

/// The protocol decides what happens, not when: it has no clock, lock, thread or task.
const IMPURE: [&str; 6] = ["Instant", "SystemTime", "std::thread", "Mutex", "Atomic", "async"];

static LIBRARY: LazyLock<ModuleTree> = LazyLock::new(|| ModuleTree::parse("lib.rs", &sources_of("src")));

#[test]
fn layers_import_inner_layers_only() {
    assert!(LIBRARY.shipped_files().count() > 40 && LIBRARY.imports().len() > 200, "the imports were not found");
    assert_eq!(violations(&LIBRARY, layer_violation), [""; 0]);
}

#[test]
fn hub_files_import_only_files_later_in_hub_order() {
    assert_eq!(violations(&LIBRARY, |import| hub_order_violation(import, HUB_ORDER)), [""; 0]);
}

#[test]
fn hub_order_contains_every_file() {
    let files = LIBRARY.shipped_files().filter_map(|file| file.strip_prefix("hub/"));
    let missing: Vec<_> = files.filter(|file| !HUB_ORDER.contains(file)).collect();
    assert_eq!(missing, [""; 0], "add these files to HUB_ORDER");
}

#[test]
fn hub_files_import_names_from_the_defining_module() {
    assert_eq!(violations(&LIBRARY, definition_violation), [""; 0]);
}

#[test]
fn only_mod_files_of_the_hub_reexport_names_of_their_folder() {
    assert_eq!(violations(&LIBRARY, reexport_violation), [""; 0]);
}

#[test]
fn only_its_adapter_imports_a_framework_crate() {
    assert_eq!(violations(&LIBRARY, crate_violation), [""; 0]);
}

#[test]
fn protocol_has_no_clock_lock_thread_or_task() {
    let sources = sources_of("src");
    let files = LIBRARY.shipped_files().filter(|file| file.starts_with("protocol/"));
    let impure = files.filter_map(|file| impure_line(&sources[file]).map(|line| format!("{file}: {line}")));
    assert_eq!(impure.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn library_has_no_import_cycle() {
    assert_eq!(cycle(&LIBRARY), None);
}

#[test]
fn binary_has_no_import_cycle() {
    assert_eq!(cycle(&ModuleTree::parse("main.rs", &sources_of("src/bin/sigver"))), None);
}

/// Reads all Rust files of a folder of this repository.
fn sources_of(folder: &str) -> Sources {
    fn read(folder: &Path, root: &Path, sources: &mut Sources) {
        for entry in fs::read_dir(folder).expect("the folder is readable") {
            let path = entry.expect("the entry is readable").path();
            if path.is_dir() {
                read(&path, root, sources);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).expect("the file is below the root").display().to_string();
                sources.insert(name.replace('\\', "/"), fs::read_to_string(&path).expect("the file is UTF-8"));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut sources = Sources::new();
    read(&root, &root, &mut sources);
    sources
}

fn violations(tree: &ModuleTree, check: impl Fn(&Import) -> Option<String>) -> Vec<String> {
    tree.imports().iter().filter_map(check).collect()
}

fn layer_violation(Import { file, path, target, .. }: &Import) -> Option<String> {
    let Target::File(target) = target else { return None };
    let (layer, _) = file.split_once('/')?;
    let Some((_, inner)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return Some(format!("{file} is in the folder {layer}, which is not in LAYERS"));
    };
    // A file without a folder is `lib.rs`, the outermost.
    let other = target.split_once('/').map_or("the crate root", |(layer, _)| layer);
    (other != layer && !inner.contains(&other))
        .then(|| format!("{file} imports {path} of {other}; {layer} may import {inner:?} only"))
}

fn hub_order_violation(Import { file, path, target, in_test, .. }: &Import, order: &[&str]) -> Option<String> {
    let Target::File(target) = target else { return None };
    let position = |file: &str| order.iter().position(|&listed| listed == file);
    let (from, to) = (position(file.strip_prefix("hub/")?)?, position(target.strip_prefix("hub/")?)?);
    (!in_test && from > to).then(|| format!("{file} imports {path} of {target}, which is above it in HUB_ORDER"))
}

fn definition_violation(import: &Import) -> Option<String> {
    let Import { file, path, target: Target::File(target), through_reexport: true, in_test: false, .. } = import else {
        return None;
    };
    (file.starts_with("hub/") && target.starts_with("hub/"))
        .then(|| format!("{file} imports {path}; import it from {target}, which defines it"))
}

fn reexport_violation(import: &Import) -> Option<String> {
    let Import { file, path, target: Target::File(target), is_reexport: true, .. } = import else { return None };
    let folder = file.strip_suffix("mod.rs").unwrap_or("only mod.rs files");
    (file.starts_with("hub/") && !target.starts_with(folder))
        .then(|| format!("{file} re-exports {path} of {target}; only mod.rs files re-export, from their folder"))
}

fn crate_violation(Import { file, target, in_test, .. }: &Import) -> Option<String> {
    let Target::External(name) = target else { return None };
    let (_, allowed) = CRATES.iter().find(|(restricted, _)| restricted == name)?;
    (!in_test && !allowed.iter().any(|prefix| file.starts_with(prefix)))
        .then(|| format!("{file} imports the crate {name}; only {allowed:?} may import it"))
}

/// Returns the first line of shipped code that contains an impure word.
fn impure_line(text: &str) -> Option<&str> {
    let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut code = shipped.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    code.find(|line| IMPURE.iter().any(|word| line.contains(word)))
}

/// Returns an import cycle between files of shipped code, as `a.rs -> b.rs -> a.rs`. A re-export is not an edge: an
/// import of the re-exported name counts as an import of the file that defines it.
fn cycle(tree: &ModuleTree) -> Option<String> {
    let mut graph = Graph::new();
    for Import { file, target, is_reexport, in_test, .. } in tree.imports() {
        if let Target::File(target) = target
            && !is_reexport
            && !in_test
        {
            graph.entry(file).or_default().insert(target);
        }
    }
    find_cycle(&graph).map(|files| files.join(" -> "))
}

/// Returns the sources of a made-up crate.
fn sources(files: &[(&str, &str)]) -> Sources {
    files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> ModuleTree {
        ModuleTree::parse("lib.rs", &sources(files))
    }

    #[test]
    fn import_of_an_outer_layer_is_a_violation() {
        let tree = tree(&[
            ("lib.rs", "mod adapter; mod hub; mod protocol; mod other; pub use hub::Hub;"),
            ("adapter/mod.rs", "use crate::Hub; use crate::protocol::Group;"),
            ("hub/mod.rs", "use crate::protocol::Group; pub struct Hub;"),
            ("protocol/mod.rs", "pub struct Group; #[cfg(test)] mod tests { use crate::Hub; }"),
            ("other/mod.rs", "use crate::Hub;"),
        ]);
        assert_eq!(
            violations(&tree, layer_violation),
            [
                "other/mod.rs is in the folder other, which is not in LAYERS",
                "protocol/mod.rs imports crate::Hub of hub; protocol may import [] only",
            ]
        );
    }

    #[test]
    fn import_of_a_file_above_is_a_violation() {
        let tree = tree(&[
            ("lib.rs", "mod hub;"),
            ("hub/mod.rs", "mod a; mod b; pub use b::B;"),
            ("hub/a.rs", "use super::b::B; pub struct A;"),
            ("hub/b.rs", "pub struct B(super::a::A); #[cfg(test)] mod tests { use crate::hub::a::A; }"),
        ]);
        assert_eq!(
            violations(&tree, |import| hub_order_violation(import, &["mod.rs", "a.rs", "b.rs"])),
            ["hub/b.rs imports super::a::A of hub/a.rs, which is above it in HUB_ORDER"]
        );
    }

    #[test]
    fn import_through_a_reexport_of_the_hub_is_a_violation() {
        let tree = tree(&[
            ("lib.rs", "mod adapter; mod hub;"),
            ("adapter.rs", "use crate::hub::B;"),
            ("hub/mod.rs", "mod a; mod b; pub use b::B;"),
            ("hub/a.rs", "use super::B;"),
            ("hub/b.rs", "pub struct B; pub use super::a::A;"),
        ]);
        assert_eq!(
            violations(&tree, definition_violation),
            ["hub/a.rs imports super::B; import it from hub/b.rs, which defines it"]
        );
        assert_eq!(
            violations(&tree, reexport_violation),
            ["hub/b.rs re-exports super::a::A of hub/a.rs; only mod.rs files re-export, from their folder"]
        );
    }

    #[test]
    fn restricted_crate_outside_its_files_is_a_violation() {
        let tree = tree(&[
            ("lib.rs", "mod adapter; mod protocol;"),
            ("adapter/mod.rs", "mod axum;"),
            ("adapter/axum.rs", "use ::axum::Router;"),
            ("protocol.rs", "fn f() { tokio::spawn(async {}); } #[cfg(test)] mod tests { use tokio::time::sleep; }"),
        ]);
        let allowed = r#"["adapter/", "client/", "cluster/", "hub/"]"#;
        assert_eq!(
            violations(&tree, crate_violation),
            [format!("protocol.rs imports the crate tokio; only {allowed} may import it")]
        );
    }

    #[test]
    fn impure_word_outside_of_comments_and_tests_is_found() {
        let pure = "// An Instant.\nfn f() {}\n\n#[cfg(test)]\nmod tests {\n    use std::sync::Mutex;\n}";
        assert_eq!(impure_line(pure), None);
        assert_eq!(impure_line("fn f() {}\n\nuse std::time::Instant;"), Some("use std::time::Instant;"));
    }

    #[test]
    fn cycle_through_super_self_and_a_reexport_is_found() {
        let cyclic = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a/mod.rs", "mod inner; pub use self::inner::Deep;"),
            ("a/inner.rs", "use crate::b::B; pub struct Deep;"),
            ("b.rs", "pub struct B(super::c::C);"),
            ("c.rs", "use crate::a::Deep; pub struct C;"),
        ];
        assert_eq!(cycle(&tree(&cyclic)).as_deref(), Some("a/inner.rs -> b.rs -> c.rs -> a/inner.rs"));
        let mut open = cyclic;
        open[4].1 = "#[cfg(test)] mod tests { use crate::a::Deep; } pub struct C;";
        assert_eq!(cycle(&tree(&open)), None);
    }
}
