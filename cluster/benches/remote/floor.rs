//! What no actor system needs to be slower than: length-prefixed bincode frames over tokio-rustls
//! into a tokio channel.
//!
//! Each end has a task that writes, which encodes all that waits for it and writes that at once,
//! and a task that reads, which decodes many frames a read from one buffer. The actor is a task
//! that takes them out of a channel.
//!
//! The same with a plain ractor actor in place of channel and task says how much of the distance
//! between umbel and the floor is that actor.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bincode::config::Configuration;
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::server::TlsStream;

use super::{Payload, Peer, Tally, tls};

const CODEC: Configuration = bincode::config::standard();
/// What a channel holds. Unbounded ones are slower here: what waits in them falls out of the cache.
const CAPACITY: usize = 1024;
const BUFFER_BYTES: usize = 64 * 1024;
const LENGTH_BYTES: usize = 4;

#[derive(Serialize, Deserialize)]
enum Frame {
    Tell(Payload),
    Ask(u64, Payload),
    Counted(u64, u64),
    Answer(u64, Payload),
}

async fn write(mut stream: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Frame>) {
    let mut batch = Vec::with_capacity(CAPACITY);
    let mut bytes = Vec::with_capacity(BUFFER_BYTES);
    while frames.recv_many(&mut batch, CAPACITY).await > 0 {
        for frame in batch.drain(..) {
            let start = bytes.len();
            bytes.extend_from_slice(&[0; LENGTH_BYTES]);
            bincode::serde::encode_into_std_write(frame, &mut bytes, CODEC).expect("it is plain");
            let length = (bytes.len() - start - LENGTH_BYTES) as u32;
            bytes[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        }
        if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        bytes.clear();
    }
    let _ = stream.shutdown().await;
}

/// Reads into a buffer that is initialised throughout: tokio-rustls would zero any other at each
/// read.
async fn read<F>(mut stream: impl AsyncRead + Unpin, mut take: impl FnMut(Frame) -> F)
where
    F: Future<Output = ()>,
{
    let mut bytes = vec![0; BUFFER_BYTES];
    let mut filled = 0;
    while let Ok(read @ 1..) = stream.read(&mut bytes[filled..]).await {
        filled += read;
        let mut rest = &bytes[..filled];
        while let Some((length, tail)) = rest.split_first_chunk::<LENGTH_BYTES>() {
            let length = u32::from_le_bytes(*length) as usize;
            let Some((body, tail)) = tail.split_at_checked(length) else { break };
            let (frame, _) =
                bincode::serde::decode_from_slice(body, CODEC).expect("it is one of ours");
            take(frame).await;
            rest = tail;
        }
        let left = rest.len();
        bytes.copy_within(filled - left..filled, 0);
        filled = left;
    }
}

#[derive(Clone)]
pub(crate) struct Floor(Arc<Inner>);

struct Inner {
    out: mpsc::Sender<Frame>,
    asked: Mutex<HashMap<u64, oneshot::Sender<Payload>>>,
    next: AtomicU64,
}

impl Floor {
    async fn answer(&self, frame: impl FnOnce(u64) -> Frame) -> Payload {
        let (told, answer) = oneshot::channel();
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.asked.lock().insert(id, told);
        self.0.out.send(frame(id)).await.expect("it lives");
        answer.await.expect("it answers")
    }
}

/// What takes the frames at the server.
struct Taker {
    out: mpsc::Sender<Frame>,
    tally: Tally,
    awaited: Option<(u64, u64)>,
}

impl Taker {
    async fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Tell(payload) => self.tally.count(&payload),
            Frame::Ask(id, payload) => self.answer(id, payload).await,
            Frame::Counted(id, tells) => self.awaited = Some((id, tells)),
            Frame::Answer(..) => unreachable!("the client is not asked"),
        }
        if let Some((id, _)) = self.awaited.take_if(|(_, tells)| *tells <= self.tally.counted()) {
            self.answer(id, Payload(Vec::new())).await;
        }
    }

    async fn answer(&self, id: u64, payload: Payload) {
        self.out.send(Frame::Answer(id, payload)).await.expect("it lives");
    }
}

/// Listens for one client. Its stream is split; `serve` gets the half that reads.
async fn listen<F>(
    files: &Path,
    tally: Tally,
    serve: impl FnOnce(ReadHalf<TlsStream<TcpStream>>, Taker) -> F + Send + 'static,
) -> String
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let address = listener.local_addr().expect("it listens").to_string();
    let acceptor = tls::acceptor(files);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("someone comes");
        stream.set_nodelay(true).expect("it is a socket");
        let stream = acceptor.accept(stream).await.expect("they agree");
        let (reading, writing) = tokio::io::split(stream);
        let (out, to_write) = mpsc::channel(CAPACITY);
        tokio::spawn(write(writing, to_write));
        serve(reading, Taker { out, tally, awaited: None }).await;
    });
    address
}

impl Peer for Floor {
    const NAME: &'static str = "floor";

    async fn serve(files: &Path, tally: Tally) -> String {
        listen(files, tally, |reading, mut taker| async move {
            let (mailbox, mut messages) = mpsc::channel(CAPACITY);
            tokio::spawn(read(reading, move |frame| {
                let mailbox = mailbox.clone();
                async move { mailbox.send(frame).await.expect("it lives") }
            }));
            while let Some(frame) = messages.recv().await {
                taker.take(frame).await;
            }
        })
        .await
    }

    async fn connect(files: &Path, address: String) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("it is a socket");
        let stream =
            tls::connector(files).connect(tls::server_name(), stream).await.expect("they agree");
        let (reading, writing) = tokio::io::split(stream);
        let (out, to_write) = mpsc::channel(CAPACITY);
        let floor =
            Self(Arc::new(Inner { out, asked: Mutex::default(), next: AtomicU64::default() }));
        tokio::spawn(write(writing, to_write));
        let client = floor.clone();
        tokio::spawn(read(reading, move |frame| {
            if let Frame::Answer(id, payload) = frame
                && let Some(told) = client.0.asked.lock().remove(&id)
            {
                let _ = told.send(payload);
            }
            std::future::ready(())
        }));
        floor
    }

    async fn tell(&self, payload: Payload) {
        self.0.out.send(Frame::Tell(payload)).await.expect("it lives");
    }

    async fn ask(&self, payload: Payload) -> Payload {
        self.answer(|id| Frame::Ask(id, payload)).await
    }

    async fn counted(&self, tells: u64) {
        self.answer(|id| Frame::Counted(id, tells)).await;
    }

    async fn end(self) {}
}

impl ractor::Message for Frame {}

struct RactorTaker;

impl Actor for RactorTaker {
    type Msg = Frame;
    type State = Taker;
    type Arguments = Taker;

    async fn pre_start(
        &self,
        _: ActorRef<Frame>,
        taker: Taker,
    ) -> Result<Taker, ActorProcessingErr> {
        Ok(taker)
    }

    async fn handle(
        &self,
        _: ActorRef<Frame>,
        frame: Frame,
        taker: &mut Taker,
    ) -> Result<(), ActorProcessingErr> {
        taker.take(frame).await;
        Ok(())
    }
}

#[derive(Clone)]
pub(crate) struct FloorIntoRactor(Floor);

impl Peer for FloorIntoRactor {
    const NAME: &'static str = "floor_into_ractor";

    async fn serve(files: &Path, tally: Tally) -> String {
        listen(files, tally, |reading, taker| async move {
            let (actor, _) = Actor::spawn(None, RactorTaker, taker).await.expect("it starts");
            read(reading, |frame| {
                actor.cast(frame).expect("it lives");
                std::future::ready(())
            })
            .await;
        })
        .await
    }

    async fn connect(files: &Path, address: String) -> Self {
        Self(Floor::connect(files, address).await)
    }

    async fn tell(&self, payload: Payload) {
        self.0.tell(payload).await;
    }

    async fn ask(&self, payload: Payload) -> Payload {
        self.0.ask(payload).await
    }

    async fn counted(&self, tells: u64) {
        self.0.counted(tells).await;
    }

    async fn end(self) {}
}
