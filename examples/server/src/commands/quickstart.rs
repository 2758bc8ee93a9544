//! quickstart: from nothing to a pip that installs from here.

use reservoir_core::{Error, Result};
use url::Url;

use super::{actor, content, repository, setup};
use crate::{
    apply,
    cli::Cli,
    home::{Home, Settings},
    http, print,
};

/// A handful of real, small packages with a few dependencies, from the index this machine's pip uses.
const MIRROR: &str = r#"
[[registry]]
name = "system"
ecosystem = "pypi"
url = "system"

[[repository]]
name = "python"
ecosystem = "pypi"
registry = "system"
packages = ["six", "httpx", "click", "rich"]
dependencies = true
"#;

#[expect(clippy::print_stdout, reason = "this command talks to a newcomer")]
pub(crate) async fn quickstart(cli: &Cli, listen: &str, no_serve: bool) -> Result<u8> {
    let say = |line: String| {
        if !cli.json {
            println!("{line}");
        }
    };
    // A taken port is told before the download, not after it.
    let listening = if no_serve { None } else { Some(http::bind(listen).await?) };
    let address = listening.as_ref().map_or_else(|| listen.to_owned(), |bound| bound.address().to_string());
    let base: Url = format!("http://{address}")
        .parse()
        .map_err(|error| Error::invalid("--listen", format!("{error}")))?;
    let (home, created) = Home::init(Home::folder(cli.home.clone())?, Settings::default()).await?;
    let state = if created { "made" } else { "using" };
    say(format!("{state} the home directory {}", home.path().display()));
    let engine = home.engine().await?;
    let actor = actor(cli)?;
    let document = apply::parse(&engine, "quickstart", MIRROR).await?;
    apply::apply(&engine, &document, false, &actor).await?;
    say("mirroring six, httpx, click and rich with what they need, from the index that pip uses here".into());
    let name = repository("python")?;
    let report = content::sync(cli, &engine, &name, actor).await?;
    let status = print(cli, &report);
    let pip = setup::client_setup(&engine, &name, base.as_str()).await?.command;
    let line = format!("{pip} httpx");
    let Some(listening) = listening else {
        say(format!("\nserve it with `reservoir serve --listen {listen}`, then try:\n\n    {line}\n"));
        return Ok(status);
    };
    say(format!("\nin another terminal, try it with nothing but this mirror:\n\n    {line}\n"));
    say(format!("listening on {}", base.as_str().trim_end_matches('/')));
    setup::serve_on(engine, listening).await;
    Ok(status)
}
