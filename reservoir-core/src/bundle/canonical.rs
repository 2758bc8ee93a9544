//! One spelling of every document that is signed: RFC 8785, which for whole numbers and text is what `serde_json`
//! writes with sorted keys.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    snapshot::entry::Canonical,
};

/// The largest number that is carried: every reader of JSON takes it exactly, and every catalog has room for it.
pub(super) const LARGEST: u64 = (1 << 53) - 1;

/// The canonical bytes, with a line end for people who look at the file.
pub(super) fn encode<T: Serialize>(what: &str, value: &T) -> Result<Vec<u8>> {
    let failed = |error: serde_json::Error| Error::invalid(what, error.to_string());
    let value = serde_json::to_value(value).map_err(failed)?;
    let mut bytes = serde_json::to_vec(&Canonical(&value)).map_err(failed)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads what [`encode`] wrote, and refuses every other spelling of it.
pub(super) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    let failed = |error: serde_json::Error| Error::malformed(what, "bundle-json", error.to_string());
    let value: Value = serde_json::from_slice(bytes).map_err(failed)?;
    if encode(what, &value)? != bytes {
        return Err(Error::malformed(what, "bundle-canonical", "it is not in canonical form (RFC 8785)"));
    }
    serde_json::from_value(value).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_spelling() {
        let value: Value = serde_json::from_str(r#"{"b":[1,"é\u0007/"],"a":{"d":null,"c":true}}"#).unwrap();
        let bytes = encode("test", &value).unwrap();
        assert_eq!(bytes, "{\"a\":{\"c\":true,\"d\":null},\"b\":[1,\"é\\u0007/\"]}\n".as_bytes());
        assert_eq!(decode::<Value>("test", &bytes).unwrap(), value);
        for other in [
            "{ }\n",
            "{}",
            "{\"a\":1,\"a\":1}\n",
            "{\"b\":1,\"a\":1}\n",
            "{\"a\":1.0}\n",
            "{\"a\":\"\\u00e9\"}\n",
        ] {
            assert!(decode::<Value>("test", other.as_bytes()).is_err(), "{other}");
        }
    }
}
