//! What the tests of the whole share: namespaces of their own, the daemon as a child, kernel-side
//! clients; and the reader of the sources behind the layering test.

pub mod file_graph;
pub mod forge;
pub mod layers;
pub mod transfer;
pub mod world;
