//! Answers, on their way out.

use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{CONNECTION, CONTENT_TYPE, HeaderValue},
};
use sg_ec2::service_of_version;
use sg_iam::Service;
use sg_store::Revision;

/// An answer with everything that its headers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status; 0 is not one.
    pub status: u16,
    pub content_type: &'static str,
    /// `x-amzn-errortype`, of errors in JSON.
    pub error_type: Option<&'static str>,
    pub body: String,
    /// `x-amzn-requestid`. Empty: none.
    pub request_id: String,
    /// `x-sg-revision`, of an answer to a change.
    pub revision: Option<Revision>,
    /// `x-sg-enforced`, of an answer to a change that waited for hosts.
    pub enforced: Option<bool>,
    /// Ends the connection, because the rest of the request was not read.
    pub closes: bool,
}

impl Answer {
    /// An answer of a service.
    pub fn of(response: sg_ec2::answer::Response, request_id: String) -> Self {
        let sg_ec2::answer::Response { status, content_type, error_type, body } = response;
        Self { status, content_type, error_type, body, request_id, ..Self::default() }
    }

    /// Says that the server is there, and nothing else.
    pub fn health() -> Self {
        Self { status: 200, content_type: "text/plain", ..Self::default() }
    }

    pub fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        let mut insert = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        };
        if !self.request_id.is_empty() {
            insert("x-amzn-requestid", self.request_id);
        }
        if let Some(error_type) = self.error_type {
            insert("x-amzn-errortype", error_type.to_owned());
        }
        if let Some(revision) = self.revision {
            insert("x-sg-revision", revision.to_string());
        }
        if let Some(enforced) = self.enforced {
            insert("x-sg-enforced", enforced.to_string());
        }
        if self.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The service whose form an answer has where no signature names one: that of the API's version.
pub fn service_by_version(parameters: &[u8]) -> Service {
    let mut versions =
        parameters.split(|&byte| byte == b'&').filter_map(|pair| pair.strip_prefix(b"Version="));
    service_of_version(versions.next_back().and_then(|version| std::str::from_utf8(version).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_names_the_form() {
        for (parameters, service) in [
            ("Action=X&Version=2010-05-08", Service::Iam),
            ("Version=2011-06-15&Action=X", Service::Sts),
            ("Action=X&Version=2016-11-15", Service::Ec2),
            ("Action=X", Service::Ec2),
            ("", Service::Ec2),
        ] {
            assert_eq!(service_by_version(parameters.as_bytes()), service, "{parameters}");
        }
    }

    #[test]
    fn headers_are_those_that_the_answer_has() {
        let answer = Answer {
            status: 200,
            content_type: "text/xml;charset=UTF-8",
            request_id: "r-1".to_owned(),
            revision: Some(Revision(7)),
            enforced: Some(false),
            closes: true,
            ..Answer::default()
        };
        let response = answer.into_response();
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("x-amzn-requestid"), Some("r-1"));
        assert_eq!(header("x-sg-revision"), Some("7"));
        assert_eq!(header("x-sg-enforced"), Some("false"));
        assert_eq!(header("connection"), Some("close"));
        let health = Answer::health().into_response();
        assert_eq!(health.headers().len(), 1, "the content's type alone");
    }
}
