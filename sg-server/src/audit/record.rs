//! One record, in CloudTrail's shape (AWS CloudTrail User Guide, "CloudTrail record contents").

use serde_json::{Map, Value, json};
use sg_iam::{Service, Timestamp};
use sg_policy::id::AccountId;

use crate::clock;

/// Parameters and answers are cut at so many bytes.
const LONGEST: usize = 32 << 10;

/// A verb of `admin.sock`.
#[derive(Clone, Copy, Debug)]
pub struct Verb<'a> {
    pub name: &'static str,
    /// Name or number of the account.
    pub subject: &'a str,
}

/// An authenticated call.
#[derive(Clone, Debug)]
pub struct Call {
    pub time: Timestamp,
    pub service: Service,
    pub action: String,
    pub region: String,
    /// The client's address.
    pub source: String,
    pub user_agent: String,
    pub identity: Identity,
    /// Without secrets.
    pub parameters: Value,
    pub outcome: Outcome,
    pub request: String,
    /// Unique among all records.
    pub event: String,
    pub is_read_only: bool,
    /// ARNs.
    pub resources: Vec<String>,
}

/// Who called.
#[derive(Clone, Debug)]
pub struct Identity {
    pub account: AccountId,
    pub access_key_id: String,
}

/// How the call ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    Done { response: Value },
    Failed { code: String, message: String },
}

impl Call {
    /// The record as one line, without its end.
    pub fn line(&self) -> String {
        let account = self.identity.account;
        let mut record = Map::new();
        let mut set = |name: &str, value: Value| {
            record.insert(name.to_owned(), value);
        };
        set("eventVersion", json!("1.11"));
        set(
            "userIdentity",
            json!({
                "type": "Root",
                "principalId": account.to_string(),
                "arn": format!("arn:aws:iam::{account}:root"),
                "accountId": account.to_string(),
                "accessKeyId": self.identity.access_key_id,
            }),
        );
        set("eventTime", json!(iso(self.time)));
        set("eventSource", json!(format!("{}.amazonaws.com", self.service.name())));
        set("eventName", json!(self.action));
        set("awsRegion", json!(self.region));
        set("sourceIPAddress", json!(self.source));
        set("userAgent", json!(self.user_agent));
        set("requestParameters", cut(&self.parameters));
        match &self.outcome {
            Outcome::Done { response } => set("responseElements", cut(response)),
            Outcome::Failed { code, message } => {
                set("errorCode", json!(code));
                set("errorMessage", json!(message));
                set("responseElements", Value::Null);
            }
        }
        set("requestID", json!(self.request));
        set("eventID", json!(self.event));
        set("readOnly", json!(self.is_read_only));
        let resources =
            self.resources.iter().map(|arn| json!({"ARN": arn, "accountId": account.to_string()}));
        set("resources", resources.collect());
        set("eventType", json!("AwsApiCall"));
        set("recipientAccountId", json!(account.to_string()));
        Value::Object(record).to_string()
    }
}

/// The record of a verb of `admin.sock`.
pub(super) fn verb(verb: &Verb<'_>, error: Option<&anyhow::Error>) -> String {
    let mut record = json!({
        "eventVersion": "1.11",
        "userIdentity": {"type": "LocalRoot", "uid": 0},
        "eventTime": iso(clock::now()),
        "eventSource": "sg.amazonaws.com",
        "eventName": verb.name,
        "sourceIPAddress": "local",
        "requestParameters": {"account": verb.subject},
        "readOnly": verb.name == "ListAccounts",
    });
    if let Some(error) = error {
        record["errorMessage"] = json!(format!("{error:#}"));
    }
    record.to_string()
}

/// `2026-12-01T03:04:05Z`: CloudTrail's times have no fraction.
fn iso(time: Timestamp) -> String {
    time.extended().replace(".000Z", "Z")
}

/// The value itself, or its first part as text where it is too long.
fn cut(value: &Value) -> Value {
    let text = value.to_string();
    if text.len() <= LONGEST {
        return value.clone();
    }
    let end = text.floor_char_boundary(LONGEST);
    json!({ "truncated": &text[..end] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(outcome: Outcome) -> Call {
        Call {
            time: Timestamp(1_796_095_445),
            service: Service::Ec2,
            action: "AuthorizeSecurityGroupIngress".to_owned(),
            region: "us-east-1".to_owned(),
            source: "192.0.2.1".to_owned(),
            user_agent: "aws-cli/2\n".to_owned(),
            identity: Identity { account: AccountId(123), access_key_id: "AKIA".to_owned() },
            parameters: json!({"groupId": "sg-1"}),
            outcome,
            request: "r".to_owned(),
            event: "e".to_owned(),
            is_read_only: false,
            resources: vec!["arn:x".to_owned()],
        }
    }

    #[test]
    fn a_record_is_one_line_with_cloudtrail_s_names() {
        let line = call(Outcome::Done { response: json!({"return": true}) }).line();
        assert!(!line.contains('\n'));
        let record: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(record["eventTime"], "2026-12-01T03:24:05Z");
        assert_eq!(record["eventSource"], "ec2.amazonaws.com");
        assert_eq!(record["userIdentity"]["arn"], "arn:aws:iam::000000000123:root");
        assert_eq!(record["responseElements"]["return"], true);
        assert!(record.get("errorCode").is_none());
        let failed = Outcome::Failed { code: "X".to_owned(), message: "y".to_owned() };
        let record: Value = serde_json::from_str(&call(failed).line()).unwrap();
        assert_eq!((&record["errorCode"], &record["errorMessage"]), (&json!("X"), &json!("y")));
    }

    #[test]
    fn long_parameters_are_cut() {
        let mut long = call(Outcome::Done { response: Value::Null });
        long.parameters = json!({"name": "é".repeat(LONGEST)});
        let record: Value = serde_json::from_str(&long.line()).unwrap();
        let shown = record["requestParameters"]["truncated"].as_str().unwrap();
        assert!((LONGEST - 4..=LONGEST).contains(&shown.len()));
    }
}
