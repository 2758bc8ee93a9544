//! Answering from a cache: pages of what is on offer, files that are brought when they are asked for.

use http::{HeaderMap, HeaderValue, header::VARY};
use reservoir_core::{
    Result,
    clock::Timestamp,
    serve::{FileOptions, Held, Request, Response, Shown, Through},
};

use super::{GUESSES, PAGE_VARY, SIDECAR, denied, integrity_options, negotiate::negotiate, not_acceptable};
use crate::{filename::DistFilename, filter::Filter, index, name::ProjectName, provenance, version::Version};

/// The longest that clients may keep a page without asking, in seconds.
const PAGE_SECONDS: u64 = 600;

/// The endings of sdists, for telling their projects apart from their versions.
const SDISTS: [&str; 5] = [".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz"];

/// A project's page.
pub(super) async fn page(through: &Through, request: &Request, project: ProjectName) -> Result<Response> {
    let Some(representation) = negotiate(&request.headers, request.query.as_deref()) else {
        return Ok(not_acceptable());
    };
    let mut headers = HeaderMap::new();
    headers.insert(VARY, PAGE_VARY);
    let seconds = through.fresh_for().as_secs().min(PAGE_SECONDS);
    let options = FileOptions {
        content_type: Some(HeaderValue::from_static(representation.content_type())),
        cache_control: HeaderValue::try_from(format!("max-age={seconds}")).ok(),
        headers,
        ..FileOptions::default()
    };
    let (artifact, format) = (project.to_artifact(), representation.format());
    let filter = Filter::of(&through.repository().config)?;
    let state = filter.state(Timestamp::now().to_jiff());
    let render = move |offer: &_| Ok(index::live::page(&project, format, offer, &filter));
    through.page(request, &artifact, (format.extension(), state), options, render).await
}

/// A project, or a version of one, as mirrors read it, with the offer that it is made of.
pub(super) async fn description(
    through: &Through,
    project: &ProjectName,
    version: Option<&Version>,
    base: &str,
    serial: u64,
) -> Result<(Option<Vec<u8>>, Option<Shown>)> {
    let shown = through.offer(&project.to_artifact()).await?;
    let filter = Filter::of(&through.repository().config)?;
    let document = index::legacy::offered(&shown.offer, &filter, project, version, base, serial);
    Ok((document, Some(shown)))
}

/// A file that the snapshots lack, or its sidecar.
pub(super) async fn package(
    through: &Through,
    request: &Request,
    digits: &str,
    owner: &str,
    sidecar: bool,
) -> Result<Response> {
    let Some((project, name)) = whose(through, owner).await? else { return Ok(Response::not_found()) };
    let (artifact, path) = (project.to_artifact(), format!("{project}/{owner}"));
    let options = FileOptions::immutable();
    match through.find(&artifact, &path).await? {
        Held::Here(entry) => {
            if !index::live::is_placed(&entry.path, Some(entry.blob.sha256), &entry.attributes, digits) {
                return Ok(Response::not_found());
            }
            if !sidecar {
                return through.here(request, &entry, options).await;
            }
            match through.find(&artifact, &format!("{path}{SIDECAR}")).await? {
                Held::Here(entry) => through.here(request, &entry, options).await,
                Held::Offered(_) | Held::Missing => Ok(Response::not_found()),
            }
        }
        Held::Offered(file) => {
            if !index::live::is_placed(&file.path, file.sha256, &file.attributes, digits) {
                return Ok(Response::not_found());
            }
            let filter = Filter::of(&through.repository().config)?;
            let now = Timestamp::now().to_jiff();
            if let Some(reason) = filter.refusal(&name, file.size, &file.attributes, now) {
                return Ok(denied(owner, reason));
            }
            if !sidecar {
                return through.bring(request, *file, options).await;
            }
            match index::live::announced_metadata(&file.attributes) {
                Some(expected) => {
                    through.companion(request, &artifact, &file, SIDECAR, expected, options).await
                }
                None => Ok(Response::not_found()),
            }
        }
        Held::Missing => Ok(Response::not_found()),
    }
}

/// The attestations of a file, brought when they are asked for. Each registry's document is inspected before a byte of
/// it is passed on, and shown only if it speaks of this file.
pub(super) async fn attestations(
    through: &Through,
    request: &Request,
    project: &ProjectName,
    version: &Version,
    file: &str,
) -> Result<Response> {
    let Ok(name) = DistFilename::parse(file, project) else { return Ok(Response::not_found()) };
    let Some(document) = provenance::path_of(&name.path()).filter(|_| name.version() == version) else {
        return Ok(Response::not_found());
    };
    let artifact = project.to_artifact();
    let sha256 = match through.find(&artifact, name.path().as_str()).await? {
        Held::Here(entry) => Some(entry.blob.sha256),
        Held::Offered(file) => file.sha256,
        Held::Missing => None,
    };
    let Some(sha256) = sha256 else { return Ok(Response::not_found()) };
    if let Held::Offered(offered) = through.find(&artifact, document.as_str()).await? {
        let answer = through.bring(request, *offered, integrity_options()).await?;
        if !answer.status.is_success() {
            return Ok(answer);
        }
    }
    match through.find(&artifact, document.as_str()).await? {
        Held::Here(entry) if provenance::speaks_of(&entry, sha256) => {
            through.here(request, &entry, integrity_options()).await
        }
        Held::Here(_) | Held::Offered(_) | Held::Missing => Ok(Response::not_found()),
    }
}

/// Whose file it is: of the projects that its name may mean, the one that is known to have it; else the likeliest.
async fn whose(through: &Through, file: &str) -> Result<Option<(ProjectName, DistFilename)>> {
    let mut possible = projects_of(file);
    if possible.len() > 1 {
        for at in 0..possible.len() {
            if !matches!(through.known(&format!("{}/{file}", possible[at].0)).await?, Held::Missing) {
                return Ok(Some(possible.swap_remove(at)));
            }
        }
    }
    Ok(possible.into_iter().next())
}

/// The projects that a file's name may mean, the likeliest first: only sdists leave a choice, as the oldest of them have
/// dashes in the project's name or in the version.
fn projects_of(file: &str) -> Vec<(ProjectName, DistFilename)> {
    let at = |at: usize| {
        let project: ProjectName = file[..at].parse().ok()?;
        let name = DistFilename::parse(file, &project).ok()?;
        Some((project, name))
    };
    if file.strip_suffix(".whl").is_some() {
        return file.find('-').and_then(at).into_iter().collect();
    }
    if !SDISTS.iter().any(|ending| file.ends_with(ending)) {
        return Vec::new();
    }
    let mut found: Vec<(ProjectName, DistFilename)> = Vec::new();
    for (dash, _) in file.rmatch_indices('-').take(GUESSES) {
        if let Some(one) = at(dash)
            && found.iter().all(|(project, _)| *project != one.0)
        {
            found.push(one);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::projects_of;

    #[test]
    fn a_file_name_tells_its_project() {
        for (file, projects) in [
            ("six-1.17.0-py2.py3-none-any.whl", &["six"][..]),
            ("zope_interface-5.0-cp311-cp311-linux_x86_64.whl", &["zope-interface"]),
            ("zope-interface-5.0.tar.gz", &["zope-interface"]),
            ("six-1.0.zip", &["six"]),
            ("foo-1.0-beta1.tar.gz", &["foo"]),
            ("foo-1.0-1.tar.gz", &["foo-1-0", "foo"]),
            ("six", &[]),
            ("six.exe", &[]),
            ("-1.0.tar.gz", &[]),
        ] {
            let found = projects_of(file);
            assert!(
                found.iter().map(|(project, _)| project.as_str()).eq(projects.iter().copied()),
                "{file} {found:?}"
            );
        }
    }
}
