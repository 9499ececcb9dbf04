//! Nothing: the tests of this package mount sigver in frameworks that accept services of tower.
