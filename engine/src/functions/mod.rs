//! Functions both engines share.

pub mod windows;
