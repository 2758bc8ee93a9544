//! Plain HTTP requests, no redirect followed, nothing decoded.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;

/// An answer with its body read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What pip and uv ask for.
pub const JSON: &str = "application/vnd.pypi.simple.v1+json";

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.build().unwrap()
}

/// Asks, and fails if the body breaks off.
pub async fn ask(method: Method, url: &str, headers: &[(&str, &str)]) -> reqwest::Result<Answer> {
    let mut request = client().request(method, url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, body: response.bytes().await? })
}

pub async fn get(url: &str, headers: &[(&str, &str)]) -> Answer {
    ask(Method::GET, url, headers).await.unwrap()
}

/// The project page as JSON.
pub async fn page(simple: &str, project: &str) -> Value {
    let answer = get(&format!("{simple}{project}/"), &[("accept", JSON)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The files that a project page lists.
pub async fn files(simple: &str, project: &str) -> Vec<String> {
    let page = page(simple, project).await;
    let files = page["files"].as_array().unwrap();
    files.iter().map(|file| file["filename"].as_str().unwrap().to_owned()).collect()
}

/// The absolute address of a file on a project page.
pub async fn file_url(simple: &str, project: &str, name: &str) -> String {
    let page = page(simple, project).await;
    let files = page["files"].as_array().unwrap();
    let file =
        files.iter().find(|file| file["filename"] == name).unwrap_or_else(|| panic!("no {name}: {page}"));
    let base: url::Url = format!("{simple}{project}/").parse().unwrap();
    base.join(file["url"].as_str().unwrap()).unwrap().into()
}
