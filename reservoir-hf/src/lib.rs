//! Models and datasets for Reservoir: a Hugging Face Hub that unmodified clients use with nothing but
//! `HF_ENDPOINT`.

pub mod safety;
