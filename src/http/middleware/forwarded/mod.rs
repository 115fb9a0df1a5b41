//! The client's end of a request: what trusted proxies report (RFC 7239, or the `X-Forwarded-` fields),
//! and otherwise what the connection shows.
//!
//! Each proxy appends the address that it sees to the list that it received. So the list is read from its
//! end, up to the first address that is not a trusted proxy's. That is the client's; anything before it
//! may be the client's own invention. Scheme and host are those that the same proxy reports (`Forwarded`),
//! or that the last one does (`X-Forwarded-`), which therefore has to set them itself. A malformed part of
//! a report counts as absent.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use actix_web::http::uri::Authority;

use crate::config::{NetworkSet, ProxyFields};
use crate::http::middleware::connection::RequestConnection;

/// The most proxies that are followed.
const LONGEST: usize = 64;

/// The address of a request's client, behind however many proxies. Every request over a network has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// The client's end of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardedClient {
    /// Its address, or that of the last known proxy if that one does not report whom it serves.
    pub address: ClientAddress,
    /// Whether that address is its own. Behind a proxy, that of a proxy is not, nor is loopback, which is
    /// the proxy's own machine. Only a client's own address exempts it from anything.
    pub has_own_address: bool,
    /// Whether it uses TLS, if that is known.
    pub is_https: Option<bool>,
    /// Scheme, host and port as it sees them, if a trusted proxy reported them.
    pub origin: Option<String>,
}

impl ForwardedClient {
    /// Returns the client of a request; `None` if the request came over no network.
    pub fn of(request: &HttpRequest, proxies: &NetworkSet, fields: ProxyFields) -> Option<Self> {
        let wire = request.conn_data::<RequestConnection>();
        let peer = wire.map(|wire| wire.peer).or_else(|| Some(request.peer_addr()?.ip()))?;
        let is_https = wire.map(|wire| wire.is_tls);
        Some(Self::behind(peer, is_https, request.headers(), proxies, fields))
    }

    fn behind(
        peer: IpAddr,
        is_https: Option<bool>,
        headers: &HeaderMap,
        proxies: &NetworkSet,
        fields: ProxyFields,
    ) -> Self {
        let peer = peer.to_canonical();
        if !proxies.contains(peer) {
            return Self { address: ClientAddress(peer), has_own_address: true, is_https, origin: None };
        }
        let ProxyReport { address, scheme, host } = match fields {
            ProxyFields::Forwarded => report_of_forwarded(headers, peer, proxies),
            ProxyFields::XForwarded => report_of_x_forwarded(headers, peer, proxies),
        };
        let origin = host.map(|host| format!("{}://{host}", scheme.unwrap_or(UrlScheme::Http).as_str()));
        Self {
            address: ClientAddress(address),
            has_own_address: !proxies.contains(address) && !address.is_loopback(),
            // TLS may end at the proxy, or before it.
            is_https: scheme.map(|scheme| scheme == UrlScheme::Https),
            origin,
        }
    }

    /// Returns whether its own address is in one of these networks.
    pub fn is_in(&self, networks: &NetworkSet) -> bool {
        self.has_own_address && networks.contains(self.address.0)
    }
}

/// What proxies reported.
struct ProxyReport {
    address: IpAddr,
    scheme: Option<UrlScheme>,
    host: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UrlScheme {
    Http,
    Https,
}

impl UrlScheme {
    fn parse(text: &str) -> Option<Self> {
        let is = |scheme: &str| text.eq_ignore_ascii_case(scheme);
        if is("https") { Some(Self::Https) } else { is("http").then_some(Self::Http) }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// An element of `Forwarded`. Its malformed parts count as absent.
#[derive(Default)]
struct ForwardedHop {
    address: Option<IpAddr>,
    scheme: Option<UrlScheme>,
    host: Option<String>,
}

/// Returns what `Forwarded` reports of the client. A proxy that does not report whom it serves counts as
/// the client.
fn report_of_forwarded(headers: &HeaderMap, peer: IpAddr, proxies: &NetworkSet) -> ProxyReport {
    let mut report = ProxyReport { address: peer, scheme: None, host: None };
    for hop in from_end(headers, "forwarded").map(hop).take(LONGEST) {
        (report.scheme, report.host) = (hop.scheme, hop.host);
        let Some(address) = hop.address else { break };
        report.address = address;
        if !proxies.contains(address) {
            break;
        }
    }
    report
}

fn hop(element: &[u8]) -> ForwardedHop {
    let mut pairs = Vec::new();
    for pair in parts_from_end(element, b';').filter_map(|pair| std::str::from_utf8(pair).ok()) {
        let Some((name, value)) = pair.split_once('=') else { continue };
        // The value is a token or a quoted string. Neither addresses nor hosts need escapes.
        let value = value.trim();
        let value = value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"'));
        let value = value.filter(|value| !value.contains(['"', '\\']));
        pairs.push((name.trim().to_ascii_lowercase(), value));
    }
    // A parameter that is there twice says nothing (RFC 7239, 4).
    let of = |wanted: &str| {
        let mut values = pairs.iter().filter(|(name, _)| name == wanted).map(|(_, value)| *value);
        values.next().flatten().filter(|_| values.next().is_none())
    };
    ForwardedHop {
        address: of("for").and_then(address),
        scheme: of("proto").and_then(UrlScheme::parse),
        host: of("host").and_then(host),
    }
}

/// Returns the elements of a list, in all lines of a field, the last one first. An empty element counts:
/// its proxy had nothing to report.
fn from_end<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let lines: Vec<_> = headers.get_all(name).collect();
    lines.into_iter().rev().flat_map(|line| parts_from_end(line.as_bytes(), b','))
}

/// Returns the parts between separators outside of quotes, the last one first. No part depends on those
/// before it: a quote that a client opens and does not close hides nothing that a proxy appends.
fn parts_from_end(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut is_quoted = false;
        let border = (0..text.len()).rev().find(|&at| {
            let backslashes = || text[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
            is_quoted ^= text[at] == b'"' && backslashes() % 2 == 0;
            text[at] == separator && !is_quoted
        });
        rest = border.map(|at| &text[..at]);
        Some(text[border.map_or(0, |at| at + 1)..].trim_ascii())
    })
}

/// Returns an address (RFC 7239, 6), with or without a port or a zone: `192.0.2.7`, `192.0.2.7:80`,
/// `2001:db8::1`, `[2001:db8::1]:80`, `fe80::1%eth0`. Names (`unknown`, `_hidden`) are not addresses.
fn address(text: &str) -> Option<IpAddr> {
    let in_brackets = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (text, port) = match in_brackets {
        Some(split) => split,
        // With more colons it is IPv6, and has no port.
        None if text.matches(':').count() == 1 => text.split_at(text.find(':')?),
        None => (text, ""),
    };
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    let address: IpAddr = address.parse().ok()?;
    let is_port = || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let is_well_formed =
        (port.is_empty() || is_port()) && (address.is_ipv6() || (zone.is_none() && in_brackets.is_none()));
    is_well_formed.then(|| address.to_canonical())
}

/// Returns what `X-Forwarded-For`, `-Proto`, `-Host` and `-Port` report.
fn report_of_x_forwarded(headers: &HeaderMap, peer: IpAddr, proxies: &NetworkSet) -> ProxyReport {
    let mut client = peer;
    for element in from_end(headers, "x-forwarded-for").take(LONGEST) {
        let Some(address) = std::str::from_utf8(element).ok().and_then(address) else { break };
        client = address;
        if !proxies.contains(client) {
            break;
        }
    }
    let last = |name| std::str::from_utf8(from_end(headers, name).next()?).ok();
    let scheme = last("x-forwarded-proto").and_then(UrlScheme::parse);
    let name = last("x-forwarded-host").and_then(host);
    let port = last("x-forwarded-port").and_then(|port| port.parse::<u16>().ok());
    let usual = if scheme == Some(UrlScheme::Https) { 443 } else { 80 };
    let port = port.filter(|port| *port != usual && *port > 0);
    let with_port = |name: String| match port {
        Some(port) if !has_port(&name) => format!("{name}:{port}"),
        _ => name,
    };
    ProxyReport { address: client, scheme, host: name.map(with_port) }
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'))
}

/// Returns a host, with or without a port, that a URL can be made of: no user, no path, no blank.
fn host(text: &str) -> Option<String> {
    let authority: Authority = text.parse().ok()?;
    let name = authority.host();
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_v6 = inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    let port_is_good = match text.strip_prefix(name)?.strip_prefix(':') {
        Some(_) => authority.port_u16().is_some(),
        None => text.len() == name.len(),
    };
    (text.len() <= 255 && (is_name || is_v6) && port_is_good).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
