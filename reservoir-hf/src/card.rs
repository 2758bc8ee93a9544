//! The card of a model or dataset: the front matter of its `README.md`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Most bytes of a `README.md` that are looked at; the front matter stands at its beginning.
pub(crate) const HEAD_LIMIT: usize = 256 << 10;
/// Most tags that are kept of one card.
const TAGS: usize = 500;
/// Most words that are kept of one card, beside the tags.
const WORDS: usize = 100;

/// What a card says, bounded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Card {
    data: Map<String, Value>,
}

impl Card {
    /// Reads the front matter between the first line, `---`, and the next such line. `None` when there is none, or
    /// when it is no YAML mapping within the limits: a card is a description, and a bad one spoils no model.
    #[must_use]
    pub fn parse(readme: &[u8]) -> Option<Self> {
        let head = &readme[..readme.len().min(HEAD_LIMIT)];
        let text = match std::str::from_utf8(head) {
            Ok(text) => text,
            // Cut within a character.
            Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).ok()?,
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let body = text.strip_prefix("---\n").or_else(|| text.strip_prefix("---\r\n"))?;
        let mut end = 0;
        for line in body.split_inclusive('\n') {
            if line.trim_end() == "---" {
                return Self::from_yaml(&body[..end]);
            }
            end += line.len();
        }
        None
    }

    fn from_yaml(text: &str) -> Option<Self> {
        let mut budget = serde_saphyr::Budget::default();
        budget.max_depth = 32;
        budget.max_nodes = 20_000;
        budget.max_events = 100_000;
        budget.max_aliases = 100;
        budget.max_total_scalar_bytes = HEAD_LIMIT;
        let mut options = serde_saphyr::Options::default();
        options.budget = Some(budget);
        let value: Value = serde_saphyr::from_str_with_options(text, options).ok()?;
        match value {
            Value::Object(data) => Some(Self { data }),
            _ => None,
        }
    }

    /// From what [`to_text`](Self::to_text) wrote.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(|data| Self { data })
    }

    /// As JSON text. Kept as text because benchmark results are fractional numbers, which manifests do not hold.
    #[must_use]
    pub fn to_text(&self) -> String {
        Value::Object(self.data.clone()).to_string()
    }

    /// Everything, as it stands in the front matter.
    #[must_use]
    pub fn data(&self) -> &Map<String, Value> {
        &self.data
    }

    /// A key whose value is one text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.data.get(key).and_then(Value::as_str)
    }

    /// A key whose value is a text or a list of texts.
    #[must_use]
    pub fn list(&self, key: &str) -> Vec<&str> {
        match self.data.get(key) {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// What clients filter by: the card's own tags, and `license:…`, `dataset:…`, `base_model:…` and the like.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut tags = Vec::new();
        let mut add = |tag: String| {
            if tags.len() < TAGS && tag.len() <= 256 && seen.insert(tag.clone()) {
                tags.push(tag);
            }
        };
        for key in ["library_name", "pipeline_tag", "tags", "language"] {
            self.list(key).into_iter().map(str::to_owned).for_each(&mut add);
        }
        for (key, prefix) in [
            ("license", "license"),
            ("datasets", "dataset"),
            ("base_model", "base_model"),
            ("task_categories", "task_categories"),
            ("size_categories", "size_categories"),
        ] {
            self.list(key).into_iter().map(|value| format!("{prefix}:{value}")).for_each(&mut add);
        }
        if self.data.get("model-index").is_some_and(Value::is_array) {
            add("model-index".to_owned());
        }
        tags
    }

    /// What searches find beside the tags: the title, and of benchmark results the tasks, datasets and metrics, in
    /// lower case, each once.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = BTreeSet::new();
        let mut add = |value: Option<&Value>| {
            let text = value.and_then(Value::as_str).filter(|text| !text.is_empty() && text.len() <= 256);
            if let Some(text) = text.filter(|_| words.len() < WORDS) {
                words.insert(text.to_lowercase());
            }
        };
        add(self.data.get("pretty_name"));
        let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
        for result in list(self.data.get("model-index")).iter().flat_map(|model| list(model.get("results"))) {
            for part in ["task", "dataset"].map(|key| result.get(key)).into_iter().flatten() {
                add(part.get("type"));
                add(part.get("name"));
            }
            for metric in list(result.get("metrics")) {
                add(metric.get("type"));
                add(metric.get("name"));
            }
        }
        words.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const README: &str = "---\nlicense: apache-2.0\ntags:\n- tiny\n- test\ndatasets: org/data\nbase_model: org/base\n\
                          pipeline_tag: fill-mask\nlibrary_name: transformers\nlanguage: [en, ko]\n\
                          model-index:\n- name: m\n  results:\n  - metrics:\n    - {type: accuracy, value: 0.93}\n\
                          ---\n# A model\n";

    #[test]
    fn the_front_matter_is_kept_whole() {
        let card = Card::parse(README.as_bytes()).unwrap();
        assert_eq!(card.text("license"), Some("apache-2.0"));
        assert_eq!(card.list("datasets"), ["org/data"]);
        assert_eq!(card.data()["model-index"][0]["results"][0]["metrics"][0]["value"], 0.93);
        let tags = card.tags();
        for tag in
            ["tiny", "en", "ko", "license:apache-2.0", "dataset:org/data", "base_model:org/base", "fill-mask"]
        {
            assert!(tags.iter().any(|known| known == tag), "{tag}: {tags:?}");
        }
        assert_eq!(Card::from_text(&card.to_text()), Some(card));
    }

    #[test]
    fn results_are_found_by_task_dataset_and_metric() {
        let many = (0..500).map(|n| format!("    - {{type: m{n}}}\n")).collect::<Vec<_>>().concat();
        let text = format!(
            "---\npretty_name: Tiny One\nmodel-index:\n- name: m\n  results:\n  - task: {{type: text-classification}}\n    \
             dataset: {{type: imdb, name: IMDB Reviews}}\n    metrics:\n    - {{type: Accuracy, value: 0.9}}\n{many}---\n"
        );
        let words = Card::parse(text.as_bytes()).unwrap().words();
        for word in ["tiny one", "text-classification", "imdb", "imdb reviews", "accuracy"] {
            assert!(words.iter().any(|known| known == word), "{word}: {words:?}");
        }
        assert_eq!(words.len(), WORDS);
        for odd in
            ["model-index: 7", "model-index: [7]", "model-index: [{results: [{task: x, metrics: {}}]}]"]
        {
            let card = Card::parse(format!("---\n{odd}\n---\n").as_bytes()).unwrap();
            assert!(card.words().is_empty(), "{odd}");
        }
    }

    #[test]
    fn what_is_no_card_is_none() {
        for text in
            ["", "# A model", "---\n", "---\nlicense: x\n", "---\n- a\n---\n", "---\n: :\n\t- {\n---\n"]
        {
            assert_eq!(Card::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    /// Nine aliases of nine aliases of …: a billion values in a few lines.
    #[test]
    fn bombs_are_refused_quickly() {
        let mut bomb = String::from("---\na0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for level in 1..9 {
            let alias = format!("*a{}", level - 1);
            let nine = [alias.as_str(); 9].join(",");
            bomb.extend(["a", &level.to_string(), ": &a", &level.to_string(), " [", &nine, "]\n"]);
        }
        bomb += "---\n";
        let deep = format!("---\na: {}{}\n---\n", "[".repeat(20_000), "]".repeat(20_000));
        let start = std::time::Instant::now();
        assert_eq!(Card::parse(bomb.as_bytes()), None);
        assert_eq!(Card::parse(deep.as_bytes()), None);
        assert!(start.elapsed() < std::time::Duration::from_secs(5));
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "---\n[a-z:\\-&*\\[\\]{}!|> \n]{0,120}\n---\n") {
            let _ = Card::parse(&bytes);
            if let Some(card) = Card::parse(text.as_bytes()) {
                let _ = card.tags();
            }
        }
    }
}
