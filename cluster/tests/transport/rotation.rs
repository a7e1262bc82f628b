//! Credentials can be replaced while the node runs.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use umbel_cluster::{
    Authority, CertificateFault, CertsError, IssueOptions, TcpTransport, Transport,
};

use super::company::Company;
use super::refusals::{SetClock, listen, meet};

const HOUR: Duration = Duration::from_secs(60 * 60);

#[tokio::test]
async fn rotation_reaches_open_listeners_and_spares_open_connections() {
    let clock = SetClock::new();
    let authority = Authority::create("shop".parse().unwrap()).unwrap();
    let issue = |node: &str| {
        let options = IssueOptions::new().valid_for(HOUR).issued_at(clock.now());
        authority.issue(&node.parse().unwrap(), &options).unwrap()
    };
    let (a, b) = (clock.transport(&issue("a")), clock.transport(&issue("b")));
    let mut listener = listen(&b).await;
    let (dialled, accepted) = meet(&a, &mut *listener).await;
    let (mut dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap());

    clock.advance(2 * HOUR);
    assert!(meet(&a, &mut *listener).await.0.is_err(), "both certificates have expired");
    // A clone is the same node, and is rotated with it.
    a.clone().rotate(&issue("a")).unwrap();
    assert!(meet(&a, &mut *listener).await.0.is_err(), "b's certificate has expired");
    b.rotate(&issue("b")).unwrap();
    let (again, answered) = meet(&a, &mut *listener).await;
    assert!(again.is_ok() && answered.is_ok());

    dialled.stream.write_all(b"still here").await.unwrap();
    dialled.stream.flush().await.unwrap();
    let mut received = [0; 10];
    accepted.stream.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"still here");
}

#[tokio::test]
async fn a_cluster_moves_to_another_authority_without_stopping() {
    let (old, new) = (Company::new("old"), Company::new("new"));
    let [uri_a, uri_b] = ["umbel://shop/a", "umbel://shop/b"];
    let (a, b) = (TcpTransport::new(&old.node(uri_a)), TcpTransport::new(&old.node(uri_b)));
    let mut listener = listen(&b).await;
    // First everybody trusts both, then everybody shows the new one, then nobody trusts the old one.
    let both = |company: &Company, uri| {
        company.credentials(&company.issue(&[uri], |_| {}), &[&old, &new]).unwrap()
    };
    for (node, credentials) in [
        (&a, both(&old, uri_a)),
        (&b, both(&old, uri_b)),
        (&a, both(&new, uri_a)),
        (&b, both(&new, uri_b)),
        (&a, new.node(uri_a)),
        (&b, new.node(uri_b)),
    ] {
        node.rotate(&credentials).unwrap();
        let (dialled, accepted) = meet(&a, &mut *listener).await;
        assert!(dialled.is_ok() && accepted.is_ok(), "{dialled:?} {accepted:?}");
    }
}

#[tokio::test]
async fn a_connection_is_judged_by_what_is_trusted_now() {
    let (clock, company, stranger) = (SetClock::new(), Company::new("acme"), Company::new("other"));
    let authority = Authority::create("shop".parse().unwrap()).unwrap();
    let issue = |node: &str, lasts: Duration| {
        let options = IssueOptions::new().valid_for(lasts).issued_at(clock.now());
        authority.issue(&node.parse().unwrap(), &options).unwrap()
    };
    let (a, b) = (clock.transport(&issue("a", 3 * HOUR)), clock.transport(&issue("b", HOUR)));
    let (dialled, accepted) = meet(&a, &mut *listen(&b).await).await;
    let (of_b, of_a) = (dialled.unwrap().proof.unwrap(), accepted.unwrap().proof.unwrap());
    // Both ends look at the certificate that expires first.
    assert_eq!((a.judge(&of_b), b.judge(&of_a)), (Ok(HOUR), Ok(HOUR)));
    clock.advance(2 * HOUR);
    assert_eq!(a.judge(&of_b), Err(CertificateFault::Expired));
    assert_eq!(b.judge(&of_a), Ok(Duration::ZERO), "a's is good, but the connection is over");

    let uri = "umbel://shop/a";
    let a = TcpTransport::new(&company.node(uri));
    let b = TcpTransport::new(&company.node("umbel://shop/b"));
    let (_, accepted) = meet(&a, &mut *listen(&b).await).await;
    let of_a = accepted.unwrap().proof.unwrap();
    assert!(b.judge(&of_a).is_ok());
    b.rotate(&stranger.node("umbel://shop/b")).unwrap();
    assert_eq!(b.judge(&of_a), Err(CertificateFault::ForeignAuthority));
}

#[tokio::test]
async fn a_node_cannot_be_rotated_into_another() {
    let company = Company::new("acme");
    let a = TcpTransport::new(&company.node("umbel://shop/a"));
    let error = a.rotate(&company.node("umbel://shop/b")).unwrap_err();
    assert!(matches!(error, CertsError::OtherIdentity { .. }), "{error}");
    let b = TcpTransport::new(&company.node("umbel://shop/b"));
    let (_, accepted) = meet(&a, &mut *listen(&b).await).await;
    assert_eq!(accepted.unwrap().peer, *a.identity(), "nothing has changed");
}
