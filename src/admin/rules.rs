//! Which right each route needs. What isn't here only an admin may ask.

use axum::http::Method;

use super::{bulk, repairs};
use crate::auth::Right;

/// What a route needs before its handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// The right; the handler shows what is of the caller's queues.
    Some(Right),
    /// The right on the queue in the path.
    Queue(Right),
    /// One of the rights on the queue in the path, and that to read; the handler says which.
    OneOf(&'static [Right]),
    /// The right on all queues: it isn't of one.
    All(Right),
}

/// Methods are those of the routes; HEAD counts as GET.
const RULES: &[(&str, &str, Rule)] = {
    use Right::{Cancel, Delete, Operate, Read, Send, Settings, Store, Tokens};
    use Rule::{All, OneOf, Queue, Some};
    &[
        ("GET", "/livez", Some(Read)),
        ("GET", "/readyz", Some(Read)),
        ("GET", "/metrics", All(Read)),
        ("GET", "/v1/openapi.json", Some(Read)),
        ("GET", "/v1/problems", Some(Read)),
        ("GET", "/v1/problems/{code}", Some(Read)),
        ("GET", "/v1/overview", Some(Read)),
        ("GET", "/v1/queues", Some(Read)),
        ("GET", "/v1/queues/{queue}", Queue(Read)),
        ("POST", "/v1/queues/{queue}/create", Queue(Settings)),
        ("POST", "/v1/queues/{queue}/purge", Queue(Cancel)),
        ("POST", "/v1/queues/{queue}/delete", Queue(Delete)),
        ("POST", "/v1/queues/{queue}/pause", Queue(Operate)),
        ("POST", "/v1/queues/{queue}/drain", Queue(Operate)),
        ("POST", "/v1/queues/{queue}/resume", Queue(Operate)),
        ("POST", "/v1/queues/{queue}/settings", Queue(Settings)),
        ("POST", "/v1/queues/{queue}/publish", Queue(Send)),
        ("GET", "/v1/queues/{queue}/schema", Queue(Read)),
        ("GET", "/v1/queues/{queue}/keys", Queue(Read)),
        ("GET", "/v1/queues/{queue}/messages", Queue(Read)),
        ("GET", "/v1/queues/{queue}/errors", Queue(Read)),
        ("POST", "/v1/queues/{queue}/bulk", OneOf(bulk::RIGHTS)),
        ("GET", "/v1/bulk", Some(Read)),
        ("GET", "/v1/bulk/{key}", Some(Read)),
        ("GET", "/v1/bulk/{key}/results", Some(Read)),
        // And what its action needs.
        ("POST", "/v1/bulk/{key}/stop", Some(Read)),
        ("GET", "/v1/queues/{queue}/messages/{seq}", Queue(Read)),
        ("GET", "/v1/queues/{queue}/messages/{seq}/payload", Queue(Read)),
        ("POST", "/v1/queues/{queue}/messages/{seq}/repair", OneOf(repairs::RIGHTS)),
        ("POST", "/v1/queues/{queue}/messages/{seq}/hold", Queue(Operate)),
        ("POST", "/v1/queues/{queue}/redrive", Queue(Operate)),
        ("GET", "/v1/repairs/{key}", Some(Read)),
        ("GET", "/v1/messages/{id}", Some(Read)),
        ("GET", "/v1/workers", Some(Read)),
        ("POST", "/v1/workers/{name}/restart", All(Operate)),
        ("POST", "/v1/workers/{name}/drain", All(Operate)),
        ("GET", "/v1/pools", All(Read)),
        ("GET", "/v1/pools/{name}", All(Read)),
        ("POST", "/v1/pools/{name}/restart", All(Operate)),
        ("POST", "/v1/pools/{name}/drain", All(Operate)),
        ("POST", "/v1/pools/{name}/scale", All(Operate)),
        ("GET", "/v1/topics", All(Read)),
        ("GET", "/v1/topics/{topic}", All(Read)),
        ("POST", "/v1/topics/{topic}/publish", All(Send)),
        ("PUT", "/v1/topics/{topic}/subscriptions/{queue}", All(Settings)),
        ("DELETE", "/v1/topics/{topic}/subscriptions/{queue}", All(Settings)),
        ("GET", "/v1/gathers", All(Read)),
        ("GET", "/v1/gathers/{id}", All(Read)),
        ("GET", "/v1/sagas", All(Read)),
        ("GET", "/v1/sagas/{id}", All(Read)),
        // And what its act needs.
        ("POST", "/v1/sagas/{id}/act", All(Read)),
        ("GET", "/v1/doors", All(Read)),
        ("GET", "/v1/journal", Some(Read)),
        ("GET", "/v1/config", All(Settings)),
        ("GET", "/v1/store", All(Read)),
        ("POST", "/v1/store/backup", All(Store)),
        ("GET", "/v1/events", Some(Read)),
        ("GET", "/v1/stream", Some(Read)),
        ("GET", "/v1/tokens", All(Tokens)),
        ("POST", "/v1/tokens/{name}/revoke", All(Tokens)),
    ]
};

/// What the route needs. An unknown one, too: nothing is told to who may not even look.
pub(super) fn rule(method: &Method, path: Option<&str>) -> Rule {
    let Some(path) = path else { return Rule::Some(Right::Read) };
    let method = if method == Method::HEAD { Method::GET } else { method.clone() };
    let found = RULES.iter().find(|(of, at, _)| *of == method.as_str() && *at == path);
    match found {
        Some((_, _, rule)) => *rule,
        // The handler says that it can't be asked so.
        None if RULES.iter().any(|(_, at, _)| *at == path) => Rule::Some(Right::Read),
        None => Rule::All(Right::Tokens),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_route_of_the_source_has_a_rule() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).expect("the routes") {
            let path = entry.expect("an entry").path();
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            for line in text.lines().filter_map(|line| line.trim().split_once(".route(\"")) {
                let at = line.1.split('"').next().expect("split gives one");
                assert!(RULES.iter().any(|(_, known, _)| *known == at), "{at} needs a rule");
                seen += 1;
            }
        }
        assert!(seen > 30, "the routes were not found: {seen}");
    }

    #[test]
    fn what_has_no_rule_is_for_admins_only() {
        assert_eq!(rule(&Method::GET, Some("/v1/new")), Rule::All(Right::Tokens));
        assert_eq!(rule(&Method::HEAD, Some("/v1/doors")), Rule::All(Right::Read));
        assert_eq!(rule(&Method::DELETE, Some("/v1/doors")), Rule::Some(Right::Read));
    }
}
