//! Who is kept out, and that both ends are told why.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rcgen::{ExtendedKeyUsagePurpose, SerialNumber};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use umbel_cluster::CertificateFault as Fault;
use umbel_cluster::{
    Authority, Connection, Credentials, IssueOptions, Listener, TcpTransport, Transport,
    TransportError,
};

use super::company::{Company, dial_showing, serve_showing};
use super::soon;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A clock that stands where a test puts it.
#[derive(Debug)]
pub(super) struct SetClock(AtomicU64);

impl SetClock {
    /// Some day in 2033.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(2_000_000_000)))
    }

    pub(super) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed)))
    }

    pub(super) fn transport(self: &Arc<Self>, credentials: &Credentials) -> TcpTransport {
        TcpTransport::with_clock(credentials, Arc::clone(self) as _)
    }
}

impl TimeProvider for SetClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.now())
    }
}

pub(super) async fn listen(transport: &dyn Transport) -> Box<dyn Listener> {
    transport.listen("127.0.0.1:0").await.unwrap()
}

/// What became of a dial for both ends; the dialler reads once, for TLS may tell it only then.
pub(super) async fn meet(
    dialler: &dyn Transport,
    listener: &mut dyn Listener,
) -> (Result<Connection, TransportError>, Result<Connection, TransportError>) {
    let address = listener.address();
    let dial = async {
        let mut connection = dialler.dial(&address).await?;
        match connection.stream.read_exact(&mut [0]).await {
            Ok(_) => Ok(connection),
            Err(error) => Err(TransportError::from_io(&address, error)),
        }
    };
    let accept = async {
        let mut connection = listener.accept().await.unwrap().handshake().await?;
        connection.stream.write_all(b"!").await.unwrap();
        connection.stream.flush().await.unwrap();
        Ok(connection)
    };
    soon(async { tokio::join!(dial, accept) }).await
}

/// Accepts one dialler, and expects to refuse it.
async fn refusing(listener: &mut dyn Listener) -> TransportError {
    let incoming = listener.accept().await.unwrap();
    soon(incoming.handshake()).await.expect_err("this one must be refused")
}

async fn refused_by_the_acceptor(dialler: &dyn Transport, acceptor: &dyn Transport) -> [Fault; 2] {
    let mut listener = listen(acceptor).await;
    let (dialled, accepted) = meet(dialler, &mut *listener).await;
    match (accepted, dialled) {
        (
            Err(TransportError::CertificateRefused { fault: ours, .. }),
            Err(TransportError::RefusedByPeer { fault: told, .. }),
        ) => [ours, told],
        other => panic!("{other:?}"),
    }
}

async fn refused_by_the_dialler(dialler: &dyn Transport, acceptor: &dyn Transport) -> [Fault; 2] {
    let mut listener = listen(acceptor).await;
    let (dialled, accepted) = meet(dialler, &mut *listener).await;
    match (dialled, accepted) {
        (
            Err(TransportError::CertificateRefused { fault: ours, .. }),
            Err(TransportError::RefusedByPeer { fault: told, .. }),
        ) => [ours, told],
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_at_either_end() {
    let clock = SetClock::new();
    let authority = Authority::create("shop".parse().unwrap()).unwrap();
    let issue = |node: &str, valid_for| {
        let options = IssueOptions::new().valid_for(valid_for).issued_at(clock.now());
        clock.transport(&authority.issue(&node.parse().unwrap(), &options).unwrap())
    };
    let (brief, lasting) = (issue("brief", HOUR), issue("lasting", 24 * HOUR));
    let (dialled, accepted) = meet(&brief, &mut *listen(&lasting).await).await;
    assert!(dialled.is_ok() && accepted.is_ok());

    // With the same transport that was let in before: no session is resumed past its certificate.
    clock.advance(2 * HOUR);
    let faults = [Fault::Expired, Fault::NotValidNow];
    assert_eq!(refused_by_the_acceptor(&brief, &lasting).await, faults);
    assert_eq!(refused_by_the_dialler(&lasting, &brief).await, faults);
}

#[tokio::test]
async fn a_certificate_of_tomorrow_is_refused_at_either_end() {
    let clock = SetClock::new();
    let authority = Authority::create("shop".parse().unwrap()).unwrap();
    let issue = |node: &str| {
        let options = IssueOptions::new().issued_at(clock.now());
        clock.transport(&authority.issue(&node.parse().unwrap(), &options).unwrap())
    };
    let today = issue("today");
    clock.advance(24 * HOUR);
    let tomorrow = issue("tomorrow");
    clock.0.fetch_sub(24 * 60 * 60, Ordering::Relaxed);
    let faults = [Fault::NotYetValid, Fault::NotValidNow];
    assert_eq!(refused_by_the_acceptor(&tomorrow, &today).await, faults);
    assert_eq!(refused_by_the_dialler(&today, &tomorrow).await, faults);
}

#[tokio::test]
async fn another_authority_of_the_same_cluster_name_is_foreign() {
    let [ours, theirs] = [(); 2].map(|()| Authority::create("shop".parse().unwrap()).unwrap());
    let issue = |authority: &Authority, node: &str| {
        let credentials = authority.issue(&node.parse().unwrap(), &IssueOptions::new()).unwrap();
        TcpTransport::new(&credentials)
    };
    let faults = [Fault::ForeignAuthority; 2];
    assert_eq!(refused_by_the_dialler(&issue(&ours, "a"), &issue(&theirs, "b")).await, faults);
}

#[tokio::test]
async fn trusting_a_node_does_not_make_one_trusted_by_it() {
    let (ours, theirs) = (Company::new("ours"), Company::new("theirs"));
    let trusting = theirs.issue(&["umbel://shop/a"], |_| {});
    let trusting = TcpTransport::new(&theirs.credentials(&trusting, &[&theirs, &ours]).unwrap());
    let strict = TcpTransport::new(&ours.node("umbel://shop/b"));
    assert_eq!(refused_by_the_acceptor(&trusting, &strict).await, [Fault::ForeignAuthority; 2]);
}

#[tokio::test]
async fn one_authority_can_serve_two_clusters_and_keep_them_apart() {
    let company = Company::new("acme");
    let [shop, bank] =
        ["umbel://shop/a", "umbel://bank/b"].map(|uri| TcpTransport::new(&company.node(uri)));
    assert_eq!(refused_by_the_dialler(&shop, &bank).await, [Fault::OtherCluster; 2]);

    // Here the acceptor refuses, since this dialler does not look.
    let mut listener = listen(&shop).await;
    let issued = company.issue(&["umbel://bank/b"], |_| {});
    let address = listener.address();
    let (told, refused) = tokio::join!(
        dial_showing(&address, Some((vec![issued.certificate], issued.key))),
        refusing(&mut *listener)
    );
    assert_eq!(told.fault(), Some(Fault::OtherCluster), "{told}");
    assert_eq!(refused.fault(), Some(Fault::OtherCluster), "{refused}");
    assert!(refused.to_string().contains("umbel://bank/b"), "{refused}");
}

#[tokio::test]
async fn a_cluster_named_by_a_number_is_kept_apart_too() {
    let company = Company::new("acme");
    let [one, two] =
        ["umbel://2024/a", "umbel://2025/b"].map(|uri| TcpTransport::new(&company.node(uri)));
    assert_eq!(refused_by_the_dialler(&one, &two).await, [Fault::OtherCluster; 2]);
}

#[tokio::test]
async fn a_dialler_must_name_exactly_one_node() {
    let company = Company::new("acme");
    let server = TcpTransport::new(&company.node("umbel://shop/server"));
    let mut listener = listen(&server).await;
    for uris in [
        &[][..],
        &["spiffe://shop/a"],
        &["umbel://shop/a", "umbel://shop/b"],
        &["umbel://shop/a", "umbel:b"],
        &["umbel://shop"],
        &["umbel://Shop/a"],
        &["umbel://shop/a/b"],
    ] {
        let issued = company.issue(uris, |_| {});
        let address = listener.address();
        let (told, refused) = tokio::join!(
            dial_showing(&address, Some((vec![issued.certificate], issued.key))),
            refusing(&mut *listener)
        );
        assert_eq!(refused.fault(), Some(Fault::NoIdentity), "{uris:?}: {refused}");
        assert_eq!(told.fault(), Some(Fault::NoIdentity), "{uris:?}: {told}");
    }
}

#[tokio::test]
async fn an_acceptor_must_name_exactly_one_node() {
    let company = Company::new("acme");
    let dialler = TcpTransport::new(&company.node("umbel://shop/dialler"));
    let issued = company.issue(&["https://shop/a"], |_| {});
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (refused, told) = tokio::join!(dialler.dial(&address), serve_showing(listener, &issued));
    let refused = refused.unwrap_err();
    assert_eq!(refused.fault(), Some(Fault::NoIdentity), "{refused}");
    assert_eq!(told.fault(), Some(Fault::NoIdentity), "{told}");
}

#[tokio::test]
async fn other_names_may_stand_beside_the_node_s() {
    let company = Company::new("acme");
    let issued = company.issue(&["spiffe://acme/a", "umbel://shop/a"], |_| {});
    let a = TcpTransport::new(&company.credentials(&issued, &[&company]).unwrap());
    let b = TcpTransport::new(&company.node("umbel://shop/b"));
    let (dialled, accepted) = meet(&a, &mut *listen(&b).await).await;
    assert!(dialled.is_ok());
    assert_eq!(accepted.unwrap().peer, *a.identity());
}

#[tokio::test]
async fn a_dialler_without_a_certificate_is_refused() {
    let server = TcpTransport::new(&Company::new("acme").node("umbel://shop/server"));
    let mut listener = listen(&server).await;
    let address = listener.address();
    let (told, refused) = tokio::join!(dial_showing(&address, None), refusing(&mut *listener));
    assert_eq!(refused.fault(), Some(Fault::Missing), "{refused}");
    assert_eq!(told.fault(), Some(Fault::Missing), "{told}");
}

#[tokio::test]
async fn a_certificate_must_be_for_both_ends_of_a_connection() {
    let company = Company::new("acme");
    let dialler = TcpTransport::new(&company.node("umbel://shop/a"));
    let mut listener = listen(&dialler).await;
    let address = listener.address();

    let server_only = company.issue(&["umbel://shop/b"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let (told, refused) = tokio::join!(
        dial_showing(&address, Some((vec![server_only.certificate], server_only.key))),
        refusing(&mut *listener)
    );
    assert_eq!(refused.fault(), Some(Fault::WrongPurpose), "{refused}");
    assert_eq!(told.fault(), Some(Fault::WrongPurpose), "{told}");

    let client_only = company.issue(&["umbel://shop/b"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (refused, told) =
        tokio::join!(dialler.dial(&address), serve_showing(listener, &client_only));
    assert_eq!(refused.unwrap_err().fault(), Some(Fault::WrongPurpose));
    assert_eq!(told.fault(), Some(Fault::WrongPurpose), "{told}");
}

#[tokio::test]
async fn a_node_cannot_issue_certificates() {
    let company = Company::new("acme");
    let server = TcpTransport::new(&company.node("umbel://shop/server"));
    let node = company.issue(&["umbel://shop/mallory"], |_| {});
    let (forged, between) = company.issue_through(node, "umbel://shop/server");
    let mut listener = listen(&server).await;
    let address = listener.address();
    let (_, refused) = tokio::join!(
        dial_showing(&address, Some((vec![forged.certificate, between], forged.key))),
        refusing(&mut *listener)
    );
    assert!(matches!(refused, TransportError::CertificateRefused { .. }), "{refused}");
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_at_either_end() {
    let company = Company::new("acme");
    let serial = SerialNumber::from_slice(&[0x51, 0x52]);
    let issued = company.issue(&["umbel://shop/revoked"], |params| {
        params.serial_number = Some(serial.clone());
    });
    let revoked = TcpTransport::new(&company.credentials(&issued, &[&company]).unwrap());

    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), company.revoking(serial)).unwrap();
    let informed = |uri| company.node(uri).with_revocation_lists(list.path()).unwrap();
    let informed =
        ["umbel://shop/a", "umbel://shop/b"].map(|uri| TcpTransport::new(&informed(uri)));
    let [a, b] = &informed;

    assert_eq!(refused_by_the_acceptor(&revoked, a).await, [Fault::Revoked; 2]);
    assert_eq!(refused_by_the_dialler(a, &revoked).await, [Fault::Revoked; 2]);
    let (dialled, accepted) = meet(a, &mut *listen(b).await).await;
    assert!(dialled.is_ok() && accepted.is_ok(), "who is not on the list is let in");
}

#[tokio::test]
async fn whoever_does_not_speak_tls_is_told_nothing_and_let_go() {
    let company = Company::new("acme");
    let server = TcpTransport::new(&company.node("umbel://shop/server"));
    let mut listener = listen(&server).await;
    let address = listener.address();
    let talk = async {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        // More than the server reads at once: a close over unread bytes would be a reset.
        let request = format!("GET / HTTP/1.1\r\ncookie: {}\r\n\r\n", "x".repeat(40_000));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("the server hangs up in an orderly way");
        answer
    };
    let (answer, refused) = tokio::join!(talk, refusing(&mut *listener));
    assert!(answer.len() < 16, "an alert at most, not {} bytes", answer.len());
    assert!(matches!(refused, TransportError::Tls { .. }), "{refused}");
}

#[tokio::test]
async fn a_refusal_reaches_a_dialler_that_is_busy_writing() {
    let clock = SetClock::new();
    let authority = Authority::create("shop".parse().unwrap()).unwrap();
    let issue = |node: &str, valid_for| {
        let options = IssueOptions::new().valid_for(valid_for).issued_at(clock.now());
        clock.transport(&authority.issue(&node.parse().unwrap(), &options).unwrap())
    };
    let (expired, server) = (issue("expired", HOUR), issue("server", 24 * HOUR));
    clock.advance(2 * HOUR);
    let mut listener = listen(&server).await;
    let address = listener.address();
    let dial = async {
        let mut connection = expired.dial(&address).await.expect("TLS 1.3 tells us later");
        // Written before the refusal is read: a reset in answer to these bytes would hide the reason.
        connection.stream.write_all(&[7; 30_000]).await.unwrap();
        connection.stream.flush().await.unwrap();
        connection.stream.read(&mut [0; 8]).await.expect_err("the server refuses us")
    };
    let accept = async { listener.accept().await.unwrap().handshake().await };
    let (told, accepted) = tokio::join!(dial, accept);
    assert!(accepted.is_err());
    let told = TransportError::from_io(&address, told);
    assert_eq!(told.fault(), Some(Fault::NotValidNow), "{told}");
}
