//! What an approver should know of a file by its name and place: code that runs only where somebody asks for it.

use std::{collections::BTreeSet, io};

use memchr::memmem;
use reservoir_core::{
    Error, Result,
    archive::{Source, read_blocking},
    ecosystem::PulledFile,
};
use serde_json::Value;

use super::{
    gguf,
    input::Input,
    onnx,
    report::shown,
    safetensors::{self, Outcome},
    saved_model,
};

/// The longest configuration that is searched for `auto_map`.
const CONFIG: u64 = 16 << 20;
/// Bytes of a model file that its header lies in, for what is checked by name.
const LONGEST_HEADER: u64 = 256 << 20;

type Labels = BTreeSet<&'static str>;

/// Labels of a file, for [`Inspection::labels`](reservoir_core::ecosystem::Inspection::labels):
///
/// | label | file |
/// |---|---|
/// | `code:python` | `*.py`; runs under `trust_remote_code` or when somebody starts it |
/// | `code:auto_map` | `config.json`, `tokenizer_config.json` and their like that name such code |
/// | `code:notebook` | `*.ipynb` |
/// | `code:requirements` | `requirements*.txt`, `setup.py`, `pyproject.toml` |
/// | `code:shell` | `*.sh`, `*.bat`, `*.ps1` |
/// | `code:savedmodel` | `saved_model.pb`: TensorFlow runs its graph |
/// | `code:tensorflow-python`, `-files`, `-network` | a `SavedModel` whose operators call back into Python, name files, talk to other machines |
/// | `code:keras-lambda` | `keras_metadata.pb` of a `SavedModel` with Python code in a layer |
/// | `code:onnx-operators` | `*.onnx` with operators that only somebody's library has |
/// | `onnx:external-data` | `*.onnx` whose tensors lie in other files |
/// | `onnx:unreadable` | `*.onnx` that is none |
/// | `template:jinja` | chat templates: `*.jinja`, a `chat_template` in a configuration or a GGUF file |
///
/// A file named `*.safetensors` or `*.gguf` that is none is [`Error::Malformed`]: its name would make readers
/// trust it. So is a `*.onnx` that would have readers open a file outside its folder.
pub async fn labels(file: &PulledFile<'_>) -> Result<Vec<String>> {
    let name = file.path.as_str().rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let mut labels = Labels::new();
    match extension {
        "py" | "pyc" | "pyw" => drop(labels.insert("code:python")),
        "ipynb" => drop(labels.insert("code:notebook")),
        "sh" | "bat" | "ps1" => drop(labels.insert("code:shell")),
        "jinja" | "jinja2" => drop(labels.insert("template:jinja")),
        "safetensors" => trusted(file, Trusted::Safetensors, &mut labels).await?,
        "gguf" => trusted(file, Trusted::Gguf, &mut labels).await?,
        "onnx" => onnx(file, &mut labels).await?,
        "pb" if name == "saved_model.pb" => saved_model(file, &mut labels).await?,
        "pb" if name == "keras_metadata.pb" => keras_metadata(file, &mut labels).await?,
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

async fn configuration(file: &PulledFile<'_>, labels: &mut Labels) -> Result<()> {
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

/// Formats that readers trust by their name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trusted {
    Safetensors,
    Gguf,
}

/// Checks what the name promises, whatever the bytes look like.
async fn trusted(file: &PulledFile<'_>, format: Trusted, labels: &mut Labels) -> Result<()> {
    let size = file.blob.size;
    let (outcome, has_template) = look(file, LONGEST_HEADER, move |input| {
        let mut has_template = false;
        let outcome = match format {
            Trusted::Safetensors => safetensors::check(input, Some(size)),
            Trusted::Gguf if input.peek(4).is_ok_and(|magic| magic != b"GGUF") => {
                Ok(Outcome::Malformed("it does not begin with `GGUF`".into()))
            }
            Trusted::Gguf => gguf::check(input, Some(size), &mut |key| {
                has_template |= key.starts_with(gguf::CHAT_TEMPLATE);
            }),
        };
        Ok((outcome?, has_template))
    })
    .await?;
    if has_template {
        labels.insert("template:jinja");
    }
    match outcome {
        Outcome::Malformed(detail) => {
            let rule = match format {
                Trusted::Safetensors => "safetensors-malformed",
                Trusted::Gguf => "gguf-malformed",
            };
            Err(Error::malformed(format!("`{}`", file.path), rule, detail))
        }
        // The scanner says so to whoever approves.
        Outcome::Unknown(_) | Outcome::Sound => Ok(()),
    }
}

async fn onnx(file: &PulledFile<'_>, labels: &mut Labels) -> Result<()> {
    let size = file.blob.size;
    let Some(needs) = look(file, size, move |input| understood(onnx::read(input, size))).await? else {
        labels.insert("onnx:unreadable");
        return Ok(());
    };
    if let Some(place) = &needs.outside {
        let detail = format!("has a tensor in `{}`, which is not within its folder", shown(place));
        return Err(Error::malformed(format!("`{}`", file.path), "onnx-external-path", detail));
    }
    if needs.external_data {
        labels.insert("onnx:external-data");
    }
    if needs.has_foreign_operators() {
        labels.insert("code:onnx-operators");
    }
    Ok(())
}

async fn saved_model(file: &PulledFile<'_>, labels: &mut Labels) -> Result<()> {
    let size = file.blob.size;
    let found = look(file, size, move |input| understood(saved_model::labels(input, size))).await?;
    labels.insert("code:savedmodel");
    labels.extend(found.unwrap_or_default());
    Ok(())
}

async fn keras_metadata(file: &PulledFile<'_>, labels: &mut Labels) -> Result<()> {
    let size = file.blob.size;
    let found = look(file, CONFIG, move |input| {
        let bytes = input.bytes(size.min(CONFIG) as usize)?.unwrap_or_default();
        Ok(size > CONFIG || memmem::find(&bytes, b"\"Lambda\"").is_some())
    });
    if found.await? {
        labels.insert("code:keras-lambda");
    }
    Ok(())
}

/// Reads the beginning of a file on a thread that may block.
async fn look<T, F>(file: &PulledFile<'_>, most: u64, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&mut Input<'_>) -> io::Result<T> + Send + 'static,
{
    let bytes = file.store.read(file.blob, 0..file.blob.size.min(most)).await?;
    read_blocking(bytes, move |mut source: Source| {
        let looked = work(&mut Input::new(&mut source));
        match source.take_failure() {
            Some(failure) => Err(failure),
            None => looked.map_err(Error::io("read a model file")),
        }
    })
    .await
}

/// Nothing for what is not in the format.
fn understood<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        read => read.map(Some),
    }
}
