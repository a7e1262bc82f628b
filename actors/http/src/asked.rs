use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};

use crate::phase::Phases;

/// The body of a request, which tells whether it has been read to its end.
pub(crate) struct Asked {
    body: Incoming,
    phases: Arc<Phases>,
}

impl Asked {
    pub(crate) fn body(body: Incoming, phases: &Arc<Phases>) -> Body {
        phases.set_unread(!body.is_end_stream());
        if body.is_end_stream() {
            return Body::empty();
        }
        Body::new(Self { body, phases: phases.clone() })
    }
}

impl HttpBody for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.phases.set_unread(!(frame.is_none() || self.body.is_end_stream()));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
