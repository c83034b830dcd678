//! Services beside Lambda that clients send to the same address, by their names; what is not offered is refused in the
//! shape that the service's own clients read.
//! Sources: the service models of botocore 1.44.5 (protocols query, rest-xml, json).

use http::{HeaderValue, Response, StatusCode, header};
use sonagi_model::InvocationId;
use sonagi_wire::Body;

/// A service, by the name in the credential scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Service {
    /// Lambda.
    Lambda,
    /// Security Token Service.
    Sts,
    /// Simple Queue Service.
    Sqs,
    /// Simple Storage Service.
    S3,
    /// EventBridge.
    Events,
    /// EventBridge Scheduler.
    Scheduler,
    /// Another that answers XML.
    Query(String),
    /// Another that answers JSON.
    Json(String),
}

impl Service {
    pub(crate) fn parse(name: &str) -> Self {
        match name {
            "lambda" => Self::Lambda,
            "sts" => Self::Sts,
            "sqs" => Self::Sqs,
            "s3" => Self::S3,
            "events" => Self::Events,
            "scheduler" => Self::Scheduler,
            "iam" | "cloudformation" | "sns" | "ec2" | "elasticloadbalancing" | "autoscaling" | "monitoring" => {
                Self::Query(name.to_owned())
            }
            _ => Self::Json(
                name.chars()
                    .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
                    .take(64)
                    .collect(),
            ),
        }
    }
}

/// Refuses a service that is not offered.
pub(crate) fn foreign(service: &Service) -> Response<Body> {
    match service {
        Service::Query(name) => query_error(
            "InvalidAction",
            &format!("This platform does not offer the service {name}."),
        ),
        Service::Json(name) => {
            let text = format!("This platform does not offer the service {name}.");
            let body = serde_json::json!({ "__type": "UnknownOperationException", "message": text }).to_string();
            let mut response = Response::new(sonagi_wire::full(body));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            let headers = response.headers_mut();
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/x-amz-json-1.0"),
            );
            headers.insert(
                "x-amzn-errortype",
                HeaderValue::from_static("UnknownOperationException"),
            );
            response
        }
        Service::Lambda | Service::Sqs | Service::Sts | Service::S3 | Service::Events | Service::Scheduler => {
            query_error("InvalidAction", "This operation is not offered.")
        }
    }
}

fn query_error(code: &str, message: &str) -> Response<Body> {
    let id = InvocationId::generate();
    let text = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
         <RequestId>{id}</RequestId></ErrorResponse>"
    );
    xml(StatusCode::BAD_REQUEST, text)
}

fn xml(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(sonagi_wire::full(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}
