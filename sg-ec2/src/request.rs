//! Requests: read, then decided.

use sg_iam::Service;

use crate::{
    actions,
    call::{Context, Decision, Gate, Inner},
    codec::query::Parameters,
    error::Error,
    generated::{ec2, sts},
};

const EC2_VERSION: &str = "2016-11-15";
const STS_VERSION: &str = "2011-06-15";

/// A request whose action is known and whose parameters are well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    inner: Inner,
    is_dry_run: bool,
}

/// AWS names the missing resources of two actions otherwise than the parameter.
fn named_by_aws(action: &str, error: Error) -> Error {
    let is_of_tags = matches!(action, "CreateTags" | "DeleteTags");
    if is_of_tags && error == Error::missing("ResourceId") {
        Error::missing("resourceIdSet")
    } else {
        error
    }
}

impl Request {
    /// Reads the request of a service. Services other than EC2 and STS have no actions here.
    pub fn read(service: Service, parameters: &Parameters) -> Result<Self, Error> {
        let (action, version) = (parameters.action()?, parameters.version());
        let root = &parameters.root;
        let expected = if service == Service::Sts { STS_VERSION } else { EC2_VERSION };
        if version != Some(expected) {
            let version = version.unwrap_or_default();
            let message = format!(
                "The requested version ({version}) of service {} does not exist",
                service.name()
            );
            return Err(Error::new("NoSuchVersion", message));
        }
        let inner = match service {
            Service::Ec2 => ec2::Request::read(action, root)
                .map(|read| read.map(|read| Inner::Ec2(Box::new(read)))),
            Service::Sts => sts::Request::read(action, root).map(|read| read.map(Inner::Sts)),
            Service::Iam | Service::Ram | Service::Sg => None,
        };
        let inner = inner.ok_or_else(|| Error::invalid_action(service, action, version))?;
        let inner = inner.map_err(|error| named_by_aws(action, error))?;
        // The shape has read it: it is one of the two texts.
        let dry_run = root.parts.get("DryRun").and_then(|node| node.value.as_deref());
        let is_dry_run = dry_run.is_some_and(|text| text.eq_ignore_ascii_case("true"));
        Ok(Self { inner, is_dry_run })
    }

    pub fn action(&self) -> &'static str {
        match &self.inner {
            Inner::Ec2(request) => request.action(),
            Inner::Sts(request) => request.action(),
        }
    }

    /// Whether the action changes nothing.
    pub fn is_read_only(&self) -> bool {
        let action = self.action();
        action.starts_with("Describe") || action.starts_with("Get")
    }

    /// Decides the call: DryRun first, then existence and meaning.
    pub fn decide(self, context: &Context<'_>) -> Result<Decision, Error> {
        actions::decide(self.inner, &Gate { context, is_dry_run: self.is_dry_run })
    }
}
