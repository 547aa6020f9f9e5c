//! After a change on purpose: `MUBROKER_UPDATE=1 cargo test --lib openapi` writes the file anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::operations::document;

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/openapi.json")
}

#[test]
fn the_file_is_what_the_code_makes_of_it() {
    let mut made = document().to_pretty_json().unwrap();
    made.push('\n');
    let found = std::fs::read_to_string(file()).unwrap_or_default();
    if made != found && std::env::var_os("MUBROKER_UPDATE").is_some() {
        std::fs::write(file(), made).unwrap();
        return;
    }
    assert!(made == found, "assets/openapi.json is out of date; MUBROKER_UPDATE=1 writes it");
}

#[test]
fn every_route_of_the_sources_is_there_and_no_other() {
    let mut routes = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin"), &mut routes);
    assert!(routes.len() > 40, "the routes were not found: {}", routes.len());
    let made = serde_json::to_value(document()).unwrap();
    let mut told = BTreeSet::new();
    for (path, item) in made["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            told.insert(format!("{method} {path}"));
        }
    }
    assert_eq!(told, routes);
}

/// `get /v1/queues` of each `.route("/v1/queues", get(queues))`.
fn collect(folder: &Path, out: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, out);
            continue;
        }
        if path.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for route in text.split(".route(\"").skip(1) {
            let (path, rest) = route.split_once('"').unwrap();
            let rest = rest.split([';', '\n']).next().unwrap_or_default();
            for method in ["get", "post", "put", "delete"] {
                if rest.contains(&format!("{method}(")) {
                    out.insert(format!("{method} {path}"));
                }
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_shape_is_used() {
    let text = document().to_json().unwrap();
    let made = serde_json::to_value(document()).unwrap();
    let shapes: BTreeSet<&str> =
        made["components"]["schemas"].as_object().unwrap().keys().map(String::as_str).collect();
    let used: BTreeSet<&str> = text
        .split("\"#/components/schemas/")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(used, shapes);
}
