use super::*;

fn load(text: &str) -> Result<Config, ConfigError> {
    load_with(text, Sources::default())
}

fn load_with(text: &str, sources: Sources) -> Result<Config, ConfigError> {
    Config::from_text(Path::new("mubroker.toml"), text, &sources)
}

#[test]
fn the_example_says_what_the_defaults_are() {
    let example = Config::load(&Sources::default()).unwrap();
    assert_eq!(example, load("").unwrap());
    // What is commented out there is the default too.
    let shown = "data_dir = \"~/.local/share/mubroker\"";
    assert!(EXAMPLE.contains(&format!("# {shown}")));
    assert!(load(shown).unwrap().data_dir.ends_with(".local/share/mubroker"));
}

#[test]
fn the_example_shows_every_key() {
    let settings = toml::to_string(&QueueSettings::default()).unwrap();
    for line in settings.lines().filter(|line| !line.is_empty() && !line.starts_with('[')) {
        let key = line.split(" = ").next().unwrap();
        assert!(EXAMPLE.contains(&format!("{key} = ")), "{key}");
    }
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let file = "data_dir = '/a'\n[listen]\nclients = 'tcp://127.0.0.1:1'\nworkers = 'ipc:///w'";
    let sources = Sources {
        env: vec![
            ("MUBROKER_LISTEN__CLIENTS".to_owned(), "tcp://127.0.0.1:2".to_owned()),
            ("MUBROKER_DATA_DIR".to_owned(), "/b".to_owned()),
        ],
        data_dir: Some("/c".to_owned()),
        ..Sources::default()
    };
    let config = load_with(file, sources).unwrap();
    assert_eq!(config.clients, "tcp://127.0.0.1:2");
    assert_eq!(config.workers, "ipc:///w");
    assert_eq!(config.data_dir, Path::new("/c"));
    assert_eq!(config.admin, Path::new("/c/admin.sock"));
}

#[test]
fn queues_and_templates_are_told_apart_by_the_star() {
    let config =
        load("[queues.'eu.*']\nlease_ms = 500\n[queues.orders]\nretry = { attempts = 3 }").unwrap();
    assert_eq!(config.templates.len(), 1);
    assert_eq!(config.templates[0].prefix, "eu.");
    assert_eq!(config.queues.len(), 1);
    assert_eq!(config.queues[0].1.retry.attempts, 3);
    assert_eq!(config.queues[0].1.retry.max_ms, 60_000);
}

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
        ("[auth]\ntokens = []", "mubroker.toml:1:2: `auth` is not in this version"),
        ("[listen]\npush = ''", "mubroker.toml:2:1: `listen.push` is not in this version"),
        (
            "[queues.a]\nordering = 'key'",
            "mubroker.toml:2:12: `queues.\"a\".ordering = \"key\"` is not in this version",
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
            "mubroker.toml:2:12: invalid type: string \"x\", expected u64",
        ),
        (
            "[queues.a]\nmailbox = 'disk'",
            "mubroker.toml:2:11: unknown variant `disk`, expected one of `memory`, `file`, `mixed`, `redis`",
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
            "[listen]\nadmin = 'tcp://127.0.0.1:80'",
            "mubroker.toml:2:9: listen.admin over TCP (\"tcp://127.0.0.1:80\") needs tokens, which is \
             not in this version",
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

#[test]
fn redis_queues_need_an_address_which_the_environment_may_give_and_nobody_shows() {
    let text = "[redis]\nprefix = 'p:'\nca_file = '/ca.pem'\n[queues.a]\nmailbox = 'redis'";
    let url = "rediss://user:secret@cache:6380";
    let env = vec![("MUBROKER_REDIS__URL".to_owned(), url.to_owned())];
    let config = load_with(text, Sources { env, ..Sources::default() }).unwrap();
    let ca_file = Some(PathBuf::from("/ca.pem"));
    let (url, prefix) = (url.to_owned(), "p:".to_owned());
    assert_eq!(config.redis, Redis { url, prefix, ca_file, ..Redis::default() });
    assert!(!format!("{config:?}").contains("secret"));
    assert!(load(text).is_err());
}

#[test]
fn an_address_that_other_machines_reach_is_refused_with_the_reason() {
    for host in ["0.0.0.0", "*", "10.0.0.1", "[::]", "example.org"] {
        let error = load(&format!("[listen]\nclients = 'tcp://{host}:5555'")).unwrap_err();
        assert!(error.to_string().contains("lets other machines connect"), "{host}: {error}");
    }
    for host in ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"] {
        load(&format!("[listen]\nclients = 'tcp://{host}:5555'")).unwrap();
    }
}
