//! Revocation lists: who is let in no more although the certificate is in force.

use std::time::Duration;

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use rustls::pki_types::{CertificateRevocationListDer, UnixTime};

use super::authority::{date, making};
use super::{Authority, CertsError, IssueOptions};

/// What it means that a revocation list is past the date by which its authority meant to publish the
/// next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListDates {
    /// Nothing: the list still says who is revoked, and who was revoked since is let in. A cluster
    /// stands although its authority is silent.
    #[default]
    Ignored,
    /// The authority's certificates are refused, and the links with their nodes closed, until there is
    /// a newer list. Whoever keeps new lists from a node can so keep it from all others.
    Enforced,
}

impl Authority {
    /// Makes a revocation list, as PEM. It is complete: whom it does not name is not revoked.
    ///
    /// `serials` are the numbers of the certificates, in hexadecimal, as
    /// [`CertificateView::serial`](super::CertificateView::serial) tells them. The next list is promised
    /// for the end of `options.valid_for`: see [`ListDates`].
    ///
    /// # Errors
    /// [`CertsError::Serial`] where a number is none, [`CertsError::Dates`] where the options make no
    /// sense.
    pub fn revocation_list(
        &self,
        serials: impl IntoIterator<Item = impl AsRef<str>>,
        options: &IssueOptions,
    ) -> Result<String, CertsError> {
        let issued_at = options.issued_at.map_or_else(super::authority::now, Ok)?;
        let ends = issued_at.as_secs().checked_add(options.valid_for.as_secs());
        let ends = UnixTime::since_unix_epoch(Duration::from_secs(ends.ok_or(CertsError::Dates)?));
        let revoked = |text: &str| {
            let serial = serial(text).ok_or_else(|| CertsError::Serial(text.to_owned()))?;
            Ok(RevokedCertParams {
                serial_number: serial,
                revocation_time: date(issued_at)?,
                reason_code: None,
                invalidity_date: None,
            })
        };
        let revoked_certs = serials.into_iter().map(|text| revoked(text.as_ref()));
        let params = CertificateRevocationListParams {
            this_update: date(issued_at)?,
            next_update: date(ends)?,
            crl_number: SerialNumber::from(issued_at.as_secs()),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect::<Result<_, CertsError>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(self.issuer()).and_then(|list| list.pem()).map_err(making)
    }
}

/// A number in hexadecimal, with or without colons; at most 20 bytes (RFC 5280, 4.1.2.2).
fn serial(text: &str) -> Option<SerialNumber> {
    let digits: String = text.trim().chars().filter(|digit| *digit != ':').collect();
    if digits.is_empty() || digits.len() > 40 || digits.len() % 2 == 1 {
        return None;
    }
    let pairs = (0..digits.len()).step_by(2).map(|at| digits.get(at..at + 2));
    let bytes = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok());
    Some(SerialNumber::from_slice(&bytes.collect::<Option<Vec<u8>>>()?))
}

/// The last second at which all of these lists are current; `None` where they promise no end.
pub(super) fn current_until(lists: &[CertificateRevocationListDer<'_>]) -> Option<UnixTime> {
    let end = |list: &CertificateRevocationListDer<'_>| {
        let (_, list) = x509_parser::parse_x509_crl(list.as_ref()).ok()?;
        let end = u64::try_from(list.next_update()?.timestamp()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(end)))
    };
    lists.iter().filter_map(end).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_hexadecimal_with_or_without_colons() {
        let bytes = |text: &str| serial(text).map(|serial| serial.to_bytes());
        assert_eq!(bytes("4a:0B"), Some(vec![0x4a, 0x0b]));
        assert_eq!(bytes("4a0b"), Some(vec![0x4a, 0x0b]));
        for none in ["", "4", "4x", "é1", "-1", &"00".repeat(21)] {
            assert_eq!(bytes(none), None, "{none}");
        }
    }
}
