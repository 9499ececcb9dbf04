/**
 * Waiting, and how often something may happen.
 *
 * @module
 */

/** A token bucket. */
export class RateLimit {
  #rate;
  #burst;
  #tokens;
  #since = performance.now();

  /** @param {number} rate per second @param {number} burst at once */
  constructor(rate, burst) {
    this.#rate = rate;
    this.#burst = burst;
    this.#tokens = burst;
  }

  /** Takes one token. Returns whether there was one. */
  take() {
    const now = performance.now();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#since) / 1000) * this.#rate);
    this.#since = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  /** Milliseconds until there is a token again, after `take` found none. */
  get delay() {
    return Math.ceil(((1 - this.#tokens) / this.#rate) * 1000);
  }
}

/** Calls a function as often as a rate limit allows. A request beyond the limit is served as soon as it allows it. */
export class Throttle {
  #limit;
  #call;
  #timer = 0;

  /** @param {RateLimit} limit @param {() => void} call */
  constructor(limit, call) {
    this.#limit = limit;
    this.#call = call;
  }

  request() {
    if (this.#timer) return;
    if (this.#limit.take()) return this.#call();
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.request();
    }, this.#limit.delay);
  }

  cancel() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }
}

/** Returns a random time from 50 % to 100 % of `ms`. @param {number} ms */
export function jitter(ms) {
  return ms * (0.5 + Math.random() / 2);
}

/**
 * Doubles with each failure up to a maximum, with jitter: peers that fail together must not retry together.
 *
 * @param {number} min @param {number} max @param {number} failures
 */
export function backOff(min, max, failures) {
  return jitter(Math.min(max, min * 2 ** Math.min(failures, 16)));
}

/**
 * An event that happens again and again. Its waiters are listeners of a signal, because a waiter can remove its
 * listener. Reactions to a promise stay until it settles: a loop that races it would collect them.
 */
export class Notify {
  #next = new AbortController();

  /** Aborts at the next notification. */
  get signal() {
    return this.#next.signal;
  }

  notify() {
    const next = this.#next;
    this.#next = new AbortController();
    next.abort();
  }
}

/**
 * Waits until one of the signals aborts, at most for a promise. Resolves with its value, otherwise with `undefined`.
 * The signals may live long, the promise must not. It must not reject.
 *
 * @template T
 * @param {AbortSignal[]} signals @param {Promise<T>} [promise]
 * @returns {Promise<T | undefined>}
 */
export function aborted(signals, promise) {
  return new Promise((resolve) => {
    const done = new AbortController();
    const end = (/** @type {T | undefined} */ value) => {
      done.abort();
      resolve(value);
    };
    for (const signal of signals) {
      if (signal.aborted) return end(undefined);
      signal.addEventListener("abort", () => end(undefined), { signal: done.signal });
    }
    promise?.then(end);
  });
}

/** Waits for `ms`, at most until one of the signals aborts. @param {number} ms @param {AbortSignal[]} signals */
export async function sleep(ms, ...signals) {
  let timer;
  const elapsed = new Promise((resolve) => (timer = setTimeout(resolve, ms)));
  await aborted(signals, elapsed);
  clearTimeout(timer);
}

/**
 * Calls a function that may hang. Rejects with its error, or with a `TimeoutError` after `ms`.
 *
 * @template T
 * @param {number} ms @param {(signal: AbortSignal) => Promise<T>} call receives a signal that aborts after `ms`
 * @returns {Promise<T>}
 */
export async function withTimeout(ms, call) {
  const deadline = new AbortController();
  const { signal } = deadline;
  const timer = setTimeout(() => deadline.abort(new DOMException(`No answer within ${ms} ms`, "TimeoutError")), ms);
  try {
    const late = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    return await Promise.race([call(signal), /** @type {Promise<never>} */ (late)]);
  } finally {
    clearTimeout(timer);
  }
}
