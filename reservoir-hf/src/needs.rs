//! What a model needs of other repositories: code, the base of an adapter, a tokenizer.
//!
//! Written down by inspection as `org/name`, `org/name@revision` or, where files for a tokenizer are enough,
//! `tokenizer:org/name`.

use std::collections::BTreeSet;

use reservoir_core::Result;
use serde_json::{Map, Value};

use crate::{
    card::Card,
    name::{Label, RepoId, RepoKind},
    options::parse_spec,
    record::Item,
};

/// What a need begins with that a tokenizer satisfies. No repository has a colon in its name.
const TOKENIZER: &str = "tokenizer:";
/// Needs of one file.
const LIMIT: usize = 50;

/// Files that say what other repositories they go with.
const CONFIGS: [&str; 6] = [
    "adapter_config.json",
    "config.json",
    "open_clip_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
];
/// Keys whose value is the repository of a tokenizer, in any part of a configuration.
const TOKENIZER_KEYS: [&str; 5] =
    ["hf_model_name", "hf_tokenizer_name", "text_tokenizer", "tokenizer_name", "tokenizer_name_or_path"];
/// Keys whose value is a repository that is loaded as well.
const MODEL_KEYS: [&str; 2] = ["mm_vision_tower", "vision_tower"];
/// What cards of adapters say of them.
const ADAPTERS: [&str; 5] = ["adapter", "adapter-transformers", "lora", "peft", "textual_inversion"];

/// A need, as it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) repo: RepoId,
    pub(crate) label: Label,
    /// Whether what a tokenizer is made of is enough.
    pub(crate) is_tokenizer: bool,
}

impl Need {
    /// # Errors
    /// Those of [`parse_spec`].
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let rest = text.strip_prefix(TOKENIZER);
        let (repo, label) = parse_spec(rest.unwrap_or(text))?;
        Ok(Self { repo, label, is_tokenizer: rest.is_some() })
    }
}

/// Whether a file is one that [`of_config`] reads.
pub(crate) fn is_config(path: &str) -> bool {
    CONFIGS.contains(&path)
}

/// What a configuration asks for.
pub(crate) fn of_config(path: &str, config: &Map<String, Value>, own: &RepoId) -> Vec<String> {
    let mut needs = BTreeSet::new();
    if let Some(Value::Object(map)) = config.get("auto_map") {
        let classes = map.values().flat_map(|value| match value {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>(),
            value => value.as_str().into_iter().collect(),
        });
        // `org/name--module.Class` is code of another repository.
        let named = classes.filter_map(|class| Some(class.split_once("--")?.0));
        needs.extend(named.filter(|spec| is_elsewhere(spec, own, Names::Any)).map(str::to_owned));
    }
    if path == "adapter_config.json"
        && let Some(base) = config.get("base_model_name_or_path").and_then(Value::as_str)
    {
        let revision = config.get("revision").and_then(Value::as_str).filter(|text| !text.is_empty());
        let spec = revision.map_or_else(|| base.to_owned(), |revision| format!("{base}@{revision}"));
        // A path of somebody's disk is no repository, and mostly looks like none.
        if is_elsewhere(&spec, own, Names::Unsure) {
            needs.insert(spec);
        }
    }
    let mut parts: Vec<&Map<String, Value>> = vec![config];
    while let Some(part) = parts.pop() {
        for (key, value) in part {
            match value {
                Value::Object(inner) => parts.push(inner),
                Value::String(text) if is_elsewhere(text, own, Names::Unsure) => {
                    if TOKENIZER_KEYS.contains(&&**key) {
                        needs.insert(format!("{TOKENIZER}{text}"));
                    } else if MODEL_KEYS.contains(&&**key) {
                        needs.insert(text.clone());
                    }
                }
                _ => {}
            }
        }
    }
    needs.into_iter().take(LIMIT).collect()
}

/// What a card asks for: the base of an adapter, or the tokenizer of the base where the commit has none of its own.
pub(crate) fn of_card(card: &Card, lacks_tokenizer: bool, own: &RepoId) -> Vec<String> {
    let says = |key: &str| card.list(key).into_iter().any(|text| ADAPTERS.contains(&text));
    let is_adapter = ["base_model_relation", "library_name", "tags"].into_iter().any(says);
    let bases = card.list("base_model");
    let bases = bases.into_iter().filter(|base| is_elsewhere(base, own, Names::Any)).take(LIMIT);
    match (is_adapter, lacks_tokenizer) {
        (true, _) => bases.map(str::to_owned).collect(),
        // Of several, all have been merged, which took one tokenizer.
        (false, true) => bases.take(1).map(|base| format!("{TOKENIZER}{base}")).collect(),
        (false, false) => Vec::new(),
    }
}

/// Whether a commit has weights for `transformers` and nothing to make a tokenizer of.
pub(crate) fn lacks_tokenizer(items: &[Item]) -> bool {
    let has = |wanted: &dyn Fn(&str) -> bool| items.iter().any(|item| wanted(&item.path));
    let is_weights = |path: &str| {
        !path.contains('/')
            && (path.starts_with("model") || path.starts_with("pytorch_model"))
            && matches!(path.rsplit_once('.'), Some((_, "safetensors" | "bin")))
    };
    has(&|path| path == "config.json")
        && has(&is_weights)
        && !has(&|path| path != "config.json" && is_tokenizer(path))
}

/// Whether a file may be needed to make a tokenizer, or the processor around one.
pub(crate) fn is_tokenizer(path: &str) -> bool {
    const NAMES: [&str; 14] = [
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
        "config.json",
        "merges.txt",
        "preprocessor_config.json",
        "processor_config.json",
        "sentencepiece.bpe.model",
        "source.spm",
        "special_tokens_map.json",
        "spiece.model",
        "target.spm",
        "vocab.json",
        "vocab.txt",
    ];
    let is_coded = matches!(path.rsplit_once('.'), Some((_, "tiktoken")));
    let is_named =
        path.starts_with("tokenizer") || path.starts_with("tokenization_") || path == "tekken.json";
    let is_template = path.starts_with("additional_chat_templates/");
    is_template || !path.contains('/') && (NAMES.contains(&path) || is_coded || is_named)
}

/// Which names are taken for those of repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// Where a folder of whoever trained may stand as well: of one part only if it does not look like one.
    Unsure,
    /// All that can be one.
    Any,
}

fn is_elsewhere(spec: &str, own: &RepoId, names: Names) -> bool {
    let (id, label) = spec.split_once('@').unwrap_or((spec, "main"));
    let other = RepoId::new(RepoKind::Model, id);
    let is_taken = |other: &RepoId| names == Names::Any || other.namespace().is_some() || !is_folder(id);
    other.is_ok_and(|other| is_taken(&other) && other != *own) && label.parse::<Label>().is_ok()
}

/// Whether a name of one part is what people call a folder or file of their own. Real ids of one part say what model it
/// is (`gpt2`, `bert-base-uncased`); nearly all of them are older than names of two parts.
fn is_folder(name: &str) -> bool {
    const WORDS: [&str; 26] = [
        "adapter",
        "adapters",
        "base",
        "best",
        "cache",
        "checkpoint",
        "checkpoints",
        "ckpt",
        "data",
        "default",
        "final",
        "last",
        "latest",
        "lora",
        "merged",
        "model",
        "models",
        "none",
        "null",
        "out",
        "output",
        "outputs",
        "pretrained",
        "results",
        "tokenizer",
        "weights",
    ];
    const ENDINGS: [&str; 7] = ["bin", "ckpt", "gguf", "json", "pt", "pth", "safetensors"];
    let name = name.to_ascii_lowercase();
    let is_file = name.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending));
    // `model`, `base_model`, `checkpoint-500`, `final_checkpoint_2`.
    let mut words = name.split(['-', '_']).filter(|word| !word.bytes().all(|byte| byte.is_ascii_digit()));
    is_file || words.all(|word| WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::git::blob_id;

    fn own() -> RepoId {
        "org/own".parse().unwrap()
    }

    fn config(path: &str, value: &Value) -> Vec<String> {
        of_config(path, value.as_object().unwrap(), &own())
    }

    #[test]
    fn configurations_name_other_repositories() {
        for (path, value, expected) in [
            (
                "config.json",
                json!({ "auto_map": { "AutoModel": "org/code--x.Y", "AutoConfig": "x.Z" } }),
                &["org/code"][..],
            ),
            (
                "adapter_config.json",
                json!({ "base_model_name_or_path": "org/base", "revision": "v1" }),
                &["org/base@v1"],
            ),
            ("adapter_config.json", json!({ "base_model_name_or_path": "/home/somebody/base" }), &[]),
            ("adapter_config.json", json!({ "base_model_name_or_path": "gpt2" }), &["gpt2"]),
            (
                "adapter_config.json",
                json!({ "base_model_name_or_path": "bert-base-uncased", "revision": "v1" }),
                &["bert-base-uncased@v1"],
            ),
            ("config.json", json!({ "auto_map": { "AutoModel": "model--x.Y" } }), &["model"]),
            (
                "config.json",
                json!({ "tokenizer_name": "gpt2", "vision_tower": "model" }),
                &["tokenizer:gpt2"],
            ),
            ("config.json", json!({ "base_model_name_or_path": "org/base" }), &[]),
            ("config.json", json!({ "tokenizer_name": "org/words" }), &["tokenizer:org/words"]),
            (
                "open_clip_config.json",
                json!({ "model_cfg": { "text_cfg": { "hf_tokenizer_name": "org/text", "width": 1 } } }),
                &["tokenizer:org/text"],
            ),
            ("config.json", json!({ "mm_vision_tower": "org/eyes" }), &["org/eyes"]),
            ("config.json", json!({ "tokenizer_name": "org/own", "vision_tower": 7 }), &[]),
        ] {
            assert_eq!(config(path, &value), expected, "{path} {value}");
        }
        let many: Map<String, Value> = (0..200)
            .map(|number| (format!("{number}"), json!({ "tokenizer_name": format!("org/t{number}") })))
            .collect();
        assert_eq!(of_config("config.json", &many, &own()).len(), LIMIT);
    }

    #[test]
    fn folders_of_who_trained_are_no_repositories() {
        for path in [
            "./base",
            "../base",
            "/base",
            "~/base",
            "base/",
            "model",
            "base_model",
            "Output",
            "checkpoint-500",
            "final_checkpoint_2",
            "merged-model",
            "500",
            "pytorch_model.bin",
            "weights.safetensors",
            "",
            ".",
        ] {
            let value = json!({ "base_model_name_or_path": path });
            assert!(config("adapter_config.json", &value).is_empty(), "{path}");
        }
        for id in ["gpt2", "t5-base", "bert-base-uncased", "distilgpt2", "xlm-roberta-base", "bigbird", "m"] {
            let value = json!({ "base_model_name_or_path": id });
            assert_eq!(config("adapter_config.json", &value), [id]);
        }
    }

    #[test]
    fn cards_name_bases() {
        let card = |text: &str| Card::parse(format!("---\n{text}\n---\n").as_bytes()).unwrap();
        let plain = card("base_model: org/base");
        assert_eq!(of_card(&plain, true, &own()), ["tokenizer:org/base"]);
        assert!(of_card(&plain, false, &own()).is_empty(), "what was made of it needs it no more");
        for text in ["library_name: peft", "tags: [lora]", "base_model_relation: adapter"] {
            let adapter = card(&format!("base_model: [gpt2, org/own]\n{text}"));
            assert_eq!(of_card(&adapter, true, &own()), ["gpt2"], "{text}");
        }
    }

    #[test]
    fn weights_without_a_tokenizer_are_seen() {
        let lacks = |paths: &[&str]| {
            let item =
                |path: &&str| Item { path: (*path).into(), oid: blob_id(b"x"), size: Some(1), lfs: None };
            lacks_tokenizer(&paths.iter().map(item).collect::<Vec<_>>())
        };
        assert!(lacks(&["README.md", "config.json", "model-00001-of-00002.safetensors"]));
        assert!(!lacks(&["config.json", "model.safetensors", "vocab.txt"]));
        assert!(!lacks(&["config.json", "model.gguf"]));
        assert!(!lacks(&["model.safetensors"]));
    }

    #[test]
    fn needs_are_read_as_they_were_written() {
        let need = Need::parse("tokenizer:org/base@v1").unwrap();
        assert!(need.is_tokenizer && need.label.as_str() == "v1" && need.repo.id() == "org/base");
        assert!(!Need::parse("org/base").unwrap().is_tokenizer);
        assert!(Need::parse("words:org/base").is_err());
    }
}
