//! A body that arrives in pieces, while something else may be under way beside it.

use futures::StreamExt as _;
use futures::future::{Either, LocalBoxFuture, pending, select};
use futures::stream::LocalBoxStream;

use crate::error::UpstreamFault;
use crate::portal::ports::UpstreamBody;

/// A body as a stream that owns the read under way: giving up waiting for it loses nothing.
pub type Chunks = LocalBoxStream<'static, Result<Vec<u8>, UpstreamFault>>;

/// A message on its way to a server that answers it elsewhere.
pub type Posting<'a> = LocalBoxFuture<'a, Result<(), UpstreamFault>>;

/// What came first.
#[derive(Debug)]
pub enum Heard {
    /// A piece of the body; nothing at its end.
    Chunk(Option<Result<Vec<u8>, UpstreamFault>>),
    /// The message was taken, or refused.
    Posted(Result<(), UpstreamFault>),
    /// Neither, in time.
    Nothing,
}

/// Reads a body in pieces.
#[must_use]
pub fn chunks<B: UpstreamBody>(body: B) -> Chunks {
    futures::stream::unfold(body, |mut body| async move {
        let chunk = body.chunk().await?;
        Some((chunk, body))
    })
    .boxed_local()
}

/// Waits for the next piece, for the message under way, or until the alarm. A server may hold back its reply to a message
/// until it has answered it in the body, so neither waits for the other.
pub async fn hear(
    chunks: &mut Chunks,
    posting: &mut Option<Posting<'_>>,
    alarm: impl Future<Output = ()>,
) -> Heard {
    let heard = {
        let posted = async {
            match posting.as_mut() {
                Some(posting) => posting.await,
                None => pending().await,
            }
        };
        let (posted, alarm) = (std::pin::pin!(posted), std::pin::pin!(alarm));
        match select(chunks.next(), select(posted, alarm)).await {
            Either::Left((chunk, _)) => Heard::Chunk(chunk),
            Either::Right((Either::Left((posted, _)), _)) => Heard::Posted(posted),
            Either::Right((Either::Right(_), _)) => Heard::Nothing,
        }
    };
    if matches!(heard, Heard::Posted(_)) {
        *posting = None;
    }
    heard
}
