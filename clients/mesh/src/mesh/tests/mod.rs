//! Tests of the mesh: the vectors of `clients/MESH.md`, its rules, simulated groups, hostile input, and the layers.

mod attempts;
mod corpus;
mod groups;
mod hostile;
mod interruptions;
mod layers;
mod messages;
pub(crate) mod vectors;
