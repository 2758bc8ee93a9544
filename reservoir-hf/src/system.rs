//! The Hub that this machine's own client is configured with (`url = "system"`).

use reservoir_core::{Error, Result, ecosystem::SystemRegistry};
use url::Url;

/// What `huggingface_hub` reads: `HF_ENDPOINT`, and `HF_TOKEN` as its credentials.
///
/// # Errors
/// [`Error::Invalid`] when `HF_ENDPOINT` is not set or no address: no address of a public Hub stands in this program.
pub(crate) fn system_registry(environment: impl Fn(&str) -> Option<String>) -> Result<SystemRegistry> {
    let invalid = |detail: &str| Error::invalid("url = \"system\"", detail);
    let endpoint = environment("HF_ENDPOINT").filter(|text| !text.is_empty());
    let endpoint = endpoint
        .ok_or_else(|| invalid("HF_ENDPOINT is not set; set it, or write the address of the Hub as `url`"))?;
    // The value itself may carry credentials and is not shown.
    let mut url: Url = match endpoint.parse::<Url>() {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        _ => return Err(invalid("HF_ENDPOINT is no http or https address")),
    };
    if let Some(token) = environment("HF_TOKEN").filter(|text| !text.is_empty())
        && url.password().is_none()
    {
        // A password without a user is a bearer token. Fails only for addresses that can hold none.
        let _ = url.set_password(Some(&token));
    }
    let ca_bundle = environment("REQUESTS_CA_BUNDLE").or_else(|| environment("SSL_CERT_FILE"));
    let ca_bundle = ca_bundle.filter(|path| !path.is_empty()).map(Into::into);
    Ok(SystemRegistry { url, ca_bundle, proxy: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_own_variables_are_read() {
        let ask = |values: &[(&str, &str)]| {
            system_registry(|name| values.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned()))
        };
        let found = ask(&[("HF_ENDPOINT", "http://127.0.0.1:1/hub"), ("HF_TOKEN", "secret")]).unwrap();
        assert_eq!(found.url.as_str(), "http://:secret@127.0.0.1:1/hub");
        assert!(ask(&[]).unwrap_err().to_string().contains("HF_ENDPOINT is not set"));
        let error = ask(&[("HF_ENDPOINT", "ftp://u:hidden@example.com")]).unwrap_err();
        assert!(!error.to_string().contains("hidden"));
    }
}
