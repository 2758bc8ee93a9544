//! Where a store is, as one line of configuration.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use object_store::{
    ObjectStore, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path as Key,
    prefix::PrefixStore,
    signer::Signer,
};

use super::{ObjectBlobs, ObjectStoreOptions, failure::backend, object::Signing};
use crate::{
    blocking,
    error::{Error, Result},
};

/// The query keys of an `s3://` address.
const KEYS: [&str; 5] = ["endpoint", "region", "path_style", "credentials", "allow_http"];

/// Opens a store by its address, and probes it.
///
/// | address | backend |
/// |---|---|
/// | `/srv/reservoir`, `file:///srv/reservoir` | a directory, created if absent |
/// | `memory://` | memory, for tests |
/// | `s3://bucket/prefix?…` | S3 or a look-alike |
///
/// Query keys of S3: `endpoint` (a URL), `region`, `path_style` and `allow_http` (`true` or `false`; plain HTTP to
/// a loopback address is always allowed), and `credentials`: a file with `aws_access_key_id`,
/// `aws_secret_access_key` and perhaps `aws_session_token`, one `name = value` a line. Without it the environment
/// (`AWS_ACCESS_KEY_ID`…) counts, then what the machine offers. Secrets have no place in the address.
///
/// # Errors
/// [`Error::Invalid`] for an address that is none of these; [`Error::Unsupported`] for a backend that the probe
/// finds unfit; the backend's own failure when it cannot be reached.
pub async fn open(url: &str, options: ObjectStoreOptions) -> Result<ObjectBlobs> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return ObjectBlobs::local(url, options).await;
    };
    match scheme {
        "file" => ObjectBlobs::local(file_path(url)?, options).await,
        "memory" if rest.is_empty() => Ok(ObjectBlobs::memory(options)),
        "s3" => open_s3(url, options).await,
        _ => Err(invalid(format!("`{scheme}://` is none of a path, `file://`, `memory://` and `s3://`"))),
    }
}

fn file_path(url: &str) -> Result<PathBuf> {
    let path = url::Url::parse(url).ok().and_then(|url| url.to_file_path().ok());
    path.ok_or_else(|| invalid(format!("`{url}` is not `file:///` and an absolute path")))
}

/// The objects below an `s3://` address, as they are, and the prefix that their names here leave out.
pub(crate) async fn open_bucket(url: &str) -> Result<(Arc<dyn ObjectStore>, Key)> {
    let address = S3Address::parse(url)?;
    let bucket = address.bucket().await?;
    Ok((address.below_prefix(bucket), address.prefix))
}

async fn open_s3(url: &str, options: ObjectStoreOptions) -> Result<ObjectBlobs> {
    let address = S3Address::parse(url)?;
    let label = address.label();
    let bucket = address.bucket().await?;
    let signer: Arc<dyn Signer> = Arc::clone(&bucket) as _;
    let objects = address.below_prefix(bucket);
    let store = ObjectBlobs::over(objects, label, options).await?;
    Ok(store.with_signing(Signing { signer, prefix: address.prefix }))
}

/// A parsed `s3://` address. It holds no secrets.
#[derive(Debug, Default, PartialEq, Eq)]
struct S3Address {
    bucket: String,
    prefix: Key,
    endpoint: Option<url::Url>,
    region: Option<String>,
    path_style: Option<bool>,
    credentials: Option<PathBuf>,
    allow_http: bool,
}

impl S3Address {
    fn parse(text: &str) -> Result<Self> {
        let url = url::Url::parse(text).map_err(|error| invalid(error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(
                "an `s3://` address holds no credentials; name a file by `credentials=`".into(),
            ));
        }
        let bucket = url.host_str().unwrap_or_default().to_owned();
        if bucket.is_empty() || url.port().is_some() || url.fragment().is_some() {
            return Err(invalid("an `s3://` address is `s3://bucket/prefix?endpoint=…`".into()));
        }
        let prefix = Key::from_url_path(url.path()).map_err(|error| invalid(error.to_string()))?;
        let mut address = Self { bucket, prefix, ..Self::default() };
        let mut seen = Vec::new();
        for (key, value) in url.query_pairs() {
            if seen.contains(&key) {
                return Err(invalid(format!("`{key}` is given twice")));
            }
            match &*key {
                "endpoint" => address.endpoint = Some(endpoint(&value)?),
                "region" => address.region = Some(value.into_owned()),
                "path_style" => address.path_style = Some(boolean(&key, &value)?),
                "credentials" => address.credentials = Some(PathBuf::from(&*value)),
                "allow_http" => address.allow_http = boolean(&key, &value)?,
                _ => return Err(invalid(format!("`{key}` is none of `{}`", KEYS.join("`, `")))),
            }
            seen.push(key);
        }
        let plain = address.endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http");
        if plain && !address.allow_http {
            if !address.endpoint.as_ref().is_some_and(is_loopback) {
                return Err(invalid("`endpoint` is plain HTTP; use https, or add `allow_http=true`".into()));
            }
            address.allow_http = true;
        }
        Ok(address)
    }

    async fn bucket(&self) -> Result<Arc<AmazonS3>> {
        let credentials = match self.credentials.clone() {
            Some(path) => Some(blocking::run(move || Credentials::read(&path)).await?),
            None => None,
        };
        self.build(credentials).map(Arc::new)
    }

    fn below_prefix(&self, bucket: Arc<AmazonS3>) -> Arc<dyn ObjectStore> {
        if self.prefix.as_ref().is_empty() {
            bucket
        } else {
            Arc::new(PrefixStore::new(bucket, self.prefix.clone()))
        }
    }

    fn label(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    fn build(&self, credentials: Option<Credentials>) -> Result<AmazonS3> {
        let retry =
            RetryConfig { max_retries: 5, retry_timeout: Duration::from_mins(1), ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&self.bucket)
            .with_allow_http(self.allow_http)
            .with_retry(retry);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        if let Some(path_style) = self.path_style {
            builder = builder.with_virtual_hosted_style_request(!path_style);
        }
        if let Some(Credentials { key, secret, token }) = credentials {
            builder = builder.with_access_key_id(key).with_secret_access_key(secret);
            if let Some(token) = token {
                builder = builder.with_token(token);
            }
        }
        builder.build().map_err(backend("open", "bucket", &self.bucket))
    }
}

/// The secrets of one bucket. Neither `Debug` nor `Display`, so that they reach no log.
struct Credentials {
    key: String,
    secret: String,
    token: Option<String>,
}

impl Credentials {
    fn read(path: &PathBuf) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::io(format!("read `{}`", path.display())))?;
        Self::parse(&text).ok_or_else(|| {
            Error::invalid(
                format!("credentials file `{}`", path.display()),
                "it needs `aws_access_key_id = …` and `aws_secret_access_key = …`, once each",
            )
        })
    }

    /// INI as the AWS tools write it, or TOML: sections are ignored, quotes are taken off, a name twice is refused.
    fn parse(text: &str) -> Option<Self> {
        let [mut key, mut secret, mut token] = [None, None, None];
        for line in text.lines().map(str::trim) {
            let Some((name, value)) = line.split_once('=') else { continue };
            let slot = match name.trim() {
                "aws_access_key_id" => &mut key,
                "aws_secret_access_key" => &mut secret,
                "aws_session_token" => &mut token,
                _ => continue,
            };
            if slot.replace(value.trim().trim_matches('"').to_owned()).is_some() {
                return None;
            }
        }
        Some(Self { key: key?, secret: secret?, token })
    }
}

fn endpoint(value: &str) -> Result<url::Url> {
    let url = url::Url::parse(value).map_err(|error| invalid(format!("`endpoint`: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("`endpoint` is an http or https URL without credentials".into()));
    }
    Ok(url)
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn boolean(key: &str, value: &str) -> Result<bool> {
    value.parse().map_err(|_| invalid(format!("`{key}` is `true` or `false`")))
}

fn invalid(detail: String) -> Error {
    Error::invalid("store address", detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_says_everything_but_secrets() {
        let text = "s3://bucket/a/b?endpoint=https://s3.example.com&region=eu&path_style=true&credentials=%2Fetc%2Fs3";
        let address = S3Address::parse(text).unwrap();
        assert_eq!(address.label(), "s3://bucket/a/b");
        assert_eq!(address.region.as_deref(), Some("eu"));
        assert_eq!(address.path_style, Some(true));
        assert_eq!(address.credentials, Some(PathBuf::from("/etc/s3")));
        assert!(!address.allow_http);
    }

    #[test]
    fn plain_http_is_for_loopback_or_on_purpose() {
        let allowed = |text| S3Address::parse(text).map(|address| address.allow_http);
        assert!(allowed("s3://bucket?endpoint=http://127.0.0.1:9000").unwrap());
        assert!(allowed("s3://bucket?endpoint=http://s3.example.com&allow_http=true").unwrap());
        assert!(allowed("s3://bucket?endpoint=http://s3.example.com").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "s3://",
            "s3://key:secret@bucket",
            "s3://bucket:80",
            "s3://bucket#fragment",
            "s3://bucket?path_style=yes",
            "s3://bucket?region=a&region=b",
            "s3://bucket?endpoint=ftp://example.com",
            "s3://bucket?endpoint=https://key:secret@example.com",
        ] {
            assert!(matches!(S3Address::parse(text), Err(Error::Invalid { .. })), "{text}");
        }
        let error = S3Address::parse("s3://bucket?regoin=x").unwrap_err().to_string();
        assert!(error.contains("`regoin`") && error.contains("`region`"), "{error}");
    }

    #[tokio::test]
    async fn other_schemes_are_refused() {
        for text in ["gopher://example.com", "memory://x", "file://host/x"] {
            let result = open(text, ObjectStoreOptions::default()).await;
            assert!(matches!(result, Err(Error::Invalid { .. })), "{text}");
        }
    }

    #[test]
    fn credentials_are_ini_or_toml() {
        for text in [
            "[default]\naws_access_key_id=key\naws_secret_access_key = a=b\n",
            "aws_access_key_id = \"key\"\naws_secret_access_key = \"a=b\"\n# more\nother = 1\n",
        ] {
            let Credentials { key, secret, token } = Credentials::parse(text).unwrap();
            assert_eq!((&*key, &*secret, token), ("key", "a=b", None));
        }
        assert!(Credentials::parse("aws_access_key_id = key").is_none());
        let twice = "aws_access_key_id=a\naws_access_key_id=b\naws_secret_access_key=c";
        assert!(Credentials::parse(twice).is_none());
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_an_error(text in "\\PC{0,80}") {
            let _ = S3Address::parse(&text);
            let _ = S3Address::parse(&format!("s3://bucket?{text}"));
            let _ = Credentials::parse(&text);
        }
    }
}
