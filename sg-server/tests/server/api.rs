//! Calls that are allowed, over the wire.

use std::{fs, thread, time::Duration};

use crate::harness::{EC2, Server, form, now, send, signed};

const TCP_80: [(&str, &str); 4] = [
    ("IpPermissions.1.IpProtocol", "tcp"),
    ("IpPermissions.1.FromPort", "80"),
    ("IpPermissions.1.ToPort", "80"),
    ("IpPermissions.1.IpRanges.1.CidrIp", "10.0.0.0/8"),
];

pub fn make_group(server: &Server, name: &str) -> String {
    let parameters = [("GroupName", name), ("GroupDescription", "for a test")];
    let made = server.call("CreateSecurityGroup", &parameters).done();
    made.element("groupId").to_owned()
}

#[test]
fn a_group_gets_a_rule_and_a_restart_keeps_both() {
    let mut server = Server::start();
    let group = make_group(&server, "web");
    let parameters = [&[("GroupId", group.as_str())][..], &TCP_80].concat();
    let authorized = server.call("AuthorizeSecurityGroupIngress", &parameters).done();
    let rule = authorized.element("securityGroupRuleId").to_owned();
    let again = server.call("AuthorizeSecurityGroupIngress", &parameters);
    assert_eq!((again.status, again.code()), (400, "InvalidPermission.Duplicate"));
    server.kill();
    server.restart();
    let filter = [("Filter.1.Name", "group-id"), ("Filter.1.Value.1", group.as_str())];
    let rules = server.call("DescribeSecurityGroupRules", &filter).done();
    assert!(rules.body.contains(&rule), "{}", rules.body);
    let revoked = [("GroupId", group.as_str()), ("SecurityGroupRuleId.1", rule.as_str())];
    server.call("RevokeSecurityGroupIngress", &revoked).done();
    server.call("DeleteSecurityGroup", &[("GroupId", group.as_str())]).done();
    let gone = server.call("DescribeSecurityGroups", &[("GroupId.1", group.as_str())]);
    assert_eq!((gone.status, gone.code()), (400, "InvalidGroup.NotFound"));
}

#[test]
fn revisions_rise_with_changes_and_reads_have_none() {
    let server = Server::start();
    let made = |name| {
        let parameters = [("GroupName", name), ("GroupDescription", "d")];
        server.call("CreateSecurityGroup", &parameters).done()
    };
    let (first, second) = (made("a"), made("b"));
    assert!(second.revision() > first.revision());
    assert_eq!(first.header("x-sg-enforced"), Some("true"), "there is no host to wait for");
    let read = server.call("DescribeSecurityGroups", &[]).done();
    assert_eq!((read.header("x-sg-revision"), read.header("x-sg-enforced")), (None, None));
    assert_ne!(first.header("x-amzn-requestid"), second.header("x-amzn-requestid"));
}

#[test]
fn the_query_of_a_get_is_a_call_too() {
    let server = Server::start();
    let query = form("DescribeVpcs", EC2, &[]);
    let request = signed(&server.key, server.address, "GET", "/", &query, "ec2", now());
    let answer = send(server.address, &request).expect("an answer").done();
    assert_eq!(answer.element("cidrBlock"), "172.31.0.0/16");
    let body = form("GetCallerIdentity", "2011-06-15", &[]);
    let request = signed(&server.key, server.address, "POST", "/", &body, "sts", now());
    let answer = send(server.address, &request).expect("an answer").done();
    assert_eq!(answer.element("Account"), server.key.account);
}

#[test]
fn every_region_has_a_default_vpc_and_sees_its_own_groups_only() {
    let server = Server::with(&["--region", "here-1,there-2"]);
    let group = make_group(&server, "web");
    let there = sg_api::admin::Issued { region: "there-2".to_owned(), ..server.key.clone() };
    let vpcs = server.call_as(&there, "DescribeVpcs", &[]).done();
    assert_eq!(vpcs.element("isDefault"), "true");
    let groups = server.call_as(&there, "DescribeSecurityGroups", &[]).done();
    assert!(!groups.body.contains(&group) && groups.body.contains("default"));
}

#[test]
fn audit_has_changes_reads_and_refusals_and_no_secret() {
    let server = Server::start();
    let group = make_group(&server, "web");
    server.call("DescribeSecurityGroups", &[]).done();
    server.call("DeleteSecurityGroup", &[("GroupId", "sg-00000000000000000")]);
    let folder = server.state_dir().join("audit");
    let read = || -> String {
        let files = fs::read_dir(&folder).into_iter().flatten().flatten();
        files.map(|file| fs::read_to_string(file.path()).unwrap_or_default()).collect()
    };
    let wanted = ["CreateSecurityGroup", "DescribeSecurityGroups", "InvalidGroup.NotFound"];
    let mut records = read();
    for _ in 0..200 {
        if wanted.iter().all(|name| records.contains(name)) {
            break;
        }
        thread::sleep(Duration::from_millis(50));
        records = read();
    }
    for name in wanted {
        assert!(records.contains(name), "{name} in {records}");
    }
    assert!(records.contains(&group) && records.contains("\"sgRevision\":"));
    assert!(!records.contains(&server.key.secret_access_key));
    assert!(!server.log().contains(&server.key.secret_access_key));
    for line in records.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("one record a line");
    }
}
