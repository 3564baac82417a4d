//! From the first byte to the first ReadyForQuery, and what is refused on the way.

use std::collections::BTreeMap;

use crate::common::{self, TestServer, error_field, letters, startup_packet};

#[tokio::test(flavor = "multi_thread")]
async fn encryption_is_declined_and_the_session_begins() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    for magic in [80_877_104_i32, 80_877_103] {
        client.send(&[8_i32.to_be_bytes(), magic.to_be_bytes()].concat()).await;
        assert_eq!(client.byte().await, b'N');
    }
    client.startup(&[("user", "thalweg"), ("application_name", "test"), ("TimeZone", "UTC")]).await;
    let messages = client.until('Z').await;
    let told: BTreeMap<String, String> = messages
        .iter()
        .filter(|(letter, _)| *letter == 'S')
        .map(|(_, body)| {
            let mut parts = body.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
            (parts.next().expect("a name"), parts.next().expect("a value"))
        })
        .collect();
    assert!(told["server_version"].starts_with("15."), "{told:?}");
    assert_eq!(told["application_name"], "test");
    assert_eq!(told["client_encoding"], "UTF8");
    assert_eq!(told["DateStyle"], "ISO, MDY");
    assert_eq!(told["TimeZone"], "UTC");
    assert_eq!(told["integer_datetimes"], "on");
    assert_eq!(told["standard_conforming_strings"], "on");
    assert_eq!(messages.last().expect("ReadyForQuery").1, b"I");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_role_and_database_thalweg() {
    let server = TestServer::start().await;
    for (parameters, sqlstate) in [
        (vec![("user", "postgres")], "28000"),
        (vec![("user", "thalweg"), ("database", "other")], "3D000"),
        (vec![("user", "thalweg"), ("no_such_setting", "1")], "42704"),
        (vec![("user", "thalweg"), ("replication", "database")], "0A000"),
    ] {
        let mut client = server.raw().await;
        client.startup(&parameters).await;
        let (letter, body) = client.receive().await.expect("an error");
        assert_eq!((letter, error_field(&body, b'C').as_deref()), ('E', Some(sqlstate)));
        assert_eq!(error_field(&body, b'S').as_deref(), Some("FATAL"));
        assert!(client.is_closed().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_zone_we_do_not_have_is_told() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    client.startup(&[("user", "thalweg"), ("TimeZone", "Europe/Atlantis"), ("options", "-c statement_timeout=5s")]).await;
    let messages = client.until('Z').await;
    let warning = messages.iter().find(|(letter, _)| *letter == 'N').expect("a warning");
    assert_eq!(error_field(&warning.1, b'C').as_deref(), Some("22023"));
    assert!(messages.iter().any(|(_, body)| body.starts_with(b"TimeZone\0Etc/UTC\0")));
}

#[tokio::test(flavor = "multi_thread")]
async fn options_set_what_reset_goes_back_to() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    let options = "-c statement_timeout=5s --application-name=two\\ words  -c my.own=a\\\\b";
    client.startup(&[("user", "thalweg"), ("options", options)]).await;
    client.until('Z').await;
    client.run("SET statement_timeout = 0").await;
    client.run("RESET ALL").await;
    for (setting, value) in [("statement_timeout", "5s"), ("application_name", "two words"), ("my.own", "a\\b")] {
        assert_eq!(common::rows(&client.run(&format!("SHOW {setting}")).await), [value]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many() {
    let server = TestServer::start_with(|given| given.max_connections = Some(1)).await;
    let mut first = server.raw().await;
    first.startup(&[("user", "thalweg")]).await;
    first.until('Z').await;
    let mut second = server.raw().await;
    second.startup(&[("user", "thalweg")]).await;
    let (_, body) = second.receive().await.expect("an error");
    assert_eq!(error_field(&body, b'C').as_deref(), Some("53300"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_is_dropped() {
    let server = TestServer::start_with(|given| given.startup_timeout_s = Some(1)).await;
    let mut client = server.raw().await;
    client.send(&startup_packet(&[("user", "thalweg")])[..6]).await;
    assert!(client.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_ends_only_its_own_connection() {
    let server = TestServer::start().await;
    let mut good = server.raw().await;
    good.startup(&[("user", "thalweg")]).await;
    good.until('Z').await;
    for nonsense in [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], &[0, 0, 0, 0, 0, 0, 0, 0], &[0xff; 64]] {
        let mut client = server.raw().await;
        client.send(nonsense).await;
        if let Some((letter, _)) = client.receive().await {
            assert_eq!(letter, 'E');
        }
    }
    for (kind, body) in [(b'Q', &b"select '\xff'\0"[..]), (b'?', b""), (b'B', b"\0"), (b'D', b"")] {
        let mut client = server.raw().await;
        client.startup(&[("user", "thalweg")]).await;
        client.until('Z').await;
        client.message(kind, body).await;
        // An answer, or the end of this connection; never silence.
        client.message(b'S', b"").await;
        let mut seen = Vec::new();
        while let Some(message) = client.receive().await {
            let ready = message.0 == 'Z';
            seen.push(message);
            if ready {
                break;
            }
        }
        assert!(!letters(&seen).contains('D'), "{seen:?}");
    }
    good.query("").await;
    assert_eq!(letters(&good.until('Z').await), "IZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_tells_clients() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    client.startup(&[("user", "thalweg")]).await;
    client.until('Z').await;
    let stopped = server.stop();
    let (stopped, message) = tokio::join!(stopped, client.receive());
    stopped.expect("a clean end");
    let (letter, body) = message.expect("last words");
    assert_eq!((letter, error_field(&body, b'C').as_deref()), ('E', Some("57P01")));
}
