//! When a certificate expires (RFC 5280, 4.1.2.5), which the TLS library does not tell. It is only
//! used for a warning: a certificate that cannot be read gives none.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `version`, which is optional.
const VERSION: u8 = 0xa0;

/// Returns the end of the validity of a certificate in DER.
pub fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        (_, rest) = any(rest)?;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        (_, rest) = any(rest)?;
    }
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, not_after) = any(validity)?;
    time(not_after)
}

/// `YYMMDDhhmmssZ`, or `YYYYMMDDhhmmssZ`.
fn time(der: &[u8]) -> Option<Timestamp> {
    let tag = *der.first()?;
    let (text, _) = element(der, tag)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let century = match tag {
        UTC_TIME if text.len() == 12 && text >= "50" => "19",
        UTC_TIME if text.len() == 12 => "20",
        GENERALIZED_TIME if text.len() == 14 => "",
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%S", format!("{century}{text}")).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

/// Returns the content of the first element, which must have this tag, and the rest.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    if *der.first()? == tag { any(der) } else { None }
}

/// Returns the content of the first element, and the rest.
fn any(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.get(1..)?.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::not_after;

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(["localhost".into()]).unwrap();
        params.not_after = date_time_ymd(year, 2, 28);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_of_a_certificate_is_read() {
        for year in [1999, 2026, 2049, 2050, 4096] {
            let expected = format!("{year}-02-28T00:00:00Z");
            assert_eq!(not_after(&certificate(year)).unwrap().to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(der in prop::collection::vec(any::<u8>(), 0..100), at in 0..400_usize, byte: u8) {
            let _ = not_after(&der);
            let mut damaged = certificate(2030);
            if let Some(old) = damaged.get_mut(at) {
                *old = byte;
            }
            let _ = not_after(&damaged);
            let _ = not_after(&damaged[..at.min(damaged.len())]);
        }
    }
}
