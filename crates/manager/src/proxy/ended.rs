//! A body that ends with a leader's term: the client sees a clean "unavailable" and asks again, wherever the leader is
//! then.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Frame;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;

/// What a caller is told whose request outlived the term.
pub fn status() -> Status {
    Status::unavailable("the swarm's leader changed while the request was running: try again")
}

/// `response`, cut short when `term` ends.
pub fn until(term: CancellationToken, response: Response<Body>) -> Response<Body> {
    // A refusal or an empty answer has nothing to cut short.
    if http_body::Body::is_end_stream(response.body()) {
        return response;
    }
    response
        .map(|inner| Body::new(Ended { inner, end: Box::pin(term.cancelled_owned()), done: false }))
}

struct Ended {
    inner: Body,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
    done: bool,
}

impl http_body::Body for Ended {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.done {
            return Poll::Ready(None);
        }
        // What is there is delivered first: an answer that was made counts.
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            return Poll::Ready(frame);
        }
        if self.end.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.done = true;
        let mut trailers = HeaderMap::new();
        status().add_header(&mut trailers)?;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.done || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        // Never exact: it may be cut short.
        http_body::SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_stream_ends_as_unavailable_with_the_term() {
        let term = CancellationToken::new();
        let endless = http_body_util::StreamBody::new(futures::stream::pending::<
            Result<Frame<Bytes>, Status>,
        >());
        let mut answer = until(term.clone(), Response::new(Body::new(endless))).into_body();
        term.cancel();
        let frame = answer.frame().await.unwrap().unwrap();
        assert_eq!(frame.trailers_ref().unwrap()["grpc-status"], "14");
        assert!(answer.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_finished_answer_is_delivered_though_the_term_has_ended() {
        let term = CancellationToken::new();
        let full = http_body_util::Full::new(Bytes::from_static(b"done"));
        let answer = until(term.clone(), Response::new(Body::new(full))).into_body();
        term.cancel();
        assert_eq!(answer.collect().await.unwrap().to_bytes(), "done");
    }
}
