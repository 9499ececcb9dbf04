/** One line for each scenario, and a sum at the end. */
export class Report {
  #passed = 0;
  #failed = 0;

  async run(name, scenario) {
    const start = Date.now();
    let trouble;
    try {
      await scenario();
      this.#passed++;
    } catch (error) {
      trouble = error;
      this.#failed++;
    }
    console.log(`${trouble ? "FAILED" : "ok"}  ${((Date.now() - start) / 1000).toFixed(1).padStart(5)} s  ${name}`);
    if (trouble) console.log(String(trouble.stack ?? trouble).replace(/^/gm, "    "));
  }

  /** Says the sum, and whether all is well: something ran, and nothing failed. */
  end() {
    console.log(`${this.#passed} passed, ${this.#failed} failed`);
    return this.#failed === 0 && this.#passed > 0;
  }
}
