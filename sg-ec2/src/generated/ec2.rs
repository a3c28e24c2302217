//! Written by `cargo xtask models` from `xtask/models/ec2.json`. Do not edit.

use crate::codec::shape::{NonEmpty, actions, choices, shapes};

actions! {
    Request;
    AssignIpv6Addresses(AssignIpv6AddressesRequest);
    AssignPrivateIpAddresses(AssignPrivateIpAddressesRequest);
    AssociateSubnetCidrBlock(AssociateSubnetCidrBlockRequest);
    AssociateVpcCidrBlock(AssociateVpcCidrBlockRequest);
    AttachNetworkInterface(AttachNetworkInterfaceRequest);
    AuthorizeSecurityGroupEgress(AuthorizeSecurityGroupEgressRequest);
    AuthorizeSecurityGroupIngress(AuthorizeSecurityGroupIngressRequest);
    CreateDefaultSubnet(CreateDefaultSubnetRequest);
    CreateDefaultVpc(CreateDefaultVpcRequest);
    CreateManagedPrefixList(CreateManagedPrefixListRequest);
    CreateNetworkInterface(CreateNetworkInterfaceRequest);
    CreateSecurityGroup(CreateSecurityGroupRequest);
    CreateSubnet(CreateSubnetRequest);
    CreateTags(CreateTagsRequest);
    CreateVpc(CreateVpcRequest);
    DeleteManagedPrefixList(DeleteManagedPrefixListRequest);
    DeleteNetworkInterface(DeleteNetworkInterfaceRequest);
    DeleteSecurityGroup(DeleteSecurityGroupRequest);
    DeleteSubnet(DeleteSubnetRequest);
    DeleteTags(DeleteTagsRequest);
    DeleteVpc(DeleteVpcRequest);
    DescribeManagedPrefixLists(DescribeManagedPrefixListsRequest);
    DescribeNetworkInterfaceAttribute(DescribeNetworkInterfaceAttributeRequest);
    DescribeNetworkInterfaces(DescribeNetworkInterfacesRequest);
    DescribePrefixLists(DescribePrefixListsRequest);
    DescribeSecurityGroupReferences(DescribeSecurityGroupReferencesRequest);
    DescribeSecurityGroupRules(DescribeSecurityGroupRulesRequest);
    DescribeSecurityGroups(DescribeSecurityGroupsRequest);
    DescribeStaleSecurityGroups(DescribeStaleSecurityGroupsRequest);
    DescribeSubnets(DescribeSubnetsRequest);
    DescribeTags(DescribeTagsRequest);
    DescribeVpcAttribute(DescribeVpcAttributeRequest);
    DescribeVpcs(DescribeVpcsRequest);
    DetachNetworkInterface(DetachNetworkInterfaceRequest);
    DisassociateSubnetCidrBlock(DisassociateSubnetCidrBlockRequest);
    DisassociateVpcCidrBlock(DisassociateVpcCidrBlockRequest);
    GetManagedPrefixListAssociations(GetManagedPrefixListAssociationsRequest);
    GetManagedPrefixListEntries(GetManagedPrefixListEntriesRequest);
    GetSecurityGroupsForVpc(GetSecurityGroupsForVpcRequest);
    ModifyManagedPrefixList(ModifyManagedPrefixListRequest);
    ModifyNetworkInterfaceAttribute(ModifyNetworkInterfaceAttributeRequest);
    ModifySecurityGroupRules(ModifySecurityGroupRulesRequest);
    ModifySubnetAttribute(ModifySubnetAttributeRequest);
    ModifyVpcAttribute(ModifyVpcAttributeRequest);
    ResetNetworkInterfaceAttribute(ResetNetworkInterfaceAttributeRequest);
    RestoreManagedPrefixListVersion(RestoreManagedPrefixListVersionRequest);
    RevokeSecurityGroupEgress(RevokeSecurityGroupEgressRequest);
    RevokeSecurityGroupIngress(RevokeSecurityGroupIngressRequest);
    UnassignIpv6Addresses(UnassignIpv6AddressesRequest);
    UnassignPrivateIpAddresses(UnassignPrivateIpAddressesRequest);
    UpdateSecurityGroupRuleDescriptionsEgress(UpdateSecurityGroupRuleDescriptionsEgressRequest);
    UpdateSecurityGroupRuleDescriptionsIngress(UpdateSecurityGroupRuleDescriptionsIngressRequest);
}

shapes! {
    request struct AddPrefixListEntry {
        cidr: String = "Cidr";
        description: Option<String> = "Description";
    }
}

shapes! {
    request struct AssignIpv6AddressesRequest {
        ipv6_address_count: Option<i32> = "Ipv6AddressCount";
        ipv6_addresses: Vec<String> = "Ipv6Addresses";
        network_interface_id: String = "NetworkInterfaceId";
    }
}

shapes! {
    answer struct AssignIpv6AddressesResult {
        assigned_ipv6_addresses: Vec<String> = "assignedIpv6Addresses";
        network_interface_id: Option<String> = "networkInterfaceId";
    }
}

shapes! {
    request struct AssignPrivateIpAddressesRequest {
        allow_reassignment: Option<bool> = "AllowReassignment";
        network_interface_id: String = "NetworkInterfaceId";
        private_ip_addresses: Vec<String> = "PrivateIpAddress";
        secondary_private_ip_address_count: Option<i32> = "SecondaryPrivateIpAddressCount";
    }
}

shapes! {
    answer struct AssignPrivateIpAddressesResult {
        assigned_private_ip_addresses: Vec<AssignedPrivateIpAddress> = "assignedPrivateIpAddressesSet";
        network_interface_id: Option<String> = "networkInterfaceId";
    }
}

shapes! {
    answer struct AssignedPrivateIpAddress {
        private_ip_address: Option<String> = "privateIpAddress";
    }
}

shapes! {
    request struct AssociateSubnetCidrBlockRequest {
        ipv6_cidr_block: Option<String> = "Ipv6CidrBlock";
        subnet_id: String = "SubnetId";
    }
}

shapes! {
    answer struct AssociateSubnetCidrBlockResult {
        ipv6_cidr_block_association: Option<SubnetIpv6CidrBlockAssociation> = "ipv6CidrBlockAssociation";
        subnet_id: Option<String> = "subnetId";
    }
}

shapes! {
    request struct AssociateVpcCidrBlockRequest {
        amazon_provided_ipv6_cidr_block: Option<bool> = "AmazonProvidedIpv6CidrBlock";
        cidr_block: Option<String> = "CidrBlock";
        ipv6_cidr_block: Option<String> = "Ipv6CidrBlock";
        vpc_id: String = "VpcId";
    }
}

shapes! {
    answer struct AssociateVpcCidrBlockResult {
        cidr_block_association: Option<VpcCidrBlockAssociation> = "cidrBlockAssociation";
        ipv6_cidr_block_association: Option<VpcIpv6CidrBlockAssociation> = "ipv6CidrBlockAssociation";
        vpc_id: Option<String> = "vpcId";
    }
}

shapes! {
    request struct AttachNetworkInterfaceRequest {
        device_index: i32 = "DeviceIndex";
        dry_run: Option<bool> = "DryRun";
        instance_id: String = "InstanceId";
        network_interface_id: String = "NetworkInterfaceId";
    }
}

shapes! {
    answer struct AttachNetworkInterfaceResult {
        attachment_id: Option<String> = "attachmentId";
    }
}

choices! {
    enum AttachmentStatus {
        Attaching = "attaching";
        Attached = "attached";
        Detaching = "detaching";
        Detached = "detached";
    }
}

shapes! {
    both struct AttributeBooleanValue {
        value: Option<bool> = "Value", "value";
    }
}

shapes! {
    both struct AttributeValue {
        value: Option<String> = "Value", "value";
    }
}

shapes! {
    request struct AuthorizeSecurityGroupEgressRequest {
        cidr_ip: Option<String> = "CidrIp";
        dry_run: Option<bool> = "DryRun";
        from_port: Option<i32> = "FromPort";
        group_id: String = "GroupId";
        ip_permissions: Vec<IpPermission> = "IpPermissions";
        ip_protocol: Option<String> = "IpProtocol";
        source_security_group_name: Option<String> = "SourceSecurityGroupName";
        source_security_group_owner_id: Option<String> = "SourceSecurityGroupOwnerId";
        tag_specifications: Vec<TagSpecification> = "TagSpecification";
        to_port: Option<i32> = "ToPort";
    }
}

shapes! {
    answer struct AuthorizeSecurityGroupEgressResult {
        r#return: Option<bool> = "return";
        security_group_rules: Vec<SecurityGroupRule> = "securityGroupRuleSet";
    }
}

shapes! {
    request struct AuthorizeSecurityGroupIngressRequest {
        cidr_ip: Option<String> = "CidrIp";
        dry_run: Option<bool> = "DryRun";
        from_port: Option<i32> = "FromPort";
        group_id: Option<String> = "GroupId";
        group_name: Option<String> = "GroupName";
        ip_permissions: Vec<IpPermission> = "IpPermissions";
        ip_protocol: Option<String> = "IpProtocol";
        source_security_group_name: Option<String> = "SourceSecurityGroupName";
        source_security_group_owner_id: Option<String> = "SourceSecurityGroupOwnerId";
        tag_specifications: Vec<TagSpecification> = "TagSpecification";
        to_port: Option<i32> = "ToPort";
    }
}

shapes! {
    answer struct AuthorizeSecurityGroupIngressResult {
        r#return: Option<bool> = "return";
        security_group_rules: Vec<SecurityGroupRule> = "securityGroupRuleSet";
    }
}

shapes! {
    answer struct ConnectionTrackingConfiguration {
        tcp_established_timeout: Option<i32> = "tcpEstablishedTimeout";
        udp_stream_timeout: Option<i32> = "udpStreamTimeout";
        udp_timeout: Option<i32> = "udpTimeout";
    }
}

shapes! {
    request struct ConnectionTrackingSpecificationRequest {
        tcp_established_timeout: Option<i32> = "TcpEstablishedTimeout";
        udp_stream_timeout: Option<i32> = "UdpStreamTimeout";
        udp_timeout: Option<i32> = "UdpTimeout";
    }
}

shapes! {
    request struct CreateDefaultSubnetRequest {
        availability_zone: Option<String> = "AvailabilityZone";
        dry_run: Option<bool> = "DryRun";
    }
}

shapes! {
    answer struct CreateDefaultSubnetResult {
        subnet: Option<Subnet> = "subnet";
    }
}

shapes! {
    request struct CreateDefaultVpcRequest {
        dry_run: Option<bool> = "DryRun";
    }
}

shapes! {
    answer struct CreateDefaultVpcResult {
        vpc: Option<Vpc> = "vpc";
    }
}

shapes! {
    request struct CreateManagedPrefixListRequest {
        address_family: String = "AddressFamily";
        client_token: Option<String> = "ClientToken";
        dry_run: Option<bool> = "DryRun";
        entries: Vec<AddPrefixListEntry> = "Entry";
        max_entries: i32 = "MaxEntries";
        prefix_list_name: String = "PrefixListName";
        tag_specifications: Vec<TagSpecification> = "TagSpecification";
    }
}

shapes! {
    answer struct CreateManagedPrefixListResult {
        prefix_list: Option<ManagedPrefixList> = "prefixList";
    }
}

shapes! {
    request struct CreateNetworkInterfaceRequest {
        client_token: Option<String> = "ClientToken";
        connection_tracking_specification: Option<ConnectionTrackingSpecificationRequest> = "ConnectionTrackingSpecification";
        description: Option<String> = "Description";
        dry_run: Option<bool> = "DryRun";
        groups: Vec<String> = "SecurityGroupId";
        ipv6_address_count: Option<i32> = "Ipv6AddressCount";
        ipv6_addresses: Vec<InstanceIpv6Address> = "Ipv6Addresses";
        private_ip_address: Option<String> = "PrivateIpAddress";
        private_ip_addresses: Vec<PrivateIpAddressSpecification> = "PrivateIpAddresses";
        secondary_private_ip_address_count: Option<i32> = "SecondaryPrivateIpAddressCount";
        subnet_id: String = "SubnetId";
        tag_specifications: Vec<TagSpecification> = "TagSpecification";
    }
}

shapes! {
    answer struct CreateNetworkInterfaceResult {
        client_token: Option<String> = "clientToken";
        network_interface: Option<NetworkInterface> = "networkInterface";
    }
}

shapes! {
    request struct CreateSecurityGroupRequest {
        description: String = "GroupDescription";
        dry_run: Option<bool> = "DryRun";
        group_name: String = "GroupName";
        tag_specifications: Vec<TagSpecification> = "TagSpecification";
        vpc_id: Option<String> = "VpcId";
    }
}

shapes! {
    answer struct CreateSecurityGroupResult {
        group_id: Option<String> = "groupId";
        security_group_arn: Option<String> = "securityGroupArn";
        tags: Vec<Tag> = "tagSet";
    }
}

shapes! {
    request struct CreateSubnetRequest {
        availability_zone: Option<String> = "AvailabilityZone";
        cidr_block: Option<String> = "CidrBlock";
        dry_run: Option<bool> = "DryRun";
        ipv6_cidr_block: Option<String> = "Ipv6CidrBlock";
        tag_specifications: Vec<TagSpecification> = "TagSpecification";
        vpc_id: String = "VpcId";
    }
}

shapes! {
    answer struct CreateSubnetResult {
        subnet: Option<Subnet> = "subnet";
    }
}

shapes! {
    request struct CreateTagsRequest {
        dry_run: Option<bool> = "DryRun";
        resources: NonEmpty<String> = "ResourceId";
        tags: NonEmpty<Tag> = "Tag";
    }
}

shapes! {
    request struct CreateVpcRequest {
        amazon_provided_ipv6_cidr_block: Option<bool> = "AmazonProvidedIpv6CidrBlock";
        cidr_block: Option<String> = "CidrBlock";
        dry_run: Option<bool> = "DryRun";
        instance_tenancy: Option<Tenancy> = "InstanceTenancy";
        ipv6_cidr_block: Option<String> = "Ipv6CidrBlock";
        tag_specifications: Vec<TagSpecification> = "TagSpecification";
    }
}

shapes! {
    answer struct CreateVpcResult {
        vpc: Option<Vpc> = "vpc";
    }
}

shapes! {
    request struct DeleteManagedPrefixListRequest {
        dry_run: Option<bool> = "DryRun";
        prefix_list_id: String = "PrefixListId";
    }
}

shapes! {
    answer struct DeleteManagedPrefixListResult {
        prefix_list: Option<ManagedPrefixList> = "prefixList";
    }
}

shapes! {
    request struct DeleteNetworkInterfaceRequest {
        dry_run: Option<bool> = "DryRun";
        network_interface_id: String = "NetworkInterfaceId";
    }
}

shapes! {
    request struct DeleteSecurityGroupRequest {
        dry_run: Option<bool> = "DryRun";
        group_id: Option<String> = "GroupId";
        group_name: Option<String> = "GroupName";
    }
}

shapes! {
    answer struct DeleteSecurityGroupResult {
        group_id: Option<String> = "groupId";
        r#return: Option<bool> = "return";
    }
}

shapes! {
    request struct DeleteSubnetRequest {
        dry_run: Option<bool> = "DryRun";
        subnet_id: String = "SubnetId";
    }
}

shapes! {
    request struct DeleteTagsRequest {
        dry_run: Option<bool> = "DryRun";
        resources: NonEmpty<String> = "ResourceId";
        tags: Vec<Tag> = "Tag";
    }
}

shapes! {
    request struct DeleteVpcRequest {
        dry_run: Option<bool> = "DryRun";
        vpc_id: String = "VpcId";
    }
}

shapes! {
    request struct DescribeManagedPrefixListsRequest {
        dry_run: Option<bool> = "DryRun";
        filters: Vec<Filter> = "Filter";
        max_results: Option<i32> = "MaxResults" in 1..=100;
        next_token: Option<String> = "NextToken";
        prefix_list_ids: Vec<String> = "PrefixListId";
    }
}

shapes! {
    answer struct DescribeManagedPrefixListsResult {
        next_token: Option<String> = "nextToken";
        prefix_lists: Vec<ManagedPrefixList> = "prefixListSet";
    }
}

shapes! {
    request struct DescribeNetworkInterfaceAttributeRequest {
        attribute: Option<NetworkInterfaceAttribute> = "Attribute";
        dry_run: Option<bool> = "DryRun";
        network_interface_id: String = "NetworkInterfaceId";
    }
}

shapes! {
    answer struct DescribeNetworkInterfaceAttributeResult {
        attachment: Option<NetworkInterfaceAttachment> = "attachment";
        description: Option<AttributeValue> = "description";
        groups: Vec<GroupIdentifier> = "groupSet";
        network_interface_id: Option<String> = "networkInterfaceId";
        source_dest_check: Option<AttributeBooleanValue> = "sourceDestCheck";
    }
}

shapes! {
    request struct DescribeNetworkInterfacesRequest {
        dry_run: Option<bool> = "DryRun";
        filters: Vec<Filter> = "Filter";
        max_results: Option<i32> = "MaxResults" in 5..=1000;
        network_interface_ids: Vec<String> = "NetworkInterfaceId";
        next_token: Option<String> = "NextToken";
    }
}

shapes! {
    answer struct DescribeNetworkInterfacesResult {
        network_interfaces: Vec<NetworkInterface> = "networkInterfaceSet";
        next_token: Option<String> = "nextToken";
    }
}

shapes! {
    request struct DescribePrefixListsRequest {
        dry_run: Option<bool> = "DryRun";
        filters: Vec<Filter> = "Filter";
        max_results: Option<i32> = "MaxResults";
        next_token: Option<String> = "NextToken";
        prefix_list_ids: Vec<String> = "PrefixListId";
    }
}

shapes! {
    answer struct DescribePrefixListsResult {
        next_token: Option<String> = "nextToken";
        prefix_lists: Vec<PrefixList> = "prefixListSet";
    }
}

shapes! {
    request struct DescribeSecurityGroupReferencesRequest {
        dry_run: Option<bool> = "DryRun";
        group_id: NonEmpty<String> = "GroupId";
    }
}

shapes! {
    answer struct DescribeSecurityGroupReferencesResult {
        security_group_reference_set: Vec<SecurityGroupReference> = "securityGroupReferenceSet";
    }
}

shapes! {
    request struct DescribeSecurityGroupRulesRequest {
        dry_run: Option<bool> = "DryRun";
        filters: Vec<Filter> = "Filter";
        max_results: Option<i32> = "MaxResults" in 5..=1000;
        next_token: Option<String> = "NextToken";
        security_group_rule_ids: Vec<String> = "SecurityGroupRuleId";
    }
}

shapes! {
    answer struct DescribeSecurityGroupRulesResult {
        next_token: Option<String> = "nextToken";
        security_group_rules: Vec<SecurityGroupRule> = "securityGroupRuleSet";
    }
}

shapes! {
    request struct DescribeSecurityGroupsRequest {
        dry_run: Option<bool> = "DryRun";
        filters: Vec<Filter> = "Filter";
        group_ids: Vec<String> = "GroupId";
        group_names: Vec<String> = "GroupName";
        max_results: Option<i32> = "MaxResults" in 5..=1000;
        next_token: Option<String> = "NextToken";
    }
}

shapes! {
    answer struct DescribeSecurityGroupsResult {
        next_token: Option<String> = "nextToken";
        security_groups: Vec<SecurityGroup> = "securityGroupInfo";
    }
}

shapes! {
    request struct DescribeStaleSecurityGroupsRequest {
        dry_run: Option<bool> = "DryRun";
        max_results: Option<i32> = "MaxResults" in 5..=255;
        next_token: Option<String> = "NextToken";
        vpc_id: String = "VpcId";
    }
}

shapes! {
    answer struct DescribeStaleSecurityGroupsResult {
        next_token: Option<String> = "nextToken";
        stale_security_group_set: Vec<StaleSecurityGroup> = "staleSecurityGroupSet";
    }
}

shapes! {
    request struct DescribeSubnetsRequest {
        dry_run: Option<bool> = "DryRun";
        filters: Vec<Filter> = "Filter";
        max_results: Option<i32> = "MaxResults" in 5..=1000;
        next_token: Option<String> = "NextToken";
        subnet_ids: Vec<String> = "SubnetId";
    }
}

shapes! {
    answer struct DescribeSubnetsResult {
        next_token: Option<String> = "nextToken";
        subnets: Vec<Subnet> = "subnetSet";
    }
}

shapes! {
    request struct DescribeTagsRequest {
        dry_run: Option<bool> = "DryRun";
        filters: Vec<Filter> = "Filter";
        max_results: Option<i32> = "MaxResults";
        next_token: Option<String> = "NextToken";
    }
}

shapes! {
    answer struct DescribeTagsResult {
        next_token: Option<String> = "nextToken";
        tags: Vec<TagDescription> = "tagSet";
    }
}

shapes! {
    request struct DescribeVpcAttributeRequest {
        attribute: VpcAttributeName = "Attribute";
        dry_run: Option<bool> = "DryRun";
        vpc_id: String = "VpcId";
    }
}

shapes! {
    answer struct DescribeVpcAttributeResult {
        enable_dns_hostnames: Option<AttributeBooleanValue> = "enableDnsHostnames";
        enable_dns_support: Option<AttributeBooleanValue> = "enableDnsSupport";
        enable_network_address_usage_metrics: Option<AttributeBooleanValue> = "enableNetworkAddressUsageMetrics";
        vpc_id: Option<String> = "vpcId";
    }
}

shapes! {
    request struct DescribeVpcsRequest {
        dry_run: Option<bool> = "DryRun";
        filters: Vec<Filter> = "Filter";
        max_results: Option<i32> = "MaxResults" in 5..=1000;
        next_token: Option<String> = "NextToken";
        vpc_ids: Vec<String> = "VpcId";
    }
}

shapes! {
    answer struct DescribeVpcsResult {
        next_token: Option<String> = "nextToken";
        vpcs: Vec<Vpc> = "vpcSet";
    }
}

shapes! {
    request struct DetachNetworkInterfaceRequest {
        attachment_id: String = "AttachmentId";
        dry_run: Option<bool> = "DryRun";
        force: Option<bool> = "Force";
    }
}

shapes! {
    request struct DisassociateSubnetCidrBlockRequest {
        association_id: String = "AssociationId";
    }
}

shapes! {
    answer struct DisassociateSubnetCidrBlockResult {
        ipv6_cidr_block_association: Option<SubnetIpv6CidrBlockAssociation> = "ipv6CidrBlockAssociation";
        subnet_id: Option<String> = "subnetId";
    }
}

shapes! {
    request struct DisassociateVpcCidrBlockRequest {
        association_id: String = "AssociationId";
    }
}

shapes! {
    answer struct DisassociateVpcCidrBlockResult {
        cidr_block_association: Option<VpcCidrBlockAssociation> = "cidrBlockAssociation";
        ipv6_cidr_block_association: Option<VpcIpv6CidrBlockAssociation> = "ipv6CidrBlockAssociation";
        vpc_id: Option<String> = "vpcId";
    }
}

shapes! {
    request struct Filter {
        name: Option<String> = "Name";
        values: Vec<String> = "Value";
    }
}

shapes! {
    request struct GetManagedPrefixListAssociationsRequest {
        dry_run: Option<bool> = "DryRun";
        max_results: Option<i32> = "MaxResults" in 5..=255;
        next_token: Option<String> = "NextToken";
        prefix_list_id: String = "PrefixListId";
    }
}

shapes! {
    answer struct GetManagedPrefixListAssociationsResult {
        next_token: Option<String> = "nextToken";
        prefix_list_associations: Vec<PrefixListAssociation> = "prefixListAssociationSet";
    }
}

shapes! {
    request struct GetManagedPrefixListEntriesRequest {
        dry_run: Option<bool> = "DryRun";
        max_results: Option<i32> = "MaxResults" in 1..=100;
        next_token: Option<String> = "NextToken";
        prefix_list_id: String = "PrefixListId";
        target_version: Option<i64> = "TargetVersion";
    }
}

shapes! {
    answer struct GetManagedPrefixListEntriesResult {
        entries: Vec<PrefixListEntry> = "entrySet";
        next_token: Option<String> = "nextToken";
    }
}

shapes! {
    request struct GetSecurityGroupsForVpcRequest {
        dry_run: Option<bool> = "DryRun";
        filters: Vec<Filter> = "Filter";
        max_results: Option<i32> = "MaxResults" in 5..=1000;
        next_token: Option<String> = "NextToken";
        vpc_id: String = "VpcId";
    }
}

shapes! {
    answer struct GetSecurityGroupsForVpcResult {
        next_token: Option<String> = "nextToken";
        security_group_for_vpcs: Vec<SecurityGroupForVpc> = "securityGroupForVpcSet";
    }
}

shapes! {
    answer struct GroupIdentifier {
        group_id: Option<String> = "groupId";
        group_name: Option<String> = "groupName";
    }
}

shapes! {
    request struct InstanceIpv6Address {
        ipv6_address: Option<String> = "Ipv6Address";
    }
}

shapes! {
    both struct IpPermission {
        from_port: Option<i32> = "FromPort", "fromPort";
        ip_protocol: Option<String> = "IpProtocol", "ipProtocol";
        ip_ranges: Vec<IpRange> = "IpRanges", "ipRanges";
        ipv6_ranges: Vec<Ipv6Range> = "Ipv6Ranges", "ipv6Ranges";
        prefix_list_ids: Vec<PrefixListId> = "PrefixListIds", "prefixListIds";
        to_port: Option<i32> = "ToPort", "toPort";
        user_id_group_pairs: Vec<UserIdGroupPair> = "Groups", "groups";
    }
}

shapes! {
    both struct IpRange {
        cidr_ip: Option<String> = "CidrIp", "cidrIp";
        description: Option<String> = "Description", "description";
    }
}

shapes! {
    both struct Ipv6Range {
        cidr_ipv6: Option<String> = "CidrIpv6", "cidrIpv6";
        description: Option<String> = "Description", "description";
    }
}

shapes! {
    answer struct ManagedPrefixList {
        address_family: Option<String> = "addressFamily";
        max_entries: Option<i32> = "maxEntries";
        owner_id: Option<String> = "ownerId";
        prefix_list_arn: Option<String> = "prefixListArn";
        prefix_list_id: Option<String> = "prefixListId";
        prefix_list_name: Option<String> = "prefixListName";
        state: Option<PrefixListState> = "state";
        state_message: Option<String> = "stateMessage";
        tags: Vec<Tag> = "tagSet";
        version: Option<i64> = "version";
    }
}

shapes! {
    request struct ModifyManagedPrefixListRequest {
        add_entries: Vec<AddPrefixListEntry> = "AddEntry";
        current_version: Option<i64> = "CurrentVersion";
        dry_run: Option<bool> = "DryRun";
        max_entries: Option<i32> = "MaxEntries";
        prefix_list_id: String = "PrefixListId";
        prefix_list_name: Option<String> = "PrefixListName";
        remove_entries: Vec<RemovePrefixListEntry> = "RemoveEntry";
    }
}

shapes! {
    answer struct ModifyManagedPrefixListResult {
        prefix_list: Option<ManagedPrefixList> = "prefixList";
    }
}

shapes! {
    request struct ModifyNetworkInterfaceAttributeRequest {
        connection_tracking_specification: Option<ConnectionTrackingSpecificationRequest> = "ConnectionTrackingSpecification";
        description: Option<AttributeValue> = "Description";
        dry_run: Option<bool> = "DryRun";
        groups: Vec<String> = "SecurityGroupId";
        network_interface_id: String = "NetworkInterfaceId";
        source_dest_check: Option<AttributeBooleanValue> = "SourceDestCheck";
    }
}

shapes! {
    request struct ModifySecurityGroupRulesRequest {
        dry_run: Option<bool> = "DryRun";
        group_id: String = "GroupId";
        security_group_rules: NonEmpty<SecurityGroupRuleUpdate> = "SecurityGroupRule";
    }
}

shapes! {
    answer struct ModifySecurityGroupRulesResult {
        r#return: Option<bool> = "return";
    }
}

shapes! {
    request struct ModifySubnetAttributeRequest {
        assign_ipv6_address_on_creation: Option<AttributeBooleanValue> = "AssignIpv6AddressOnCreation";
        map_public_ip_on_launch: Option<AttributeBooleanValue> = "MapPublicIpOnLaunch";
        subnet_id: String = "SubnetId";
    }
}

shapes! {
    request struct ModifyVpcAttributeRequest {
        enable_dns_hostnames: Option<AttributeBooleanValue> = "EnableDnsHostnames";
        enable_dns_support: Option<AttributeBooleanValue> = "EnableDnsSupport";
        enable_network_address_usage_metrics: Option<AttributeBooleanValue> = "EnableNetworkAddressUsageMetrics";
        vpc_id: String = "VpcId";
    }
}

shapes! {
    answer struct NetworkInterface {
        attachment: Option<NetworkInterfaceAttachment> = "attachment";
        availability_zone: Option<String> = "availabilityZone";
        connection_tracking_configuration: Option<ConnectionTrackingConfiguration> = "connectionTrackingConfiguration";
        description: Option<String> = "description";
        groups: Vec<GroupIdentifier> = "groupSet";
        interface_type: Option<NetworkInterfaceType> = "interfaceType";
        ipv6_addresses: Vec<NetworkInterfaceIpv6Address> = "ipv6AddressesSet";
        mac_address: Option<String> = "macAddress";
        network_interface_id: Option<String> = "networkInterfaceId";
        owner_id: Option<String> = "ownerId";
        private_ip_address: Option<String> = "privateIpAddress";
        private_ip_addresses: Vec<NetworkInterfacePrivateIpAddress> = "privateIpAddressesSet";
        requester_managed: Option<bool> = "requesterManaged";
        source_dest_check: Option<bool> = "sourceDestCheck";
        status: Option<NetworkInterfaceStatus> = "status";
        subnet_id: Option<String> = "subnetId";
        tag_set: Vec<Tag> = "tagSet";
        vpc_id: Option<String> = "vpcId";
    }
}

shapes! {
    answer struct NetworkInterfaceAttachment {
        attachment_id: Option<String> = "attachmentId";
        delete_on_termination: Option<bool> = "deleteOnTermination";
        device_index: Option<i32> = "deviceIndex";
        instance_id: Option<String> = "instanceId";
        instance_owner_id: Option<String> = "instanceOwnerId";
        status: Option<AttachmentStatus> = "status";
    }
}

choices! {
    enum NetworkInterfaceAttribute {
        Description = "description";
        GroupSet = "groupSet";
        SourceDestCheck = "sourceDestCheck";
        Attachment = "attachment";
    }
}

shapes! {
    answer struct NetworkInterfaceIpv6Address {
        ipv6_address: Option<String> = "ipv6Address";
    }
}

shapes! {
    answer struct NetworkInterfacePrivateIpAddress {
        primary: Option<bool> = "primary";
        private_ip_address: Option<String> = "privateIpAddress";
    }
}

choices! {
    enum NetworkInterfaceStatus {
        Available = "available";
        Associated = "associated";
        Attaching = "attaching";
        InUse = "in-use";
        Detaching = "detaching";
    }
}

choices! {
    enum NetworkInterfaceType {
        Interface = "interface";
    }
}

shapes! {
    answer struct PrefixList {
        cidrs: Vec<String> = "cidrSet";
        prefix_list_id: Option<String> = "prefixListId";
        prefix_list_name: Option<String> = "prefixListName";
    }
}

shapes! {
    answer struct PrefixListAssociation {
        resource_id: Option<String> = "resourceId";
        resource_owner: Option<String> = "resourceOwner";
    }
}

shapes! {
    answer struct PrefixListEntry {
        cidr: Option<String> = "cidr";
        description: Option<String> = "description";
    }
}

shapes! {
    both struct PrefixListId {
        description: Option<String> = "Description", "description";
        prefix_list_id: Option<String> = "PrefixListId", "prefixListId";
    }
}

choices! {
    enum PrefixListState {
        CreateInProgress = "create-in-progress";
        CreateComplete = "create-complete";
        CreateFailed = "create-failed";
        ModifyInProgress = "modify-in-progress";
        ModifyComplete = "modify-complete";
        ModifyFailed = "modify-failed";
        RestoreInProgress = "restore-in-progress";
        RestoreComplete = "restore-complete";
        RestoreFailed = "restore-failed";
        DeleteInProgress = "delete-in-progress";
        DeleteComplete = "delete-complete";
        DeleteFailed = "delete-failed";
    }
}

shapes! {
    request struct PrivateIpAddressSpecification {
        primary: Option<bool> = "Primary";
        private_ip_address: Option<String> = "PrivateIpAddress";
    }
}

shapes! {
    answer struct ReferencedSecurityGroup {
        group_id: Option<String> = "groupId";
        user_id: Option<String> = "userId";
        vpc_id: Option<String> = "vpcId";
    }
}

shapes! {
    request struct RemovePrefixListEntry {
        cidr: String = "Cidr";
    }
}

shapes! {
    request struct ResetNetworkInterfaceAttributeRequest {
        dry_run: Option<bool> = "DryRun";
        network_interface_id: String = "NetworkInterfaceId";
        source_dest_check: Option<String> = "SourceDestCheck";
    }
}

choices! {
    enum ResourceType {
        NetworkInterface = "network-interface";
        PrefixList = "prefix-list";
        SecurityGroup = "security-group";
        SecurityGroupRule = "security-group-rule";
        Subnet = "subnet";
        Vpc = "vpc";
    }
}

shapes! {
    request struct RestoreManagedPrefixListVersionRequest {
        current_version: i64 = "CurrentVersion";
        dry_run: Option<bool> = "DryRun";
        prefix_list_id: String = "PrefixListId";
        previous_version: i64 = "PreviousVersion";
    }
}

shapes! {
    answer struct RestoreManagedPrefixListVersionResult {
        prefix_list: Option<ManagedPrefixList> = "prefixList";
    }
}

shapes! {
    request struct RevokeSecurityGroupEgressRequest {
        cidr_ip: Option<String> = "CidrIp";
        dry_run: Option<bool> = "DryRun";
        from_port: Option<i32> = "FromPort";
        group_id: String = "GroupId";
        ip_permissions: Vec<IpPermission> = "IpPermissions";
        ip_protocol: Option<String> = "IpProtocol";
        security_group_rule_ids: Vec<String> = "SecurityGroupRuleId";
        source_security_group_name: Option<String> = "SourceSecurityGroupName";
        source_security_group_owner_id: Option<String> = "SourceSecurityGroupOwnerId";
        to_port: Option<i32> = "ToPort";
    }
}

shapes! {
    answer struct RevokeSecurityGroupEgressResult {
        r#return: Option<bool> = "return";
        revoked_security_group_rules: Vec<RevokedSecurityGroupRule> = "revokedSecurityGroupRuleSet";
        unknown_ip_permissions: Vec<IpPermission> = "unknownIpPermissionSet";
    }
}

shapes! {
    request struct RevokeSecurityGroupIngressRequest {
        cidr_ip: Option<String> = "CidrIp";
        dry_run: Option<bool> = "DryRun";
        from_port: Option<i32> = "FromPort";
        group_id: Option<String> = "GroupId";
        group_name: Option<String> = "GroupName";
        ip_permissions: Vec<IpPermission> = "IpPermissions";
        ip_protocol: Option<String> = "IpProtocol";
        security_group_rule_ids: Vec<String> = "SecurityGroupRuleId";
        source_security_group_name: Option<String> = "SourceSecurityGroupName";
        source_security_group_owner_id: Option<String> = "SourceSecurityGroupOwnerId";
        to_port: Option<i32> = "ToPort";
    }
}

shapes! {
    answer struct RevokeSecurityGroupIngressResult {
        r#return: Option<bool> = "return";
        revoked_security_group_rules: Vec<RevokedSecurityGroupRule> = "revokedSecurityGroupRuleSet";
        unknown_ip_permissions: Vec<IpPermission> = "unknownIpPermissionSet";
    }
}

shapes! {
    answer struct RevokedSecurityGroupRule {
        cidr_ipv4: Option<String> = "cidrIpv4";
        cidr_ipv6: Option<String> = "cidrIpv6";
        description: Option<String> = "description";
        from_port: Option<i32> = "fromPort";
        group_id: Option<String> = "groupId";
        ip_protocol: Option<String> = "ipProtocol";
        is_egress: Option<bool> = "isEgress";
        prefix_list_id: Option<String> = "prefixListId";
        referenced_group_id: Option<String> = "referencedGroupId";
        security_group_rule_id: Option<String> = "securityGroupRuleId";
        to_port: Option<i32> = "toPort";
    }
}

shapes! {
    answer struct SecurityGroup {
        description: Option<String> = "groupDescription";
        group_id: Option<String> = "groupId";
        group_name: Option<String> = "groupName";
        ip_permissions: Vec<IpPermission> = "ipPermissions";
        ip_permissions_egress: Vec<IpPermission> = "ipPermissionsEgress";
        owner_id: Option<String> = "ownerId";
        security_group_arn: Option<String> = "securityGroupArn";
        tags: Vec<Tag> = "tagSet";
        vpc_id: Option<String> = "vpcId";
    }
}

shapes! {
    answer struct SecurityGroupForVpc {
        description: Option<String> = "description";
        group_id: Option<String> = "groupId";
        group_name: Option<String> = "groupName";
        owner_id: Option<String> = "ownerId";
        primary_vpc_id: Option<String> = "primaryVpcId";
        tags: Vec<Tag> = "tagSet";
    }
}

shapes! {
    answer struct SecurityGroupReference {
        group_id: Option<String> = "groupId";
        referencing_vpc_id: Option<String> = "referencingVpcId";
    }
}

shapes! {
    answer struct SecurityGroupRule {
        cidr_ipv4: Option<String> = "cidrIpv4";
        cidr_ipv6: Option<String> = "cidrIpv6";
        description: Option<String> = "description";
        from_port: Option<i32> = "fromPort";
        group_id: Option<String> = "groupId";
        group_owner_id: Option<String> = "groupOwnerId";
        ip_protocol: Option<String> = "ipProtocol";
        is_egress: Option<bool> = "isEgress";
        prefix_list_id: Option<String> = "prefixListId";
        referenced_group_info: Option<ReferencedSecurityGroup> = "referencedGroupInfo";
        security_group_rule_arn: Option<String> = "securityGroupRuleArn";
        security_group_rule_id: Option<String> = "securityGroupRuleId";
        tags: Vec<Tag> = "tagSet";
        to_port: Option<i32> = "toPort";
    }
}

shapes! {
    request struct SecurityGroupRuleDescription {
        description: Option<String> = "Description";
        security_group_rule_id: Option<String> = "SecurityGroupRuleId";
    }
}

shapes! {
    request struct SecurityGroupRuleRequest {
        cidr_ipv4: Option<String> = "CidrIpv4";
        cidr_ipv6: Option<String> = "CidrIpv6";
        description: Option<String> = "Description";
        from_port: Option<i32> = "FromPort";
        ip_protocol: Option<String> = "IpProtocol";
        prefix_list_id: Option<String> = "PrefixListId";
        referenced_group_id: Option<String> = "ReferencedGroupId";
        to_port: Option<i32> = "ToPort";
    }
}

shapes! {
    request struct SecurityGroupRuleUpdate {
        security_group_rule: Option<SecurityGroupRuleRequest> = "SecurityGroupRule";
        security_group_rule_id: String = "SecurityGroupRuleId";
    }
}

shapes! {
    answer struct StaleIpPermission {
        from_port: Option<i32> = "fromPort";
        ip_protocol: Option<String> = "ipProtocol";
        ip_ranges: Vec<String> = "ipRanges";
        prefix_list_ids: Vec<String> = "prefixListIds";
        to_port: Option<i32> = "toPort";
        user_id_group_pairs: Vec<UserIdGroupPair> = "groups";
    }
}

shapes! {
    answer struct StaleSecurityGroup {
        description: Option<String> = "description";
        group_id: Option<String> = "groupId";
        group_name: Option<String> = "groupName";
        stale_ip_permissions: Vec<StaleIpPermission> = "staleIpPermissions";
        stale_ip_permissions_egress: Vec<StaleIpPermission> = "staleIpPermissionsEgress";
        vpc_id: Option<String> = "vpcId";
    }
}

shapes! {
    answer struct Subnet {
        assign_ipv6_address_on_creation: Option<bool> = "assignIpv6AddressOnCreation";
        availability_zone: Option<String> = "availabilityZone";
        available_ip_address_count: Option<i32> = "availableIpAddressCount";
        cidr_block: Option<String> = "cidrBlock";
        default_for_az: Option<bool> = "defaultForAz";
        ipv6_cidr_block_association_set: Vec<SubnetIpv6CidrBlockAssociation> = "ipv6CidrBlockAssociationSet";
        map_public_ip_on_launch: Option<bool> = "mapPublicIpOnLaunch";
        owner_id: Option<String> = "ownerId";
        state: Option<SubnetState> = "state";
        subnet_arn: Option<String> = "subnetArn";
        subnet_id: Option<String> = "subnetId";
        tags: Vec<Tag> = "tagSet";
        vpc_id: Option<String> = "vpcId";
    }
}

shapes! {
    answer struct SubnetCidrBlockState {
        state: Option<SubnetCidrBlockStateCode> = "state";
        status_message: Option<String> = "statusMessage";
    }
}

choices! {
    enum SubnetCidrBlockStateCode {
        Associating = "associating";
        Associated = "associated";
        Disassociating = "disassociating";
        Disassociated = "disassociated";
        Failing = "failing";
        Failed = "failed";
    }
}

shapes! {
    answer struct SubnetIpv6CidrBlockAssociation {
        association_id: Option<String> = "associationId";
        ipv6_cidr_block: Option<String> = "ipv6CidrBlock";
        ipv6_cidr_block_state: Option<SubnetCidrBlockState> = "ipv6CidrBlockState";
    }
}

choices! {
    enum SubnetState {
        Pending = "pending";
        Available = "available";
        Unavailable = "unavailable";
        Failed = "failed";
        FailedInsufficientCapacity = "failed-insufficient-capacity";
    }
}

shapes! {
    both struct Tag {
        key: Option<String> = "Key", "key";
        value: Option<String> = "Value", "value";
    }
}

shapes! {
    answer struct TagDescription {
        key: Option<String> = "key";
        resource_id: Option<String> = "resourceId";
        resource_type: Option<ResourceType> = "resourceType";
        value: Option<String> = "value";
    }
}

shapes! {
    request struct TagSpecification {
        resource_type: Option<ResourceType> = "ResourceType";
        tags: Vec<Tag> = "Tag";
    }
}

choices! {
    enum Tenancy {
        Default = "default";
        Dedicated = "dedicated";
        Host = "host";
    }
}

shapes! {
    request struct UnassignIpv6AddressesRequest {
        ipv6_addresses: Vec<String> = "Ipv6Addresses";
        network_interface_id: String = "NetworkInterfaceId";
    }
}

shapes! {
    answer struct UnassignIpv6AddressesResult {
        network_interface_id: Option<String> = "networkInterfaceId";
        unassigned_ipv6_addresses: Vec<String> = "unassignedIpv6Addresses";
    }
}

shapes! {
    request struct UnassignPrivateIpAddressesRequest {
        network_interface_id: String = "NetworkInterfaceId";
        private_ip_addresses: Vec<String> = "PrivateIpAddress";
    }
}

shapes! {
    request struct UpdateSecurityGroupRuleDescriptionsEgressRequest {
        dry_run: Option<bool> = "DryRun";
        group_id: Option<String> = "GroupId";
        group_name: Option<String> = "GroupName";
        ip_permissions: Vec<IpPermission> = "IpPermissions";
        security_group_rule_descriptions: Vec<SecurityGroupRuleDescription> = "SecurityGroupRuleDescription";
    }
}

shapes! {
    answer struct UpdateSecurityGroupRuleDescriptionsEgressResult {
        r#return: Option<bool> = "return";
    }
}

shapes! {
    request struct UpdateSecurityGroupRuleDescriptionsIngressRequest {
        dry_run: Option<bool> = "DryRun";
        group_id: Option<String> = "GroupId";
        group_name: Option<String> = "GroupName";
        ip_permissions: Vec<IpPermission> = "IpPermissions";
        security_group_rule_descriptions: Vec<SecurityGroupRuleDescription> = "SecurityGroupRuleDescription";
    }
}

shapes! {
    answer struct UpdateSecurityGroupRuleDescriptionsIngressResult {
        r#return: Option<bool> = "return";
    }
}

shapes! {
    both struct UserIdGroupPair {
        description: Option<String> = "Description", "description";
        group_id: Option<String> = "GroupId", "groupId";
        group_name: Option<String> = "GroupName", "groupName";
        user_id: Option<String> = "UserId", "userId";
        vpc_id: Option<String> = "VpcId", "vpcId";
    }
}

shapes! {
    answer struct Vpc {
        cidr_block: Option<String> = "cidrBlock";
        cidr_block_association_set: Vec<VpcCidrBlockAssociation> = "cidrBlockAssociationSet";
        instance_tenancy: Option<Tenancy> = "instanceTenancy";
        ipv6_cidr_block_association_set: Vec<VpcIpv6CidrBlockAssociation> = "ipv6CidrBlockAssociationSet";
        is_default: Option<bool> = "isDefault";
        owner_id: Option<String> = "ownerId";
        state: Option<VpcState> = "state";
        tags: Vec<Tag> = "tagSet";
        vpc_id: Option<String> = "vpcId";
    }
}

choices! {
    enum VpcAttributeName {
        EnableDnsSupport = "enableDnsSupport";
        EnableDnsHostnames = "enableDnsHostnames";
        EnableNetworkAddressUsageMetrics = "enableNetworkAddressUsageMetrics";
    }
}

shapes! {
    answer struct VpcCidrBlockAssociation {
        association_id: Option<String> = "associationId";
        cidr_block: Option<String> = "cidrBlock";
        cidr_block_state: Option<VpcCidrBlockState> = "cidrBlockState";
    }
}

shapes! {
    answer struct VpcCidrBlockState {
        state: Option<VpcCidrBlockStateCode> = "state";
        status_message: Option<String> = "statusMessage";
    }
}

choices! {
    enum VpcCidrBlockStateCode {
        Associating = "associating";
        Associated = "associated";
        Disassociating = "disassociating";
        Disassociated = "disassociated";
        Failing = "failing";
        Failed = "failed";
    }
}

shapes! {
    answer struct VpcIpv6CidrBlockAssociation {
        association_id: Option<String> = "associationId";
        ipv6_cidr_block: Option<String> = "ipv6CidrBlock";
        ipv6_cidr_block_state: Option<VpcCidrBlockState> = "ipv6CidrBlockState";
    }
}

choices! {
    enum VpcState {
        Pending = "pending";
        Available = "available";
        Deleting = "deleting";
    }
}
