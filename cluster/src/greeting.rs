//! The first words on each connection.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use umbel_actors::codec::{self, DecodeError, Limits};
use umbel_protocol::{
    Endpoint, Held, Hello, Lane, LinkId, NodeId, NodeName, Refusal, Terms, Welcome,
};

use crate::home::NodeHome;
use crate::transport::{ByteStream, Connection, Proof, Transport, TransportError};

/// What each connection of ours begins with, both ways, so that a stranger is known as such.
const MAGIC: [u8; 4] = *b"umbl";

/// The largest hello, welcome or refusal, in bytes: names and an endpoint, all bounded.
const GREETING_BYTES_MAX: usize = 2048;

/// What an acceptor says to a hello.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Welcome(Welcome),
    Refused(Refusal),
}

/// A connection whose two ends have welcomed one another.
pub(crate) struct Admitted {
    pub(crate) stream: Box<dyn ByteStream>,
    pub(crate) proof: Option<Proof>,
}

/// A link that a dial opened.
pub(crate) struct Dialled {
    pub(crate) welcome: Welcome,
    /// Where the peer was reached.
    pub(crate) endpoint: Endpoint,
    pub(crate) control: Admitted,
    pub(crate) data: Admitted,
}

/// Why a dial opened no link.
#[derive(Debug, Error)]
pub(crate) enum DialError {
    /// The connection failed, or the certificates did not do.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// One of the two nodes does not want the other.
    #[error("{by} and this node do not link: {refusal}")]
    Refused { by: NodeName, refusal: Refusal },
    /// The other end does not speak as a node does.
    #[error("{address} does not speak as a node does: {why}")]
    Strange { address: String, why: GreetingError },
    /// It took too long.
    #[error("no link with {endpoint} within {within:?}")]
    TimedOut { endpoint: Endpoint, within: Duration },
}

/// Why the first words made no sense.
#[derive(Debug, Error)]
pub(crate) enum GreetingError {
    #[error("the connection broke: {0}")]
    Broken(#[source] std::io::Error),
    #[error("it does not begin with `umbl`")]
    Magic,
    #[error("a greeting of {0} bytes, where the limit is {GREETING_BYTES_MAX}")]
    TooLarge(usize),
    #[error("the greeting cannot be decoded: {0}")]
    Undecodable(#[source] DecodeError),
}

/// Opens both lanes of a link that it cannot be without.
pub(crate) async fn dial(
    transport: &dyn Transport,
    home: &NodeHome,
    link: LinkId,
    endpoint: &Endpoint,
    expect: Option<&NodeName>,
    held: &Held,
) -> Result<Dialled, DialError> {
    let (terms, within) = (home.terms(), home.config.handshake_deadline);
    let both = async {
        let lane = |lane| open(transport, &terms, lane, link, endpoint, expect, held);
        let (welcome, control) = lane(Lane::Control).await?;
        home.linger("cluster.dial.between-lanes").await;
        let (second, data) = lane(Lane::Data).await?;
        if second.node != welcome.node {
            // The node was restarted between the two lanes.
            let by = second.node.name;
            return Err(DialError::Refused { by, refusal: Refusal::UnknownLink });
        }
        Ok(Dialled { welcome, endpoint: endpoint.clone(), control, data })
    };
    let timed_out = |_| DialError::TimedOut { endpoint: endpoint.clone(), within };
    tokio::time::timeout(within, both).await.map_err(timed_out)?
}

/// Opens another connection for a lane of a link that is up. What is `held` says whether it is to take
/// the place of the one that the lane has.
pub(crate) async fn dial_lane(
    transport: &dyn Transport,
    home: &NodeHome,
    lane: Lane,
    link: LinkId,
    endpoint: &Endpoint,
    peer: &NodeId,
    held: &Held,
) -> Result<Admitted, DialError> {
    let (terms, within) = (home.terms(), home.config.handshake_deadline);
    let opened = open(transport, &terms, lane, link, endpoint, Some(&peer.name), held);
    let timed_out = |_| DialError::TimedOut { endpoint: endpoint.clone(), within };
    let (welcome, admitted) = tokio::time::timeout(within, opened).await.map_err(timed_out)??;
    if welcome.node != *peer {
        // Another life of it knows nothing of the link.
        return Err(DialError::Refused { by: welcome.node.name, refusal: Refusal::UnknownLink });
    }
    Ok(admitted)
}

async fn open(
    transport: &dyn Transport,
    terms: &Terms,
    lane: Lane,
    link: LinkId,
    endpoint: &Endpoint,
    expect: Option<&NodeName>,
    held: &Held,
) -> Result<(Welcome, Admitted), DialError> {
    let Connection { mut stream, peer, address, proof } = transport.dial(endpoint.as_str()).await?;
    let strange = |why: GreetingError| match why {
        // TLS 1.3 tells the dialler only now that its certificate was refused.
        GreetingError::Broken(why) => DialError::Transport(TransportError::from_io(&address, why)),
        why => DialError::Strange { address: address.clone(), why },
    };
    // Where saying it fails, the other end has hung up, and what it said before that tells more.
    let _ = say(&mut stream, &terms.hello(lane, link, held.clone())).await;
    let refused = |refusal| DialError::Refused { by: peer.node.clone(), refusal };
    match hear::<Answer>(&mut stream).await.map_err(strange)? {
        Answer::Refused(refusal) => Err(refused(refusal)),
        Answer::Welcome(welcome) => {
            terms.judge_welcome(&welcome, &peer, expect).map_err(refused)?;
            Ok((welcome, Admitted { stream, proof }))
        }
    }
}

/// Hears a dialler's hello.
pub(crate) async fn hear_hello(stream: &mut Box<dyn ByteStream>) -> Result<Hello, GreetingError> {
    hear(stream).await
}

/// Says a greeting.
pub(crate) async fn say<T: Serialize>(
    stream: &mut Box<dyn ByteStream>,
    what: &T,
) -> Result<(), GreetingError> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[0; 4]);
    codec::encode(what, &mut bytes, GREETING_BYTES_MAX)
        .expect("what a greeting holds is bounded below the limit");
    let length = (bytes.len() - 8) as u32;
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    stream.write_all(&bytes).await.map_err(GreetingError::Broken)?;
    stream.flush().await.map_err(GreetingError::Broken)
}

/// Hears a greeting.
pub(crate) async fn hear<T: DeserializeOwned>(
    stream: &mut Box<dyn ByteStream>,
) -> Result<T, GreetingError> {
    let mut head = [0; 8];
    stream.read_exact(&mut head).await.map_err(GreetingError::Broken)?;
    let (magic, length) = head.split_at(4);
    if magic != MAGIC {
        return Err(GreetingError::Magic);
    }
    let length = length.try_into().expect("four of eight bytes are left");
    let length = u32::from_le_bytes(length) as usize;
    if length > GREETING_BYTES_MAX {
        return Err(GreetingError::TooLarge(length));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.map_err(GreetingError::Broken)?;
    codec::decode(&bytes, Limits::default()).map_err(GreetingError::Undecodable)
}
