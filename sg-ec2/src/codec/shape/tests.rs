use super::*;
use crate::{
    codec::{
        query::Parameters,
        xml::{ToXml as _, Xml},
    },
    generated::ec2::{
        AuthorizeSecurityGroupIngressRequest, CreateTagsRequest, IpPermission, IpRange, Request,
        ResourceType, SubnetState, TagSpecification, UserIdGroupPair,
    },
};

fn read(action: &str, query: &str) -> Result<Request, Error> {
    let parameters = Parameters::decode(query.as_bytes(), b"").expect("a form");
    Request::read(action, &parameters.root).expect("an action")
}

/// The example of botocore's serializer in the reference of the API.
#[test]
fn a_request_is_read() {
    let query = "GroupId=sg-1&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=22&IpPermissions.1.ToPort=22&\
                 IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8&IpPermissions.1.IpRanges.1.Description=d&\
                 IpPermissions.1.Groups.1.GroupId=sg-2&IpPermissions.1.Groups.1.UserId=123456789012&\
                 TagSpecification.1.ResourceType=security-group-rule&DryRun=true";
    let permission = IpPermission {
        ip_protocol: Some("tcp".into()),
        from_port: Some(22),
        to_port: Some(22),
        ip_ranges: vec![IpRange {
            cidr_ip: Some("10.0.0.0/8".into()),
            description: Some("d".into()),
        }],
        user_id_group_pairs: vec![UserIdGroupPair {
            group_id: Some("sg-2".into()),
            user_id: Some("123456789012".into()),
            ..UserIdGroupPair::default()
        }],
        ..IpPermission::default()
    };
    let expected = AuthorizeSecurityGroupIngressRequest {
        group_id: Some("sg-1".into()),
        ip_permissions: vec![permission],
        tag_specifications: vec![TagSpecification {
            resource_type: Some(ResourceType::SecurityGroupRule),
            tags: vec![],
        }],
        dry_run: Some(true),
        cidr_ip: None,
        from_port: None,
        group_name: None,
        ip_protocol: None,
        source_security_group_name: None,
        source_security_group_owner_id: None,
        to_port: None,
    };
    let action = "AuthorizeSecurityGroupIngress";
    assert_eq!(read(action, query), Ok(Request::AuthorizeSecurityGroupIngress(expected)));
}

/// Items keep the order of their numbers, not of their texts.
#[test]
fn lists_are_numbered() {
    let query: Vec<_> =
        (1..=12).rev().map(|number| format!("ResourceId.{number}=r{number}")).collect();
    let query = query.join("&") + "&Tag.1.Key=k";
    let Ok(Request::CreateTags(CreateTagsRequest { resources, .. })) = read("CreateTags", &query)
    else {
        panic!("a request");
    };
    assert_eq!(resources.0, (1..=12).map(|number| format!("r{number}")).collect::<Vec<_>>());
}

#[test]
fn requests_that_are_not_well_formed() {
    for (action, query, code, message) in [
        (
            "CreateTags",
            "Tag.1.Key=k",
            "MissingParameter",
            "The request must contain the parameter ResourceId",
        ),
        (
            "CreateTags",
            "ResourceId=&Tag.1.Key=k",
            "MissingParameter",
            "The request must contain the parameter ResourceId",
        ),
        (
            "CreateTags",
            "ResourceId.2=x&Tag.1.Key=k",
            "MalformedQueryString",
            "The items of ResourceId are not numbered from 1 without a gap",
        ),
        (
            "CreateTags",
            "ResourceId.0=x&Tag.1.Key=k",
            "MalformedQueryString",
            "The items of ResourceId are not numbered from 1 without a gap",
        ),
        (
            "CreateTags",
            "ResourceId.01=x&Tag.1.Key=k",
            "MalformedQueryString",
            "The items of ResourceId are not numbered from 1 without a gap",
        ),
        (
            "CreateTags",
            "ResourceId.1=x&ResourceId.3=x&Tag.1.Key=k",
            "MalformedQueryString",
            "The items of ResourceId are not numbered from 1 without a gap",
        ),
        (
            "CreateTags",
            "ResourceId.x=x&Tag.1.Key=k",
            "MalformedQueryString",
            "The items of ResourceId are not numbered from 1 without a gap",
        ),
        (
            "CreateTags",
            "ResourceId=x&Tag.1.Key=k",
            "MalformedQueryString",
            "The parameter ResourceId is a list",
        ),
        (
            "CreateTags",
            "ResourceId=&ResourceId.1=x&Tag.1.Key=k",
            "MalformedQueryString",
            "The parameter ResourceId is a list",
        ),
        (
            "CreateTags",
            "ResourceId.1=x&Tag.1=k",
            "MalformedQueryString",
            "The parameter Tag.1 is a structure",
        ),
        (
            "CreateTags",
            "ResourceId.1=x&Tag.1.Key.1=k",
            "UnknownParameter",
            "The parameter Tag.1.Key.1 is not recognized",
        ),
        (
            "CreateTags",
            "ResourceId.1=x&Tag.1.Kei=k",
            "UnknownParameter",
            "The parameter Tag.1.Kei is not recognized",
        ),
        (
            "CreateTags",
            "ResourceId.1=x&Tag.1.Key=k&Colour=1",
            "UnknownParameter",
            "The parameter Colour is not recognized",
        ),
        (
            "CreateSecurityGroup",
            "GroupName=x",
            "MissingParameter",
            "The request must contain the parameter GroupDescription",
        ),
        (
            "DescribeVpcs",
            "MaxResults=4",
            "InvalidParameterValue",
            "Value (4) for parameter MaxResults is invalid. Expecting a value greater than 5.",
        ),
        (
            "DescribeVpcs",
            "MaxResults=1001",
            "InvalidParameterValue",
            "Value (1001) for parameter MaxResults is invalid. Expecting a value less than 1000.",
        ),
        (
            "DescribeVpcs",
            "MaxResults=ten",
            "InvalidParameterValue",
            "Value (ten) for parameter MaxResults is invalid. It must be an integer.",
        ),
        (
            "DescribeVpcs",
            "MaxResults=%2B10",
            "InvalidParameterValue",
            "Value (+10) for parameter MaxResults is invalid. It must be an integer.",
        ),
        (
            "DescribeVpcs",
            "DryRun=yes",
            "InvalidParameterValue",
            "Value (yes) for parameter DryRun is invalid. It must be true or false.",
        ),
        (
            "CreateSecurityGroup",
            "GroupName=x&GroupDescription=y&TagSpecification.1.ResourceType=pear",
            "InvalidParameterValue",
            "Value (pear) for parameter TagSpecification.1.ResourceType is invalid. It must be one of network-interface \
             prefix-list security-group security-group-rule subnet vpc.",
        ),
    ] {
        let error = read(action, query).expect_err(query);
        assert_eq!((error.code, &*error.message), (code, message), "{query}");
    }
    assert!(read("DescribeVpcs", "MaxResults=5&DryRun=False&VpcId=").is_ok());
    assert!(Request::read("DescribePears", &Node::default()).is_none());
}

#[test]
fn answers_are_elements() {
    let mut xml = Xml::new();
    let permission = IpPermission {
        ip_protocol: Some("-1".into()),
        from_port: Some(-1),
        ..IpPermission::default()
    };
    vec![permission].write("ipPermissions", &mut xml);
    SubnetState::Available.write("state", &mut xml);
    let text = xml.finish();
    let (_, text) = text.split_once('\n').expect("a head");
    assert_eq!(
        text,
        "<ipPermissions><item><fromPort>-1</fromPort><ipProtocol>-1</ipProtocol><ipRanges/><ipv6Ranges/>\
         <prefixListIds/><groups/></item></ipPermissions><state>available</state>"
    );
}
