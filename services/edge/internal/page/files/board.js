import { Row } from './row.js';

const ORDER_EVERY = 2_000; // ms: rows that jump about cannot be read
// What one frame may cost, however many rows are in sight; the others wait for the next, in their turn.
const ROWS_A_FRAME = 32;
const LINES_A_FRAME = 8;
const FADES_A_FRAME = 8; // few prices fade smoothly, many by steps

const calm = matchMedia('(prefers-reduced-motion: reduce)');

// Board is the table of rows: what is on it, in which order, and what must be drawn in the next frame.
export class Board {
  filter = '';
  sort = { by: '', down: false }; // by name, change or activity; set it, then call order

  #element;
  #rows = new Map(); // by symbol
  #order = []; // as shown
  #dirty = new Set();
  #lines = new Set(); // rows whose line is to be drawn
  #fading = new Set(); // rows whose price stands out, that which has waited longest first
  #frame = 0;
  #flash = true; // false for what piled up while nobody looked
  #ordered = 0;
  #observer;

  constructor(element) {
    this.#element = element;
    this.#observer = new IntersectionObserver((entries) => this.#scrolled(entries), { rootMargin: '300px' });
    element.addEventListener('pointerover', (event) => this.#rowOf(event.target)?.explain());
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.#flash = false;
      else this.#schedule();
    });
  }

  get size() {
    return this.#rows.size;
  }

  // shown is how many rows the filter lets through.
  get shown() {
    return this.#order.reduce((n, row) => n + !row.element.hidden, 0);
  }

  add(instruments) {
    for (const instrument of instruments) {
      const row = new Row(instrument);
      row.element.hidden = !this.#passes(row);
      this.#rows.set(instrument.symbol, row);
      this.#observer.observe(row.element);
    }
    if (instruments.length > 0) this.order();
  }

  remove(symbols) {
    for (const symbol of symbols) {
      const row = this.#rows.get(symbol);
      if (!row) continue;
      this.#observer.unobserve(row.element);
      row.element.remove();
      this.#rows.delete(symbol);
      this.#dirty.delete(row);
      this.#lines.delete(row);
      this.#fading.delete(row);
    }
    this.#order = this.#order.filter((row) => this.#rows.has(row.instrument.symbol));
  }

  // touch has a row drawn in the next frame, or when it comes into sight.
  touch(symbol) {
    const row = this.#rows.get(symbol);
    if (!row?.seen) return;
    this.#dirty.add(row);
    this.#schedule();
  }

  // beat is called once a second: lines move on, rates change, and the order with them.
  beat(second, now) {
    if (document.hidden) return;
    for (const row of this.#order) {
      if (!row.seen) continue;
      row.drawRate();
      if (row.instrument.trail.moving(second)) this.#lines.add(row);
    }
    if (this.sort.by !== 'name' && now - this.#ordered >= ORDER_EVERY) this.order();
    this.#schedule();
  }

  setFilter(text) {
    this.filter = text.trim().toUpperCase();
    for (const row of this.#order) row.element.hidden = !this.#passes(row);
  }

  // order sorts the rows and moves only those that stand wrong.
  order() {
    this.#ordered = performance.now();
    const { by, down } = this.sort;
    const key = { name: () => 0, change: (i) => i.change() ?? -Infinity, activity: (i) => i.rate }[by];
    const keyed = [...this.#rows.values()].map((row) => ({ row, key: key(row.instrument), name: row.instrument.symbol }));
    const sign = down ? -1 : 1;
    keyed.sort((a, b) => {
      if (by === 'name') return sign * (a.name < b.name ? -1 : 1);
      return a.key === b.key ? (a.name < b.name ? -1 : 1) : sign * (a.key < b.key ? -1 : 1);
    });
    this.#order = keyed.map((k) => k.row);
    let place = this.#element.firstElementChild;
    for (const { element } of this.#order) {
      if (element === place) place = place.nextElementSibling;
      else this.#element.insertBefore(element, place);
    }
  }

  #passes(row) {
    return row.instrument.symbol.includes(this.filter);
  }

  #rowOf(target) {
    return this.#rows.get(target.closest('[data-symbol]')?.dataset.symbol);
  }

  #scrolled(entries) {
    for (const { target, isIntersecting } of entries) {
      const row = this.#rowOf(target);
      if (!row) continue;
      row.seen = isIntersecting;
      if (!isIntersecting) continue;
      row.draw(null);
      row.drawRate();
      this.#lines.add(row);
    }
    this.#schedule();
  }

  #schedule() {
    if (this.#frame === 0 && !document.hidden) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    const now = performance.now();
    const moved = this.#flash && !calm.matches ? now : null;
    for (const row of first(ROWS_A_FRAME, this.#dirty)) {
      if (row.seen && row.draw(moved)) this.#fading.add(row);
    }
    if (this.#dirty.size === 0) this.#flash = true;
    // Not CSS animations: these recolour each price in each frame, which was most of the work at 500 updates a second.
    for (const row of first(FADES_A_FRAME, this.#fading)) {
      if (row.fade(now)) this.#fading.add(row);
    }
    const second = Math.floor(Date.now() / 1000);
    for (const row of first(LINES_A_FRAME, this.#lines)) {
      if (row.seen) row.drawLine(second);
    }
    if (this.#dirty.size + this.#lines.size + this.#fading.size > 0) this.#schedule();
  }
}

// first takes up to n elements out of a set, those that came first.
function first(n, set) {
  const taken = [];
  for (const element of set) {
    if (taken.length === n) break;
    taken.push(element);
    set.delete(element);
  }
  return taken;
}
