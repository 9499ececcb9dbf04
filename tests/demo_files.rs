//! The examples serve every file that the demo page needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[path = "../examples/web/files.rs"]
mod files;

/// Returns the specifiers of the imports in a module or a page.
fn imports(text: &str) -> impl Iterator<Item = &str> {
    let statements =
        text.lines().filter(|line| line.trim_start().starts_with("import ") || line.contains(" from \"./"));
    statements.filter_map(|line| line.split('"').nth(1))
}

#[test]
fn examples_embed_every_module_of_the_browser_client() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/js/src");
    let entries = fs::read_dir(folder).expect("the folder is readable");
    let on_disk: BTreeSet<_> =
        entries.map(|entry| entry.expect("the entry is readable").file_name().into_string().expect("UTF-8")).collect();
    let embedded: BTreeSet<_> = files::MODULES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(embedded, on_disk);
}

#[test]
fn page_and_modules_import_only_embedded_modules() {
    let mut count = 0;
    for specifier in imports(files::PAGE) {
        let name = specifier.strip_prefix("./sigver-client/").expect("the page imports the client only");
        assert!(files::module(name).is_some(), "the page imports {specifier}");
        count += 1;
    }
    assert_eq!(count, 1);
    for (module, text) in files::MODULES {
        for specifier in imports(text) {
            let name = specifier.strip_prefix("./").expect("modules import modules of the client only");
            assert!(files::module(name).is_some(), "{module} imports {specifier}");
            count += 1;
        }
    }
    assert!(count > 40, "found {count} imports");
}
