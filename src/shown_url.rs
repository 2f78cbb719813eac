//! Addresses as logs, errors and lists repeat them: without what may be a secret in them.

/// An address with no password and no query; one that is none, such as a file's name, stays as it is. It may have `${VARIABLE}` parts.
pub fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (hidden, host) = host.rsplit_once('@').map_or(("", host), |(_, host)| ("…@", host));
    format!("{scheme}://{hidden}{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (url, is_shown) in [
            ("https://user:pa@ss@host:1/v1?key=s#f", "https://…@host:1/v1"),
            ("http://host?key=s", "http://host"),
            ("${BASE:-http://u:p@host/v1}/x", "${BASE:-http://…@host/v1}/x"),
            ("${BASE}/v1", "${BASE}/v1"),
            ("keys?.json", "keys?.json"),
            ("https://host/a@b", "https://host/a@b"),
        ] {
            assert_eq!(shown(url), is_shown);
        }
    }
}
