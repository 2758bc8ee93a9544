//! The form that twine and uv send, in whatever order its fields come.

use reservoir_core::{
    Error, Intake, Result,
    serve::Request,
    store::{Blob, PutOptions},
};
use serde_json::Value;

use super::multipart::Multipart;

/// Bytes of a file: twice the largest wheels there are.
const FILE: u64 = 16 << 30;
/// Bytes of a field.
const FIELD: usize = 64 << 10;
/// Bytes of the attestations.
const ATTESTATIONS: usize = 1 << 20;

/// What of the form counts. All else (classifiers, dependencies, a description…) is read from the file itself.
#[derive(Debug, Default)]
pub(super) struct Form {
    pub(super) action: Option<String>,
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) filetype: Option<String>,
    pub(super) sha256: Option<String>,
    pub(super) blake2b: Option<String>,
    /// PEP 740: a list.
    pub(super) attestations: Option<Value>,
    /// The file, by the name it was sent with.
    pub(super) content: Option<(String, Blob)>,
}

impl Form {
    /// Reads a form; the file goes to the store as it arrives.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the rule `upload-form`, [`Error::LimitExceeded`] for a file beyond all sizes.
    pub(super) async fn read(intake: &Intake, request: &Request) -> Result<Self> {
        let content_type = request.headers.get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let body = request.body.take().ok_or_else(|| malformed("is empty"))?;
        let parts = Multipart::new(body, content_type)?;
        let mut form = Self::default();
        while let Some(head) = parts.next().await? {
            let field = head.name.as_str();
            let slot = match field {
                ":action" => &mut form.action,
                "name" => &mut form.name,
                "version" => &mut form.version,
                "filetype" => &mut form.filetype,
                "sha256_digest" => &mut form.sha256,
                "blake2_256_digest" => &mut form.blake2b,
                "attestations" => {
                    let text = parts.text(field, ATTESTATIONS).await?;
                    let list = serde_json::from_str::<Value>(&text).ok().filter(Value::is_array);
                    let list = list.ok_or_else(|| malformed("has `attestations` that are no JSON list"))?;
                    form.attestations = Some(list);
                    continue;
                }
                "content" => {
                    let name = head.file_name.ok_or_else(|| malformed("has a file without a name"))?;
                    if form.content.is_some() {
                        return Err(malformed("has two files; they are sent one by one"));
                    }
                    let options = PutOptions { limit: Some(FILE), ..PutOptions::default() };
                    form.content = Some((name, intake.put(parts.bytes(), options).await?));
                    continue;
                }
                _ => continue,
            };
            let text = parts.text(field, FIELD).await?;
            if slot.as_ref().is_some_and(|before| *before != text) {
                return Err(malformed(format!("says `{field}` twice, and not the same")));
            }
            *slot = Some(text);
        }
        Ok(form)
    }
}

pub(super) fn malformed(detail: impl Into<String>) -> Error {
    Error::malformed("the form", "upload-form", detail)
}
