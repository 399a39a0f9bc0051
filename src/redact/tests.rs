use proptest::prelude::*;

use super::*;

fn default() -> Redactor {
    Redactor::new(true, &[], &[], Vec::new())
}

fn with_keys(keys: &[&str]) -> Redactor {
    let keys: Vec<String> = keys.iter().map(|&key| key.into()).collect();
    Redactor::new(false, &keys, &[], Vec::new())
}

const HIDDEN: &[&str] = &[
    "api_key",
    "apikey",
    "apiKey",
    "APIKEY",
    "API-Key",
    "x-api-key",
    "openai_api_key",
    "OPENAI_API_KEY",
    "api.key",
    "api key",
    "apiKeys",
    "password",
    "PassWord",
    "passwd",
    "user_password",
    "db.password",
    "password2",
    "pwd",
    "passphrase",
    "secret",
    "clientSecret",
    "client_secret",
    "secrets",
    "secret_key",
    "token",
    "auth_token",
    "accessToken",
    "access_tokens",
    "refresh_token",
    "session_token",
    "csrf-token",
    "bot_token",
    "authorization",
    "http.request.header.authorization",
    "proxy-authorization",
    "auth",
    "request.auth",
    "credential",
    "credentials",
    "aws.credentials.id",
    "private_key",
    "privateKey",
    "privateKeyPem",
    "access_key",
    "AWS_ACCESS_KEY_ID",
    "cookie",
    "set-cookie",
    "cookies.0",
    "bearer",
    "bearerToken",
    "jwt",
    "connectionString",
    "ocp-apim-subscription-key",
    "password.0",
    "inputs.login.password.value",
    "oauth2_token",
    "session_key",
    "creds",
];

const SHOWN: &[&str] = &[
    "",
    ".",
    "...",
    "session",
    "session_id",
    "honeyhive.session_id",
    "sessions.0.name",
    "max_tokens",
    "maxTokens",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.token.type",
    "gen_ai.client.token.usage",
    "llm.token_count.prompt",
    "llm.token_count.completion",
    "llm.usage.total_tokens",
    "token_count",
    "tokenCount",
    "token_usage",
    "token_limit",
    "max_token",
    "prompt_token",
    "tokens",
    "tokens_per_second",
    "time_to_first_token",
    "timeToFirstToken",
    "eos_token",
    "stop_token",
    "token_type",
    "token.count",
    "usage.token",
    "logprobs.content.0.token",
    "top_logprobs.3.token",
    "author",
    "authors",
    "co_author",
    "authored_by",
    "authority",
    "authenticated",
    "auth_type",
    "tokenizer",
    "tokenize",
    "tokenization",
    "detokenize",
    "secretary",
    "secretariat",
    "passwordless",
    "passport",
    "pass",
    "key",
    "keys",
    "keyboard",
    "public_key",
    "keyword",
    "primary_key",
    "monkey",
    "bearers",
    "cookiecutter",
    "api",
    "apis",
    "access",
    "private",
    "accessible",
    "question",
    "credit",
    "accredited",
    "jwts",
    "model",
    "gen_ai.request.model",
    "user_id",
    "privacy",
    "description",
];

#[test]
fn keys_that_hide_and_keys_that_do_not() {
    let redactor = default();
    for key in HIDDEN {
        assert!(redactor.hides(key), "{key}");
    }
    for key in SHOWN {
        assert!(!redactor.hides(key), "{key}");
    }
    let off = with_keys(&[]);
    assert!(off.is_off() && HIDDEN.iter().all(|key| !off.hides(key)));
}

#[test]
fn keys_of_the_user() {
    let redactor = with_keys(&["ssn", "account_number", "Größe"]);
    for key in [
        "ssn",
        "user.SSN",
        "userSsn",
        "accountNumber",
        "ACCOUNT-NUMBER",
        "account.number",
        "x.Größe.y",
    ] {
        assert!(redactor.hides(key), "{key}");
    }
    for key in [
        "session",
        "ssns",
        "account",
        "accounts_number",
        "assn",
        "password",
        "token",
    ] {
        assert!(!redactor.hides(key), "{key}");
    }
    // A key of one's own is not excused.
    assert!(with_keys(&["token"]).hides("token_count"));
}

#[test]
fn structured_texts() {
    let redactor = default();
    let left = |text: &str| redactor.text("x", text);
    for (text, expected) in [
        (r#"{"password":"x"}"#, r#"{"password":"[redacted]"}"#),
        (
            r#"{"a":1,"password": "x", "b":[1]}"#,
            r#"{"a":1,"password": "[redacted]", "b":[1]}"#,
        ),
        (
            r#"{"a":{"b":[{"apiKey":{"v":[1,"}"]}}]}}"#,
            r#"{"a":{"b":[{"apiKey":"[redacted]"}]}}"#,
        ),
        (
            "{\n  \"secret\" : 12 ,\n  \"x\": 1}",
            "{\n  \"secret\" : \"[redacted]\" ,\n  \"x\": 1}",
        ),
        (
            r#"[{"token":"a"},{"token":"b"}]"#,
            r#"[{"token":"[redacted]"},{"token":"[redacted]"}]"#,
        ),
        // Escapes, in keys and in values.
        (
            r#"{"pass\u0077ord":"a\"b"}"#,
            r#"{"pass\u0077ord":"[redacted]"}"#,
        ),
        // JSON inside of a text inside of JSON, and once more.
        (
            r#"{"arguments":"{\"password\":\"x\",\"q\":\"y\"}"}"#,
            r#"{"arguments":"{\"password\":\"[redacted]\",\"q\":\"y\"}"}"#,
        ),
        (
            r#"["{\"a\":\"{\\\"secret\\\":1}\"}"]"#,
            r#"["{\"a\":\"{\\\"secret\\\":\\\"[redacted]\\\"}\"}"]"#,
        ),
        // Cut in the middle: no JSON any more.
        (
            r#"{"a":"b","password":"hunt… [cut]"#,
            r#"{"a":"b","password":"[redacted]""#,
        ),
        (
            r#"{"a":1,"cookie":["x","y… [cut]"#,
            r#"{"a":1,"cookie":"[redacted]""#,
        ),
        // What `Debug` prints.
        (
            r#"Config { url: "u", api_key: Some("k"), n: 1 }"#,
            r#"Config { url: "u", api_key: "[redacted]", n: 1 }"#,
        ),
        (
            r#"Some(Login { user: "u", password: Secret { inner: "a, }" } })"#,
            r#"Some(Login { user: "u", password: "[redacted]" })"#,
        ),
        (
            r#"{"authorization": Sensitive, "host": "h"}"#,
            r#"{"authorization": "[redacted]", "host": "h"}"#,
        ),
    ] {
        assert_eq!(left(text).as_deref(), Some(expected), "{text}");
        // What is redacted stays as it is.
        assert_eq!(left(expected).as_deref().unwrap_or(expected), expected);
    }
    for text in [
        "",
        "{",
        "[[[",
        "}}}",
        "my password: hunter2",
        "[INST] my password: please reset it [/INST]",
        r#"{"password":null,"has_password":true,"token":"","max_tokens":5}"#,
        r#"{"logprobs":{"content":[{"token":"Hi","logprob":-0.1,"bytes":[72]}]}}"#,
        r#"{"usage":{"token":5}}"#,
        r#"{"text":"the \"password\": x"}"#,
        r#"{"role":"user","content":"hello"}"#,
        "Position { x: 1, kind: std::path::Kind }",
    ] {
        assert_eq!(left(text), None, "{text}");
    }
}

/// Keys and texts made to be slow to look at take no time that counts.
#[test]
fn hostile_texts_are_quick() {
    let redactor = default();
    let long = "token.".repeat(200_000);
    let texts = [
        format!("{{\"{long}logprobs\":1}}"),
        format!("{{\"{long}\":{{{}}}}}", "\"token\":1,".repeat(100_000)),
        "[".repeat(1_000_000),
        "{\"a\":".repeat(200_000),
        "\"{\\\"".repeat(200_000),
        format!("[{}", "a_".repeat(500_000)),
    ];
    let started = std::time::Instant::now();
    for text in &texts {
        let _ = redactor.text("x", text);
    }
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn values_in_objects() {
    let redactor = default();
    let mut object = serde_json::json!({
        "user": "u", "api": { "key": "k" }, "list": [{ "password": 1 }, "{\"token\":\"t\"}"],
        "cookie": { "a": "b" }, "has_secret": false,
    });
    redactor.object("metadata", object.as_object_mut().unwrap());
    let expected = serde_json::json!({
        "user": "u", "api": { "key": REDACTED }, "list": [{ "password": REDACTED }, "{\"token\":\"[redacted]\"}"],
        "cookie": REDACTED, "has_secret": false,
    });
    assert_eq!(object, expected);
}

#[test]
fn patterns_and_functions() {
    let hook: Hook = Arc::new(|path, value| {
        assert!(value != "panic");
        path.ends_with(".mail").then(|| "<mail>".to_owned())
    });
    let redactor = Redactor::new(true, &[], &[r"\d{3}-\d{2}".to_owned()], vec![hook]);
    assert_eq!(
        redactor.text("a", "1 123-45 2").as_deref(),
        Some("1 [redacted] 2")
    );
    assert_eq!(redactor.text("a.mail", "x").as_deref(), Some("<mail>"));
    assert_eq!(redactor.text("a", "x"), None);
    let both = redactor.text("a", r#"{"password":"p","id":"123-45"}"#);
    assert_eq!(
        both.as_deref(),
        Some(r#"{"password":"[redacted]","id":"[redacted]"}"#)
    );
    assert_eq!(redactor.text("a", "panic").as_deref(), Some(FAILED));
    assert_eq!((redactor.take_failures(), redactor.take_failures()), (1, 0));
}

/// The spellings of a key made of words.
fn spellings(words: &[String]) -> Vec<String> {
    let capital = |word: &String| {
        let (first, rest) = word.split_at(1);
        format!("{}{rest}", first.to_uppercase())
    };
    let pascal: String = words.iter().map(capital).collect();
    let camel = {
        let (first, rest) = pascal.split_at(1);
        format!("{}{rest}", first.to_lowercase())
    };
    vec![
        words.join("_"),
        words.join("-"),
        words.join(" "),
        words.join("_").to_uppercase(),
        words.iter().map(capital).collect::<Vec<_>>().join("-"),
        pascal,
        camel,
    ]
}

fn word() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "api",
        "key",
        "password",
        "secret",
        "token",
        "access",
        "private",
        "auth",
        "count",
        "max",
        "session",
        "user",
        "author",
        "cookie",
        "usage",
        "credential",
        "authorization",
        "prompt",
        "id",
    ];
    prop_oneof![
        proptest::sample::select(KNOWN).prop_map(str::to_owned),
        "[a-z]{2,8}",
    ]
}

proptest! {
    #[test]
    fn spelling_does_not_matter(words in proptest::collection::vec(word(), 1..5)) {
        let redactor = default();
        let expected = redactor.hides(&words.join("_"));
        for key in spellings(&words) {
            prop_assert_eq!(redactor.hides(&key), expected, "{}", key);
        }
    }

    #[test]
    fn a_word_that_hides_does_so_in_any_company(
        before in proptest::collection::vec("[a-z]{2,8}", 0..3),
        word in proptest::sample::select(&["password", "secret", "authorization", "api_key", "private_key"][..]),
        after in proptest::collection::vec("[a-z]{2,8}", 0..3),
    ) {
        let words: Vec<String> = before.into_iter().chain(word.split('_').map(str::to_owned)).chain(after).collect();
        for key in spellings(&words).into_iter().chain([words.join(".")]) {
            prop_assert!(default().hides(&key), "{}", key);
        }
    }

    #[test]
    fn any_key_and_any_text_are_taken(key in any::<String>(), text in any::<String>(), own in any::<String>()) {
        let redactor = Redactor::new(true, &[own], &[], Vec::new());
        let _ = redactor.hides(&key);
        let _ = redactor.text(&key, &text);
        for wrapped in [format!("{{{text}"), format!("[{text}]"), format!("{{{key:?}:{text:?}}}"), format!("A {{ {key}: {text} }}")] {
            let _ = redactor.text(&key, &wrapped);
        }
    }

    #[test]
    fn json_stays_json_and_loses_only_what_is_hidden(
        secret in "[a-z0-9]{12}",
        plain in any::<String>(),
        nested in any::<bool>(),
    ) {
        let inner = serde_json::json!({ "password": secret, "plain": plain, "n": [1, { "api_key": [secret] }] });
        let value = if nested {
            serde_json::json!({ "arguments": inner.to_string(), "plain": plain })
        } else {
            inner
        };
        let left = default().text("x", &value.to_string()).unwrap();
        prop_assert!(!left.contains(&secret) || plain.contains(&secret));
        let parsed: Value = serde_json::from_str(&left).unwrap();
        prop_assert_eq!(&parsed["plain"], &Value::String(plain));
    }
}
