//! What can go wrong between two nodes before the first byte of ours, and who refused whom.

use std::error::Error;
use std::{fmt, io};

use rustls::{AlertDescription, CertificateError};
use thiserror::Error;
use umbel_protocol::EndpointError;

/// Why there is no connection, or no listener.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The address cannot be listened on. Nothing is listening.
    #[error("could not listen on {address}: {source}")]
    Listen {
        /// The address that was asked for.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Accepting failed this time. The listener is still there: wait a little and accept again.
    #[error("could not accept a connection on {address}: {source}")]
    Accept {
        /// The listener's address.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Nobody answers at the address.
    #[error("could not reach {address}: {source}")]
    Unreachable {
        /// The address that was dialled.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// We refused the peer, and have told it so.
    #[error("refused the certificate of {address}: {fault}{}", in_brackets(.detail))]
    CertificateRefused {
        /// The peer's address.
        address: String,
        /// What is wrong with its certificate.
        fault: CertificateFault,
        /// The names or dates in question, where there are any; else empty.
        detail: String,
    },
    /// The peer refused us, and has told us so.
    #[error("{address} refused our certificate: {fault}")]
    RefusedByPeer {
        /// The peer's address.
        address: String,
        /// What the peer thinks is wrong with our certificate.
        fault: CertificateFault,
    },
    /// The peer speaks no TLS 1.3, no TLS at all, or speaks it wrongly.
    #[error("no TLS with {address}: {source}")]
    Tls {
        /// The peer's address.
        address: String,
        /// The reason in TLS's own terms.
        source: rustls::Error,
    },
    /// The connection broke, or the peer hung up.
    #[error("lost the connection to {address}: {source}")]
    Lost {
        /// The peer's address.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// Why an address can never be dialled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It does not have the form of an endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// It says no host: only who listens may leave that out.
    #[error("it has no host: write host:port, as in \"node-2.example.org:7401\"")]
    NoHost,
    /// It does not end in a port.
    #[error("it has no port: write host:port, as in \"node-2.example.org:7401\"")]
    NoPort,
    /// Port 0 stands for any free one, which only who listens can ask for.
    #[error("port 0 cannot be dialled: write the port that the other node listens on")]
    PortZero,
}

impl TransportError {
    /// What an error of a connection's stream means: TLS tells some refusals only at the first read.
    #[must_use]
    pub fn from_io(address: &str, error: io::Error) -> Self {
        match tls_error(&error).cloned() {
            Some(tls) => Self::from_tls(address, tls),
            None => Self::Lost { address: address.to_owned(), source: error },
        }
    }

    pub(crate) fn from_tls(address: &str, error: rustls::Error) -> Self {
        let address = address.to_owned();
        match error {
            rustls::Error::InvalidCertificate(error) => {
                let (fault, detail) = CertificateFault::found(&error);
                Self::CertificateRefused { address, fault, detail }
            }
            rustls::Error::NoCertificatesPresented => Self::CertificateRefused {
                address,
                fault: CertificateFault::Missing,
                detail: String::new(),
            },
            rustls::Error::AlertReceived(alert) => match CertificateFault::alerted(alert) {
                Some(fault) => Self::RefusedByPeer { address, fault },
                None => Self::Tls { address, source: error },
            },
            error => Self::Tls { address, source: error },
        }
    }

    /// What was wrong with a certificate, ours or the peer's; `None` where certificates were not the cause.
    #[must_use]
    pub fn fault(&self) -> Option<CertificateFault> {
        match self {
            Self::CertificateRefused { fault, .. } | Self::RefusedByPeer { fault, .. } => {
                Some(*fault)
            }
            _ => None,
        }
    }
}

fn in_brackets(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let mut cause: Option<&(dyn Error + 'static)> = error.get_ref().map(|inner| inner as _);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CertificateFault {
    /// Its last day has passed.
    Expired,
    /// Its first day has not come.
    NotYetValid,
    /// One of the two above: TLS has one alert for both, so the end that was refused cannot tell.
    NotValidNow,
    /// It does not lead to an authority of this cluster.
    ForeignAuthority,
    /// It names a node of another cluster.
    OtherCluster,
    /// It names no node: none, several or a malformed `umbel://<cluster>/<node>` among its names.
    NoIdentity,
    /// There was none.
    Missing,
    /// It is on a revocation list.
    Revoked,
    /// No revocation list in force speaks for its authority: there is none, or its date has passed and
    /// is enforced. The end that was refused hears that the authority is foreign.
    Unchecked,
    /// It may not be used by a server, or not by a client: a node is both.
    WrongPurpose,
    /// A signature, by it or on it, is wrong or of an unknown kind.
    BadSignature,
    /// It cannot be read, or not understood in full.
    Malformed,
}

impl CertificateFault {
    /// The fault in a certificate that we checked ourselves, and the particulars.
    pub(crate) fn found(error: &CertificateError) -> (Self, String) {
        use CertificateError as Theirs;
        let fault = match error {
            Theirs::Expired | Theirs::ExpiredContext { .. } => Self::Expired,
            Theirs::NotValidYet | Theirs::NotValidYetContext { .. } => Self::NotYetValid,
            Theirs::UnknownIssuer => Self::ForeignAuthority,
            // Our verifier knows the name only as "a node of this cluster": see `tls::PeerVerifier`.
            Theirs::NotValidForNameContext { presented, .. } => {
                return (Self::OtherCluster, presented.join(", "));
            }
            Theirs::NotValidForName => Self::OtherCluster,
            Theirs::Other(reason) => return (Self::NoIdentity, reason.to_string()),
            Theirs::Revoked => Self::Revoked,
            Theirs::InvalidPurpose | Theirs::InvalidPurposeContext { .. } => Self::WrongPurpose,
            Theirs::BadSignature
            | Theirs::UnsupportedSignatureAlgorithmContext { .. }
            | Theirs::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::BadSignature,
            Theirs::UnknownRevocationStatus
            | Theirs::ExpiredRevocationList
            | Theirs::ExpiredRevocationListContext { .. } => {
                return (Self::Unchecked, error.to_string());
            }
            _ => return (Self::Malformed, error.to_string()),
        };
        match error {
            Theirs::ExpiredContext { .. } | Theirs::NotValidYetContext { .. } => {
                (fault, error.to_string())
            }
            _ => (fault, String::new()),
        }
    }

    /// The fault that the peer's alert tells of; `None` for alerts about something else. The counterpart
    /// of rustls' `From<CertificateError> for AlertDescription`.
    fn alerted(alert: AlertDescription) -> Option<Self> {
        Some(match alert {
            AlertDescription::CertificateExpired => Self::NotValidNow,
            AlertDescription::UnknownCA => Self::ForeignAuthority,
            AlertDescription::BadCertificate => Self::OtherCluster,
            AlertDescription::CertificateUnknown => Self::NoIdentity,
            AlertDescription::CertificateRequired => Self::Missing,
            AlertDescription::CertificateRevoked => Self::Revoked,
            AlertDescription::UnsupportedCertificate => Self::WrongPurpose,
            AlertDescription::DecryptError => Self::BadSignature,
            _ => return None,
        })
    }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "it has expired",
            Self::NotYetValid => "it is not valid yet",
            Self::NotValidNow => {
                "it has expired or is not valid yet; compare its dates with both machines' clocks"
            }
            Self::ForeignAuthority => "it is not from an authority of this cluster",
            Self::OtherCluster => "it is of another cluster",
            Self::NoIdentity => "it does not name exactly one node as umbel://<cluster>/<node>",
            Self::Missing => "there is none",
            Self::Revoked => "it has been revoked",
            Self::Unchecked => {
                "no revocation list in force speaks for its authority; get the authority's newest one"
            }
            Self::WrongPurpose => {
                "it must allow both server and client authentication, for a node is both"
            }
            Self::BadSignature => "a signature of it is wrong or of an unknown kind",
            Self::Malformed => "it cannot be read",
        })
    }
}
