//! safetensors: a length, a JSON header of tensors, their bytes without holes or overlaps.

use std::{collections::HashSet, fmt, io};

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor};

use super::{
    input::Input,
    look::Place,
    report::{Report, Rule, shown},
};

/// The longest header that the format's own library reads.
const HEADER: u64 = 100_000_000;
/// The longest header that is looked at; the Hub's client reads no longer one.
const READ: u64 = 25_000_000;
/// Tensors of one file.
const TENSORS: usize = 500_000;

/// Whether a file is sound; also for GGUF.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Sound,
    Malformed(String),
    Unknown(String),
}

impl Outcome {
    pub(super) fn report(self, report: &mut Report, place: &Place, rule: Rule) {
        match self {
            Self::Sound => {}
            Self::Malformed(detail) => report.find(rule, &place.shown(), format!("is malformed: {detail}")),
            Self::Unknown(reason) => report.incomplete(&place.shown(), reason),
        }
    }
}

/// Whether a header begins here, if only a wrong one.
pub(super) fn is_header(head: &[u8]) -> bool {
    let Some((length, json)) = head.split_first_chunk::<8>() else { return false };
    let is_json = matches!(json, [b'{', b'"' | b'}' | b' ' | b'\t' | b'\r' | b'\n', ..]);
    // Eight letters before a brace are a text, and no length that any reader takes.
    is_json && !length.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}

/// Checks a file of `size` bytes; where that is not known, all of it is read.
pub(super) fn check(input: &mut Input<'_>, size: Option<u64>) -> io::Result<Outcome> {
    let malformed = |detail: String| Ok(Outcome::Malformed(detail));
    let Some(length) = input.array().map(|bytes| bytes.map(u64::from_le_bytes))? else {
        return malformed("it is shorter than the length of a header".into());
    };
    if length > HEADER {
        return malformed(format!("its header has {length} bytes, {HEADER} are the most"));
    }
    if size.is_some_and(|size| length > size - 8) {
        return malformed(format!("its header of {length} bytes is longer than the file"));
    }
    if length > READ {
        return Ok(Outcome::Unknown(format!("a safetensors header of {length} bytes is over {READ}")));
    }
    let Some(header) = input.bytes(length as usize)? else {
        return malformed("it ends within its header".into());
    };
    if header.first() != Some(&b'{') {
        return malformed("its header does not begin with `{`".into());
    }
    let mut json = serde_json::Deserializer::from_slice(&header);
    let parsed = Header::default().deserialize(&mut json).and_then(|header| json.end().map(|()| header));
    drop(json);
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(error) if parsed_too_much(&error) => return Ok(Outcome::Unknown(too_many())),
        Err(error) => return malformed(format!("its header: {}", shown(&error.to_string()))),
    };
    drop(header);
    let data = if let Some(size) = size {
        size - 8 - length
    } else {
        input.drain()?;
        input.position() - 8 - length
    };
    Ok(match parsed.contiguous(data) {
        Ok(()) => Outcome::Sound,
        Err(detail) => Outcome::Malformed(detail),
    })
}

fn too_many() -> String {
    format!("more than {TENSORS} tensors")
}

fn parsed_too_much(error: &serde_json::Error) -> bool {
    error.to_string().starts_with(&too_many())
}

/// Bits of one element; those that are listed are all there are.
fn bits(kind: &str) -> Option<u64> {
    Some(match kind {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E5M2FNUZ" | "F8_E4M3FNUZ" => 8,
        "I16" | "U16" | "F16" | "BF16" => 16,
        "I32" | "U32" | "F32" => 32,
        "I64" | "U64" | "F64" | "C64" => 64,
        _ => return None,
    })
}

/// The tensors of a header: where each begins and ends.
#[derive(Debug, Default)]
struct Header {
    names: HashSet<u64>,
    places: Vec<(u64, u64)>,
    has_metadata: bool,
}

impl Header {
    fn contiguous(mut self, data: u64) -> Result<(), String> {
        self.places.sort_unstable();
        let mut at = 0;
        for (start, end) in self.places {
            if start != at {
                return Err(format!("what lies at {start} should begin at {at}: a hole or an overlap"));
            }
            at = end;
        }
        if at != data {
            return Err(format!("its tensors have {at} bytes, {data} follow the header"));
        }
        Ok(())
    }

    fn tensor(&mut self, name: &str, tensor: &Tensor) -> Result<(), String> {
        let (Some(kind), Some(shape), Some((start, end))) = (&tensor.kind, &tensor.shape, tensor.offsets)
        else {
            return Err(format!("tensor `{}` lacks a field", shown(name)));
        };
        let Some(bits) = bits(kind) else {
            return Err(format!("tensor `{}` has the unknown type `{}`", shown(name), shown(kind)));
        };
        let total = shape.0.and_then(|elements| elements.checked_mul(bits));
        let Some(total) = total else {
            return Err(format!("tensor `{}` has more elements than can be counted", shown(name)));
        };
        if total % 8 != 0 || start.checked_add(total / 8) != Some(end) {
            let what = format!("tensor `{}` of {total} bits lies from {start} to {end}", shown(name));
            return Err(what);
        }
        self.places.push((start, end));
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Header {
    type Value = Self;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Header {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<Self, M::Error> {
        use std::hash::{BuildHasher as _, RandomState};
        let state = RandomState::new();
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if name == "__metadata__" {
                if std::mem::replace(&mut self.has_metadata, true) {
                    return Err(de::Error::custom("`__metadata__` is there twice"));
                }
                map.next_value::<Metadata>()?;
                continue;
            }
            if !self.names.insert(state.hash_one(&*name)) {
                return Err(de::Error::custom(format!("tensor `{}` is there twice", shown(&name))));
            }
            if self.names.len() > TENSORS {
                return Err(de::Error::custom(too_many()));
            }
            let tensor = map.next_value::<Tensor>()?;
            self.tensor(&name, &tensor).map_err(de::Error::custom)?;
        }
        Ok(self)
    }
}

/// Text by text, each key once.
struct Metadata;

impl<'de> de::Deserialize<'de> for Metadata {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Metadata, M::Error> {
                let mut keys = HashSet::new();
                while let Some(key) = map.next_key::<String>()? {
                    map.next_value::<String>()?;
                    if !keys.insert(key) {
                        return Err(de::Error::custom("a key of `__metadata__` is there twice"));
                    }
                }
                Ok(Metadata)
            }
        }
        deserializer.deserialize_map(Texts)
    }
}

#[derive(Debug, Default)]
struct Tensor {
    kind: Option<String>,
    shape: Option<Shape>,
    offsets: Option<(u64, u64)>,
}

impl<'de> de::Deserialize<'de> for Tensor {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Tensor;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a tensor with `dtype`, `shape` and `data_offsets`")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Tensor, M::Error> {
                let mut tensor = Tensor::default();
                while let Some(key) = map.next_key::<String>()? {
                    let is_twice = match key.as_str() {
                        "dtype" => tensor.kind.replace(map.next_value()?).is_some(),
                        "shape" => tensor.shape.replace(map.next_value()?).is_some(),
                        "data_offsets" => tensor.offsets.replace(map.next_value()?).is_some(),
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            return Err(de::Error::custom(format!("unknown field `{}`", shown(&key))));
                        }
                    };
                    if is_twice {
                        return Err(de::Error::custom(format!("field `{}` is there twice", shown(&key))));
                    }
                }
                Ok(tensor)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// How many elements a shape has; `None` when they cannot be counted.
#[derive(Debug)]
struct Shape(Option<u64>);

impl<'de> de::Deserialize<'de> for Shape {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Extents;
        impl<'de> Visitor<'de> for Extents {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of extents")
            }

            fn visit_seq<S: de::SeqAccess<'de>>(self, mut extents: S) -> Result<Shape, S::Error> {
                let mut elements = Some(1_u64);
                while let Some(extent) = extents.next_element::<u64>()? {
                    elements = elements.and_then(|elements| elements.checked_mul(extent));
                }
                Ok(Shape(elements))
            }
        }
        deserializer.deserialize_seq(Extents)
    }
}
