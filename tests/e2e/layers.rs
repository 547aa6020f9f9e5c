//! Holds design.md 5: who may import whom. Reads the sources, not the build: every path that starts at
//! the crate (`crate::x`, `mubroker::x`, or enough `super::` to get there) names a layer, wherever it
//! stands in the file, tests included.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A layer and the layers that it may name besides itself. Who isn't here may not exist.
const MAY_IMPORT: [(&str, &[&str]); 18] = [
    ("model", &[]),
    ("engine", &["model"]),
    ("wire", &["model"]),
    ("mailbox", &["model"]),
    ("schema", &["model"]),
    ("net", &["auth", "schema", "wire", "model"]),
    ("broker", &["engine", "wire", "mailbox", "net", "schema", "model"]),
    ("worker", &["wire", "model", "https", "dealer"]),
    ("client", &["wire", "model", "dealer"]),
    ("dealer", &[]),
    ("auth", &["model"]),
    ("admin", &["auth", "broker", "model"]),
    ("console", &["admin", "schema"]),
    ("telemetry", &["model", "https"]),
    ("https", &[]),
    ("config", &["auth", "model", "https", "schema"]),
    ("cli", ANYTHING),
    ("main", &["cli"]),
];

/// `cli` puts the parts together.
const ANYTHING: &[&str] = &[
    "model",
    "engine",
    "wire",
    "mailbox",
    "net",
    "schema",
    "broker",
    "worker",
    "client",
    "admin",
    "console",
    "telemetry",
    "https",
    "dealer",
    "config",
    "auth",
];

/// What the pure layers must not know: clocks, threads, files, sockets, a runtime.
const PURE: [&str; 3] = ["model", "engine", "wire"];
const IMPURE: [&[&str]; 9] = [
    &["tokio"],
    &["zeromq"],
    &["sled"],
    &["axum"],
    &["std", "thread"],
    &["std", "fs"],
    &["std", "net"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
];

/// Tests that drive the engine from outside: one reads scripts, the other stops after a time. Neither is in the binary.
const DRIVERS: [&str; 2] = ["src/engine/tests/scenarios.rs", "src/engine/tests/simulator/mod.rs"];

#[test]
fn imports_keep_the_direction_of_the_layers() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    let mut broken = BTreeSet::new();
    for file in sources() {
        let (layer, module) = place(&file);
        if layer == "lib" {
            continue; // The front page declares the layers and re-exports client and worker.
        }
        let Some(may) = allowed.get(layer.as_str()) else {
            broken.insert(format!("{}: {layer} is no layer of design.md 5", file.display()));
            continue;
        };
        for path in paths(&read(&file), &module) {
            let named = &path[0];
            if allowed.contains_key(named.as_str()) && *named != layer && !may.contains(&&**named) {
                broken.insert(format!("{}: {layer} must not import {named}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", Vec::from_iter(broken).join("\n"));
}

#[test]
fn the_pure_layers_know_no_clock_no_thread_and_no_socket() {
    let mut broken = BTreeSet::new();
    for file in sources() {
        let is_driver = DRIVERS.iter().any(|driver| file.ends_with(driver));
        if !PURE.contains(&place(&file).0.as_str()) || is_driver {
            continue;
        }
        for path in all_paths(&read(&file)) {
            let impure = IMPURE.iter().find(|i| path.len() >= i.len() && path[..i.len()] == ***i);
            if let Some(impure) = impure {
                broken.insert(format!("{}: {}", file.display(), impure.join("::")));
            }
        }
    }
    assert!(broken.is_empty(), "{}", Vec::from_iter(broken).join("\n"));
}

#[test]
fn the_reader_of_paths_sees_every_form_and_no_comment_or_string() {
    let text = r##"
        use crate::{engine::{Event, effect}, mailbox as m}; // crate::comment
        /* crate::block /* crate::nested */ */
        pub(crate) use super::super::net::PeerId;
        fn f() -> crate::wire::Delivery { "crate::string"; r#"crate::raw" "#; '"'; b'\''; 'a: loop {} }
        mod tests { use super::*; use super::super::super::broker; use super::super::sibling; }
        use mubroker::cli;
    "##;
    let module = ["console".to_owned(), "view".to_owned()];
    let named: Vec<String> = paths(text, &module).into_iter().map(|p| p.join("::")).collect();
    let expected = [
        "engine::Event",
        "engine::effect",
        "mailbox",
        "net::PeerId",
        "wire::Delivery",
        "console::view",
        "broker",
        "console::sibling",
        "cli",
    ];
    assert_eq!(named, expected);
}

fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files) = (vec![root], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of src/") {
            let path = entry.expect("an entry of src/").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 10, "src/ was not found");
    files.sort();
    files
}

/// The layer of a file and the path of its module: `src/engine/queue/mod.rs` is `engine::queue`.
fn place(file: &Path) -> (String, Vec<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let relative = file.strip_prefix(root).expect("a file of src/").with_extension("");
    let mut module: Vec<String> =
        relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let layer = module[0].clone();
    if module.last().is_some_and(|m| m == "mod") || layer == "lib" || layer == "main" {
        module.pop();
    }
    (layer, module)
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).expect("a source file")
}

/// Every path that starts at the crate, without that start, in the order of the text.
fn paths(text: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (path, inner) in paths_with_modules(text) {
        let mut here = [module, &inner].concat();
        let climbs = path.iter().take_while(|part| *part == "super").count();
        let absolute = match path[0].as_str() {
            "crate" | "mubroker" => path[1..].to_vec(),
            "super" => {
                here.truncate(here.len().saturating_sub(climbs));
                [&here[..], &path[climbs..]].concat()
            }
            _ => continue,
        };
        if !absolute.is_empty() {
            found.push(absolute);
        }
    }
    found
}

fn all_paths(text: &str) -> Vec<Vec<String>> {
    paths_with_modules(text).into_iter().map(|(path, _)| path).collect()
}

/// Every path of the text with its groups spread out, and the inline modules that it stands in.
fn paths_with_modules(text: &str) -> Vec<(Vec<String>, Vec<String>)> {
    let tokens = tokens(text);
    let (mut found, mut modules, mut depth, mut at) = (Vec::new(), Vec::new(), 0_usize, 0);
    while at < tokens.len() {
        match tokens[at].as_str() {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                modules.retain(|&(_, opened)| opened < depth + 1);
            }
            "mod" if tokens.get(at + 2).is_some_and(|t| t == "{") => {
                modules.push((tokens[at + 1].clone(), depth + 1));
                depth += 1;
                at += 3;
                continue;
            }
            word if is_word(word) && tokens.get(at + 1).is_some_and(|t| t == "::") => {
                let mut paths = Vec::new();
                at = read_path(&tokens, at, &mut Vec::new(), &mut paths);
                let inside: Vec<String> = modules.iter().map(|(name, _)| name.clone()).collect();
                found.extend(paths.into_iter().map(|path| (path, inside.clone())));
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads one path from `at` on, `{a, b::c}` spread out, into `out`; gives the place after it.
fn read_path(
    tokens: &[String],
    mut at: usize,
    prefix: &mut Vec<String>,
    out: &mut Vec<Vec<String>>,
) -> usize {
    let kept = prefix.len();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") if prefix.len() > kept || kept > 0 => {
                at += 1;
                while tokens.get(at).is_some_and(|t| t != "}") {
                    at = read_path(tokens, at, prefix, out);
                    while tokens.get(at).is_some_and(|t| t != "}" && t != ",") {
                        at += 1; // `as name`, `*`
                    }
                    at += usize::from(tokens.get(at).is_some_and(|t| t == ","));
                }
                prefix.truncate(kept);
                return at + 1;
            }
            Some(word) if is_word(word) => {
                prefix.push(word.to_owned());
                at += 1;
            }
            _ => break, // `*`, `<`, the end
        }
        if tokens.get(at).is_none_or(|t| t != "::") {
            break;
        }
        at += 1;
    }
    out.push(prefix.clone());
    prefix.truncate(kept);
    at
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::` and single characters; no comments, no strings, no character literals.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        let rest = &chars[at..];
        at += match rest {
            ['/', '/', ..] => rest.iter().take_while(|&&c| c != '\n').count(),
            ['/', '*', ..] => block_comment(rest),
            ['b', 'r', '"' | '#', ..] => 1, // The `b` of a raw byte string.
            ['r', '"' | '#', ..] if raw_string(rest).is_some() => raw_string(rest).unwrap_or(1),
            ['"', ..] => string(rest),
            ['\'', '\\', _, ..] => 3 + rest[3..].iter().take_while(|&&c| c != '\'').count() + 1,
            ['\'', _, '\'', ..] => 3,
            [':', ':', ..] => {
                tokens.push("::".to_owned());
                2
            }
            [c, ..] if c.is_alphabetic() || *c == '_' => {
                let word: String =
                    rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
                let len = word.chars().count();
                tokens.push(word);
                len
            }
            [c, ..] => {
                if !c.is_whitespace() {
                    tokens.push(c.to_string());
                }
                1
            }
            [] => unreachable!("at < len"),
        };
    }
    tokens
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// The length of a raw string that starts here; `None` if none does (`r#type`).
fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
    (rest.get(1 + hashes) == Some(&'"')).then_some(())?;
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = 2 + hashes;
    let len = rest[body..].windows(end.len()).position(|w| w == end)?;
    Some(body + len + end.len())
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}
