//! Archives made byte by byte, good ones and hostile ones, for the tests of readers and of formats.

mod tar;
mod zip;

pub use self::{
    tar::{TarBuilder, TarHeader, gzip, pax_record},
    zip::{ZipBuilder, ZipMember},
};
