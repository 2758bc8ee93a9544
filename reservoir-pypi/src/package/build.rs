//! What a source distribution is built with (PEP 518).

use serde::Deserialize;

/// Bytes of a `pyproject.toml` that is read, at most.
pub(super) const LIMIT: u64 = 1 << 20;
/// Lines that are kept, at most; real projects have a dozen.
const LINES: usize = 500;
/// What builds that which does not say with what (PEP 517).
const DEFAULT: &str = "setuptools>=40.8.0";

#[derive(Deserialize)]
struct Project {
    #[serde(rename = "build-system")]
    build_system: Option<BuildSystem>,
}

#[derive(Deserialize)]
struct BuildSystem {
    requires: Vec<String>,
}

/// `[build-system] requires` of a `pyproject.toml`, or what stands for a project without. `None` for what no installer
/// could build.
pub(super) fn requires(pyproject: Option<&[u8]>) -> Option<Vec<String>> {
    let Some(bytes) = pyproject else { return Some(vec![DEFAULT.to_owned()]) };
    let text = std::str::from_utf8(bytes).ok()?;
    let project: Project = toml::from_str(text).ok()?;
    match project.build_system {
        None => Some(vec![DEFAULT.to_owned()]),
        Some(BuildSystem { requires }) => (requires.len() <= LINES).then_some(requires),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_builds_a_project_is_read_from_it() {
        let read = |text: &str| requires(Some(text.as_bytes()));
        let list = |lines: &[&str]| Some(lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
        assert_eq!(requires(None), list(&[DEFAULT]));
        assert_eq!(read(""), list(&[DEFAULT]));
        assert_eq!(read("[project]\nname = \"x\"\n[tool.ruff]\nline = 1\n"), list(&[DEFAULT]));
        assert_eq!(read("[build-system]\nrequires = []\n"), list(&[]));
        let flit =
            "[build-system]\nrequires = [\"flit_core >=3.2,<4\"]\nbuild-backend = \"flit_core.buildapi\"\n";
        assert_eq!(read(flit), list(&["flit_core >=3.2,<4"]));
        let many = format!("[build-system]\nrequires = [{}]\n", "\"a\",".repeat(LINES + 1));
        let deep = format!("x = {}", "[".repeat(10_000));
        for wrong in ["[build-system]\n", "[build-system]\nrequires = \"x\"\n", "x", &many, &deep] {
            assert_eq!(read(wrong), None, "{}", &wrong[..wrong.len().min(40)]);
        }
        assert_eq!(requires(Some(b"\xff")), None);
    }
}
