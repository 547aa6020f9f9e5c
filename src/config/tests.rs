use super::*;

mod auth;
mod errors;

use crate::auth::{Right, Secret};
use crate::model::{ProxyKind, WorkedBy};

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
fn the_journal_keeps_as_many_entries_as_the_file_says() {
    assert_eq!(load("").unwrap().store.journal_entries, 20_000);
    assert!(EXAMPLE.contains("\njournal_entries = 20000\n"));
    for (text, entries) in [("7", 7), ("0", 0)] {
        let config = load(&format!("[store]\njournal_entries = {text}")).unwrap();
        assert_eq!(config.store.journal_entries, entries);
    }
}

#[test]
fn connections_are_bounded_as_the_file_says() {
    let of = |text: &str| {
        let Connections { most, per_address } = load(text).unwrap().connections;
        (most, per_address)
    };
    assert_eq!((of(""), of(EXAMPLE)), ((16_384, 12_288), (16_384, 12_288)));
    assert_eq!(of("[listen]\nconnections = 10"), (10, 8));
    assert_eq!(of("[listen]\nconnections = 10\nconnections_per_address = 1"), (10, 1));
}

#[test]
fn the_log_is_bounded_as_the_file_says() {
    let of = |text: &str| load(&format!("[log]\n{text}")).map(|config| config.log);
    let default = Log { json: false, max_mb: 64, files: 8 };
    assert_eq!((load("").unwrap().log, load(EXAMPLE).unwrap().log), (default, default));
    let set = of("format = 'json'\nmax_mb = 1\nfiles = 3").unwrap();
    assert_eq!(set, Log { json: true, max_mb: 1, files: 3 });
    for (text, reason) in [
        ("format = 'xml'", "give \"text\" or \"json\""),
        ("max_mb = 0", "from 1 to 4096"),
        ("files = -1", "from 1 to 1000"),
        ("file = 2", "did you mean `log.files`"),
    ] {
        let error = of(text).unwrap_err().to_string();
        assert!(error.contains("mubroker.toml:2:") && error.contains(reason), "{error}");
    }
}

#[test]
fn metrics_are_served_to_this_machine_only() {
    let of =
        |value: &str| load(&format!("[listen]\nmetrics = '{value}'")).map(|config| config.metrics);
    assert_eq!(load("").unwrap().metrics, None);
    assert_eq!(of("").unwrap(), None);
    for (text, address) in [
        ("tcp://127.0.0.1:9464", "127.0.0.1:9464"),
        ("tcp://localhost:0", "127.0.0.1:0"),
        ("tcp://[::1]:1", "[::1]:1"),
    ] {
        assert_eq!(of(text).unwrap(), Some(address.parse().unwrap()));
    }
    for (text, reason) in [
        ("tcp://0.0.0.0:9464", "lets other machines read it without a token"),
        ("ipc:///tmp/x", "is not an address"),
        ("tcp://127.0.0.1", "is not an address"),
        ("tcp://127.0.0.1:70000", "is not an address"),
    ] {
        let error = of(text).unwrap_err().to_string();
        assert!(error.contains("mubroker.toml:2:11") && error.contains(reason), "{error}");
    }
    let env = vec![("MUBROKER_LISTEN__METRICS".to_owned(), "tcp://127.0.0.1:2".to_owned())];
    let config = load_with("", Sources { env, ..Sources::default() }).unwrap();
    assert_eq!(config.metrics, Some("127.0.0.1:2".parse().unwrap()));
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
    assert_eq!(config.admin.socket, Path::new("/c/admin.sock"));
}

#[test]
fn a_variable_that_looks_like_a_setting_is_one() {
    let with = |name: &str| {
        let env = vec![(name.to_owned(), "tcp://127.0.0.1:2".to_owned())];
        load_with("", Sources { env, ..Sources::default() })
    };
    let error = with("MUBROKER_LISTEN__CLINTS").unwrap_err().to_string();
    assert!(error.starts_with("MUBROKER_LISTEN__CLINTS: "), "{error}");
    assert!(error.contains("MUBROKER_LISTEN__CLIENTS"), "{error}");
    for known in VARIABLES.into_iter().filter(|name| name.starts_with("MUBROKER_LISTEN__A")) {
        assert!(with(known).unwrap_err().to_string().contains("[auth]"), "it is read");
    }
    assert!(with("MUBROKER_SOMETHING_ELSE").is_ok());
    // A worker's command that calls `mubroker` has these, of a message with headers `_id` and `x--y`.
    assert!(with("MUBROKER_HEADERS__ID").is_ok() && with("MUBROKER_HEADERS_X__Y").is_ok());
}

#[test]
fn two_doors_have_two_addresses() {
    let error = |text: &str| load(text).unwrap_err().to_string();
    let same = error("[listen]\nclients = 'tcp://127.0.0.1:7'\nworkers = 'tcp://127.0.0.1:7'");
    assert!(same.contains(":3:11: tcp://127.0.0.1:7 is listen.clients already"), "{same}");
    let push = error("[listen]\nworkers = 'ipc:///w'\npush = 'ipc:///w'");
    assert!(push.contains(":3:8: ipc:///w is listen.workers already"), "{push}");
    let live = error("[listen]\npush = 'tcp://localhost:7'\nlive = 'tcp://127.0.0.1:7'");
    assert!(live.contains(":3:8: tcp://127.0.0.1:7 is listen.push already"), "{live}");
    let pull = error("[listen]\nmetrics = 'tcp://127.0.0.1:7'\npull = { a = 'tcp://127.0.0.1:7' }");
    assert!(pull.contains("tcp://127.0.0.1:7 is listen.metrics already"), "{pull}");
    let proxy = error(
        "[listen]\nadmin = 'unix:/a'\n[[proxy]]\nname = 'p'\nkind = 'queue'\nfrontend = 'ipc:///a'\n\
         backend = 'ipc:///b'",
    );
    assert!(proxy.contains(":6:12: ipc:///a is listen.admin already"), "{proxy}");
    let any = "[listen]\nclients = 'tcp://127.0.0.1:0'\nworkers = 'tcp://127.0.0.1:0'";
    assert!(load(any).is_ok());
}

#[test]
fn files_that_it_names_are_looked_for_by_who_runs_a_broker() {
    let config = load("[alerts]\nwebhook = 'http://127.0.0.1:1/'\nwebhook_secret_file = '/no/s'");
    let error = config.unwrap().check_files().unwrap_err().to_string();
    assert!(error.starts_with("alerts.webhook_secret_file: /no/s can't be read"), "{error}");
    assert!(load("").unwrap().check_files().is_ok());
    let folder = load("[alerts]\nwebhook = 'http://127.0.0.1:1/'\nwebhook_secret_file = '/'");
    let error = folder.unwrap().check_files().unwrap_err().to_string();
    assert!(error.starts_with("alerts.webhook_secret_file: / can't be read"), "{error}");
}

#[test]
fn other_doors_are_off_unless_they_have_an_address() {
    assert_eq!(load("[listen]\npush = ''").unwrap().doors, Doors::default());
    let file = "[listen]\npush = 'tcp://127.0.0.1:1'\nlive = 'ipc:///l'\n\
                pull = { reports = 'ipc:///p' }";
    let env = vec![
        ("MUBROKER_LISTEN__PUSH".to_owned(), String::new()),
        ("MUBROKER_LISTEN__FEED".to_owned(), "tcp://127.0.0.1:2".to_owned()),
    ];
    let doors = load_with(file, Sources { env, ..Sources::default() }).unwrap().doors;
    assert_eq!(doors.push, None, "switched off by the environment");
    assert_eq!(doors.live.as_deref(), Some("ipc:///l"));
    assert_eq!(doors.feed.as_deref(), Some("tcp://127.0.0.1:2"));
    let reports = QueueName::new("reports").unwrap();
    assert_eq!(doors.pulls, [(reports, "ipc:///p".to_owned())]);
    let open = load("[listen]\nlive = 'tcp://0.0.0.0:1'").unwrap_err().to_string();
    assert!(open.contains("listen.live") && open.contains("loopback"), "{open}");
}

#[test]
fn proxies_have_a_kind_and_two_ends_that_are_addresses() {
    let file = "[[proxy]]\nname = 'prices'\nkind = 'streamer'\nfrontend = 'ipc:///f'\n\
                backend = 'tcp://127.0.0.1:1'\ncapture = ''\n";
    let proxies = load(file).unwrap().proxies;
    assert_eq!((proxies.len(), proxies[0].kind), (1, ProxyKind::Streamer));
    assert_eq!((proxies[0].backend.as_str(), &proxies[0].capture), ("tcp://127.0.0.1:1", &None));
    for (from, to, reason) in [
        ("streamer", "router", "unknown variant `router`"),
        ("ipc:///f", "inproc://f", "proxy.prices.frontend \"inproc://f\" is not an address"),
        ("prices", "a b", "proxy name: has ' ' at byte 1"),
        ("127.0.0.1", "10.0.0.1", "lets other machines connect"),
    ] {
        let error = load(&file.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
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

#[test]
fn topics_have_subscriptions_in_their_order() {
    let config = load(
        "[topics.'order.created']\nmatch = 'first'\notherwise = 'rest'\nunroutable = 'dead-letter'\n\
         subscriptions = [{ queue = 'z', filter = 'body.n > 1', on_error = 'skip' }, { queue = 'a' }]",
    );
    let topics = config.unwrap().topics;
    assert_eq!(topics.len(), 1);
    let ConfiguredTopic { settings, subscriptions, .. } = &topics[0];
    assert_eq!(settings.matching, crate::model::Match::First);
    assert_eq!(settings.otherwise.as_ref().unwrap().as_str(), "rest");
    let queues: Vec<_> = subscriptions.iter().map(|it| it.queue.as_str()).collect();
    assert_eq!(queues, ["z", "a"]);
    assert_eq!(subscriptions[0].filter.as_ref().unwrap().text(), "body.n > 1");
    assert_eq!(subscriptions[0].on_error, crate::model::OnError::Skip);
}

#[test]
fn dead_letter_queues_that_all_of_a_template_share_are_no_circle() {
    for text in [
        "[queues.'*']\ndead_letter = 'dead'",
        "[queues.'a.*']\ndead_letter = 'a.x'",
        "[queues.'a.*']\ndead_letter = 'b.{queue}'\n[queues.'b.*']\ndead_letter = 'a.{queue}'",
        "[queues.a]\ndead_letter = 'dead'\n[queues.b]\ndead_letter = 'dead'",
    ] {
        assert_eq!(load(text).map(|_| ()).map_err(|error| error.to_string()), Ok(()), "{text}");
    }
}

#[test]
fn ten_thousand_subscriptions_are_taken_and_more_are_refused_with_the_place() {
    let rows =
        |n: usize| (0..n).map(|n| format!("{{ queue = 'q{n}' }}")).collect::<Vec<_>>().join(", ");
    let topics =
        |n| load(&format!("[topics.t]\nsubscriptions = [{}]", rows(n))).map(|it| it.topics);
    assert_eq!(topics(10_000).unwrap()[0].subscriptions.len(), 10_000);
    assert_eq!(
        topics(10_001).unwrap_err().to_string(),
        "mubroker.toml:1:9: topics.\"t\": 10001 subscriptions; a topic has at most 10000; make two topics of it"
    );
}

#[test]
fn sagas_have_steps_with_defaults() {
    let config = load(
        "[queues.'trip.*']\n[sagas.trip]\nversion = 2\nsteps = [\n\
         { name = 'flight', queue = 'trip.flight', compensate = 'trip.undo', attempts = 3 },\n\
         { name = 'car', queue = 'trip.car', timeout_ms = 5, retry_ms = 0 }]",
    );
    let [trip] = &config.unwrap().sagas[..] else { panic!("one saga") };
    assert_eq!((trip.name.as_str(), trip.version, trip.steps.len()), ("trip", 2, 2));
    let [flight, car] = &trip.steps[..] else { panic!("two steps") };
    assert_eq!(flight.compensate.as_ref().unwrap().as_str(), "trip.undo");
    assert_eq!((flight.attempts, flight.timeout_ms, flight.retry_ms), (3, 60_000, 1_000));
    assert_eq!(
        (car.compensate.as_ref(), car.attempts, car.timeout_ms, car.retry_ms),
        (None, 1, 5, 0)
    );
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

#[test]
fn supervised_workers_are_read_and_what_makes_no_sense_is_refused() {
    let file = "[workers.bills]\nqueue = 'bills'\nstdio = ['./c', '-x']\nframing = 'length'\ncount = 3\n\
                env = { A = '1' }\nrestart = { max_restarts = 9 }";
    let config = load(file).unwrap();
    let [pool] = config.workers_kept.as_slice() else { panic!("one") };
    assert_eq!((pool.name.as_str(), pool.count, pool.health), ("bills", 3, true));
    assert_eq!(pool.by, WorkedBy::Stdio(vec!["./c".to_owned(), "-x".to_owned()], true));
    assert_eq!((pool.restart.max_restarts, pool.restart.within_ms), (9, 60_000));
    for (file, why) in [
        ("queue = 'a'", "one of exec, stdio, http and command"),
        ("queue = 'a'\nexec = ['x']\nhttp = 'http://x/'", "exclude each other"),
        ("exec = ['x']", "`queue`"),
        ("queue = 'a'\nstdio = ['x']\nframing = 'xml'", "\"lines\" or \"length\""),
        ("queue = 'a'\nexec = ['x']\ncount = 1000", "count is too large"),
        ("queue = 'a'\nexec = ['x']\ncredit = 0", "at least 1"),
        ("queue = 'a'\nexec = ['x']\nenv = { 'A=B' = '1' }", "can't name a variable"),
        ("queue = 'a'\nexec = ['x']\nenv = { MUBROKER_ID = '1' }", "is the broker's to set"),
        ("queue = 'a'\nexec = ['x']\nmax_execution_ms = 86400001", "at most 86400000"),
        ("queue = 'a'\nhttp = 'localhost:80'", "http: \"localhost:80\" is not a URL"),
        ("queue = 'a'\nhttp = 'http://me:secret@x y/'", "http: \"http://x y/\" is not a URL"),
        ("queue = 'a'\nhttp = 'http://:80/'", "is not a URL"),
        (
            "queue = 'a'\nexec = ['x']\nrestart = { max = 1 }",
            "unknown key `workers.\"w\".restart.max`",
        ),
        ("queue = 'a'\nexecute = ['x']", "did you mean `workers.\"w\".exec`"),
    ] {
        let error = load(&format!("[workers.w]\n{file}")).unwrap_err().to_string();
        assert!(error.contains(why), "{file}: {error}");
    }
}

#[test]
fn alerts_name_addresses_that_can_be_used() {
    assert_eq!(load("").unwrap().alerts, Alerts::default());
    let alerts = load("[alerts]\nwebhook = 'https://x/y'\noldest_age_ms = 5\ndisk_low_mb = 7")
        .unwrap()
        .alerts;
    assert_eq!(
        (alerts.webhook.as_str(), alerts.oldest_age_ms, alerts.disk_low_mb),
        ("https://x/y", 5, 7)
    );
    assert!(!format!("{alerts:?}").contains("x/y"), "it may be a secret");
    for (file, why) in [
        ("datadog = '127.0.0.1:8125'", "mubroker.toml:2:11: alerts.datadog: it begins with"),
        ("webhook = 'ftp://x'", "alerts.webhook: give http://"),
        ("webhook = 'https:///x'", "alerts.webhook: give http://"),
        ("dedup_ms = 0", "at least 1"),
        (
            "webhook = 'https://x/y'\nwebhook_events = ['blocked', 'bloked']",
            "mubroker.toml:3:30: alerts.webhook_events: there is no event type \"bloked\"",
        ),
        ("webhook = 'https://x/y'\nwebhook_events = ['alert']", "alerts go to the webhook anyway"),
        ("webhook_events = ['blocked']", "alerts.webhook_events: there is no webhook"),
    ] {
        let error = load(&format!("[alerts]\n{file}")).unwrap_err().to_string();
        assert!(error.contains(why), "{file}: {error}");
    }
}

#[test]
fn what_bounds_queues_on_the_fly_is_a_templates_only() {
    let text = "[queues.\"jobs.*\"]\nmax_queues = 7\ndelete_on_idle_ms = 60000\n[queues.\"*\"]";
    let config = load(text).unwrap();
    let jobs = config.templates.iter().find(|template| template.prefix == "jobs.").unwrap();
    assert_eq!((jobs.max_queues, jobs.settings.delete_on_idle_ms), (7, 60_000));
    let any = config.templates.iter().find(|template| template.prefix.is_empty()).unwrap();
    assert_eq!((any.max_queues, any.settings.delete_on_idle_ms), (0, 0));
    let redis = "[redis]\nurl = \"redis://localhost\"\n[queues.\"r.*\"]\nmailbox = \"redis\"\ndelete_on_idle_ms = 5000";
    for (text, reason) in [
        ("[queues.jobs]\nmax_queues = 7", "2:14: queues.\"jobs\".max_queues: this is one queue"),
        (
            "[queues.jobs]\ndelete_on_idle_ms = 60000",
            "this queue is made at each start, so it stays",
        ),
        ("[queues.\"j.*\"]\ndelete_on_idle_ms = 5", "delete_on_idle_ms is 5; from 1000 to"),
        ("[queues.\"j.*\"]\nmax_queues = -1", "2:14: "),
        ("[queues.\"j.*\"]\nmax_queue = 1", "max_queues"),
        (redis, "others may add to a stream in Redis"),
    ] {
        let error = load(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn what_is_shown_has_every_section_and_no_secret() {
    let secret = Secret::new().unwrap();
    let text = format!(
        r#"
        [auth]
        tokens = [{{ name = "anna", hash = "{}", role = "viewer" }}]
        [redis]
        url = "redis://user:precious@127.0.0.1/"
        [alerts]
        webhook = "https://hooks.example/precious"
        [queues."eu.*"]
        lease_ms = 1234
        [queues."bills"]
        [topics."order.created"]
        subscriptions = [{{ queue = "bills", filter = "body.total > 100" }}]
        [gathers."quotes"]
        recipients = [{{ queue = "bills" }}]
        [sagas."trip"]
        steps = [{{ name = "flight", queue = "bills" }}]
        [workers."bills"]
        queue = "bills"
        exec = ["./connector", "--password", "precious"]
        env = {{ KEY = "precious" }}
        "#,
        secret.hash()
    );
    let shown = load(&text).unwrap().shown();
    let all = serde_json::to_string(&shown).unwrap();
    for hidden in ["precious", &secret.hash().to_string(), "hooks.example"] {
        assert!(!all.contains(hidden), "{hidden} in {all}");
    }
    assert_eq!(shown["queues"]["eu.*"]["lease_ms"], 1234);
    assert_eq!(shown["auth"]["tokens"][0]["name"], "anna");
    assert_eq!(shown["topics"]["order.created"]["subscriptions"][0]["filter"], "body.total > 100");
    assert_eq!(shown["workers"]["bills"]["env"][0], "KEY");
    let table: toml::Table = toml::from_str(EXAMPLE).unwrap();
    for (section, keys) in table {
        let shown = shown.get(&section).unwrap_or_else(|| panic!("{section} is missing"));
        // What is in there is a queue's own.
        let keys = Some(keys).filter(|_| section != "queues");
        for key in keys.iter().filter_map(toml::Value::as_table).flat_map(toml::Table::keys) {
            assert!(shown.get(key).is_some(), "{section}.{key} is missing");
        }
    }
}
