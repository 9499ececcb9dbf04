/**
 * Runs scenarios and prints one line for each, and a summary.
 *
 * With `SECOND_TRY=1`, a scenario that fails runs once more. Both results are printed and counted. `.ci/run` uses it: a
 * browser on a machine that other programs use can miss any deadline. `.ci/nightly` does not use it.
 */
export class Report {
  #passed = 0;
  #failed = 0;
  #passedLater = 0;

  /**
   * @param {string} name
   * @param {() => Promise<void> | void} scenario
   * @param {() => Promise<unknown> | void} [after] runs after each try
   */
  async run(name, scenario, after = () => {}) {
    const tries = process.env.SECOND_TRY === "1" ? 2 : 1;
    for (let attempt = 1; attempt <= tries; attempt++) {
      const isPassed = await this.#try(attempt > 1 ? `${name} (second try)` : name, scenario);
      await after();
      if (isPassed) {
        this.#passed++;
        if (attempt > 1) this.#passedLater++;
        return;
      }
    }
    this.#failed++;
  }

  async #try(name, scenario) {
    const start = Date.now();
    let failure;
    try {
      await scenario();
    } catch (error) {
      failure = error;
    }
    console.log(`${failure ? "FAILED" : "ok"}  ${((Date.now() - start) / 1000).toFixed(1).padStart(5)} s  ${name}`);
    if (failure) console.log(String(failure.stack ?? failure).replace(/^/gm, "    "));
    return !failure;
  }

  /** Prints the summary. Returns whether at least one scenario ran and none failed. */
  end() {
    const later = this.#passedLater ? ` (${this.#passedLater} of them ONLY AT THE SECOND TRY)` : "";
    console.log(`${this.#passed} passed${later}, ${this.#failed} failed`);
    return this.#failed === 0 && this.#passed > 0;
  }
}
