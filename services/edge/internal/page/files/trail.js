// Trail is the prices of the last minutes of one symbol, at most one a second, as a line to draw.

export const SPAN = 300; // seconds shown, and so the most points that are kept
const LEAST = 10; // seconds shown when the symbol is new: a line of few points is stretched no further

export class Trail {
  #second = new Uint32Array(SPAN);
  #price = new Float64Array(SPAN);
  #next = 0; // where the next point goes
  #size = 0;
  #began = 0; // second of the first point ever

  // add keeps the last price of each second.
  add(second, price) {
    const last = (this.#next + SPAN - 1) % SPAN;
    if (this.#size > 0 && this.#second[last] >= second) {
      this.#price[last] = price;
      return;
    }
    if (this.#size === 0) this.#began = second;
    this.#second[this.#next] = second;
    this.#price[this.#next] = price;
    this.#next = (this.#next + 1) % SPAN;
    if (this.#size < SPAN) this.#size++;
  }

  // moving tells whether the line changes with time alone.
  moving(now) {
    if (this.#size === 0) return false;
    return this.#second[(this.#next + SPAN - 1) % SPAN] >= now - SPAN - 1;
  }

  // path is the line, and the area under it, as SVG path data in a box of width by height, up to now at its right edge.
  // A price holds until the next: a quiet minute is drawn flat, not as a slope.
  path(now, width, height) {
    if (this.#size === 0) return { line: '', area: '' };
    const span = Math.min(SPAN, Math.max(LEAST, now - this.#began));
    const from = now - span;
    const at = (i) => (this.#next - this.#size + i + SPAN) % SPAN;

    let first = this.#size - 1;
    while (first > 0 && this.#second[at(first)] > from) first--;
    let low = Infinity;
    let high = -Infinity;
    for (let i = first; i < this.#size; i++) {
      const p = this.#price[at(i)];
      if (p < low) low = p;
      if (p > high) high = p;
    }
    const pad = 2;
    const scaleX = width / span;
    const scaleY = high > low ? (height - 2 * pad) / (high - low) : 0;
    const x = (second) => Math.round(Math.min(width, Math.max(0, (second - from) * scaleX)) * 10) / 10;
    const y = (price) => (scaleY === 0 ? height / 2 : Math.round((height - pad - (price - low) * scaleY) * 10) / 10);

    let line = '';
    let before = 0; // second of the point before
    let level = 0; // its y
    for (let i = first; i < this.#size; i++) {
      const second = this.#second[at(i)];
      const next = y(this.#price[at(i)]);
      if (line === '') line = `M${x(second)} ${next}`;
      else {
        if (second - before > 2) line += `L${x(second - 1)} ${level}`;
        line += `L${x(second)} ${next}`;
      }
      before = second;
      level = next;
    }
    line += `L${width} ${level}`;
    const left = x(this.#second[at(first)]);
    return { line, area: `${line}L${width} ${height}L${left} ${height}Z` };
  }
}
