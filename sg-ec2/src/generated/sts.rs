//! Written by `cargo xtask models` from `xtask/models/sts.json`. Do not edit.

use crate::codec::shape::{actions, shapes};

actions! {
    Request;
    GetCallerIdentity(GetCallerIdentityRequest);
}

shapes! {
    request struct GetCallerIdentityRequest {
    }
}

shapes! {
    answer struct GetCallerIdentityResponse {
        account: Option<String> = "Account";
        arn: Option<String> = "Arn";
        user_id: Option<String> = "UserId";
    }
}
