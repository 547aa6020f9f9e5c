//! What is wrong in a file is told with its place and what to write instead.

use super::*;

/// Each line: what is wrong in the file, and what its user reads.
#[test]
fn errors_say_where_and_what_to_do() {
    for (text, expected) in [
        ("oops", "mubroker.toml:1:5: key with no value, expected `=`"),
        ("data-dir = '/x'", "mubroker.toml:1:1: unknown key `data-dir`; did you mean `data_dir`?"),
        (
            "[listen]\n  client = ''",
            "mubroker.toml:2:3: unknown key `listen.client`; did you mean `listen.clients`?",
        ),
        ("zzz = 1", "mubroker.toml:1:1: unknown key `zzz`"),
        (
            "[sagas.trip]\nversion = 2",
            "mubroker.toml:1:8: sagas.\"trip\": steps: there are 0; from 1 to 100 are needed",
        ),
        (
            "[queues.a]\n[sagas.trip]\nsteps = [{ name = 'x', queue = 'b' }]",
            "mubroker.toml:3:32: sagas.\"trip\": steps.queue: there is no queue b; write \
             [queues.\"b\"], or a template that makes it",
        ),
        (
            "[sagas.trip]\nsteps = [{ name = 'x', queue = 'a' }, { name = 'x', queue = 'b' }]",
            "mubroker.toml:2:48: sagas.\"trip\": two steps are called x; results go by name",
        ),
        (
            "[sagas.trip]\nsteps = [{ name = 'x', queue = 'a', timeout = 1 }]",
            "mubroker.toml:2:37: unknown key `sagas.\"trip\".steps.timeout`; did you mean \
             `sagas.\"trip\".steps.timeout_ms`?",
        ),
        (
            "[sagas.trip]\nsteps = [{ name = 'x', queue = 'a', attempts = 0 }]",
            "mubroker.toml:2:48: sagas.\"trip\": steps.attempts: it must be at least 1",
        ),
        (
            "[sagas.trip]\nsteps = [{ queue = 'a' }]",
            "mubroker.toml:2:10: sagas.\"trip\".steps: missing field `name`",
        ),
        (
            "[sagas.trip]\nsteps = [{ name = 'x' }]",
            "mubroker.toml:2:10: sagas.\"trip\".steps: missing field `queue`",
        ),
        (
            "[[sagas.trip.steps]]\nname = 'x'\nqueue = 7",
            "mubroker.toml:3:9: sagas.\"trip\".steps.queue: invalid type: integer `7`, expected a string",
        ),
        (
            "[sagas]\ntrip = 7",
            "mubroker.toml:2:8: sagas.\"trip\": invalid type: integer `7`, expected a table",
        ),
        (
            "[sagas.trip]\nsteps = ['x']",
            "mubroker.toml:2:10: sagas.\"trip\".steps: invalid type: string \"x\", expected a table",
        ),
        (
            "[gathers.g]\nrecipients = { queue = 'a' }",
            "mubroker.toml:2:14: gathers.\"g\".recipients: invalid type: a table, expected a list",
        ),
        ("[topics.t]\nmatch = 1", "mubroker.toml:2:9: topics.\"t\".match: expected a string"),
        (
            "[store]\njournal_entry = 1",
            "mubroker.toml:2:1: unknown key `store.journal_entry`; did you mean \
             `store.journal_entries`?",
        ),
        (
            "[store]\njournal_entries = -1",
            "mubroker.toml:2:19: store.journal_entries is negative; 0 keeps all entries",
        ),
        (
            "[listen]\nconnections = 0",
            "mubroker.toml:2:15: listen.connections must be a number from 1 to 65536",
        ),
        (
            "[listen]\nconnections = 9\nconnections_per_address = 10",
            "mubroker.toml:3:27: listen.connections_per_address must be a number from 1 to 9",
        ),
        (
            "[auth]\ntoken = []",
            "mubroker.toml:2:1: unknown key `auth.token`; did you mean `auth.tokens`?",
        ),
        (
            "[auth]\ntokens = [{ nam = 'a' }]",
            "mubroker.toml:2:13: unknown key `auth.tokens.nam`; did you mean `auth.tokens.name`?",
        ),
        (
            "[listen]\npush = 'udp://x'",
            "mubroker.toml:2:8: listen.push \"udp://x\" is not an address; give tcp://HOST:PORT \
             or ipc://PATH",
        ),
        (
            "[[proxy]]\nname = 'p'\nkind = 'forwarder'\nfront = 'ipc:///f'",
            "mubroker.toml:4:1: unknown key `proxy.front`; did you mean `proxy.frontend`?",
        ),
        (
            "[listen]\npull = { 'a b' = 'ipc:///p' }",
            "mubroker.toml:2:10: queue has ' ' at byte 1; allowed: letters, digits, '.', '_', '-', ':'",
        ),
        (
            "[queues.a]\nmailbox = 'replicated'",
            "mubroker.toml:2:11: `queues.\"a\".mailbox = \"replicated\"` is not in this version",
        ),
        (
            "[queues.a]\nordering = 'no'",
            "mubroker.toml:2:12: queues.\"a\".ordering: unknown variant `no`, expected one of `queue`, `key`, `none`",
        ),
        (
            "[queues.a]\npriority = true",
            "mubroker.toml:1:1: queues.\"a\": priority = true lets messages overtake others, and ordering = \
             \"queue\" lets none; set ordering = \"none\", or leave priority out",
        ),
        (
            "[queues.a]\nlease = 5",
            "mubroker.toml:2:1: unknown key `queues.\"a\".lease`; did you mean `queues.\"a\".lease_ms`?",
        ),
        (
            "[queues.a]\nretry = { attempt = 5 }",
            "mubroker.toml:2:11: unknown key `queues.\"a\".retry.attempt`; did you mean \
             `queues.\"a\".retry.attempts`?",
        ),
        (
            "[queues.a]\nlease_ms = 'x'",
            "mubroker.toml:2:12: queues.\"a\".lease_ms: invalid type: string \"x\", expected a whole number of at \
             least 0",
        ),
        (
            "[queues.a]\nmailbox = 'disk'",
            "mubroker.toml:2:11: queues.\"a\".mailbox: unknown variant `disk`, expected one of `memory`, `file`, `mixed`, `redis`",
        ),
        (
            "[queues.a]\nmailbox = 'redis'",
            "mubroker.toml:1:1: queues.\"a\": mailbox = \"redis\" keeps payloads in a Redis, and none is \
             configured: [redis] url is missing",
        ),
        (
            "[queues.a]\nmailbox = 'mixed'\nspill = 'redis'",
            "mubroker.toml:1:1: queues.\"a\": spill = \"redis\" keeps payloads in a Redis, and none is \
             configured: [redis] url is missing",
        ),
        (
            "[redis]\nurl = 'http://:secret@x'",
            "mubroker.toml:2:7: redis.url is not an address; give redis://HOST:PORT, rediss://HOST:PORT \
             (TLS) or unix:///PATH",
        ),
        (
            "[redis]\ntimeout_ms = 0",
            "mubroker.toml:2:14: redis.timeout_ms is 0; it must be from 10 to 5000",
        ),
        (
            "[redis]\npasword_file = ''",
            "mubroker.toml:2:1: unknown key `redis.pasword_file`; did you mean `redis.password_file`?",
        ),
        (
            "[queues.a]\nmemory_messages = 0",
            "mubroker.toml:1:1: queues.\"a\": memory_messages is 0; it must be from 1 to 1000000",
        ),
        (
            "[queues.'a b']",
            "mubroker.toml:1:9: queue has ' ' at byte 1; allowed: letters, digits, '.', '_', '-', ':'",
        ),
        (
            "[queues.a.retry]\nattempts = 0",
            "mubroker.toml:1:9: queues.\"a\": retry.attempts must be at least 1: the first delivery \
             counts",
        ),
        (
            "[queues.a]\ndead_letter = 'b'\n[queues.b]\ndead_letter = 'c'\n[queues.c]\ndead_letter = 'b'",
            "mubroker.toml:3:1: dead_letter goes in a circle: b → c → b; the last of them needs another one, \
             or none of its own",
        ),
        (
            "[queues.a]\nretry = 5",
            "mubroker.toml:2:9: queues.\"a\".retry: invalid type: integer `5`, expected a table",
        ),
        (
            "[queues.a]\nmax_messages = 99999999999999999999",
            "mubroker.toml:2:16: queues.\"a\".max_messages: invalid type: integer `99999999999999999999` (too \
             large), expected a whole number of at least 0",
        ),
        (
            "[queues.a]\ndead_letter = 'a'",
            "mubroker.toml:1:1: queues.\"a\": dead_letter is a, the queue itself; name another",
        ),
        (
            "[queues.a]\ndead_letter = 'b.x'\n[queues.'b.*']\ndead_letter = 'a'",
            "mubroker.toml:1:1: dead_letter goes in a circle: a → b.x → a; the last of them needs another one, or \
             none of its own",
        ),
        (
            "[queues.'a.*']\ndead_letter = 'b.all'\n[queues.'b.*']\ndead_letter = 'a.all'",
            "mubroker.toml:1:1: dead_letter goes in a circle: b.all → a.all → b.all; the last of them needs another \
             one, or none of its own",
        ),
        (
            "[topics.t]\nsubscriptions = [{ queue = 'a', filter = 'size(body.list)' }]",
            "mubroker.toml:2:42: topics.\"t\": the filter gives a number, whatever the message is; compare it, so \
             that it is true or false",
        ),
        (
            "[topics.t]\nsubscription = []",
            "mubroker.toml:2:1: unknown key `topics.\"t\".subscription`; did you mean \
             `topics.\"t\".subscriptions`?",
        ),
        (
            "[topics.t]\nsubscriptions = [{ queue = 'a', filters = '' }]",
            "mubroker.toml:2:33: unknown key `topics.\"t\".subscriptions.filters`; did you mean \
             `topics.\"t\".subscriptions.filter`?",
        ),
        (
            "[topics.t]\nsubscriptions = [{ filter = 'true' }]",
            "mubroker.toml:2:18: topics.\"t\".subscriptions: missing field `queue`",
        ),
        (
            "[topics.t]\nmatch = 'some'",
            "mubroker.toml:2:9: topics.\"t\".match: unknown variant `some`, expected `all` or `first`",
        ),
        (
            "[topics.'a b']",
            "mubroker.toml:1:9: topic has ' ' at byte 1; allowed: letters, digits, '.', '_', '-', ':'",
        ),
        (
            "[queues.a]\n[topics.t]\nsubscriptions = [{ queue = 'a' }, { queue = 'b' }]",
            "mubroker.toml:3:45: topics.\"t\": queue: there is no queue b; write [queues.\"b\"], or a \
             template that makes it",
        ),
        (
            "[topics.t]\nsubscriptions = [{ queue = 'a' }, { queue = 'a' }]",
            "mubroker.toml:2:45: topics.\"t\": a is subscribed twice; join the filters with ||",
        ),
        (
            "[topics.t]\nsubscriptions = [{ queue = 'a', filter = 'body.x >' }]",
            "mubroker.toml:2:42: topics.\"t\": the filter is not CEL: mismatched input '<EOF>' expecting \
             expression at line 1 column 9",
        ),
        (
            "[topics.t]\nsubscriptions = [{ queue = 'a', filter = 'x == 1' }]",
            "mubroker.toml:2:42: topics.\"t\": the filter uses the name `x`; there are header, body and \
             topic",
        ),
        (
            "[listen]\nadmin = 'tcp://127.0.0.1:80'",
            "mubroker.toml:2:9: listen.admin \"tcp://127.0.0.1:80\" is over TCP, where only tokens tell \
             who is there, and [auth] has none; make one by `mubroker token new --role operator --name \
             NAME`, or use unix:PATH alone",
        ),
        (
            "[listen]\nworkers = 'udp://x'",
            "mubroker.toml:2:11: listen.workers \"udp://x\" is not an address; give tcp://HOST:PORT \
             or ipc://PATH",
        ),
    ] {
        assert_eq!(load(text).unwrap_err().to_string(), expected, "{text}");
    }
}
