//! TensorFlow's `SavedModel`: a program by nature; which of its operators do more than compute.

use std::{collections::BTreeSet, io};

use super::{
    input::Input,
    protobuf::{Field, Message, broken},
};

/// Bytes of the name of an operator that is known here.
const NAME: u64 = 64;

/// Call back into Python; the function itself is not in the file.
const PYTHON: [&str; 3] = ["EagerPyFunc", "PyFunc", "PyFuncStateless"];
/// Read and write files by names that are part of the model.
const FILES: [&str; 8] = [
    "FixedLengthRecordDataset",
    "MatchingFiles",
    "MergeV2Checkpoints",
    "PrintV2",
    "ReadFile",
    "TFRecordDataset",
    "TextLineDataset",
    "WriteFile",
];
/// Talk to other machines.
const NETWORK: [&str; 5] = ["Rpc", "RpcCall", "RpcClient", "RpcServerStart", "TryRpc"];

/// The labels of a `saved_model.pb` of `size` bytes.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for what is no `SavedModel`; what the input gives.
pub(super) fn labels(input: &mut Input<'_>, size: u64) -> io::Result<BTreeSet<&'static str>> {
    let mut labels = BTreeSet::new();
    let mut model = Message::new(input, size);
    let mut has_graph = false;
    while let Some((number, field)) = model.field()? {
        match (number, field) {
            (2, Field::Bytes(length)) => {
                has_graph = true;
                each(&mut model.inner(length), 2, &mut |graph| graph_def(graph, &mut labels))?;
            }
            (_, field) => model.pass(field)?,
        }
    }
    if has_graph { Ok(labels) } else { Err(broken()) }
}

fn graph_def(graph: &mut Message<'_, '_>, labels: &mut BTreeSet<&'static str>) -> io::Result<()> {
    while let Some((number, field)) = graph.field()? {
        match (number, field) {
            (1, Field::Bytes(length)) => node(&mut graph.inner(length), labels)?,
            // The library, its functions, their nodes.
            (2, Field::Bytes(length)) => each(&mut graph.inner(length), 1, &mut |function| {
                each(function, 3, &mut |inner| node(inner, labels))
            })?,
            (_, field) => graph.pass(field)?,
        }
    }
    Ok(())
}

/// Every message of one number.
fn each(
    message: &mut Message<'_, '_>,
    wanted: u64,
    take: &mut dyn FnMut(&mut Message<'_, '_>) -> io::Result<()>,
) -> io::Result<()> {
    while let Some((number, field)) = message.field()? {
        match field {
            Field::Bytes(length) if number == wanted => take(&mut message.inner(length))?,
            field => message.pass(field)?,
        }
    }
    Ok(())
}

fn node(node: &mut Message<'_, '_>, labels: &mut BTreeSet<&'static str>) -> io::Result<()> {
    while let Some((number, field)) = node.field()? {
        match (number, field) {
            (2, Field::Bytes(length)) => {
                let Some(name) = node.bytes(length, NAME)? else { continue };
                let is = |known: &[&str]| known.iter().any(|known| known.as_bytes() == name);
                if is(&PYTHON) {
                    labels.insert("code:tensorflow-python");
                } else if is(&FILES) {
                    labels.insert("code:tensorflow-files");
                } else if is(&NETWORK) {
                    labels.insert("code:tensorflow-network");
                }
            }
            (_, field) => node.pass(field)?,
        }
    }
    Ok(())
}
