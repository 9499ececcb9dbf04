/** Runs scenarios and prints one line for each, and a summary. */
export class Report {
  #passed = 0;
  #failed = 0;

  async run(name, scenario) {
    const start = Date.now();
    let failure;
    try {
      await scenario();
      this.#passed++;
    } catch (error) {
      failure = error;
      this.#failed++;
    }
    console.log(`${failure ? "FAILED" : "ok"}  ${((Date.now() - start) / 1000).toFixed(1).padStart(5)} s  ${name}`);
    if (failure) console.log(String(failure.stack ?? failure).replace(/^/gm, "    "));
  }

  /** Prints the summary. Returns whether at least one scenario ran and none failed. */
  end() {
    console.log(`${this.#passed} passed, ${this.#failed} failed`);
    return this.#failed === 0 && this.#passed > 0;
  }
}
