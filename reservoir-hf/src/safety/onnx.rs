//! ONNX: which operators a model needs beside the standard ones, and which files it opens.

use std::{collections::BTreeSet, io};

use super::{
    input::Input,
    protobuf::{Field, Message, broken},
};

/// Messages within messages: graphs in attributes of nodes of graphs.
const DEPTH: u32 = 64;
/// Bytes of the name of a domain, a key or a place.
const NAME: u64 = 4096;
/// Domains that are told apart.
const DOMAINS: usize = 256;

/// Domains whose operators every runtime has, or its maker's: none of them is a library of somebody else.
const STANDARD: [&str; 10] = [
    "",
    "ai.onnx",
    "ai.onnx.ml",
    "ai.onnx.preview",
    "ai.onnx.preview.training",
    "ai.onnx.training",
    "com.microsoft",
    "com.microsoft.experimental",
    "com.microsoft.nchwc",
    "com.ms.internal.nhwc",
];

/// What a model asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Whether tensors lie in other files.
    pub(super) external_data: bool,
    /// A place outside the model's own folder, where one is named.
    pub(super) outside: Option<String>,
    domains: BTreeSet<String>,
    /// Domains whose operators the model brings along as functions.
    functions: BTreeSet<String>,
}

impl Needs {
    /// Whether it uses operators that are neither standard nor in the model.
    pub(super) fn has_foreign_operators(&self) -> bool {
        self.domains.iter().any(|domain| !STANDARD.contains(&&**domain) && !self.functions.contains(domain))
    }
}

/// Reads a model of `size` bytes.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for what is no model; what the input gives.
pub(super) fn read(input: &mut Input<'_>, size: u64) -> io::Result<Needs> {
    let mut needs = Needs::default();
    let mut model = Message::new(input, size);
    let mut has_graph = false;
    while let Some((number, field)) = model.field()? {
        match (number, field) {
            (7, Field::Bytes(length)) => {
                has_graph = true;
                needs.graph(&mut model.inner(length), DEPTH)?;
            }
            (20, Field::Bytes(length)) => needs.training(&mut model.inner(length))?,
            (25, Field::Bytes(length)) => needs.function(&mut model.inner(length))?,
            (_, field) => model.pass(field)?,
        }
    }
    if has_graph { Ok(needs) } else { Err(broken()) }
}

impl Needs {
    fn graph(&mut self, graph: &mut Message<'_, '_>, depth: u32) -> io::Result<()> {
        let depth = depth.checked_sub(1).ok_or_else(broken)?;
        while let Some((number, field)) = graph.field()? {
            match (number, field) {
                (1, Field::Bytes(length)) => self.node(&mut graph.inner(length), depth)?,
                (5, Field::Bytes(length)) => self.tensor(&mut graph.inner(length))?,
                (15, Field::Bytes(length)) => self.sparse(&mut graph.inner(length))?,
                (_, field) => graph.pass(field)?,
            }
        }
        Ok(())
    }

    fn training(&mut self, training: &mut Message<'_, '_>) -> io::Result<()> {
        while let Some((number, field)) = training.field()? {
            match (number, field) {
                (1 | 2, Field::Bytes(length)) => self.graph(&mut training.inner(length), DEPTH)?,
                (_, field) => training.pass(field)?,
            }
        }
        Ok(())
    }

    fn function(&mut self, function: &mut Message<'_, '_>) -> io::Result<()> {
        while let Some((number, field)) = function.field()? {
            match (number, field) {
                (7, Field::Bytes(length)) => self.node(&mut function.inner(length), DEPTH)?,
                (10, Field::Bytes(length)) => {
                    let domain = text(function, length)?;
                    if self.functions.len() < DOMAINS {
                        self.functions.insert(domain);
                    }
                }
                (_, field) => function.pass(field)?,
            }
        }
        Ok(())
    }

    fn node(&mut self, node: &mut Message<'_, '_>, depth: u32) -> io::Result<()> {
        while let Some((number, field)) = node.field()? {
            match (number, field) {
                (5, Field::Bytes(length)) => self.attribute(&mut node.inner(length), depth)?,
                (7, Field::Bytes(length)) => {
                    let domain = text(node, length)?;
                    // Those that are one too many are foreign under any name.
                    self.domains.insert(if self.domains.len() < DOMAINS { domain } else { "…".to_owned() });
                }
                (_, field) => node.pass(field)?,
            }
        }
        Ok(())
    }

    fn attribute(&mut self, attribute: &mut Message<'_, '_>, depth: u32) -> io::Result<()> {
        while let Some((number, field)) = attribute.field()? {
            match (number, field) {
                (5 | 10, Field::Bytes(length)) => self.tensor(&mut attribute.inner(length))?,
                (6 | 11, Field::Bytes(length)) => self.graph(&mut attribute.inner(length), depth)?,
                (22 | 23, Field::Bytes(length)) => self.sparse(&mut attribute.inner(length))?,
                (_, field) => attribute.pass(field)?,
            }
        }
        Ok(())
    }

    fn sparse(&mut self, sparse: &mut Message<'_, '_>) -> io::Result<()> {
        while let Some((number, field)) = sparse.field()? {
            match (number, field) {
                (1 | 2, Field::Bytes(length)) => self.tensor(&mut sparse.inner(length))?,
                (_, field) => sparse.pass(field)?,
            }
        }
        Ok(())
    }

    fn tensor(&mut self, tensor: &mut Message<'_, '_>) -> io::Result<()> {
        while let Some((number, field)) = tensor.field()? {
            match (number, field) {
                (13, Field::Bytes(length)) => {
                    self.external_data = true;
                    self.place(&mut tensor.inner(length))?;
                }
                (14, Field::Number(place)) => self.external_data |= place == 1,
                (_, field) => tensor.pass(field)?,
            }
        }
        Ok(())
    }

    /// One of the pairs that say where a tensor is.
    fn place(&mut self, pair: &mut Message<'_, '_>) -> io::Result<()> {
        let (mut key, mut value) = (String::new(), String::new());
        while let Some((number, field)) = pair.field()? {
            match (number, field) {
                (1, Field::Bytes(length)) => key = text(pair, length)?,
                (2, Field::Bytes(length)) => value = text(pair, length)?,
                (_, field) => pair.pass(field)?,
            }
        }
        if key == "location" && !is_within(&value) {
            self.outside.get_or_insert(value);
        }
        Ok(())
    }
}

/// A text; one that is too long to be a name is none of those that are known.
fn text(message: &mut Message<'_, '_>, length: u64) -> io::Result<String> {
    let bytes = message.bytes(length, NAME)?;
    Ok(bytes.map_or_else(|| "\u{fffd}".to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Whether a place is a path within the folder that it is read from, on every system.
fn is_within(place: &str) -> bool {
    let is_strange = |c: char| c.is_control() || matches!(c, ':' | '\u{fffd}');
    let parts = || place.split(['/', '\\']);
    !place.is_empty()
        && !place.contains(is_strange)
        && !place.starts_with(['/', '\\'])
        && parts().all(|part| part != "..")
}
