//! Who the client is, and where it believes to be: what trusted proxies say of it (RFC 7239, or the
//! `X-Forwarded-` fields), and of everybody else the connection alone. What is malformed is not
//! believed at all.
//!
//! Each proxy appends the address that it sees to the list that it got, so the list is read from
//! its end: the first address that is no trusted proxy's is the client's, and what stands before it
//! is the client's own invention. Scheme and host are those that the same proxy tells (`Forwarded`),
//! or that the last one does (`X-Forwarded-`), which has to set them itself for that reason.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use actix_web::http::uri::Authority;

use super::wire::Wire;
use crate::config::{Networks, ProxyFields};

/// The longest list of addresses that is read.
const LONGEST: usize = 64;

/// Where a request comes from: the address of the client, however many proxies stand between. Of
/// every request that came over a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// What is known of the client's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: ClientAddress,
    /// Whether it uses TLS, as far as that is known.
    pub is_https: Option<bool>,
    /// Scheme, host and port as it sees them, if a trusted proxy told them.
    pub origin: Option<String>,
}

impl Client {
    /// The client of a request; `None` if the request came over no network.
    pub fn of(request: &HttpRequest, proxies: &Networks, fields: ProxyFields) -> Option<Self> {
        let wire = request.conn_data::<Wire>();
        let peer = wire.map(|wire| wire.peer).or_else(|| Some(request.peer_addr()?.ip()))?;
        let is_https = wire.map(|wire| wire.is_tls);
        Some(Self::behind(peer, is_https, request.headers(), proxies, fields))
    }

    fn behind(
        peer: IpAddr,
        is_https: Option<bool>,
        headers: &HeaderMap,
        proxies: &Networks,
        fields: ProxyFields,
    ) -> Self {
        let peer = peer.to_canonical();
        let itself = Self { address: ClientAddress(peer), is_https, origin: None };
        if !proxies.contains(peer) {
            return itself;
        }
        let told = match fields {
            ProxyFields::Forwarded => hops(headers).and_then(|hops| told_by_hops(&hops, peer, proxies)),
            ProxyFields::XForwarded => told_by_lists(headers, peer, proxies),
        };
        let Some(Told { address, scheme, host }) = told else { return itself };
        let origin = host.map(|host| format!("{}://{host}", scheme.unwrap_or(Scheme::Http).as_str()));
        // TLS may end at the proxy, or before it.
        let is_https = scheme.map(|scheme| scheme == Scheme::Https);
        Self { address: ClientAddress(address), is_https, origin }
    }
}

/// What proxies said.
struct Told {
    address: IpAddr,
    scheme: Option<Scheme>,
    host: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
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

/// An element of `Forwarded`.
#[derive(Default)]
struct Hop {
    address: Option<IpAddr>,
    scheme: Option<Scheme>,
    host: Option<String>,
}

/// The element that tells of the client; a proxy that does not say whom it serves is taken for the
/// client.
fn told_by_hops(hops: &[Hop], peer: IpAddr, proxies: &Networks) -> Option<Told> {
    let mut told = Told { address: peer, scheme: None, host: None };
    for hop in hops.iter().rev() {
        (told.scheme, told.host) = (hop.scheme, hop.host.clone());
        match hop.address {
            Some(address) => told.address = address,
            None => break,
        }
        if !proxies.contains(told.address) {
            break;
        }
    }
    Some(told)
}

/// The elements of all `Forwarded` fields; `None` if one of them is malformed.
fn hops(headers: &HeaderMap) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    for field in headers.get_all("forwarded") {
        for element in split(field.to_str().ok()?, ',')? {
            hops.push(hop(element)?);
        }
    }
    (hops.len() <= LONGEST).then_some(hops)
}

fn hop(element: &str) -> Option<Hop> {
    let mut hop = Hop::default();
    let mut known = Vec::new();
    for pair in split(element, ';')? {
        let (name, value) = pair.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        // A token, or a quoted string, without what neither addresses nor hosts have in them.
        let value = value.trim();
        let value = value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"'))?;
        if value.contains(['"', '\\']) || known.contains(&name) {
            return None;
        }
        match name.as_str() {
            "for" => hop.address = node(value)?,
            "proto" => hop.scheme = Some(Scheme::parse(value)?),
            "host" => hop.host = Some(host(value)?),
            "by" => {}
            // Extensions (RFC 7239, 5.5).
            _ => {}
        }
        known.push(name);
    }
    Some(hop)
}

/// Splits at a separator outside of quotes; empty parts are none. `None` if a quote stays open.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let mut is_quoted = false;
    let parts = text.split(|c| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    });
    let parts = parts.map(str::trim).filter(|part| !part.is_empty()).collect();
    (!is_quoted).then_some(parts)
}

/// A node of RFC 7239, 6: an address, or what is none on purpose (`Some(None)`); else malformed.
fn node(text: &str) -> Option<Option<IpAddr>> {
    let name = text.split(':').next().unwrap_or_default();
    if name.eq_ignore_ascii_case("unknown") || (name.starts_with('_') && name.len() > 1) {
        return Some(None);
    }
    address(text).map(Some)
}

/// An address, with a port or without: `192.0.2.7`, `192.0.2.7:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bare {
        Some(bare) => bare.parse().ok().filter(IpAddr::is_ipv6),
        None => text.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip())),
    };
    address.map(|address| address.to_canonical())
}

/// What `X-Forwarded-For`, `-Proto`, `-Host` and `-Port` tell; `None` if one of them is malformed.
fn told_by_lists(headers: &HeaderMap, peer: IpAddr, proxies: &Networks) -> Option<Told> {
    let addresses = list(headers, "x-forwarded-for")?;
    let addresses: Vec<_> = addresses.into_iter().map(address).collect::<Option<_>>()?;
    let mut client = peer;
    for address in addresses.into_iter().rev() {
        client = address;
        if !proxies.contains(client) {
            break;
        }
    }
    let last = |name| list(headers, name).map(|values| values.last().copied());
    let scheme = last("x-forwarded-proto")?.map(|text| Scheme::parse(text).ok_or(())).transpose().ok()?;
    let name = last("x-forwarded-host")?.map(|text| host(text).ok_or(())).transpose().ok()?;
    let port = last("x-forwarded-port")?.map(str::parse::<u16>).transpose().ok()?;
    let usual = if scheme == Some(Scheme::Https) { 443 } else { 80 };
    let port = port.filter(|port| *port != usual);
    let with_port = |name: String| match port {
        Some(port) if !has_port(&name) => format!("{name}:{port}"),
        _ => name,
    };
    Some(Told { address: client, scheme, host: name.map(with_port) })
}

/// The values of a field that is a list, in all its lines.
fn list<'a>(headers: &'a HeaderMap, name: &str) -> Option<Vec<&'a str>> {
    let mut values = Vec::new();
    for field in headers.get_all(name) {
        let parts = field.to_str().ok()?.split(',').map(str::trim);
        values.extend(parts.filter(|part| !part.is_empty()));
    }
    (values.len() <= LONGEST).then_some(values)
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'))
}

/// A host with a port or without, of which a URL can be made: no user, no path, no blank.
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
