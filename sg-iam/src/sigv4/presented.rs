//! The signature that a request carries, read and not yet verified.

use super::{
    ALGORITHM, TERMINATOR,
    error::{Error, Malformed},
    key::Scope,
    request::{Request, hex_byte},
};
use crate::Timestamp;

/// Longest lifetime of a presigned request: seven days.
const MAX_EXPIRES_SECONDS: i64 = 604_800;
/// IAM's key ids have 16 to 128 characters; shorter ones are left to the look-up.
const MAX_KEY_ID_LENGTH: usize = 128;

/// Where the signature was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Header,
    /// In the query, good for so many seconds after it was made.
    Presigned {
        expires_seconds: i64,
    },
}

/// A signature as a request presents it. Nothing here is proven yet.
#[derive(Clone, Debug)]
pub struct Presented {
    pub access_key_id: String,
    /// Comes with keys of sessions.
    pub session_token: Option<String>,
    pub scope: Scope,
    pub signed_at: Timestamp,
    pub form: Form,
    /// Lower case, sorted.
    pub(super) signed_headers: Vec<String>,
    pub(super) signature: [u8; 32],
}

impl Presented {
    /// Reads the signature of a request.
    pub fn read(request: &Request<'_>) -> Result<Self, Error> {
        let mut headers = request.values("authorization");
        let header = headers.next();
        let query = Query::read(request)?;
        match (header, query.is_signed()) {
            (Some(_), true) => Err(Malformed::Several.into()),
            (Some(_), false) if headers.next().is_some() => Err(Malformed::Several.into()),
            (Some(header), false) => Self::from_header(request, header),
            (None, true) => Self::from_query(request, query),
            (None, false) => Err(Error::Missing),
        }
    }

    fn from_header(request: &Request<'_>, header: &[u8]) -> Result<Self, Error> {
        let header = std::str::from_utf8(header).map_err(|_| Malformed::Part)?.trim();
        let (algorithm, parts) = header.split_once(' ').unwrap_or((header, ""));
        if algorithm != ALGORITHM {
            return Err(Malformed::Algorithm.into());
        }
        let [mut credential, mut signed_headers, mut signature] = [None; 3];
        for part in parts.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(Malformed::Part)?;
            let (name, slot) = match name {
                "Credential" => ("Credential", &mut credential),
                "SignedHeaders" => ("SignedHeaders", &mut signed_headers),
                "Signature" => ("Signature", &mut signature),
                _ => return Err(Malformed::Part.into()),
            };
            if slot.replace(value).is_some() {
                return Err(Malformed::Repeated(name).into());
            }
        }
        let (access_key_id, scope) =
            credential_of(credential.ok_or(Malformed::Lacks("Credential"))?)?;
        let signed_headers =
            signed_headers_of(request, signed_headers.ok_or(Malformed::Lacks("SignedHeaders"))?)?;
        let session_token = only(request, "x-amz-security-token")?;
        if session_token.is_some()
            && !signed_headers.iter().any(|name| name == "x-amz-security-token")
        {
            return Err(Malformed::TokenUnsigned.into());
        }
        Ok(Self {
            access_key_id,
            session_token: session_token.map(str::to_owned),
            scope,
            signed_at: date_of(request)?,
            form: Form::Header,
            signed_headers,
            signature: signature_of(signature.ok_or(Malformed::Lacks("Signature"))?)?,
        })
    }

    fn from_query(request: &Request<'_>, query: Query) -> Result<Self, Error> {
        if query.algorithm.as_deref() != Some(ALGORITHM) {
            return Err(Malformed::Algorithm.into());
        }
        let given = |value: Option<String>, name| value.ok_or(Malformed::Lacks(name));
        let (access_key_id, scope) = credential_of(&given(query.credential, "X-Amz-Credential")?)?;
        let signed_at =
            Timestamp::from_basic(&given(query.date, "X-Amz-Date")?).ok_or(Malformed::Date)?;
        let expires = given(query.expires, "X-Amz-Expires")?;
        let is_number = !expires.is_empty() && expires.bytes().all(|byte| byte.is_ascii_digit());
        let expires_seconds = expires.parse().ok().filter(|_| is_number);
        let expires_seconds = expires_seconds
            .filter(|seconds| (1..=MAX_EXPIRES_SECONDS).contains(seconds))
            .ok_or(Malformed::Expires)?;
        Ok(Self {
            access_key_id,
            session_token: query.token,
            scope,
            signed_at,
            form: Form::Presigned { expires_seconds },
            signed_headers: signed_headers_of(
                request,
                &given(query.signed_headers, "X-Amz-SignedHeaders")?,
            )?,
            signature: signature_of(&given(query.signature, "X-Amz-Signature")?)?,
        })
    }
}

/// The parameters of a presigned request.
#[derive(Default)]
struct Query {
    algorithm: Option<String>,
    credential: Option<String>,
    date: Option<String>,
    expires: Option<String>,
    signed_headers: Option<String>,
    signature: Option<String>,
    token: Option<String>,
}

impl Query {
    fn read(request: &Request<'_>) -> Result<Self, Malformed> {
        let mut query = Self::default();
        for (name, value) in request.parameters() {
            let (name, slot) = match &*name {
                b"X-Amz-Algorithm" => ("X-Amz-Algorithm", &mut query.algorithm),
                b"X-Amz-Credential" => ("X-Amz-Credential", &mut query.credential),
                b"X-Amz-Date" => ("X-Amz-Date", &mut query.date),
                b"X-Amz-Expires" => ("X-Amz-Expires", &mut query.expires),
                b"X-Amz-SignedHeaders" => ("X-Amz-SignedHeaders", &mut query.signed_headers),
                b"X-Amz-Signature" => ("X-Amz-Signature", &mut query.signature),
                b"X-Amz-Security-Token" => ("X-Amz-Security-Token", &mut query.token),
                _ => continue,
            };
            let value = String::from_utf8(value).map_err(|_| Malformed::Part)?;
            if slot.replace(value).is_some() {
                return Err(Malformed::Repeated(name));
            }
        }
        Ok(query)
    }

    fn is_signed(&self) -> bool {
        self.algorithm.is_some() || self.credential.is_some() || self.signature.is_some()
    }
}

/// Splits `keyid/date/region/service/aws4_request`.
fn credential_of(text: &str) -> Result<(String, Scope), Malformed> {
    let parts: Vec<_> = text.split('/').collect();
    let [key_id, date, region, service, terminator] = parts[..] else {
        return Err(Malformed::Credential);
    };
    let is_key_id = !key_id.is_empty()
        && key_id.len() <= MAX_KEY_ID_LENGTH
        && key_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_key_id || date.is_empty() || region.is_empty() || service.is_empty() {
        return Err(Malformed::Credential);
    }
    if terminator != TERMINATOR {
        return Err(Malformed::Terminator);
    }
    let scope = Scope { date: date.into(), region: region.into(), service: service.into() };
    Ok((key_id.to_owned(), scope))
}

fn signed_headers_of(request: &Request<'_>, text: &str) -> Result<Vec<String>, Malformed> {
    let names: Vec<_> = text.split(';').map(str::to_owned).collect();
    let is_name = |name: &String| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && byte != b':')
    };
    if !names.iter().all(is_name) || !names.is_sorted_by(|one, next| one < next) {
        return Err(Malformed::SignedHeaders);
    }
    if !names.iter().any(|name| name == "host") {
        return Err(Malformed::HostUnsigned);
    }
    if names.iter().any(|name| request.values(name).next().is_none()) {
        return Err(Malformed::HeaderAbsent);
    }
    Ok(names)
}

fn signature_of(text: &str) -> Result<[u8; 32], Malformed> {
    let bytes = text.as_bytes();
    let is_lower = bytes.len() == 64 && !bytes.iter().any(u8::is_ascii_uppercase);
    let bytes: Option<Vec<_>> = bytes.chunks(2).map(hex_byte).collect();
    let bytes = bytes.filter(|_| is_lower).ok_or(Malformed::Signature)?;
    bytes.try_into().map_err(|_| Malformed::Signature)
}

/// `X-Amz-Date`; else `Date`, which botocore uses where its caller set it.
fn date_of(request: &Request<'_>) -> Result<Timestamp, Malformed> {
    if let Some(date) = only(request, "x-amz-date")? {
        return Timestamp::from_basic(date).ok_or(Malformed::Date);
    }
    let date = only(request, "date")?.ok_or(Malformed::NoDate)?;
    let date = Timestamp::from_basic(date).or_else(|| Timestamp::from_http_date(date));
    date.ok_or(Malformed::Date)
}

/// The value of a header that may come once.
fn only<'a>(request: &Request<'a>, name: &'static str) -> Result<Option<&'a str>, Malformed> {
    let mut values = request.values(name);
    let value = values.next();
    if values.next().is_some() {
        return Err(Malformed::Repeated(name));
    }
    let text = |value| std::str::from_utf8(value).map(str::trim).map_err(|_| Malformed::Part);
    value.map(text).transpose()
}
