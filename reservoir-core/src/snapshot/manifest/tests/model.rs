//! Any history of edits against a sorted map.

use proptest::prelude::*;

use super::*;

type Model = BTreeMap<String, Entry>;

fn path() -> impl Strategy<Value = String> {
    "[a-c]{1,2}/[a-d]{1,2}"
}

/// One round of edits: each path once, sorted, `None` to remove.
fn round() -> impl Strategy<Value = BTreeMap<String, Option<u64>>> {
    prop::collection::btree_map(path(), prop::option::weighted(0.6, 0..6_u64), 0..60)
}

fn edits(round: &BTreeMap<String, Option<u64>>) -> Vec<Edit> {
    let edit = |(path, size): (&String, &Option<u64>)| match size {
        Some(size) => put(path, *size),
        None => Edit::Remove(path.parse().unwrap()),
    };
    round.iter().map(edit).collect()
}

fn changes(old: &Model, new: &Model) -> Vec<Change> {
    let mut paths: Vec<_> = old.keys().chain(new.keys()).collect();
    paths.sort();
    paths.dedup();
    let boxed = |entry: &Entry| Box::new(entry.clone());
    let change = |path| match (old.get(path), new.get(path)) {
        (None, Some(entry)) => Some(Change::Added(boxed(entry))),
        (Some(entry), None) => Some(Change::Removed(boxed(entry))),
        (Some(old), Some(new)) if old != new => Some(Change::Changed { old: boxed(old), new: boxed(new) }),
        _ => None,
    };
    paths.into_iter().filter_map(change).collect()
}

async fn check(rounds: Vec<BTreeMap<String, Option<u64>>>, prefix: String, cutting: Cutting) {
    let store = Arc::new(Memory::default());
    let pages = Pages { cutting, ..pages(&store) };
    let mut model = Model::new();
    let mut manifest: Option<Manifest> = None;
    for round in rounds {
        let before = model.clone();
        for (path, size) in &round {
            match size {
                Some(size) => model.insert(path.clone(), entry(path, *size)),
                None => model.remove(path),
            };
        }
        store.take_counts();
        let written = write(&pages, manifest.as_ref(), edits(&round), &store).await.unwrap();
        let (_, puts) = store.take_counts();
        let new = pages.open(written.root).await.unwrap();
        if manifest.as_ref().is_some_and(|old| old.root() == new.root()) {
            assert_eq!((before == model, puts), (true, 0));
        } else {
            assert_eq!(puts, written.pages_written + 1);
        }

        // The same entries, the same root, whatever the history.
        let scratch = model.values().map(|entry| Edit::Put(Box::new(entry.clone()))).collect();
        assert_eq!(write(&pages, None, scratch, &store).await.unwrap().root, new.root());

        let expected: Vec<_> = model.values().cloned().collect();
        assert_eq!(all(&new, "").await, expected);
        assert_eq!((new.len(), written.entries), (model.len() as u64, model.len() as u64));
        assert_eq!(new.bytes(), model.values().map(|entry| entry.blob.size).sum::<u64>());
        for path in round.keys() {
            assert_eq!(new.get(path).await.unwrap().as_ref(), model.get(path));
        }
        for prefix in [&*prefix, "a", "b/", "c/d"] {
            let expected: Vec<_> =
                model.values().filter(|entry| entry.path.as_str().starts_with(prefix)).cloned().collect();
            assert_eq!(all(&new, prefix).await, expected, "{prefix}");
        }
        let found: Vec<_> = pages.diff(manifest.as_ref(), &new).try_collect().await.unwrap();
        assert_eq!(found, changes(&before, &model));
        manifest = Some(new);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_equals_the_model(
        rounds in prop::collection::vec(round(), 1..6),
        prefix in "[a-c]{0,2}/?[a-d]?",
        bytes in prop::sample::select(vec![600_usize, 2000, 1 << 20]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(rounds, prefix, Cutting { bytes, ..SMALL }));
    }
}
