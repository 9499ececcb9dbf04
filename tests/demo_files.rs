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

/// Returns the files of a folder that have one of these extensions.
fn files_in(folder: &str, extensions: &[&str]) -> BTreeSet<String> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect("the folder is readable");
    let names = entries.map(|entry| entry.expect("the entry is readable").file_name().into_string().expect("UTF-8"));
    names.filter(|name| extensions.iter().any(|extension| name.ends_with(extension))).collect()
}

#[test]
fn examples_embed_every_file_of_the_page_and_every_module_of_the_client() {
    let names = |files: &[(&str, &str)]| files.iter().map(|(name, _)| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(names(files::PAGE), files_in("examples/web", &[".html", ".css", ".js"]));
    assert_eq!(names(files::MODULES), files_in("clients/js/src", &[""]));
}

#[test]
fn page_and_modules_refer_only_to_embedded_files() {
    let mut count = 0;
    let (_, page) = files::file("/").expect("the page is embedded");
    let links = page.lines().flat_map(|line| line.split(['"', '\'']).filter(|it| it.starts_with("./")));
    for path in links {
        assert!(files::file(&path[1..]).is_some(), "the page refers to {path}");
        count += 1;
    }
    assert_eq!(count, 3);
    for (folder, files) in [("/", files::PAGE), ("/sigver-client/", files::MODULES)] {
        for (file, text) in files {
            for specifier in imports(text) {
                let name = specifier.strip_prefix("./").expect("modules import modules below their folder");
                assert!(files::file(&format!("{folder}{name}")).is_some(), "{file} imports {specifier}");
                count += 1;
            }
        }
    }
    assert!(count > 60, "found {count} imports");
}

#[test]
fn files_are_served_with_their_content_types() {
    for (path, content_type) in [
        ("/", Some("text/html; charset=utf-8")),
        ("/index.html", Some("text/html; charset=utf-8")),
        ("/demo.css", Some("text/css; charset=utf-8")),
        ("/app.js", Some("text/javascript; charset=utf-8")),
        ("/sigver-client/index.js", Some("text/javascript; charset=utf-8")),
        ("", None),
        ("/sigver-client/", None),
        ("/sigver-client/app.js", None),
        ("//app.js", None),
        ("/files.rs", None),
    ] {
        assert_eq!(files::file(path).map(|(content_type, _)| content_type), content_type, "{path}");
    }
}
