//! The index that this machine's own pip is configured with (`url = "system"`).
//!
//! Asked of pip itself, in pip's own order: environment, then its configuration files (the `install` section
//! before `global`), then the address built into it. So no address of a public index stands in this program.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use reservoir_core::{Error, Result, ecosystem::SystemRegistry};
use tokio::process::Command;
use url::Url;

/// How long one question to pip may take; a cold Python on a slow disk takes seconds.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Where a Python with pip is looked for, first to last.
const PYTHONS: [&str; 2] = ["python3", "python"];

/// Prints the address built into pip.
const BUILT_IN: &str = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)";

/// What pip would use on this machine, for the user and environment of this process.
///
/// Dropping the future ends the pip it started.
///
/// # Errors
/// [`Error::Invalid`] when there is no pip, or when what it is configured with is no HTTP address;
/// [`Error::Io`] when it does not answer within a minute.
pub(crate) async fn system_registry() -> Result<SystemRegistry> {
    let pythons: Vec<OsString> = PYTHONS.iter().map(OsString::from).collect();
    resolve(&pythons, |name| std::env::var(name).ok().filter(|value| !value.is_empty())).await
}

async fn resolve(
    pythons: &[OsString],
    environment: impl Fn(&str) -> Option<String>,
) -> Result<SystemRegistry> {
    let from_environment = |name: &str| environment(name);
    let python = find_pip(pythons).await?;
    let settings = match &python {
        Some(python) => settings(&run(python, &["-m", "pip", "config", "list"]).await?),
        None => Vec::new(),
    };
    let setting = |key: &str| {
        let in_section = |section: &str| {
            let wanted = format!("{section}.{key}");
            settings.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.clone())
        };
        let variable = format!("PIP_{}", key.to_uppercase().replace('-', "_"));
        from_environment(&variable).or_else(|| in_section("install")).or_else(|| in_section("global"))
    };
    let address = match (setting("index-url"), &python) {
        (Some(address), _) => address,
        (None, Some(python)) => run(python, &["-c", BUILT_IN]).await?,
        (None, None) => {
            let detail = "no pip was found beside `python3` or `python`, and PIP_INDEX_URL is not set; \
                          install pip, or write the index's address as `url`";
            return Err(Error::invalid("url = \"system\"", detail));
        }
    };
    let ca_bundle = setting("cert")
        .or_else(|| from_environment("REQUESTS_CA_BUNDLE"))
        .or_else(|| from_environment("CURL_CA_BUNDLE"))
        .map(PathBuf::from);
    let proxy = setting("proxy").map(|proxy| address_of("pip's proxy", &proxy)).transpose()?;
    let mut url = address_of("pip's index-url", address.trim())?;
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(SystemRegistry { url, ca_bundle, proxy })
}

/// The value itself may carry credentials and is not shown.
fn address_of(what: &str, text: &str) -> Result<Url> {
    match text.parse::<Url>() {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(Error::invalid("url = \"system\"", format!("{what} is no http or https address"))),
    }
}

/// The first Python that can run pip.
async fn find_pip(pythons: &[OsString]) -> Result<Option<OsString>> {
    for python in pythons {
        match output(python, &["-m", "pip", "--version"]).await {
            Ok(output) if output.status.success() => return Ok(Some(python.clone())),
            // No such Python, or one without pip.
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(format!("run `{} -m pip`", python.display()))(error)),
        }
    }
    Ok(None)
}

async fn run(python: &OsString, arguments: &[&str]) -> Result<String> {
    let failed = || Error::io(format!("ask `{} -m pip` for its index", python.display()));
    let output = output(python, arguments).await.map_err(failed())?;
    if !output.status.success() {
        return Err(failed()(std::io::Error::other(output.status.to_string())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn output(python: &OsString, arguments: &[&str]) -> std::io::Result<Output> {
    let mut command = Command::new(python);
    command.args(arguments).env("PIP_DISABLE_PIP_VERSION_CHECK", "1").stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(TIMEOUT, command.output()).await?
}

/// The lines `section.key='value'` that `pip config list` prints.
fn settings(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| {
            let (key, value) = line.split_once('=')?;
            Some((key.trim().to_lowercase().replace('_', "-"), unquote(value.trim())?))
        })
        .collect()
}

/// The text of a Python string literal as `repr` writes it.
fn unquote(literal: &str) -> Option<String> {
    let quote = literal.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let inner = literal.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(characters.next()?),
            other => text.push(other),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

    use super::*;

    /// A stand-in for Python: answers as pip does with `config` and `built_in`.
    fn python(folder: &Path, config: &str, built_in: &str) -> OsString {
        let path = folder.join("python");
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n  '-m pip --version') ;;\n  '-m pip config list') cat <<'END'\n{config}\n\
             END\n;;\n  -c*) echo '{built_in}' ;;\n  *) exit 9 ;;\nesac\n"
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.into()
    }

    async fn ask(config: &str, environment: &[(&str, &str)]) -> Result<SystemRegistry> {
        let folder = tempfile::tempdir().unwrap();
        let pythons = [
            "/nonexistent/python".into(),
            python(folder.path(), config, "https://built-in.example.com/simple"),
        ];
        let find = |name: &str| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        resolve(&pythons, find).await
    }

    #[tokio::test]
    async fn pips_own_order_is_kept() {
        let global = "global.index-url='https://global.example.com/simple/'";
        let both = format!("{global}\ninstall.index-url='https://install.example.com/simple/'");
        let variable = ("PIP_INDEX_URL", "https://variable.example.com/simple/");
        for (config, environment, host) in [
            ("", vec![], "built-in.example.com"),
            (global, vec![], "global.example.com"),
            (&both, vec![], "install.example.com"),
            (&both, vec![variable], "variable.example.com"),
        ] {
            let found = ask(config, &environment).await.unwrap();
            assert_eq!(found.url.as_str(), format!("https://{host}/simple/"));
        }
    }

    /// The machine's own pip, whatever it is configured with: what is asked of it must exist.
    #[tokio::test]
    async fn a_real_pip_has_an_address_built_in() {
        let python = find_pip(&["python3".into()]).await.unwrap();
        let python = python.expect("python3 with pip is needed; run scripts/test, which installs it");
        let built_in = run(&python, &["-c", BUILT_IN]).await.unwrap();
        address_of("pip's index-url", built_in.trim()).unwrap();
        run(&python, &["-m", "pip", "config", "list"]).await.unwrap();
    }

    #[tokio::test]
    async fn certificates_and_proxy_come_along() {
        let config = "global.cert='/etc/ssl/it\\'s.pem'\nglobal.proxy=\"http://proxy.example.com:3128\"";
        let found = ask(config, &[("REQUESTS_CA_BUNDLE", "/other.pem")]).await.unwrap();
        assert_eq!(found.ca_bundle, Some("/etc/ssl/it's.pem".into()));
        assert_eq!(found.proxy.map(String::from), Some("http://proxy.example.com:3128/".into()));
        let found = ask("", &[("REQUESTS_CA_BUNDLE", "/other.pem")]).await.unwrap();
        assert_eq!(found.ca_bundle, Some("/other.pem".into()));
    }

    #[tokio::test]
    async fn no_pip_is_said_so_and_needed_only_without_a_variable() {
        let none = ["/nonexistent/python".into()];
        let error = resolve(&none, |_| None).await.unwrap_err();
        assert!(error.to_string().contains("install pip"), "{error}");
        let variable =
            |name: &str| (name == "PIP_INDEX_URL").then(|| "http://127.0.0.1:1/simple/".to_owned());
        assert!(resolve(&none, variable).await.is_ok());
    }

    #[tokio::test]
    async fn an_address_that_is_refused_is_not_shown() {
        let error = ask("global.index-url='ftp://user:secret@example.com/'", &[]).await.unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
