//! Answers as they go over the wire, less HTTP itself.

use crate::codec::xml::{Members, Xml};

const EC2: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";
const STS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Status, headers that matter, and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub content_type: &'static str,
    /// `X-Amzn-ErrorType`, of errors in JSON.
    pub error_type: Option<&'static str>,
    pub body: String,
}

impl Response {
    pub(crate) fn xml(status: u16, xml: Xml) -> Self {
        let content_type = "text/xml;charset=UTF-8";
        Self { status, content_type, error_type: None, body: xml.finish() }
    }

    /// A success of EC2: members stand beside `requestId`.
    pub(crate) fn ec2(action: &str, answer: &dyn Members, request_id: &str) -> Self {
        let root = format!("{action}Response");
        let mut xml = Xml::new();
        xml.open_in(&root, EC2);
        xml.element("requestId", request_id);
        answer.write_members(&mut xml);
        xml.close(&root);
        Self::xml(200, xml)
    }

    /// A success of STS: members stand in an element of their own.
    pub(crate) fn sts(action: &str, answer: &dyn Members, request_id: &str) -> Self {
        let (root, result) = (format!("{action}Response"), format!("{action}Result"));
        let mut xml = Xml::new();
        xml.open_in(&root, STS);
        xml.open(&result);
        answer.write_members(&mut xml);
        xml.close(&result);
        xml.open("ResponseMetadata");
        xml.element("RequestId", request_id);
        xml.close("ResponseMetadata");
        xml.close(&root);
        Self::xml(200, xml)
    }
}
