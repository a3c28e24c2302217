//! Errors with AWS's codes and texts, in the three forms of the services.

use std::fmt::Display;

use sg_iam::{Answer, Service};

use crate::{answer::Response, codec::xml::Xml};

/// A refusal. Clients match code and text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Error {
    /// HTTP status.
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

impl Error {
    /// An error of the client's: status 400.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code, message: message.into() }
    }

    pub(crate) fn malformed_query(message: impl Into<String>) -> Self {
        Self::new("MalformedQueryString", message)
    }

    pub(crate) fn missing(parameter: impl Display) -> Self {
        Self::new("MissingParameter", format!("The request must contain the parameter {parameter}"))
    }

    pub(crate) fn unknown_parameter(parameter: impl Display) -> Self {
        Self::new("UnknownParameter", format!("The parameter {parameter} is not recognized"))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterValue", message)
    }

    /// `expected` says what the value should be, as a sentence without its full stop.
    pub(crate) fn invalid_value(parameter: impl Display, value: &str, expected: &str) -> Self {
        Self::invalid(format!("Value ({value}) for parameter {parameter} is invalid. {expected}."))
    }

    pub(crate) fn combination(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterCombination", message)
    }

    /// The action is not one of the service's.
    pub fn invalid_action(service: Service, action: &str, version: Option<&str>) -> Self {
        let version = version.unwrap_or_default();
        let message = match service {
            Service::Iam | Service::Sts => {
                format!("Could not find operation {action} for version {version}")
            }
            _ => format!("The action {action} is not valid for this web service."),
        };
        Self::new("InvalidAction", message)
    }

    /// The call is allowed, and was asked not to be made.
    pub(crate) fn dry_run() -> Self {
        let message = "Request would have succeeded, but DryRun flag is set.";
        Self { status: 412, code: "DryRunOperation", message: message.to_owned() }
    }

    /// Renders the error in the form of a service.
    pub fn respond(&self, service: Service, request_id: &str) -> Response {
        match service {
            Service::Ec2 => self.ec2(request_id),
            Service::Iam => self.query("https://iam.amazonaws.com/doc/2010-05-08/", request_id),
            Service::Sts => self.query("https://sts.amazonaws.com/doc/2011-06-15/", request_id),
            Service::Ram | Service::Sg => self.json(),
        }
    }

    fn ec2(&self, request_id: &str) -> Response {
        let mut xml = Xml::new();
        for name in ["Response", "Errors", "Error"] {
            xml.open(name);
        }
        xml.element("Code", self.code);
        xml.element("Message", &self.message);
        xml.close("Error");
        xml.close("Errors");
        xml.element("RequestID", request_id);
        xml.close("Response");
        Response::xml(self.status, xml)
    }

    fn query(&self, namespace: &str, request_id: &str) -> Response {
        let mut xml = Xml::new();
        xml.open_in("ErrorResponse", namespace);
        xml.open("Error");
        xml.element("Type", if self.status < 500 { "Sender" } else { "Receiver" });
        xml.element("Code", self.code);
        xml.element("Message", &self.message);
        xml.close("Error");
        xml.element("RequestId", request_id);
        xml.close("ErrorResponse");
        Response::xml(self.status, xml)
    }

    fn json(&self) -> Response {
        Response {
            status: self.status,
            content_type: "application/json",
            error_type: Some(self.code),
            body: serde_json::json!({ "message": self.message }).to_string(),
        }
    }
}

/// Refusals of signatures have code and text already.
impl From<Answer> for Error {
    fn from(Answer { status, code, message }: Answer) -> Self {
        Self { status, code, message }
    }
}

/// The service of a request without a readable credential scope: the API's version tells.
pub fn service_of_version(version: Option<&str>) -> Service {
    match version {
        Some("2010-05-08") => Service::Iam,
        Some("2011-06-15") => Service::Sts,
        _ => Service::Ec2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(service: Service) -> Response {
        Error::new("InvalidAction", "a < \"b\"").respond(service, "r-1")
    }

    #[test]
    fn each_service_has_its_form() {
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
        let ec2 = body(Service::Ec2);
        assert_eq!((ec2.status, ec2.content_type), (400, "text/xml;charset=UTF-8"));
        assert_eq!(
            ec2.body,
            format!(
                "{head}<Response><Errors><Error><Code>InvalidAction</Code><Message>a &lt; &quot;b&quot;</Message>\
                 </Error></Errors><RequestID>r-1</RequestID></Response>"
            )
        );
        assert_eq!(
            body(Service::Sts).body,
            format!(
                "{head}<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
                 <Type>Sender</Type><Code>InvalidAction</Code><Message>a &lt; &quot;b&quot;</Message></Error>\
                 <RequestId>r-1</RequestId></ErrorResponse>"
            )
        );
        let json = body(Service::Ram);
        assert_eq!(
            (json.content_type, json.error_type),
            ("application/json", Some("InvalidAction"))
        );
        assert_eq!(json.body, r#"{"message":"a < \"b\""}"#);
    }

    #[test]
    fn the_version_tells_the_service() {
        assert_eq!(service_of_version(Some("2010-05-08")), Service::Iam);
        assert_eq!(service_of_version(Some("2011-06-15")), Service::Sts);
        assert_eq!(service_of_version(Some("2016-11-15")), Service::Ec2);
        assert_eq!(service_of_version(None), Service::Ec2);
    }
}
