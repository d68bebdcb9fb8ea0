import { Trail } from './trail.js';

// Instrument is what the page knows of one symbol.
export class Instrument {
  tick = null; // newest tick, as it came
  trail = new Trail();
  rate = 0; // updates a second, smoothed over some seconds
  listed = performance.now(); // when the edge last listed the symbol, ms
  #first = null; // first price seen, as text
  #updates = 0; // since the last call of beat
  #awaited = true; // the next tick is a snapshot

  constructor(symbol) {
    this.symbol = symbol;
  }

  // await says that the next tick is a snapshot: it may be old, and no time can be measured by it.
  await() {
    this.#awaited = true;
  }

  // accept takes a tick and tells whether it is news; 'snapshot' is news that did not happen just now. A tick that is
  // not after the one held is dropped: after a reconnect another edge may be a little behind.
  accept(tick, second) {
    const held = this.tick;
    const snapshot = this.#awaited;
    this.#awaited = false;
    if (held && (tick.epoch < held.epoch || (tick.epoch === held.epoch && tick.seq <= held.seq))) return false;
    this.tick = tick;
    if (this.#first === null) this.#first = tick.price;
    this.trail.add(second, Number(tick.price));
    if (snapshot) return 'snapshot';
    this.#updates++;
    return 'update';
  }

  // basis is the price that the change counts from: that of 24 hours ago when the feed gives it, else the first seen.
  basis() {
    return this.tick?.open ? { price: this.tick.open, day: true } : { price: this.#first, day: false };
  }

  // change is in percent, null when it cannot be told.
  change() {
    if (!this.tick) return null;
    const from = Number(this.basis().price);
    return from > 0 ? ((Number(this.tick.price) - from) / from) * 100 : null;
  }

  // beat brings rate up to date; seconds have passed since the last beat.
  beat(seconds) {
    const now = this.#updates / seconds;
    this.#updates = 0;
    this.rate += (now - this.rate) * Math.min(1, seconds / 5);
    if (this.rate < 0.005) this.rate = 0;
  }
}
