//! Who is, or provides, what a name stands for.

use std::cmp::Reverse;

use reservoir_core::depends::PackageId;

use super::{archive::Span, order::compare};

/// A package under its own name or one that it provides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    pub(super) name: u32,
    pub(super) package: PackageId,
    /// Of what is provided: `None` where no version is.
    pub(super) version: Option<Span>,
    /// `Provides: name:any` and the like.
    pub(super) qualifier: Option<Span>,
    /// Whether it is the package's own name.
    pub(super) real: bool,
}

/// All offers, by name.
#[derive(Debug, Default)]
pub(super) struct Offers {
    offers: Vec<Offer>,
    /// Where those of each name begin.
    first: Vec<u32>,
}

impl Offers {
    pub(super) fn add(&mut self, offer: Offer) {
        self.offers.push(offer);
    }

    /// Of each name the packages of that name come first, native ones before foreign ones, the newest before the others,
    /// as apt prefers them.
    pub(super) fn sort<'t>(
        &mut self,
        names: usize,
        text: impl Fn(Span) -> &'t str,
        is_foreign: impl Fn(PackageId) -> bool,
    ) {
        let rank = |offer: &Offer| (offer.name, Reverse(offer.real), is_foreign(offer.package));
        self.offers.sort_by(|one, other| {
            rank(one).cmp(&rank(other)).then_with(|| {
                let version = |offer: &Offer| offer.version.map_or("", &text);
                let newest = compare(version(other), version(one));
                if one.real {
                    newest.then(one.package.cmp(&other.package))
                } else {
                    one.package.cmp(&other.package)
                }
            })
        });
        self.first = vec![0; names + 1];
        self.offers.iter().for_each(|offer| self.first[offer.name as usize + 1] += 1);
        for name in 0..names {
            self.first[name + 1] += self.first[name];
        }
        self.offers.shrink_to_fit();
    }

    pub(super) fn of(&self, name: u32) -> &[Offer] {
        let name = name as usize;
        &self.offers[self.first[name] as usize..self.first[name + 1] as usize]
    }

    pub(super) fn bytes(&self) -> usize {
        self.offers.capacity() * size_of::<Offer>() + self.first.capacity() * size_of::<u32>()
    }
}
