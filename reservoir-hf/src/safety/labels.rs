//! What an approver should know of a file by its name and place: code that runs only where somebody asks for it.

use std::collections::BTreeSet;

use reservoir_core::{Error, Result, ecosystem::PulledFile};
use serde_json::Value;

use super::{gguf, input::Input, safetensors};

/// The longest configuration that is searched for `auto_map`.
const CONFIG: u64 = 16 << 20;
/// Bytes of a model file that its header lies in, for what is checked by name.
const LONGEST_HEADER: u64 = 256 << 20;

/// Labels of a file, for [`Inspection::labels`](reservoir_core::ecosystem::Inspection::labels):
///
/// | label | file |
/// |---|---|
/// | `code:python` | `*.py`; runs under `trust_remote_code` or when somebody starts it |
/// | `code:auto_map` | `config.json`, `tokenizer_config.json` and their like that name such code |
/// | `code:notebook` | `*.ipynb` |
/// | `code:requirements` | `requirements*.txt`, `setup.py`, `pyproject.toml` |
/// | `code:shell` | `*.sh`, `*.bat`, `*.ps1` |
/// | `template:jinja` | chat templates: `*.jinja`, a `chat_template` in a configuration |
///
/// A file named `*.safetensors` or `*.gguf` that is none is [`Error::Malformed`]: its name would make readers
/// trust it.
pub async fn labels(file: &PulledFile<'_>) -> Result<Vec<String>> {
    let name = file.path.as_str().rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let mut labels = BTreeSet::new();
    match extension {
        "py" | "pyc" | "pyw" => drop(labels.insert("code:python")),
        "ipynb" => drop(labels.insert("code:notebook")),
        "sh" | "bat" | "ps1" => drop(labels.insert("code:shell")),
        "jinja" | "jinja2" => drop(labels.insert("template:jinja")),
        "safetensors" | "gguf" => model(file, extension).await?,
        "json" if name.contains("config") && file.blob.size <= CONFIG => {
            configuration(file, &mut labels).await?;
        }
        _ => {}
    }
    let is_requirements = name.starts_with("requirements") && extension == "txt";
    if is_requirements || matches!(name.as_str(), "setup.py" | "pyproject.toml") {
        labels.insert("code:requirements");
    }
    Ok(labels.into_iter().map(str::to_owned).collect())
}

async fn configuration(file: &PulledFile<'_>, labels: &mut BTreeSet<&'static str>) -> Result<()> {
    let bytes = file.store.read_whole(&file.blob.sha256, CONFIG).await?;
    let Ok(value) = serde_json::from_slice::<Value>(&bytes) else { return Ok(()) };
    let mut values = vec![&value];
    while let Some(value) = values.pop() {
        match value {
            Value::Array(items) => values.extend(items),
            Value::Object(fields) => {
                if fields.contains_key("auto_map") || fields.contains_key("custom_pipelines") {
                    labels.insert("code:auto_map");
                }
                if fields.contains_key("chat_template") {
                    labels.insert("template:jinja");
                }
                values.extend(fields.values());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks what the name promises, whatever the bytes look like.
async fn model(file: &PulledFile<'_>, extension: &str) -> Result<()> {
    let size = file.blob.size;
    let header = file.store.read(file.blob, 0..size.min(LONGEST_HEADER)).await?;
    let is_gguf = extension == "gguf";
    let outcome = reservoir_core::archive::read_blocking(header, move |mut source| {
        let mut input = Input::new(&mut source);
        let checked = if is_gguf && input.peek(4).is_ok_and(|magic| magic != b"GGUF") {
            Ok(safetensors::Outcome::Malformed("it does not begin with `GGUF`".into()))
        } else if is_gguf {
            gguf::check(&mut input, Some(size))
        } else {
            safetensors::check(&mut input, Some(size))
        };
        checked
            .map_err(|error| source.take_failure().unwrap_or_else(|| Error::io("read a model file")(error)))
    })
    .await?;
    let rule = if is_gguf { "gguf-malformed" } else { "safetensors-malformed" };
    match outcome {
        safetensors::Outcome::Malformed(detail) => {
            Err(Error::malformed(format!("`{}`", file.path), rule, detail))
        }
        // The scanner says so to whoever approves.
        safetensors::Outcome::Unknown(_) | safetensors::Outcome::Sound => Ok(()),
    }
}
