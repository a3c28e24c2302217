//! STS: who calls.

use super::Outcome;
use crate::{call::Gate, error::Error, generated::sts::GetCallerIdentityResponse};

pub(super) fn get_caller_identity(gate: &Gate<'_>) -> Result<Outcome, Error> {
    let caller = gate.open()?.caller;
    Ok(Outcome::read(GetCallerIdentityResponse {
        account: Some(caller.account.to_string()),
        arn: Some(caller.arn.clone()),
        user_id: Some(caller.user_id.clone()),
    }))
}
