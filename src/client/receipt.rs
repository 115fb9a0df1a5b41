//! The receipt of a DELETE: waits until the server has erased the export, checks the proof of it, and keeps it
//! beside the files. A server that links no receipt is not asked for one.

use std::time::Instant;

use serde::Deserialize;
use ureq::http::{HeaderMap, Method};
use url::Url;

use super::error::{AttemptError, ClientError, ClientErrorKind};
use super::http::{ClientRequest, LONGEST_OUTCOME};
use super::progress::ExportEvent;
use super::session::{Backoff, ExportSession, poll_delay};
use super::transport::{parse_url, retry_after};
use crate::receipts::{ErasureProof, ReceiptKey};

/// The name of the file in the folder.
pub const RECEIPT: &str = "receipt.json";

/// Links that are looked at in one answer.
const MOST_LINKS: usize = 16;

/// Returns the URL of the receipt that the answer to a DELETE links. It must be of the same origin, because it
/// gets the token.
pub fn link(headers: &HeaderMap, status_url: &Url) -> Option<Url> {
    let fields = headers.get_all("link").into_iter().filter_map(|field| field.to_str().ok());
    let links = fields.flat_map(|field| field.split(',')).take(MOST_LINKS);
    links.filter_map(|link| receipt_of(link.trim(), status_url)).next()
}

fn receipt_of(link: &str, status_url: &Url) -> Option<Url> {
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    let has = |name: &str, value: &str| {
        parameters.split(';').filter_map(|one| one.trim().split_once('=')).any(|(key, said)| {
            key.eq_ignore_ascii_case(name) && said.trim_matches('"').eq_ignore_ascii_case(value)
        })
    };
    let url = parse_url(target, Some(status_url)).ok()?;
    let is_receipt = has("rel", "describedby") && has("type", "application/json");
    (is_receipt && url.origin() == status_url.origin()).then_some(url)
}

/// Waits for the proof as long as there is patience.
///
/// # Errors
/// Fails if there is none by then, or the server refuses it.
pub fn fetch(session: &ExportSession, url: &Url) -> Result<Vec<u8>, ClientError> {
    let (began, mut backoff, mut polls) = (Instant::now(), Backoff::new(), 0);
    loop {
        session.check()?;
        let asked = ClientRequest::new(Method::GET, url, "application/json");
        let answer = match session.http.small(asked, LONGEST_OUTCOME) {
            Ok(answer) => answer,
            Err(error) => {
                session.wait_after(error, &mut backoff)?;
                continue;
            }
        };
        match answer.status {
            200 => return Ok(answer.body),
            202 => {
                let delay = poll_delay(retry_after(&answer.headers), polls);
                if began.elapsed() + delay > session.patience {
                    return Err(ClientError::server("the server has not erased all files yet"));
                }
                (polls, backoff) = (polls + 1, Backoff::new());
                session.tell(ExportEvent::Waiting { progress: "the server erases the files", delay });
                session.sleep(delay)?;
            }
            _ => {
                let error = session.http.refusal(url, &answer, "the server gives no receipt");
                session.wait_after(error, &mut backoff)?;
            }
        }
    }
}

/// Checks a proof of the erasure of the export at `status_url`. Returns what was checked, as a sentence. Without
/// a key of the caller's own, the one that the server serves shows only that key and proof are of one hand.
///
/// # Errors
/// Fails with [`ClientErrorKind::Differs`] if it is not a proof, or does not hold.
pub fn check(
    session: &ExportSession,
    base: &Url,
    status_url: &Url,
    text: &[u8],
    own: Option<ReceiptKey>,
) -> Result<String, ClientError> {
    let differs = |what: String| ClientError::new(ClientErrorKind::Differs, what);
    let proof: ErasureProof = serde_json::from_slice(text)
        .map_err(|error| differs(format!("what the server gives as its receipt is none: {error}")))?;
    let key = match own {
        Some(key) => key,
        None => match served_key(session, base)? {
            Some(key) => key,
            None => return Ok("not checked, because the server serves no key".into()),
        },
    };
    let receipt =
        proof.check(&key).map_err(|error| differs(format!("the receipt does not hold: {error}")))?;
    let is_of_export = status_url.path_segments().and_then(|mut parts| parts.next_back().map(str::to_owned));
    if is_of_export != Some(receipt.job.to_string()) {
        return Err(differs(format!("the receipt is of another export: {}", receipt.job)));
    }
    Ok(match own {
        Some(_) => "checked with the key that was given".into(),
        None => format!("checked with the key that the server serves now, {key}"),
    })
}

#[derive(Deserialize)]
struct ServedKey {
    public_key: ReceiptKey,
}

/// Returns the key that a server serves, if it does.
fn served_key(session: &ExportSession, base: &Url) -> Result<Option<ReceiptKey>, ClientError> {
    let url = parse_url(&format!("{}/receipts/key", base.as_str().trim_end_matches('/')), None);
    let url = url.map_err(|wrong| ClientError::unusable(format!("the URL of the key {wrong}")))?;
    let asked = ClientRequest::new(Method::GET, &url, "application/json");
    let answer = session.http.small(asked, LONGEST_OUTCOME).map_err(AttemptError::into_error)?;
    let key = serde_json::from_slice::<ServedKey>(&answer.body).ok().filter(|_| answer.status == 200);
    Ok(key.map(|served| served.public_key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_link_that_describes_the_export_at_the_same_origin_is_followed() {
        let status = Url::parse("https://h/r4/t/request/1").unwrap();
        let linked = |fields: &[&str]| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append("link", field.parse().unwrap());
            }
            link(&headers, &status).map(|url| url.to_string())
        };
        let expected = Some("https://h/r4/t/request/1/receipt".to_string());
        let good = r#"<https://h/r4/t/request/1/receipt>; rel="describedby"; type="application/json""#;
        assert_eq!(linked(&[good]), expected);
        assert_eq!(linked(&["<1/receipt>; type=application/json; rel=describedby"]), expected);
        assert_eq!(
            linked(&[
                "<x>; rel=\"next\"",
                "<y>; rel=\"help\", <1/receipt>; rel=describedby; type=\"application/json\""
            ]),
            expected
        );
        for other in [
            "",
            "<>",
            "1/receipt; rel=describedby; type=application/json",
            "<https://other/receipt>; rel=\"describedby\"; type=\"application/json\"",
            "<http://h/r4/t/request/1/receipt>; rel=\"describedby\"; type=\"application/json\"",
            "<1/receipt>; rel=\"describedby\"; type=\"text/html\"",
            "<1/receipt>; rel=\"related\"; type=\"application/json\"",
        ] {
            assert_eq!(linked(&[other]), None, "{other}");
        }
        let many = ["<x>; rel=\"next\""; MOST_LINKS];
        assert_eq!(linked(&[&many[..], &[good]].concat()), None, "P13");
    }
}
