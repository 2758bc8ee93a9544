//! Keras: a model's configuration may hold Python code, or name classes to be imported.

use std::io;

use memchr::memmem;
use serde_json::Value;

use super::{
    input::Input,
    look::{Place, Scan},
    report::{Rule, shown},
};

/// The longest `config.json` that is read.
const CONFIG: usize = 16 << 20;
/// Packages whose classes a configuration may name.
const HOME: &[&str] = &["builtins", "keras", "keras_cv", "keras_hub", "keras_nlp", "tensorflow", "tf_keras"];

/// Whether a member of a ZIP could be the configuration of a `.keras` file.
pub(super) fn is_config(name: &str) -> bool {
    name.eq_ignore_ascii_case("config.json")
}

/// Looks at the configuration in a `.keras` file.
pub(super) fn config(scan: &mut Scan, input: &mut Input<'_>, place: &Place) -> io::Result<()> {
    let mut text = Vec::new();
    while !input.is_at_end()? && text.len() <= CONFIG {
        let shown = input.available()?;
        let count = shown.len();
        text.extend_from_slice(shown);
        input.consume(count);
    }
    let Ok(value) = serde_json::from_slice::<Value>(&text) else {
        // No configuration that Keras could read, or too long a one: whatever else it may be.
        let size = Some(text.len() as u64).filter(|_| text.len() <= CONFIG);
        if size.is_none() {
            scan.report.incomplete(&place.shown(), format!("a configuration has more than {CONFIG} bytes"));
        }
        let mut bytes = text.as_slice();
        return scan.look(&mut Input::new(&mut bytes), place, size);
    };
    let mut values = vec![&value];
    while let Some(value) = values.pop() {
        match value {
            Value::Array(items) => values.extend(items),
            Value::Object(fields) => {
                if let Some(detail) = code(|key| fields.get(key).and_then(Value::as_str)) {
                    scan.report.find(Rule::KerasCode, &place.shown(), detail);
                }
                values.extend(fields.values());
            }
            _ => {}
        }
    }
    Ok(())
}

/// What an object of the configuration runs or imports.
fn code<'v>(field: impl Fn(&str) -> Option<&'v str>) -> Option<String> {
    let class = field("class_name").unwrap_or_default();
    if matches!(class, "Lambda" | "__lambda__") || field("function_type") == Some("lambda") {
        return Some(format!("has Python code in a `{}` layer", shown(class)));
    }
    // Only objects that are made of a class have its module; other things have fields of that name.
    let module = field("module").filter(|_| field("class_name").is_some())?;
    let top = module.split('.').next().unwrap_or(module);
    (!module.is_empty() && !HOME.contains(&top))
        .then(|| format!("imports `{}` from `{}`", shown(class), shown(module)))
}

/// Text that is looked for around a finding in an HDF5 file.
const AROUND: usize = 256;

/// Looks at an HDF5 file: its attributes stand in it as text, wherever they are.
pub(super) fn hdf5(scan: &mut Scan, input: &mut Input<'_>, place: &Place) -> io::Result<()> {
    let (mut is_model, mut is_escaped, mut found) = (false, false, 0);
    loop {
        let window = input.peek(128 << 10)?;
        if window.is_empty() {
            break;
        }
        is_model |= memmem::find(window, b"model_config").is_some();
        for at in memmem::find_iter(window, b"class_name") {
            let around = &window[at..window.len().min(at + AROUND)];
            is_escaped |= memmem::find(around, b"\\u").is_some();
        }
        is_escaped |= memmem::find(window, b"\\u004").is_some() || memmem::find(window, b"\\u005f").is_some();
        for code in [&b"\"Lambda\""[..], b"\"__lambda__\"", b"\"function_type\""] {
            found += usize::from(memmem::find(window, code).is_some());
        }
        for at in memmem::find_iter(window, b"\"module\"") {
            let rest = &window[at + b"\"module\"".len()..window.len().min(at + AROUND)];
            found += usize::from(foreign(rest).is_some());
        }
        // What lies across two windows is seen whole in the second.
        let count = window.len();
        input.consume(if count > AROUND { count - AROUND } else { count });
    }
    if found > 0 {
        scan.report.find(
            Rule::KerasCode,
            &place.shown(),
            "has Python code or names foreign classes in a Keras model",
        );
    } else if is_model && is_escaped {
        let detail = "has a Keras model with names that are escaped, as if to hide them";
        scan.report.find(Rule::KerasCode, &place.shown(), detail);
    }
    Ok(())
}

/// The module after a key, when it is not one of Keras.
fn foreign(rest: &[u8]) -> Option<&[u8]> {
    let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    let module = &rest[..memchr::memchr(b'"', rest)?];
    let top = module.split(|&byte| byte == b'.').next()?;
    (!HOME.iter().any(|home| home.as_bytes() == top)).then_some(module)
}
