//! The first words on each connection.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use umbel_actors::codec::{self, DecodeError, Limits};
use umbel_protocol::{Endpoint, Hello, Lane, LinkId, NodeName, Refusal, Terms, Welcome};

use crate::transport::{ByteStream, Connection, Transport, TransportError};

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

/// A link that a dial opened.
pub(crate) struct Dialled {
    pub(crate) welcome: Welcome,
    pub(crate) control: Box<dyn ByteStream>,
    pub(crate) data: Box<dyn ByteStream>,
    pub(crate) endpoint: Endpoint,
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
    terms: &Terms,
    link: LinkId,
    endpoint: &Endpoint,
    expect: Option<&NodeName>,
    lost: Option<LinkId>,
    within: Duration,
) -> Result<Dialled, DialError> {
    let both = async {
        let lane = |lane| open(transport, terms, lane, link, endpoint, expect, lost);
        let (welcome, control) = lane(Lane::Control).await?;
        let (second, data) = lane(Lane::Data).await?;
        if second.node != welcome.node {
            // The node was restarted between the two lanes.
            let by = second.node.name;
            return Err(DialError::Refused { by, refusal: Refusal::UnknownLink });
        }
        Ok(Dialled { welcome, control, data, endpoint: endpoint.clone() })
    };
    let timed_out = |_| DialError::TimedOut { endpoint: endpoint.clone(), within };
    tokio::time::timeout(within, both).await.map_err(timed_out)?
}

/// Opens one lane of a link.
pub(crate) async fn open(
    transport: &dyn Transport,
    terms: &Terms,
    lane: Lane,
    link: LinkId,
    endpoint: &Endpoint,
    expect: Option<&NodeName>,
    lost: Option<LinkId>,
) -> Result<(Welcome, Box<dyn ByteStream>), DialError> {
    let Connection { mut stream, peer, address } = transport.dial(endpoint.as_str()).await?;
    let strange = |why: GreetingError| match why {
        // TLS 1.3 tells the dialler only now that its certificate was refused.
        GreetingError::Broken(why) => DialError::Transport(TransportError::from_io(&address, why)),
        why => DialError::Strange { address: address.clone(), why },
    };
    // Where saying it fails, the other end has hung up, and what it said before that tells more.
    let _ = say(&mut stream, &terms.hello(lane, link, lost)).await;
    let refused = |refusal| DialError::Refused { by: peer.node.clone(), refusal };
    match hear::<Answer>(&mut stream).await.map_err(strange)? {
        Answer::Refused(refusal) => Err(refused(refusal)),
        Answer::Welcome(welcome) => {
            terms.judge_welcome(&welcome, &peer, expect).map_err(refused)?;
            Ok((welcome, stream))
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

async fn hear<T: DeserializeOwned>(stream: &mut Box<dyn ByteStream>) -> Result<T, GreetingError> {
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
