/**
 * Gives property tests the same examples in each run, so that a change fails only for its own faults. The variable
 * `PROPERTY_SEED`, an integer, selects others.
 */

import fc from "fast-check";

fc.configureGlobal({ seed: Number(process.env.PROPERTY_SEED ?? 1) });
