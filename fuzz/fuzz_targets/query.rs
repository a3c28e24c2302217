//! Requests of the EC2 API: any form gets an answer in XML or an error of the client's.

#![no_main]

use std::cell::Cell;

use libfuzzer_sys::fuzz_target;
use sg_ec2::{
    Caller, Context, Error, Parameters, Quotas, Request,
    seed::{NewVpc, add_default_vpc},
};
use sg_iam::{Service, Timestamp};
use sg_policy::id::AccountId;
use sg_store::{EpochId, Limits, Op, Revision, Snapshot, Txn, store::KeyValue};

const ACCOUNT: AccountId = AccountId(123_456_789_012);

// The whole input is the body of a form, without `Version`.
fuzz_target!(|body: &[u8]| {
    for (service, version) in [(Service::Ec2, "2016-11-15"), (Service::Sts, "2011-06-15")] {
        let query = format!("Version={version}");
        let response = match answer(service, query.as_bytes(), body) {
            Ok(body) => body,
            Err(error) => {
                assert!((400..500).contains(&error.status), "{error:?}");
                error.respond(service, "r-1").body
            }
        };
        roxmltree::Document::parse(&response).expect("well-formed XML");
    }
});

fn answer(service: Service, query: &[u8], body: &[u8]) -> Result<String, Error> {
    let parameters = Parameters::decode(query, body)?;
    let names = parameters.pairs().len();
    assert!(names <= body.len() + 1, "more parameters than the form has letters");
    let request = Request::read(service, &parameters)?;
    let is_read_only = request.is_read_only();
    let drawn = Cell::new(0);
    let draw = || {
        drawn.set(drawn.get() + 1);
        drawn.get()
    };
    let region = "us-east-1".parse().expect("a region");
    let mut txn = Txn::new();
    let cidr = "172.31.0.0/16".parse().expect("a network");
    add_default_vpc(
        &mut txn,
        &NewVpc {
            account: ACCOUNT,
            region: &region,
            epoch: EpochId(1),
            cidrs: &[cidr],
            draw: &draw,
        },
    );
    let puts = txn.ops().iter().filter_map(|op| match op {
        Op::Put { key, value } => Some(KeyValue {
            key: key.clone(),
            value: value.clone(),
            create_revision: Revision(2),
            mod_revision: Revision(2),
        }),
        Op::Delete { .. } => None,
    });
    let snapshot = Snapshot::of(puts, Revision(2));
    let caller = Caller {
        account: ACCOUNT,
        arn: "arn:aws:iam::123456789012:root".into(),
        user_id: "1".into(),
    };
    let decision = request.decide(&Context {
        caller: &caller,
        region: &region,
        request_id: "r-1",
        now: Timestamp(0),
        snapshot: &snapshot,
        quotas: &Quotas::default(),
        draw: &draw,
    })?;
    if let Some(txn) = &decision.txn {
        assert!(!is_read_only, "a read that changes something");
        txn.check(Limits { ops: 4096, bytes: 8 << 20 })
            .expect("a transaction that any store takes");
    }
    Ok(decision.response.body)
}
