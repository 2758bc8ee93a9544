//! Reading a call of XML-RPC: the name of a method, and numbers. Nothing that is answered here is asked with more.

use quick_xml::{Reader, events::Event};
use reservoir_core::{Error, Result};

/// Elements within elements; what clients send has eleven at most.
const DEPTH: usize = 32;
/// Numbers that a call may have.
const NUMBERS: usize = 16;
/// The entities of XML itself.
const CHARACTERS: [&[u8]; 5] = [b"lt", b"gt", b"amp", b"quot", b"apos"];
/// The largest number up to which every whole one is a `double`.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) method: String,
    /// Its numbers, in order; whatever else it was sent with is passed over.
    pub(super) numbers: Vec<u64>,
}

/// Reads a call. Entities of its own are refused, and so nothing can grow.
///
/// # Errors
/// [`Error::Malformed`] with the rule `xml-rpc`.
pub(super) fn read(bytes: &[u8]) -> Result<Call> {
    let mut reader = Reader::from_reader(bytes);
    let mut call = Call::default();
    let mut open: Vec<Vec<u8>> = Vec::new();
    let mut text = String::new();
    loop {
        match reader.read_event().map_err(|error| refuse(error.to_string()))? {
            Event::Start(start) => {
                if open.len() == DEPTH {
                    return Err(refuse("is nested too deeply"));
                }
                open.push(start.name().as_ref().to_vec());
                text.clear();
            }
            Event::Text(part) => text.push_str(&part.decode().map_err(|error| refuse(error.to_string()))?),
            Event::End(_) => {
                let Some(name) = open.pop() else { return Err(refuse("ends what did not begin")) };
                match &*name {
                    b"methodName" => text.trim().clone_into(&mut call.method),
                    b"i4" | b"i8" | b"int" | b"double" => {
                        if call.numbers.len() == NUMBERS {
                            return Err(refuse("has too many numbers"));
                        }
                        call.numbers.push(number(text.trim())?);
                    }
                    _ => {}
                }
                text.clear();
            }
            // What stands for one character is no part of any name or number that is answered.
            Event::GeneralRef(part) if part.is_char_ref() || CHARACTERS.contains(&part.as_ref()) => {
                text.push('?');
            }
            Event::DocType(_) | Event::GeneralRef(_) => return Err(refuse("has entities")),
            Event::Eof => break,
            Event::Empty(_) | Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    if !open.is_empty() || call.method.is_empty() {
        return Err(refuse("is not whole"));
    }
    Ok(call)
}

/// A whole number that is not negative. Clients write large ones as `double`.
fn number(text: &str) -> Result<u64> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match text.parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in between")]
        Ok(number) if (0.0..=EXACT).contains(&number) => Ok(number as u64),
        _ => Err(refuse("has a number that is none, or negative")),
    }
}

fn refuse(detail: impl Into<String>) -> Error {
    Error::malformed("the call", "xml-rpc", detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(parameters: &str) -> String {
        format!(
            "<?xml version='1.0'?>\n<methodCall><methodName>changelog_since_serial</methodName><params>{parameters}\
             </params></methodCall>"
        )
    }

    #[test]
    fn calls_are_read_as_clients_write_them() {
        let asked =
            |numbers: &[u64]| Call { method: "changelog_since_serial".into(), numbers: numbers.into() };
        for (parameters, numbers) in [
            ("", &[] as &[u64]),
            ("<param><value><i4>7</i4></value></param>", &[7]),
            ("<param>\n <value><int> 7 </int></value>\n</param><param><value>text</value></param>", &[7]),
            ("<param><value><double>3000000000</double></value></param>", &[3_000_000_000]),
            ("<param><value><double>3e9</double></value></param>", &[3_000_000_000]),
            ("<param><value>&lt;six&#62;</value></param><param><value><i4>2</i4></value></param>", &[2]),
            ("<param><value><nil/></value></param><param><value><i8>1</i8></value></param>", &[1]),
        ] {
            assert_eq!(read(with(parameters).as_bytes()).unwrap(), asked(numbers), "{parameters}");
        }
    }

    #[test]
    fn what_is_no_call_is_refused() {
        let deep = format!("<methodCall>{}", "<value>".repeat(100));
        let many = "<param><value><i4>1</i4></value></param>".repeat(20);
        let entity =
            "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><methodCall><methodName>&a;</methodName></methodCall>";
        for wrong in [
            "",
            "{}",
            "<methodCall>",
            "<methodCall></methodCall>",
            "<methodCall><methodName>a</methodName>",
            "</methodCall>",
            "<a></b>",
            entity,
            "<methodCall><methodName>&a;</methodName></methodCall>",
            &deep,
            &with(&many),
            &with("<param><value><i4>-1</i4></value></param>"),
            &with("<param><value><i4>x</i4></value></param>"),
            &with("<param><value><double>1e300</double></value></param>"),
            &with("<param><value><double>NaN</double></value></param>"),
        ] {
            assert!(matches!(read(wrong.as_bytes()), Err(Error::Malformed { .. })), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }

        #[test]
        fn any_elements_are_read_or_refused(text in "(</?(methodCall|methodName|i4|value)/?>|[&;<>a-z0-9 ]){0,40}") {
            let _ = read(text.as_bytes());
        }
    }
}
