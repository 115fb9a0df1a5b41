//! The hosts that a server without authentication answers for. A web site may point its name at this
//! machine (DNS rebinding): a browser on it then takes this server for the site's own, and lets the site's
//! pages read every answer. Such a page cannot change the name in `Host`.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::http::uri::Authority;

use crate::config::AdminConfig;

/// The names that only this machine has, and perhaps some more.
///
/// ```
/// use evanesce::http::AllowedHosts;
///
/// let hosts = AllowedHosts::loopback().or_of("https://fhir.example.org");
/// ```
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts {
    others: Vec<String>,
}

impl AllowedHosts {
    /// Returns `localhost` and the loopback addresses.
    pub fn loopback() -> Self {
        Self::default()
    }

    /// Returns these hosts and the host of a URL, or of `name` or `name:port`.
    pub fn or_of(mut self, url: &str) -> Self {
        let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
        self.others.extend(name(authority));
        self
    }

    /// Returns the hosts that operators may use in URLs.
    #[cfg(any(feature = "cli", feature = "console"))]
    pub(crate) fn of_operators(settings: &AdminConfig) -> Self {
        settings.hosts.iter().fold(Self::loopback(), |hosts, name| hosts.or_of(name))
    }

    /// Returns whether a request is for one of the hosts, on any port. A request without a host comes from
    /// no browser.
    pub(crate) fn are_meant_by(&self, request: &HttpRequest) -> bool {
        let mut fields = request.headers().get_all(header::HOST);
        let in_target = request.uri().authority().is_none_or(|authority| self.has(authority.as_str()));
        in_target && fields.all(|field| field.to_str().is_ok_and(|host| self.has(host)))
    }

    fn has(&self, host: &str) -> bool {
        let Some(name) = name(host) else { return false };
        let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&name);
        name == "localhost"
            || address.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
            || self.others.contains(&name)
    }
}

/// Returns the name in `name:port`, in lower case and without the dot of the root; `None` if there is
/// none.
fn name(host: &str) -> Option<String> {
    let authority: Authority = host.trim().parse().ok()?;
    let name = authority.host();
    let name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty() && !host.contains('@')).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn answers(hosts: &AllowedHosts, fields: &[&str]) -> bool {
        let mut request = TestRequest::default();
        for field in fields {
            request = request.append_header((header::HOST, *field));
        }
        hosts.are_meant_by(&request.to_http_request())
    }

    #[test]
    fn only_names_that_no_other_machine_has_are_answered_for() {
        let loopback = AllowedHosts::loopback();
        let public = AllowedHosts::loopback().or_of("https://Fhir.Example.org:8443");
        for host in [
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]:80",
        ] {
            assert!(answers(&loopback, &[host]) && answers(&public, &[host]), "{host}");
        }
        for host in ["fhir.example.org", "fhir.example.org:8443", "FHIR.example.org.:1"] {
            assert!(!answers(&loopback, &[host]) && answers(&public, &[host]), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.localhost.example",
            "x",
            "",
            ".",
            "128.0.0.1",
            "0.0.0.0",
            "[::2]",
            "localhost@evil.example",
            "evil.example@localhost",
            "localhost:80:80",
            "localhost/x",
            "evil.fhir.example.org",
            "127.0.0.1, evil.example",
        ] {
            assert!(!answers(&loopback, &[host]) && !answers(&public, &[host]), "{host}");
        }
        assert!(answers(&loopback, &[]), "HTTP/1.0");
        assert!(!answers(&loopback, &["localhost", "evil.example"]));
        let absolute = |uri: &str| {
            let request = TestRequest::with_uri(uri).insert_header((header::HOST, "localhost"));
            loopback.are_meant_by(&request.to_http_request())
        };
        assert!(absolute("http://127.0.0.1:8080/r4") && !absolute("http://evil.example/r4"));
    }
}
