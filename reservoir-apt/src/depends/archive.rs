//! The packages of suites as a universe.

use std::collections::HashMap;

use reservoir_core::{
    Error, Result,
    depends::{Clauses, PackageId, Universe},
};

use super::{
    offers::{Offer, Offers},
    order::compare,
    relation::{Alternative, alternatives, clauses},
};
use crate::{control::Stanza, select::Relation};

/// Most text that is kept of all packages: names, versions, relations. A full Debian has 15 MB of it.
const TEXT_LIMIT: usize = 512 << 20;

/// A piece of the text that is kept.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

/// What a package says of other architectures than its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MultiArch {
    No,
    Same,
    Foreign,
    Allowed,
}

/// The fields whose clauses must be satisfied, and those whose clauses exclude.
const NEEDS: [&str; 3] = ["Pre-Depends", "Depends", "Recommends"];
const EXCLUDES: [&str; 2] = ["Conflicts", "Breaks"];

#[derive(Debug, Clone, Copy)]
pub(super) struct Package {
    name: u32,
    text: Span,
    version: Span,
    /// An index into the architectures; of packages for all, the native one.
    pub(super) architecture: u16,
    for_all: bool,
    pub(super) multi_arch: MultiArch,
    essential: bool,
    in_question: bool,
    needs: [Span; NEEDS.len()],
    excludes: [Span; EXCLUDES.len()],
}

/// Packages that are offered together to machines of one architecture.
///
/// What they need and exclude is decided as dpkg and apt decide it:
///
/// - two versions of one package exclude each other; so do those of two architectures, unless both are
///   `Multi-Arch: same` and of one version;
/// - a relation with a version fits a package or a versioned `Provides`, never an unversioned one;
/// - a requirement means packages of the own architecture (`all` counts as the native one) and those with
///   `Multi-Arch: foreign`; with `:any` those with `Multi-Arch: allowed`; with `:native` or an architecture
///   packages of it; an exclusion without an architecture means them all;
/// - no package excludes itself, also not by what it provides;
/// - of each name that is marked `Essential` one package is part of every installation.
///
/// A package whose relations cannot be read counts as one that cannot be installed.
#[derive(Debug)]
pub struct Archive {
    text: String,
    names: HashMap<Box<str>, u32>,
    architectures: Vec<Box<str>>,
    packages: Vec<Package>,
    recommends: bool,
    offers: Offers,
}

impl Archive {
    /// An archive without packages yet, for machines of the architecture `native` that may have packages of
    /// `foreign` ones, too. Others are passed over. With `recommends`, Recommends count like Depends.
    #[must_use]
    pub fn new(native: &str, foreign: &[&str], recommends: bool) -> Self {
        let architectures = std::iter::once(&native).chain(foreign).map(|name| (*name).into()).collect();
        Self {
            text: String::new(),
            names: HashMap::new(),
            architectures,
            packages: Vec::new(),
            recommends,
            offers: Offers::default(),
        }
    }

    /// Adds the package of a stanza; `None` when it is for another architecture. `in_question` is whether a
    /// verdict on it is asked for.
    ///
    /// # Errors
    /// [`Error::Malformed`] (`control-missing-field`) without a name, version or architecture;
    /// [`Error::LimitExceeded`] when there are too many.
    pub fn add(&mut self, stanza: &Stanza<'_>, in_question: bool) -> Result<Option<PackageId>> {
        let (name, version) = (stanza.required("Package")?, stanza.required("Version")?);
        let word = stanza.required("Architecture")?;
        let for_all = word == "all";
        let Some(architecture) =
            (if for_all { Some(0) } else { self.architectures.iter().position(|known| **known == *word) })
        else {
            return Ok(None);
        };
        if self.text.len() > TEXT_LIMIT {
            let limit = format!("{TEXT_LIMIT} bytes");
            return Err(Error::LimitExceeded { what: "the relations of all packages".into(), limit });
        }
        let multi_arch = match stanza.get("Multi-Arch") {
            Some("same") => MultiArch::Same,
            Some("foreign") => MultiArch::Foreign,
            Some("allowed") => MultiArch::Allowed,
            _ => MultiArch::No,
        };
        let id = PackageId(self.packages.len() as u32);
        let symbol = self.symbol(name);
        let version_span = self.keep(version);
        self.offers.add(Offer {
            name: symbol,
            package: id,
            version: Some(version_span),
            qualifier: None,
            real: true,
        });
        let mut needs = NEEDS.map(|_| Span::default());
        for (span, field) in needs.iter_mut().zip(NEEDS) {
            if self.recommends || field != "Recommends" {
                *span = self.keep(stanza.get(field).unwrap_or_default());
            }
        }
        let excludes = EXCLUDES.map(|field| self.keep(stanza.get(field).unwrap_or_default()));
        self.add_provides(id, stanza.get("Provides").unwrap_or_default());
        let text = self.keep(name);
        self.packages.push(Package {
            name: symbol,
            text,
            version: version_span,
            architecture: architecture as u16,
            for_all,
            multi_arch,
            essential: stanza.get("Essential").is_some_and(|essential| essential == "yes"),
            in_question,
            needs,
            excludes,
        });
        Ok(Some(id))
    }

    fn add_provides(&mut self, package: PackageId, field: &str) {
        for provided in clauses(field).flat_map(alternatives).flatten() {
            // A range of versions cannot be provided; dpkg does not take such a package.
            let version = match provided.version {
                None => None,
                Some((Relation::Equal, version)) => Some(self.keep(version)),
                Some(_) => continue,
            };
            let name = self.symbol(provided.name);
            let qualifier = provided.architecture.map(|architecture| self.keep(architecture));
            self.offers.add(Offer { name, package, version, qualifier, real: false });
        }
    }

    /// There are no more: what is kept is sorted.
    #[must_use]
    pub fn finish(mut self) -> Self {
        let mut offers = std::mem::take(&mut self.offers);
        let is_foreign = |id: PackageId| self.package(id).architecture != 0;
        offers.sort(self.names.len(), |span| self.at(span), is_foreign);
        self.offers = offers;
        self.text.shrink_to_fit();
        self.packages.shrink_to_fit();
        self
    }

    /// Bytes that are kept, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.capacity()
            + self.packages.capacity() * size_of::<Package>()
            + self.offers.bytes()
            + self.names.capacity() * size_of::<(Box<str>, u32)>()
            + self.names.keys().map(|name| name.len()).sum::<usize>()
    }

    fn symbol(&mut self, name: &str) -> u32 {
        if let Some(symbol) = self.names.get(name) {
            return *symbol;
        }
        let symbol = self.names.len() as u32;
        self.names.insert(name.into(), symbol);
        symbol
    }

    fn keep(&mut self, text: &str) -> Span {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        Span { start, end: self.text.len() as u32 }
    }

    fn at(&self, span: Span) -> &str {
        &self.text[span.start as usize..span.end as usize]
    }

    fn package(&self, id: PackageId) -> &Package {
        &self.packages[id.index()]
    }

    /// All clauses that a package needs, each as it is written.
    fn needs(&self, package: &Package) -> impl Iterator<Item = &str> {
        package.needs.into_iter().flat_map(|field| clauses(self.at(field)))
    }

    /// A clause of a field of exclusions that cannot be read, if there is one.
    fn unreadable(&self, package: &Package) -> Option<&str> {
        let clauses = package.excludes.into_iter().flat_map(|field| clauses(self.at(field)));
        clauses.into_iter().find(|clause| alternatives(clause).any(|read| read.is_err()))
    }

    fn offered<'a>(&'a self, wanted: &Alternative<'a>) -> impl Iterator<Item = &'a Offer> + use<'a> {
        let wanted = *wanted;
        let offers = self.names.get(wanted.name).map_or(&[][..], |name| self.offers.of(*name));
        offers.iter().filter(move |offer| wanted.fits(offer.version.map(|version| self.at(version))))
    }

    /// Whether an offer counts for a requirement of a package (of a package for no architecture: the native one).
    fn satisfies(&self, offer: &Offer, wanted: &Alternative<'_>, asking: &Package) -> bool {
        let offering = self.package(offer.package);
        let qualifier = offer.qualifier.map(|qualifier| self.at(qualifier));
        match (wanted.architecture, qualifier) {
            (None, None) => {
                offering.architecture == asking.architecture || offering.multi_arch == MultiArch::Foreign
            }
            (Some("any"), None) => offering.multi_arch == MultiArch::Allowed,
            (Some("native"), None) => offering.architecture == 0,
            (Some(word), None) => *self.architectures[usize::from(offering.architecture)] == *word,
            (Some(word), Some(qualifier)) => word == qualifier,
            (None, Some(qualifier)) => *self.architectures[usize::from(asking.architecture)] == *qualifier,
        }
    }

    fn excludes(&self, id: PackageId, clause: &str, mut found: impl FnMut(PackageId)) {
        let package = self.package(id);
        for wanted in alternatives(clause).flatten() {
            for offer in self.offered(&wanted) {
                let other = self.package(offer.package);
                let fits = match wanted.architecture {
                    None | Some("any") => true,
                    Some("native") => other.architecture == 0,
                    Some(word) => *self.architectures[usize::from(other.architecture)] == *word,
                };
                // The same package for another architecture is still the same package.
                if fits && other.name != package.name {
                    found(offer.package);
                }
            }
        }
    }

    /// Packages of the same name that cannot be there at the same time for another reason than their slot.
    fn twins<'a>(&'a self, package: &'a Package) -> impl Iterator<Item = PackageId> + use<'a> {
        let offers = if self.architectures.len() > 1 { self.offers.of(package.name) } else { &[] };
        let together = move |other: &Package| {
            other.multi_arch == MultiArch::Same
                && package.multi_arch == MultiArch::Same
                && compare(self.at(other.version), self.at(package.version)).is_eq()
        };
        offers
            .iter()
            .filter(move |offer| {
                let other = self.package(offer.package);
                offer.real && other.architecture != package.architecture && !together(other)
            })
            .map(|offer| offer.package)
    }
}

impl Archive {
    /// Essential packages of the native architecture, by name.
    fn essential(&self) -> Vec<(u32, PackageId)> {
        let packages = (0u32..).map(PackageId).zip(&self.packages);
        let essential = packages.filter(|(_, package)| package.essential && package.architecture == 0);
        let mut essential: Vec<_> = essential.map(|(id, package)| (package.name, id)).collect();
        essential.sort_unstable();
        essential
    }
}

impl Universe for Archive {
    fn len(&self) -> usize {
        self.packages.len()
    }

    fn label(&self, id: PackageId) -> String {
        let package = self.package(id);
        let architecture =
            if package.for_all { "all" } else { &*self.architectures[usize::from(package.architecture)] };
        format!("{} {} ({architecture})", self.at(package.text), self.at(package.version))
    }

    fn slot(&self, id: PackageId) -> u32 {
        let package = self.package(id);
        package.name * self.architectures.len() as u32 + u32::from(package.architecture)
    }

    fn requirements(&self, id: PackageId, out: &mut Clauses) {
        let package = self.package(id);
        let mut found: Vec<PackageId> = Vec::new();
        for clause in self.needs(package) {
            found.clear();
            let mut readable = true;
            for wanted in alternatives(clause) {
                match wanted {
                    Ok(wanted) => found.extend(
                        self.offered(&wanted)
                            .filter(|offer| self.satisfies(offer, &wanted, package))
                            .map(|offer| offer.package),
                    ),
                    Err(_) => readable = false,
                }
            }
            if !readable {
                found.clear();
            }
            out.push(found.iter().copied());
        }
        if self.unreadable(package).is_some() {
            out.push([]);
        }
    }

    fn conflicts(&self, id: PackageId, out: &mut Vec<PackageId>) {
        let package = self.package(id);
        for field in package.excludes {
            for clause in clauses(self.at(field)) {
                self.excludes(id, clause, |other| out.push(other));
            }
        }
        out.extend(self.twins(package));
    }

    fn always(&self, out: &mut Clauses) {
        for versions in self.essential().chunk_by(|one, other| one.0 == other.0) {
            out.push(versions.iter().map(|(_, id)| *id));
        }
    }

    fn in_question(&self, id: PackageId) -> bool {
        self.package(id).in_question
    }

    fn only_helps(&self, id: PackageId) -> bool {
        self.package(id).architecture != 0
    }

    fn requirement_text(&self, id: Option<PackageId>, index: usize) -> String {
        let Some(id) = id else {
            let essential = self.essential();
            let mut names = essential.chunk_by(|one, other| one.0 == other.0).map(|versions| versions[0].1);
            return names.nth(index).map_or_else(String::new, |id| self.at(self.package(id).text).to_owned());
        };
        let package = self.package(id);
        if let Some(clause) = self.needs(package).nth(index) {
            let error = alternatives(clause).find_map(Result::err);
            return error.map_or_else(|| clause.to_owned(), |error| format!("{clause} ({error})"));
        }
        self.unreadable(package).map_or_else(String::new, |clause| format!("Conflicts or Breaks: {clause}"))
    }

    fn conflict_text(&self, id: PackageId, other: PackageId) -> String {
        let package = self.package(id);
        for (name, field) in EXCLUDES.into_iter().zip(package.excludes) {
            for clause in clauses(self.at(field)) {
                let mut meant = false;
                self.excludes(id, clause, |excluded| meant |= excluded == other);
                if meant {
                    return format!("{name}: {clause}");
                }
            }
        }
        "another architecture or version of the same package".to_owned()
    }
}
