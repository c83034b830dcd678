//! The service behind a gate: answers what the gate refused.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::Service;

use super::{Refusal, Report};
use crate::{Body, HttpLimits, empty};

/// A service as one connection sees it.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    service: S,
    report: Arc<Report>,
    target_bytes: usize,
    headers: usize,
}

impl<S> Guarded<S> {
    pub(crate) fn new(service: S, report: Arc<Report>, limits: &HttpLimits) -> Self {
        Self {
            service,
            report,
            target_bytes: limits.target_bytes,
            headers: limits.headers,
        }
    }

    /// Why a request gets no further. HTTP/2 passes the gate unread, so its counts are looked at here.
    fn refusal(&self, request: &Request<Incoming>) -> Option<Refusal> {
        let number = self.report.next_request();
        if request.method() == Method::CONNECT {
            return Some(Refusal::Connect);
        }
        if request.version() < Version::HTTP_2 {
            return self.report.refusal_of(number);
        }
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        if target > self.target_bytes {
            return Some(Refusal::TargetTooLong(self.target_bytes));
        }
        (request.headers().len() > self.headers).then_some(Refusal::TooManyHeaders(self.headers))
    }
}

impl<S> Service<Request<Incoming>> for Guarded<S>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if let Some(why) = self.refusal(&request) {
            let mut answer = why.answer();
            if request.version() >= Version::HTTP_2 {
                answer.headers_mut().remove(http::header::CONNECTION);
            }
            return Answering::Refused { answer: Some(answer) };
        }
        Answering::Served {
            answer: self.service.call(request),
        }
    }
}

pin_project_lite::pin_project! {
    /// An answer on its way.
    #[project = AnsweringProjection]
    pub(crate) enum Answering<F> {
        Refused { answer: Option<Response<Body>> },
        Served {
            #[pin]
            answer: F,
        },
    }
}

impl<F: Future<Output = Result<Response<Body>, Infallible>>> Future for Answering<F> {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnsweringProjection::Refused { answer } => {
                Poll::Ready(Ok(answer.take().unwrap_or_else(|| Response::new(empty()))))
            }
            AnsweringProjection::Served { answer } => answer.poll(cx),
        }
    }
}
