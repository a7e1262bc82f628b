//! What stands in the certificates that an authority issues.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject};
use umbel_cluster::{CertsError, Credentials, IssueOptions};
use x509_parser::prelude::*;

use super::{authority, issue};

const DAY: u64 = 24 * 60 * 60;

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn lasts(credentials: &Credentials) -> u64 {
    let validity = credentials.validity();
    validity.not_after.as_secs() - validity.not_before.as_secs()
}

#[test]
fn an_authority_may_sign_certificates_of_nodes_and_lists_and_nothing_else() {
    let der = der(authority("shop").certificate_pem());
    let (_, certificate) = parse_x509_certificate(&der).unwrap();
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0), "nobody below it is an authority");
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    assert!(!usage.value.digital_signature(), "it takes no part in connections");
}

#[test]
fn a_node_may_serve_and_dial_and_nothing_else() {
    let der = der(issue(&authority("shop"), "a").certificate_pem());
    let (_, certificate) = parse_x509_certificate(&der).unwrap();
    assert!(!certificate.is_ca());
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign());
    let purposes = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.server_auth && purposes.client_auth && !purposes.any);
    let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(names[..], [GeneralName::URI("umbel://shop/a")]);
}

#[test]
fn no_two_certificates_have_one_serial_number_or_key() {
    let authority = authority("shop");
    let issued: Vec<_> = (0..8).map(|_| issue(&authority, "a")).collect();
    let mut serials: Vec<_> = issued
        .iter()
        .map(|credentials| {
            let der = der(credentials.certificate_pem());
            let (_, certificate) = parse_x509_certificate(&der).unwrap();
            let serial = certificate.raw_serial().to_vec();
            assert!(serial.len() == 16 && serial[0] < 0x80, "{serial:?} is not positive");
            (serial, credentials.key_pem().to_owned())
        })
        .collect();
    serials.sort();
    serials.dedup_by(|a, b| a.0 == b.0 || a.1 == b.1);
    assert_eq!(serials.len(), issued.len());
}

#[test]
fn a_certificate_is_dated_back_a_little_and_lasts_ninety_days() {
    let authority = authority("shop");
    let issued_at = at(authority.validity().not_before.as_secs() + 400 * DAY);
    let options = IssueOptions::new().issued_at(issued_at);
    let validity = authority.issue(&"a".parse().unwrap(), &options).unwrap().validity();
    assert_eq!(validity.not_before, at(issued_at.as_secs() - 300));
    assert_eq!(validity.not_after, at(issued_at.as_secs() + 90 * DAY));
}

#[test]
fn a_certificate_does_not_outlast_its_authority() {
    let authority = authority("shop");
    let options = IssueOptions::new().valid_for(Duration::from_secs(30 * 365 * DAY));
    let credentials = authority.issue(&"a".parse().unwrap(), &options).unwrap();
    assert_eq!(credentials.validity().not_after, authority.validity().not_after);
}

#[test]
fn an_expired_authority_issues_nothing() {
    let authority = authority("shop");
    let late = at(authority.validity().not_after.as_secs() + 1);
    let options = IssueOptions::new().issued_at(late);
    let error = authority.issue(&"a".parse().unwrap(), &options).unwrap_err();
    assert!(matches!(error, CertsError::AuthorityNotValid(_)), "{error}");
}

#[test]
fn dates_that_no_certificate_can_have_are_refused() {
    let authority = authority("shop");
    let node = "a".parse().unwrap();
    for options in [
        IssueOptions::new().valid_for(Duration::ZERO),
        IssueOptions::new().valid_for(Duration::from_millis(999)),
        IssueOptions::new().valid_for(Duration::MAX),
    ] {
        let error = authority.issue(&node, &options).unwrap_err();
        assert!(matches!(error, CertsError::Dates), "{options:?}: {error}");
    }
    let shortest = IssueOptions::new().valid_for(Duration::from_secs(1));
    assert_eq!(lasts(&authority.issue(&node, &shortest).unwrap()), 301);
}

#[test]
fn what_is_printed_for_debugging_holds_no_key() {
    let authority = authority("shop");
    let credentials = issue(&authority, "a");
    let printed = format!("{authority:?} {credentials:?}");
    let secret = credentials.key_pem().lines().nth(1).unwrap();
    assert!(!printed.contains(secret) && !printed.contains("PRIVATE"), "{printed}");
}
