//! Refusals of signatures, each with the code and the text that AWS has for it.

use crate::{Answer, Service, Timestamp};

/// A request that is not authenticated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("Request is missing Authentication Token")]
    Missing,
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("Credential should be scoped to a valid region, one of {}.", .regions.join(", "))]
    Region { regions: Vec<String> },
    #[error("Credential should be scoped to correct service: {}.", quoted(.services))]
    Service { services: Vec<Service> },
    #[error(
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
         '{scope}' != '{}', from '{signed}'.", .signed.date()
    )]
    Date { scope: String, signed: Timestamp },
    /// Signed too long ago: more than the skew for a header, more than its own lifetime for a presigned request.
    #[error("Signature expired: {signed} is now earlier than {earliest} ({now} - {} min.)", .allowed_seconds / 60)]
    Expired { signed: Timestamp, earliest: Timestamp, now: Timestamp, allowed_seconds: i64 },
    #[error("Signature not yet current: {signed} is still later than {latest} ({now} + {} min.)", .allowed_seconds / 60)]
    NotYetCurrent { signed: Timestamp, latest: Timestamp, now: Timestamp, allowed_seconds: i64 },
    /// The access key does not exist, or is not active.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS \
         Secret Access Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}

/// A signature that cannot be read. No text repeats a part of the request: it could be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    #[error("Request has several signatures: use one Authorization header, or the query.")]
    Several,
    #[error("Unsupported AWS 'algorithm': only AWS4-HMAC-SHA256 is supported.")]
    Algorithm,
    #[error(
        "Authorization header has a part that is not 'Credential', 'SignedHeaders' or 'Signature'."
    )]
    Part,
    #[error("Signature has the parameter '{0}' more than once.")]
    Repeated(&'static str),
    #[error("Signature requires the parameter '{0}'.")]
    Lacks(&'static str),
    #[error(
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/aws4_request."
    )]
    Credential,
    #[error("Credential should be scoped with a valid terminator: 'aws4_request'.")]
    Terminator,
    #[error("Signature is not 64 hexadecimal digits.")]
    Signature,
    #[error(
        "SignedHeaders must be names in lower case, sorted, each once, separated by semicolons."
    )]
    SignedHeaders,
    #[error("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")]
    HostUnsigned,
    #[error("'X-Amz-Security-Token' must be a 'SignedHeader' in the AWS Authorization.")]
    TokenUnsigned,
    #[error("A header that SignedHeaders names is not in the request.")]
    HeaderAbsent,
    #[error("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")]
    NoDate,
    #[error("Date must be in ISO-8601 'basic format', e.g. 20150830T123600Z.")]
    Date,
    #[error("X-Amz-Expires must be a number of seconds from 1 to 604800.")]
    Expires,
}

fn quoted(services: &[Service]) -> String {
    let names: Vec<_> = services.iter().map(|service| format!("'{}'", service.name())).collect();
    names.join(", ")
}

/// Text of EC2 for keys that are unknown and for signatures that are wrong: it does not say which.
const EC2_REFUSED: &str = "AWS was not able to validate the provided access credentials";

impl Error {
    /// The answer in the words of a service. Without a readable scope, the caller chooses the service by `Version`.
    pub fn answer(&self, service: Service) -> Answer {
        match service {
            Service::Ec2 => self.ec2(),
            Service::Iam | Service::Sts => self.query(),
            Service::Ram | Service::Sg => self.json(),
        }
    }

    fn ec2(&self) -> Answer {
        let answer =
            |status, code, message: &str| Answer { status, code, message: message.to_owned() };
        match self {
            Self::Missing => answer(403, "MissingAuthenticationToken", &self.to_string()),
            Self::Malformed(_) | Self::Region { .. } | Self::Service { .. } | Self::Date { .. } => {
                answer(401, "AuthFailure", &format!("{EC2_REFUSED}: {self}"))
            }
            Self::Expired { .. } | Self::NotYetCurrent { .. } => {
                answer(400, "RequestExpired", &format!("Request has expired. {self}"))
            }
            Self::UnknownKey | Self::Mismatch => answer(401, "AuthFailure", EC2_REFUSED),
        }
    }

    fn query(&self) -> Answer {
        let (status, code) = match self {
            Self::Missing => (403, "MissingAuthenticationToken"),
            Self::Malformed(_) => (400, "IncompleteSignature"),
            Self::UnknownKey => (403, "InvalidClientTokenId"),
            _ => (403, "SignatureDoesNotMatch"),
        };
        Answer { status, code, message: self.to_string() }
    }

    fn json(&self) -> Answer {
        let code = match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Malformed(_) => "IncompleteSignatureException",
            Self::UnknownKey => "UnrecognizedClientException",
            _ => "InvalidSignatureException",
        };
        Answer { status: 403, code, message: self.to_string() }
    }
}
