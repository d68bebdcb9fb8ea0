// Meter measures what reaches the page: updates a second and the delay of the last ones.

const SAMPLES = 256;
const RECENT = 10_000; // ms

export class Meter {
  #updates = 0;
  #rate = 0;
  #delay = new Float64Array(SAMPLES);
  #taken = new Float64Array(SAMPLES).fill(-Infinity);
  #next = 0;

  // add counts one update; delay is in ms, NaN when it cannot be told.
  add(now, delay) {
    this.#updates++;
    if (Number.isNaN(delay)) return;
    this.#delay[this.#next] = Math.max(0, delay); // what is left of the clocks' difference can exceed the delay
    this.#taken[this.#next] = now;
    this.#next = (this.#next + 1) % SAMPLES;
  }

  // beat is called about once a second; seconds have passed since the last beat.
  beat(seconds) {
    this.#rate = this.#updates / seconds;
    this.#updates = 0;
  }

  get rate() {
    return this.#rate;
  }

  // median delay of the last 10 seconds in ms, NaN without one.
  median(now) {
    const recent = this.#delay.filter((_, i) => now - this.#taken[i] < RECENT).sort();
    return recent.length === 0 ? NaN : recent[recent.length >> 1];
  }
}

// duration is ms as a figure and its unit.
export function duration(ms) {
  if (Number.isNaN(ms)) return ['–', ''];
  if (ms < 9.95) return [ms.toFixed(1), 'ms'];
  if (ms < 1000) return [ms.toFixed(0), 'ms'];
  if (ms < 60_000) return [(ms / 1000).toFixed(ms < 9950 ? 1 : 0), 's'];
  if (ms < 3_600_000) return [(ms / 60_000).toFixed(0), 'min'];
  return ['over 1', 'h'];
}
