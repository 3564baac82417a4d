//! Functions both engines share.
