//! The schema of every `--json` output is a snapshot, and what commands print keeps to it.

use schemars::{JsonSchema, Schema, schema_for};
use serde_json::{Map, Value};

use super::support::{
    home::Home,
    index::{Index, Style, wheel},
};

// The very types that the program prints.
#[allow(dead_code, reason = "here only their schemas are of interest")]
#[path = "../../src/output/mod.rs"]
mod output;

use self::output::bundle::{
    ExportOutput, InspectOutput, InventoryOutput, KeyOutput, KeysOutput, LoadOutput, TrustedKeyRow,
};
use self::output::models::{ImportListOutput, MaterializeOutput};
use self::output::{
    ApplyOutput, BackupOutput, CancelOutput, CheckOutput, CleanupOutput, ClientSetupOutput, DiffOutput,
    ErrorOutput, GcOutput, HistoryOutput, InitOutput, LogOutput, PlanOutput, PublishOutput, RebuildOutput,
    RepositoriesOutput, RevisionRow, RevisionsOutput, ShowOutput, SnapshotRow, SyncOutput, TasksOutput,
    VerifyOutput,
};

fn schema<T: JsonSchema>() -> Value {
    let schema: Schema = schema_for!(T);
    schema.into()
}

#[test]
fn schemas_are_a_contract() {
    let schemas: Map<String, Value> = [
        ("init", schema::<InitOutput>()),
        ("apply", schema::<ApplyOutput>()),
        ("scan, import, sync", schema::<SyncOutput>()),
        ("import --dry-run", schema::<PlanOutput>()),
        ("list", schema::<RepositoriesOutput>()),
        ("list REPO", schema::<RevisionsOutput>()),
        ("show", schema::<ShowOutput>()),
        ("history", schema::<HistoryOutput>()),
        ("approve, reject", schema::<RevisionRow>()),
        ("cleanup", schema::<CleanupOutput>()),
        ("import-list", schema::<ImportListOutput>()),
        ("materialize", schema::<MaterializeOutput>()),
        ("publish", schema::<PublishOutput>()),
        ("log", schema::<LogOutput>()),
        ("diff", schema::<DiffOutput>()),
        ("rollback, promote", schema::<SnapshotRow>()),
        ("check", schema::<CheckOutput>()),
        ("verify", schema::<VerifyOutput>()),
        ("gc", schema::<GcOutput>()),
        ("backup", schema::<BackupOutput>()),
        ("rebuild", schema::<RebuildOutput>()),
        ("task list", schema::<TasksOutput>()),
        ("task cancel", schema::<CancelOutput>()),
        ("key show, key rotate", schema::<KeyOutput>()),
        ("key list", schema::<KeysOutput>()),
        ("key trust, key distrust", schema::<TrustedKeyRow>()),
        ("export", schema::<ExportOutput>()),
        ("load", schema::<LoadOutput>()),
        ("inventory", schema::<InventoryOutput>()),
        ("bundle inspect, bundle verify", schema::<InspectOutput>()),
        ("client-setup", schema::<ClientSetupOutput>()),
        ("an error", schema::<ErrorOutput>()),
    ]
    .map(|(command, schema)| (command.to_owned(), schema))
    .into_iter()
    .collect();
    insta::with_settings!({ omit_expression => true }, { insta::assert_json_snapshot!(schemas) });
}

/// Runs a command and holds what it prints against its schema.
#[track_caller]
fn holds<T: JsonSchema>(home: &Home, status: i32, arguments: &[&str]) -> Value {
    let (code, value) = home.json(arguments);
    assert_eq!(code, status, "{arguments:?}: {value:#}");
    let schema = schema::<T>();
    if let Err(problem) = check(&schema, &schema, &value, "$") {
        panic!("{arguments:?}: {problem}\n{value:#}");
    }
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_keeps_to_its_schema() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[]), wheel("beta", "1.0", &[])]).await;
    let home = Home::empty();
    holds::<InitOutput>(&home, 0, &["init"]);
    let second = index.mirror(&["alpha"], "").replace("\"python\"", "\"copy\"");
    let second = second.split_once("[[repository]]").unwrap().1;
    let both = format!("{}[[repository]]{second}", index.mirror(&["alpha", "gone"], "approval = \"manual\""));
    home.write("mirror.toml", &both);
    holds::<ApplyOutput>(&home, 0, &["apply", "mirror.toml"]);
    holds::<SyncOutput>(&home, 3, &["scan", "python"]);
    holds::<SyncOutput>(&home, 3, &["sync", "python"]);
    holds::<SyncOutput>(&home, 3, &["import", "python", "beta"]);
    holds::<PlanOutput>(&home, 0, &["import", "python", "beta", "--dry-run"]);
    holds::<RepositoriesOutput>(&home, 0, &["list"]);
    holds::<RevisionsOutput>(&home, 0, &["list", "python"]);
    holds::<RevisionsOutput>(&home, 0, &["list", "python", "--status", "NEEDS_APPROVAL"]);
    holds::<ShowOutput>(&home, 0, &["show", "python", "alpha"]);
    holds::<HistoryOutput>(&home, 0, &["history", "python", "alpha@1.0"]);
    holds::<RevisionRow>(&home, 0, &["approve", "python", "alpha@1.0"]);
    holds::<RevisionRow>(&home, 0, &["reject", "python", "beta@1.0", "--reason", "no"]);
    holds::<CleanupOutput>(&home, 0, &["cleanup", "python", "beta@1.0"]);
    holds::<PublishOutput>(&home, 0, &["publish", "python"]);
    holds::<RevisionRow>(&home, 0, &["reject", "python", "alpha@1.0"]);
    holds::<LogOutput>(&home, 0, &["log", "python"]);
    holds::<DiffOutput>(&home, 0, &["diff", "python", "main", "1"]);
    holds::<SyncOutput>(&home, 0, &["sync", "copy"]);
    holds::<SnapshotRow>(&home, 0, &["rollback", "python", "1"]);
    holds::<SnapshotRow>(&home, 0, &["promote", "copy", "python"]);
    holds::<VerifyOutput>(&home, 0, &["verify", "--deep"]);
    holds::<GcOutput>(&home, 0, &["gc"]);
    holds::<TasksOutput>(&home, 0, &["task", "list"]);
    holds::<CancelOutput>(&home, 0, &["task", "cancel", "1"]);
    holds::<ClientSetupOutput>(
        &home,
        0,
        &["client-setup", "python", "--base-url", "http://mirror.example.com"],
    );
    holds::<ErrorOutput>(&home, 1, &["log", "nothing"]);
    let backup = home.path().join("backup");
    holds::<BackupOutput>(&home, 0, &["backup", backup.to_str().unwrap()]);
    std::fs::remove_file(home.path().join("catalog.sqlite")).unwrap();
    holds::<RebuildOutput>(&home, 0, &["rebuild"]);
}

/// The commands about bundles, of which some are asked of another home.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_of_bundles_keeps_to_its_schema() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[]), wheel("beta", "1.0", &[])]).await;
    let (outside, inside) = (Home::with(&index.mirror(&["alpha", "beta"], "")), Home::new());
    outside.sync("python", 0);
    let path = |name: &str| outside.path().join(name).to_str().unwrap().to_owned();
    let key = holds::<KeyOutput>(&outside, 0, &["key", "show"]);
    outside.write("outside.pub", key["file"].as_str().unwrap());
    holds::<TrustedKeyRow>(&inside, 0, &["key", "trust", &path("outside.pub"), "--accept", "person"]);
    holds::<KeysOutput>(&inside, 0, &["key", "list"]);
    holds::<ExportOutput>(&outside, 0, &["export", &path("one"), "--dry-run"]);
    holds::<ExportOutput>(&outside, 0, &["export", &path("one"), "--expires", "30"]);
    holds::<ExportOutput>(&outside, 0, &["export", &path("two")]);
    holds::<InspectOutput>(&inside, 0, &["bundle", "inspect", &path("one")]);
    holds::<InspectOutput>(&inside, 0, &["bundle", "verify", &path("one")]);
    holds::<LoadOutput>(&inside, 0, &["load", &path("one"), "--dry-run"]);
    let waits = holds::<LoadOutput>(&inside, 3, &["load", &path("one")]);
    assert_eq!(waits["bundles"][0]["waiting"].as_array().unwrap().len(), 2);
    holds::<InventoryOutput>(&inside, 0, &["inventory", &path("inventory.json")]);
    holds::<KeyOutput>(&outside, 0, &["key", "rotate"]);
    holds::<TrustedKeyRow>(&inside, 0, &["key", "distrust", key["name"].as_str().unwrap()]);
    // What travels as metadata only is listed, with the status of something that is missing.
    outside.done(["cleanup", "python", "beta@1.0"]);
    let lacking = holds::<ExportOutput>(&outside, 3, &["export", &path("three")]);
    assert_eq!(lacking["missing"], serde_json::json!(["python beta@1.0 (SCANNED)"]));
    assert_eq!(lacking["metadata_only"], 1);
}

/// JSON Schema, as far as the schemas above use it; an unknown keyword is a failure of the test itself. Keys
/// that a schema does not name are refused: they would be missing from the contract.
fn check(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let object = match schema {
        Value::Bool(true) => return Ok(()),
        Value::Object(object) => object,
        _ => return Err(format!("{at}: cannot read the schema {schema}")),
    };
    if let Some(target) = object.get("$ref").and_then(Value::as_str) {
        let pointer = target.strip_prefix('#').ok_or("only local references")?;
        return check(root, root.pointer(pointer).ok_or("a dangling reference")?, value, at);
    }
    for (keyword, rule) in object {
        let holds = match keyword.as_str() {
            "$schema" | "title" | "description" | "$defs" | "format" | "properties" | "required" => true,
            "type" => match rule {
                Value::Array(types) => types.iter().any(|rule| is_of(value, rule)),
                rule => is_of(value, rule),
            },
            "const" => rule == value,
            "enum" => rule.as_array().is_some_and(|values| values.contains(value)),
            "minimum" => value.as_f64().zip(rule.as_f64()).is_none_or(|(value, least)| value >= least),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, item, &format!("{at}[{index}]"))?;
                }
                true
            }
            "anyOf" | "oneOf" => {
                let mut rules = rule.as_array().into_iter().flatten();
                rules.any(|rule| check(root, rule, value, at).is_ok())
            }
            "additionalProperties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    check(root, rule, value, &format!("{at}.{key}"))?;
                }
                true
            }
            unknown => return Err(format!("the test cannot check `{unknown}` yet")),
        };
        if !holds {
            return Err(format!("{at}: {value} breaks {keyword}: {rule}"));
        }
    }
    let Some(properties) = object.get("properties").and_then(Value::as_object) else { return Ok(()) };
    let Some(fields) = value.as_object() else { return Ok(()) };
    for required in object.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !fields.contains_key(required.as_str().unwrap_or_default()) {
            return Err(format!("{at}: {required} is missing"));
        }
    }
    for (key, field) in fields {
        let rule = properties.get(key).ok_or_else(|| format!("{at}: `{key}` is not in the schema"))?;
        check(root, rule, field, &format!("{at}.{key}"))?;
    }
    Ok(())
}

fn is_of(value: &Value, kind: &Value) -> bool {
    match kind.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    }
}
