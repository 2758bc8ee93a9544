//! Which GGUF file a name with a tag means, as llama.cpp asks (`llama-cli -hf org/name:Q4_K_M`).

use reservoir_core::serve::{Found, Response, View};
use serde_json::{Value, json};

use super::{
    answer::{self, Failure, Refusal},
    lookup,
};
use crate::{
    layout,
    name::{Label, ObjectId, RepoId, check_path},
    options::Options,
    record::Item,
};

/// What clients say who want any.
const ANY: &str = "latest";
/// What such clients are given first.
const PREFERRED: [&str; 2] = ["q4_k_m", "q8_0"];

/// Answers with the file of `main` that a tag means, and with the projector beside it, where there is one.
pub(super) async fn manifest(view: &View, repo: &RepoId, tag: &str) -> Result<Response, Failure> {
    let (_, commit, record) = lookup::commit(view, repo, &Label::default()).await?;
    let mut reader = lookup::reader(view, repo, commit, &record, 0).await?;
    let (mut models, mut projector) = (Vec::new(), None);
    while let Some(item) = reader.item().await? {
        let name = item.path.to_ascii_lowercase();
        let is_gguf = name.rsplit_once('.').is_some_and(|(_, ending)| ending == "gguf");
        if !is_gguf || !is_first(&name) || !is_kept(view, repo, commit, &item).await? {
            continue;
        }
        if name.contains("mmproj") {
            projector = projector.or(Some(item));
        } else {
            models.push(item);
        }
    }
    let tag = tag.to_ascii_lowercase();
    let of = |tag: &str| models.iter().find(|item| has_tag(&item.path.to_ascii_lowercase(), tag));
    let model = match of(&tag) {
        None if tag == ANY => PREFERRED.into_iter().find_map(of).or(models.first()),
        found => found,
    };
    let Some(model) = model else { return Err(Refusal::entry(&format!("{tag} (GGUF)"), commit).into()) };
    let mut value = json!({ "schemaVersion": 2, "ggufFile": described(model) });
    if let Some(projector) = &projector {
        value["mmprojFile"] = described(projector);
    }
    Ok(answer::json(&value))
}

fn described(item: &Item) -> Value {
    let mut value = json!({ "rfilename": item.path, "blobId": item.oid, "size": item.size });
    if let Some(lfs) = item.lfs {
        value["lfs"] = json!({ "sha256": lfs.sha256, "size": item.size, "pointerSize": lfs.pointer_size });
    }
    value
}

/// Whether clients could have its bytes.
async fn is_kept(view: &View, repo: &RepoId, commit: ObjectId, item: &Item) -> Result<bool, Failure> {
    if check_path(&item.path).is_err() {
        return Ok(false);
    }
    Ok(match view.content(layout::file_path(repo, commit, &item.path)?.as_str()).await? {
        Found::Entry(_) => true,
        Found::Denied(_) => false,
        Found::Missing => match view.through() {
            Some(through) => Options::of(&through.repository().config)?.patterns.takes(&item.path),
            None => false,
        },
    })
}

/// Whether a file is whole, or the first of several that belong together: `model-00001-of-00003.gguf`.
fn is_first(name: &str) -> bool {
    let stem = name.strip_suffix(".gguf").unwrap_or(name);
    let Some((before, total)) = stem.rsplit_once("-of-") else { return true };
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = before.rsplit('-').next().unwrap_or_default();
    !(is_number(total) && is_number(number)) || number == "00001"
}

/// Whether a tag stands in a name as a word of its own.
fn has_tag(name: &str, tag: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    !tag.is_empty()
        && name.match_indices(tag).any(|(at, _)| {
            let (before, after) = (name[..at].chars().next_back(), name[at + tag.len()..].chars().next());
            !before.is_some_and(is_word) && !after.is_some_and(|c| is_word(c) || c == '_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_words() {
        for (name, tag, expected) in [
            ("m-q4_k_m.gguf", "q4_k_m", true),
            ("m.q4_k_m-00001-of-00002.gguf", "q4_k_m", true),
            ("q4_k_m/m.gguf", "q4_k_m", true),
            ("m-q4_k_m.gguf", "q4_k", false),
            ("m-iq4_0.gguf", "q4_0", false),
            ("m.gguf", "", false),
        ] {
            assert_eq!(has_tag(name, tag), expected, "{name} {tag}");
        }
    }

    #[test]
    fn of_parts_the_first_is_meant() {
        assert!(is_first("m.gguf") && is_first("m-00001-of-00002.gguf") && is_first("best-of-all.gguf"));
        assert!(!is_first("m-00002-of-00002.gguf"));
    }
}
