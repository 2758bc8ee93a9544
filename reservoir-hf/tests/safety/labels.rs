//! What is no finding and worth knowing all the same: code that runs when it is asked for, names that promise.

use bytes::Bytes;

use super::{files, labels_of, message, onnx};

#[tokio::test]
async fn code_that_runs_when_asked_for_is_a_label() {
    let expected: [(&str, &str, &[&str]); 7] = [
        ("org/tiny/modeling.py", "print()", &["code:python"]),
        ("org/tiny/demo.ipynb", "{}", &["code:notebook"]),
        ("org/tiny/requirements.txt", "x", &["code:requirements"]),
        (
            "org/tiny/config.json",
            r#"{"auto_map": {"AutoModel": "other/repo--model.Net"}}"#,
            &["code:auto_map"],
        ),
        ("org/tiny/tokenizer_config.json", r#"{"chat_template": "{{ x }}"}"#, &["template:jinja"]),
        ("org/tiny/chat_template.jinja", "{{ x }}", &["template:jinja"]),
        ("org/tiny/README.md", "text", &[]),
    ];
    for (path, text, labels) in expected {
        assert_eq!(labels_of(path, text).await.unwrap(), labels, "{path}");
    }
}

#[tokio::test]
async fn onnx_files_tell_what_they_need() {
    let labels = async |bytes: Vec<u8>| labels_of("org/tiny/model.onnx", bytes).await;
    for (domain, place, expected) in [
        ("", None, &[][..]),
        ("com.microsoft", None, &[]),
        ("", Some("model.onnx_data"), &["onnx:external-data"]),
        ("", Some("deep/er/weights.bin"), &["onnx:external-data"]),
        ("ai.example.ops", None, &["code:onnx-operators"]),
    ] {
        assert_eq!(labels(onnx(domain, place)).await.unwrap(), expected, "{domain} {place:?}");
    }
    // What a model brings along as functions is no library of somebody else.
    let function = message::bytes(25, &message::bytes(10, b"ai.example.ops"));
    assert_eq!(
        labels([onnx("ai.example.ops", None), function].concat()).await.unwrap(),
        Vec::<String>::new()
    );
    for place in ["/etc/passwd", "../x", "a/../../x", "..\\x", "C:\\x", "\\\\host\\x", "a\0b", ""] {
        let refused = labels(onnx("", Some(place))).await.unwrap_err().to_string();
        assert!(refused.contains("onnx-external-path"), "{place:?}: {refused}");
    }
    let whole = onnx("", None);
    let cut = whole[..whole.len() - 3].to_vec();
    let mut deep = message::bytes(1, b"");
    for _ in 0..200 {
        deep = message::bytes(1, &message::bytes(5, &message::bytes(6, &deep)));
    }
    for bytes in [cut, message::bytes(7, &deep), b"text".to_vec(), Vec::new()] {
        assert_eq!(labels(bytes).await.unwrap(), ["onnx:unreadable"]);
    }
}

#[tokio::test]
async fn saved_models_tell_what_they_do_beside_computing() {
    use message::bytes;
    let node = |operator: &str| [bytes(1, b"node"), bytes(2, operator.as_bytes())].concat();
    let model = |graph: Vec<u8>| [message::number(1, 1), bytes(2, &bytes(2, &graph))].concat();
    let labels = async |bytes: Vec<u8>| labels_of("org/tiny/saved_model.pb", bytes).await.unwrap();
    assert_eq!(labels(model(bytes(1, &node("MatMul")))).await, ["code:savedmodel"]);
    assert_eq!(
        labels(model([bytes(1, &node("ReadFile")), bytes(1, &node("MatMul"))].concat())).await,
        ["code:savedmodel", "code:tensorflow-files"]
    );
    let function = bytes(1, &[bytes(1, b"signature"), bytes(3, &node("PyFunc"))].concat());
    assert_eq!(labels(model(bytes(2, &function))).await, ["code:savedmodel", "code:tensorflow-python"]);
    assert_eq!(labels(b"text".to_vec()).await, ["code:savedmodel"]);
    let keras = |text: &str| labels_of("org/tiny/keras_metadata.pb", text.to_owned());
    assert_eq!(keras("{\"class_name\": \"Lambda\"}").await.unwrap(), ["code:keras-lambda"]);
    assert_eq!(keras("{\"class_name\": \"Dense\"}").await.unwrap(), Vec::<String>::new());
}

/// A template within a GGUF file is as much code as one beside it.
#[tokio::test]
async fn templates_in_gguf_files_are_told() {
    let gguf = |key: &str, text: &str| {
        let string = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        let counts = [0_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat();
        [b"GGUF\x03\0\0\0".to_vec(), counts, string(key), 8_u32.to_le_bytes().to_vec(), string(text)].concat()
    };
    for (key, expected) in [
        ("tokenizer.chat_template", &["template:jinja"][..]),
        ("tokenizer.chat_template.tool_use", &["template:jinja"]),
        ("tokenizer.ggml.model", &[]),
    ] {
        let found = labels_of("org/tiny/model.gguf", gguf(key, "{{ x }}")).await.unwrap();
        assert_eq!(found, expected, "{key}");
    }
}

#[tokio::test]
async fn a_name_that_promises_safe_weights_must_keep_it() {
    for name in ["model.safetensors", "model.gguf"] {
        let good = files("clean")[name].clone();
        assert_eq!(labels_of(&format!("org/tiny/{name}"), good).await.unwrap(), Vec::<String>::new());
        for bytes in [Bytes::new(), Bytes::from_static(b"text"), files("flagged")["protocol-0"].clone()] {
            let refused = labels_of(&format!("org/tiny/{name}"), bytes).await.unwrap_err();
            assert!(refused.to_string().contains("malformed"), "{refused}");
        }
    }
}
