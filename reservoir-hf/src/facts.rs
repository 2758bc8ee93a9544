//! What a person wants to know of a commit before letting it in: its card in few words.

use std::collections::{BTreeMap, BTreeSet};

use reservoir_core::{Result, ecosystem::Candidate, name::ArtifactName};
use serde_json::{Value, json};

use crate::{
    attribute::{CARD, CONFIG},
    card::Card,
    layout,
    name::{ObjectId, RepoId},
};

/// Results of benchmarks that are shown.
const RESULTS: usize = 50;

/// Licence, tags, base model, architecture, results of benchmarks, what it needs of other repositories: what is known of
/// a commit.
pub(crate) fn of(artifact: &ArtifactName, revision: &Candidate) -> Result<BTreeMap<String, Value>> {
    let repo: RepoId = artifact.as_str().parse()?;
    let commit: ObjectId = revision.revision.as_str().parse()?;
    let attributes = |path: &str| -> Result<BTreeMap<String, Value>> {
        let path = layout::file_path(&repo, commit, path)?;
        let file = revision.files.iter().find(|file| file.path == path);
        let inspection = file.and_then(|file| file.inspection.as_ref());
        Ok(inspection.map(|inspection| inspection.attributes.clone()).unwrap_or_default())
    };
    let mut facts = attributes("README.md")?;
    if let Some(Value::String(card)) = facts.remove(CARD)
        && let Some(card) = Card::from_text(&card)
    {
        let results = results(&card);
        if !results.is_empty() {
            facts.insert("results".to_owned(), json!(results));
        }
    }
    let inspections = revision.files.iter().filter_map(|file| file.inspection.as_ref());
    let needs: BTreeSet<&String> = inspections.flat_map(|inspection| &inspection.requirements).collect();
    if !needs.is_empty() {
        facts.insert("needs".to_owned(), json!(needs));
    }
    if let Some(Value::Object(config)) = attributes("config.json")?.remove(CONFIG) {
        facts.extend(config);
    }
    Ok(facts)
}

/// The `model-index` of a card, a line each: `text-classification on imdb: accuracy 0.93`.
fn results(card: &Card) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for model in card.data().get("model-index").map(list).unwrap_or_default() {
        for result in list(&model["results"]) {
            let name = |value: &Value| {
                let text = value["name"].as_str().or_else(|| value["type"].as_str()).unwrap_or("?");
                text.chars().take(80).collect::<String>()
            };
            for metric in list(&result["metrics"]) {
                let value = match &metric["value"] {
                    Value::String(text) => text.chars().take(40).collect(),
                    value @ Value::Number(_) => value.to_string(),
                    _ => continue,
                };
                let (task, dataset) = (name(&result["task"]), name(&result["dataset"]));
                lines.push(format!("{task} on {dataset}: {} {value}", name(&metric)));
            }
        }
    }
    lines.truncate(RESULTS);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_benchmarks_are_lines() {
        let readme = "---\nmodel-index:\n- name: m\n  results:\n  - task:\n      type: text-classification\n    \
                      dataset:\n      name: IMDB\n      type: imdb\n    metrics:\n    - type: accuracy\n      \
                      value: 0.93\n    - type: f1\n      value: [1]\n---\n";
        let card = Card::parse(readme.as_bytes()).unwrap();
        assert_eq!(results(&card), ["text-classification on IMDB: accuracy 0.93"]);
        let card = Card::parse(b"---\nmodel-index: 7\n---\n").unwrap();
        assert!(results(&card).is_empty());
    }
}
