//! Which names of variables are known, and what somebody who wrote another one meant. Knows the table, not its use.

use super::env::TABLE;
use super::spelling::nearest;

/// Variables that set no field but decide where settings and defaults come from: name, what is accepted, meaning.
pub(crate) const SWITCHES: &[(&str, &str, &str)] = &[(
    CONFIG_FILE,
    "a path",
    "The file to read instead of the nearest `honeyhive.toml`. One that does not exist is an error.",
)];

pub(crate) const CONFIG_FILE: &str = "HH_CONFIG_FILE";

/// Variables of the other HoneyHive tools: not ours, not unknown.
const FOREIGN: &[&str] = &[
    "HH_DISABLE_HTTP_TRACING",
    "HH_EXPERIMENT_GROUP",
    "HH_EXPERIMENT_ID",
    "HH_EXPERIMENT_METADATA",
    "HH_EXPERIMENT_NAME",
    "HH_EXPERIMENT_VARIANT",
    "HH_FOLLOW_REDIRECTS",
    "HH_DEV_ALLOW_HOST",
    "HH_DEV_DB",
    "HH_DEV_HOST",
    "HH_DEV_PORT",
    "HH_HTTPS_PROXY",
    "HH_HTTP_PROXY",
    "HH_KEEPALIVE_EXPIRY",
    "HH_MAX_CONNECTIONS",
    "HH_MAX_KEEPALIVE_CONNECTIONS",
    "HH_NO_PROXY",
    "HH_POOL_TIMEOUT",
    "HH_PRESERVE_CORE_ATTRIBUTES",
    "HH_RATE_LIMIT_CALLS",
    "HH_RATE_LIMIT_WINDOW",
    "HH_TELEMETRY",
    "HH_TEST_API_KEY",
    "HH_TEST_API_URL",
    "HH_TIMEOUT",
    "HH_VERIFY_SSL",
    "HONEYHIVE_DISABLE_HTTP_TRACING",
    "HONEYHIVE_LONG_TESTS",
    "HONEYHIVE_PEERS",
    "HONEYHIVE_TELEMETRY",
];

/// Every name that sets or decides something.
fn names() -> impl Iterator<Item = &'static str> {
    TABLE
        .iter()
        .flat_map(|row| {
            std::iter::once(row.variable).chain(row.aliases.iter().map(|alias| alias.name()))
        })
        .chain(SWITCHES.iter().map(|&(name, ..)| name))
}

pub(crate) fn is_known(name: &str) -> bool {
    names().any(|known| known == name)
}

/// The start of a warning when `name` looks like one of ours and is none.
pub(crate) fn unknown(name: &str) -> Option<String> {
    let ours = name.starts_with("HH_") || name.starts_with("HONEYHIVE_");
    if !ours || is_known(name) || FOREIGN.contains(&name) {
        return None;
    }
    // Of two spellings the one with the prefix in force is meant.
    let preferred = name.replacen("HONEYHIVE_", "HH_", 1);
    let preferred = names().find(|known| *known == preferred);
    let variables = || {
        TABLE
            .iter()
            .map(|row| row.variable)
            .chain(SWITCHES.iter().map(|&(name, ..)| name))
    };
    let short = |name: &str| variables().find(|known| name.len() >= 6 && known.starts_with(name));
    let found = preferred
        .or_else(|| nearest(name, variables()))
        .or_else(|| short(name));
    let advice = match found.or_else(|| nearest(name, names())) {
        Some(known) => format!("; did you mean {known}?"),
        None => String::new(),
    };
    let name: String = name.chars().take(64).collect();
    Some(format!("unknown variable {name}{advice}"))
}

#[cfg(test)]
mod tests {
    use super::super::Field;
    use super::*;

    #[test]
    fn every_field_has_one_row_and_every_name_one_meaning() {
        let fields: Vec<_> = TABLE.iter().map(|row| row.field).collect();
        assert_eq!(fields, Field::ALL);
        let mut names: Vec<_> = names().collect();
        names.extend(FOREIGN);
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for &field in Field::ALL {
            assert_eq!(Field::named(field.name()), Some(field));
            assert!(!field.variable().is_empty());
        }
    }

    #[test]
    fn unknown_names_get_the_nearest_known_one() {
        let warning = |name| unknown(name).unwrap();
        assert!(warning("HH_BATCHSIZE").ends_with("did you mean HH_BATCH_SIZE?"));
        assert!(warning("HH_APIKEY").ends_with("did you mean HH_API_KEY?"));
        assert!(warning("HONEYHIVE_APIKEY").ends_with("did you mean HONEYHIVE_API_KEY?"));
        assert!(!warning("HH_XYZZY_PLUGH_AND_MORE").contains("did you mean"));
        for fine in [
            "HH_API_KEY",
            "HH_MAX_LINKS",
            "HHX",
            "PATH",
            "hh_api_key",
            CONFIG_FILE,
        ] {
            assert_eq!(unknown(fine), None, "{fine}");
        }
    }
}
