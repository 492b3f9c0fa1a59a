//! Calls between replicas in processes of their own, over loopback TCP: frames of length (4, big
//! endian), kind (1) and body; one call at a time on a connection.
#![expect(clippy::unwrap_used, reason = "a measurement, run by hand")]

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;

use swarm_raft_store::{
    ChunkStream, Member, RaftRpc, Replica, StoreError, Transport, TransportError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

const APPEND: u8 = 0;
const VOTE: u8 = 1;
const TRANSFER: u8 = 2;
const SNAPSHOT: u8 = 3;
const CHUNK: u8 = 4;
const END: u8 = 5;
const ANSWER: u8 = 6;
const FAILURE: u8 = 7;

/// Connections that are not in use, by address.
#[derive(Default)]
pub struct Tcp(Mutex<HashMap<String, Vec<TcpStream>>>);

async fn send(stream: &mut TcpStream, kind: u8, body: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(5 + body.len());
    frame.extend_from_slice(&u32::try_from(body.len()).map_err(io::Error::other)?.to_be_bytes());
    frame.push(kind);
    frame.extend_from_slice(body);
    stream.write_all(&frame).await
}

async fn receive(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).await?;
    let [a, b, c, d, kind] = head;
    let mut body = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
    stream.read_exact(&mut body).await?;
    Ok((kind, body))
}

fn unreachable(target: &Member, error: &io::Error) -> TransportError {
    TransportError::Unreachable { addr: target.addr.clone(), reason: error.to_string() }
}

impl Tcp {
    async fn connection(&self, addr: &str) -> io::Result<TcpStream> {
        let idle = self.0.lock().unwrap().get_mut(addr).and_then(Vec::pop);
        if let Some(stream) = idle {
            return Ok(stream);
        }
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The answer to what was sent. Then the connection is free for another call.
    async fn answer(
        &self,
        target: &Member,
        mut stream: TcpStream,
    ) -> Result<Vec<u8>, TransportError> {
        let answer = receive(&mut stream).await.map_err(|e| unreachable(target, &e))?;
        let mut idle = self.0.lock().unwrap();
        idle.entry(target.addr.clone()).or_default().push(stream);
        match answer {
            (ANSWER, body) => Ok(body),
            (_, text) => Err(TransportError::Failed {
                addr: target.addr.clone(),
                reason: String::from_utf8_lossy(&text).into_owned(),
            }),
        }
    }
}

type Carried<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, TransportError>> + Send + 'a>>;

impl Transport for Tcp {
    fn call<'a>(&'a self, target: &'a Member, rpc: RaftRpc, body: Vec<u8>) -> Carried<'a> {
        let kind = match rpc {
            RaftRpc::Append => APPEND,
            RaftRpc::Vote => VOTE,
            RaftRpc::TransferLeader => TRANSFER,
        };
        Box::pin(async move {
            let failed = |e: io::Error| unreachable(target, &e);
            let mut stream = self.connection(&target.addr).await.map_err(failed)?;
            send(&mut stream, kind, &body).await.map_err(failed)?;
            self.answer(target, stream).await
        })
    }

    fn install_snapshot<'a>(&'a self, target: &'a Member, mut chunks: ChunkStream) -> Carried<'a> {
        Box::pin(async move {
            let failed = |e: io::Error| unreachable(target, &e);
            let mut stream = self.connection(&target.addr).await.map_err(failed)?;
            send(&mut stream, SNAPSHOT, &[]).await.map_err(failed)?;
            while let Some(chunk) = chunks.next().await {
                send(&mut stream, CHUNK, &chunk?).await.map_err(failed)?;
            }
            send(&mut stream, END, &[]).await.map_err(failed)?;
            self.answer(target, stream).await
        })
    }
}

/// Answers other members for ever.
pub async fn serve(listener: TcpListener, replica: Replica) {
    while let Ok((stream, _)) = listener.accept().await {
        let replica = replica.clone();
        // It ends when the caller closes the connection.
        tokio::spawn(async move { while_open(stream, &replica).await });
    }
}

async fn while_open(mut stream: TcpStream, replica: &Replica) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let (kind, body) = receive(&mut stream).await?;
        let answer = match kind {
            APPEND => replica.handle(RaftRpc::Append, &body).await,
            VOTE => replica.handle(RaftRpc::Vote, &body).await,
            TRANSFER => replica.handle(RaftRpc::TransferLeader, &body).await,
            _ => snapshot(&mut stream, replica).await?,
        };
        match answer {
            Ok(body) => send(&mut stream, ANSWER, &body).await?,
            Err(error) => send(&mut stream, FAILURE, error.to_string().as_bytes()).await?,
        }
    }
}

async fn snapshot(
    stream: &mut TcpStream,
    replica: &Replica,
) -> io::Result<Result<Vec<u8>, StoreError>> {
    let (chunks, received) = tokio::sync::mpsc::channel(2);
    let read = async move {
        while let (CHUNK, chunk) = receive(stream).await? {
            // A receiver that has gone has its answer ready.
            let _ = chunks.send(Ok(chunk)).await;
        }
        io::Result::Ok(())
    };
    let handled = replica.handle_snapshot(Box::pin(ReceiverStream::new(received)));
    let (read, handled) = tokio::join!(read, handled);
    read.map(|()| handled)
}
