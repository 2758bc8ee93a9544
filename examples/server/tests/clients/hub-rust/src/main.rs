//! The Rust client of the Hub in both its generations, with what `HF_ENDPOINT` and `HF_HOME` say.
//!
//! ```text
//! hub-rust 0|1 ORG/NAME REVISION FILE…    the commit, then where each file was put, a line each
//! ```

use std::{env, error::Error};

use hf_hub_0::{Repo, RepoType, api::tokio::ApiBuilder};
use hf_hub_1::{HFClient, split_id};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [generation, repo, revision, files @ ..] = &arguments[..] else {
        return Err("hub-rust 0|1 ORG/NAME REVISION FILE…".into());
    };
    match generation.as_str() {
        "0" => first(repo, revision, files).await,
        _ => second(repo, revision, files).await,
    }
}

async fn first(repo: &str, revision: &str, files: &[String]) -> Result<()> {
    let api = ApiBuilder::from_env().with_progress(false).build()?;
    let repo = api.repo(Repo::with_revision(repo.to_owned(), RepoType::Model, revision.to_owned()));
    println!("{}", repo.info().await?.sha);
    for file in files {
        println!("{}", repo.get(file).await?.display());
    }
    Ok(())
}

async fn second(repo: &str, revision: &str, files: &[String]) -> Result<()> {
    let client = HFClient::new()?;
    let (owner, name) = split_id(repo);
    let repo = client.model(owner, name);
    println!("{}", repo.info().revision(revision).send().await?.sha.unwrap_or_default());
    for file in files {
        println!("{}", repo.download_file().filename(file).revision(revision).send().await?.display());
    }
    // Lists the tree, and asks for each file again.
    repo.snapshot_download().revision(revision).send().await?;
    Ok(())
}
