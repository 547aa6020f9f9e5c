//! Tokens, the admin API's addresses, doors that speak CURVE alone.

use super::*;

/// The line of a token; `more` goes on with it.
fn token(more: &str) -> String {
    let hash = "0".repeat(64);
    format!("{{ name = 'anna', hash = 'sha256:{hash}', role = 'editor'{more} }}")
}

#[test]
fn tokens_are_read_and_what_is_wrong_with_one_is_told_without_what_it_holds() {
    let load_tokens = |rows: &str| load(&format!("[auth]\ntokens = [{rows}]"));
    let tokens =
        load_tokens(&token(", queues = ['eu.*'], without = ['cancel']")).unwrap().auth.tokens;
    assert_eq!((tokens.len(), tokens[0].name.as_str()), (1, "anna"));
    assert_eq!(tokens[0].grants.queues.to_string(), "eu.*");
    assert!(tokens[0].grants.has(Right::Edit) && !tokens[0].grants.has(Right::Cancel));
    assert!(load_tokens(&token("")).unwrap().auth.tokens[0].grants.queues.are_all());
    let secret = Secret::new().unwrap();
    for (row, said) in [
        (
            token("").replace("sha256:", "md5:"),
            "auth.tokens: this is no hash; give sha256: and 64 digits",
        ),
        (token("").replace("sha256:", secret.reveal()), "auth.tokens: this is the token itself"),
        (
            token("").replace("editor", "root"),
            "auth.tokens: there is no role \"root\"; there are viewer",
        ),
        (token(", queues = []"), "auth.tokens: there is no queue in it"),
        (token(", queues = ['a b']"), "auth.tokens: \"a b\": queue has ' ' at byte 1"),
        (token(", without = ['all']"), "auth.tokens: there is no right \"all\"; there are read"),
        (
            token(", without = ['delete']"),
            "`without` has delete, which the role editor has not anyway",
        ),
        (token("").replace("anna", "broker"), "auth.tokens: a token can't be called broker"),
        (format!("{0}, {0}", token("")), "there are two tokens \"anna\""),
        (
            format!("{}, {}", token(""), token("").replace("anna", "bert")),
            "has the hash of \"anna\"",
        ),
    ] {
        let error = load_tokens(&row).unwrap_err().to_string();
        assert!(error.starts_with("mubroker.toml:2:") && error.contains(said), "{error}");
        assert!(!error.contains(secret.reveal()), "{error}");
    }
}

#[test]
fn the_admin_api_is_at_a_unix_socket_and_over_tcp_if_there_are_tokens() {
    let load_admin = |listen: &str| {
        load(&format!("data_dir = '/d'\n[auth]\ntokens = [{}]\n[listen]\n{listen}", token("")))
    };
    let admin = load_admin("admin = 'unix:/a.sock, tcp://[::1]:80'").unwrap().admin;
    assert_eq!(admin.socket, Path::new("/a.sock"));
    let tcp = admin.tcp.unwrap();
    assert_eq!((tcp.address.as_str(), tcp.is_loopback, tcp.tls), ("[::1]:80", true, None));
    let admin = load_admin(
        "admin = 'tcp://0.0.0.0:80'\nadmin_cert_file = '/c.pem'\nadmin_key_file = '/k.pem'",
    );
    let admin = admin.unwrap().admin;
    assert_eq!(admin.socket, Path::new("/d/admin.sock"), "it is there in any case");
    let tcp = admin.tcp.unwrap();
    assert_eq!((tcp.is_loopback, tcp.tls), (false, Some(("/c.pem".into(), "/k.pem".into()))));
    for (listen, said) in [
        ("admin = 'tcp://127.0.0.1'", "is not an address; give tcp://HOST:PORT or unix:PATH"),
        ("admin = 'ipc:///a'", "is not an address; give unix:PATH or tcp://HOST:PORT"),
        ("admin = 'tcp://[::1]:1,tcp://[::1]:2'", "has two of a kind"),
        ("admin_key_file = '/k'", "listen.admin_key_file needs listen.admin_cert_file beside it"),
        ("admin_cert_file = '/c'\nadmin_key_file = '/k'", "has no tcp://HOST:PORT"),
    ] {
        let error = load_admin(listen).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_door_speaks_curve_alone_if_there_is_a_key_and_others_are_told_to_be_in_clear() {
    let loaded = |listen: &str, auth: &str, more: &str| {
        let roles = [token(""), token("").replace("anna", "w").replace("editor", "worker")];
        let tokens = roles.join(", ").replacen("0000", "1111", 1);
        load(&format!("[listen]\n{listen}\n[auth]\n{auth}\ntokens = [{tokens}]\n{more}"))
    };
    let open = "clients = 'tcp://0.0.0.0:5555'\ncurve_key_file = '/k'";
    let auth = loaded(open, "", "").unwrap().auth;
    let told = ("listen.clients", "tcp://0.0.0.0:5555".to_owned(), "auth.curve_clients");
    assert_eq!((auth.in_clear, auth.curve_clients), (vec![told], false));
    let auth = loaded(open, "curve_clients = true", "").unwrap().auth;
    assert_eq!((auth.in_clear, auth.curve_clients, auth.curve_workers), (vec![], true, false));
    assert!(loaded("curve_key_file = '/k'", "", "").unwrap().auth.in_clear.is_empty(), "loopback");
    let error = loaded("", "curve_workers = true", "").unwrap_err().to_string();
    assert!(error.contains("auth.curve_workers needs listen.curve_key_file"), "{error}");
    let own = "[workers.w]\nqueues = ['q']\ncommand = ['true']\n[queues.q]\n";
    let error =
        loaded("curve_key_file = '/k'", "curve_workers = true", own).unwrap_err().to_string();
    assert!(error.contains("auth.curve_workers keeps the broker's own workers out"), "{error}");
    let low = token(&format!(", curve_key = '{}'", "0".repeat(40)));
    let error = load(&format!("[auth]\ntokens = [{low}]")).unwrap_err().to_string();
    assert!(error.contains("a point of low order"), "{error}");
}
