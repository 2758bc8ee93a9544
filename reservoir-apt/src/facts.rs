//! What a person wants to know of a package: the fields of its stanza, and where it is listed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{attribute, control::Stanza};

/// Fields that are told.
const FIELDS: [&str; 17] = [
    "Source",
    "Section",
    "Priority",
    "Essential",
    "Multi-Arch",
    "Maintainer",
    "Installed-Size",
    "Pre-Depends",
    "Depends",
    "Recommends",
    "Conflicts",
    "Breaks",
    "Replaces",
    "Provides",
    "Homepage",
    "Phased-Update-Percentage",
    "Description",
];

pub(crate) fn of(attributes: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let fact = |name| attribute::fact(attributes, name);
    let mut facts = BTreeMap::new();
    let listed =
        [attribute::STANZAS, attribute::SOURCES].into_iter().find_map(fact).and_then(Value::as_object);
    let mut text = fact(attribute::CONTROL).and_then(Value::as_str);
    if let Some(listed) = listed {
        let places: Vec<&str> = listed.keys().map(String::as_str).collect();
        facts.insert("Listed-In".to_owned(), places.join(", "));
        text = listed.values().find_map(Value::as_str);
    }
    let Some(stanza) = text.and_then(|text| Stanza::parse(text.as_bytes()).ok()) else { return facts };
    let told = FIELDS.iter().filter_map(|name| {
        // Of several lines the first says what it is.
        let value = stanza.get(name)?.lines().next()?.trim();
        (!value.is_empty()).then(|| ((*name).to_owned(), value.to_owned()))
    });
    facts.extend(told);
    facts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_and_places_of_what_is_listed_uploaded_or_gone() {
        let stanza = "Package: x\nSection: net\nDepends: a, b\nDescription: short\n long";
        let told = |attributes: Value| of(&serde_json::from_value(attributes).unwrap());
        let listed = told(json!({ "stanzas": { "noble/main": stanza, "noble-updates/main": stanza } }));
        assert_eq!(listed["Listed-In"], "noble-updates/main, noble/main");
        assert_eq!((listed["Depends"].as_str(), listed["Description"].as_str()), ("a, b", "short"));
        assert_eq!(told(json!({ "control": stanza }))["Section"], "net");
        assert_eq!(told(json!({ "gone": { "stanzas": { "noble/main": stanza } } })).len(), 4);
        assert!(told(json!({ "stanzas": { "noble/main": "broken" }, "x": 1 })).len() <= 1);
    }
}
