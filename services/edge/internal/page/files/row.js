import { compare, difference } from './decimal.js';

const template = document.getElementById('row');
const WIDTH = 100; // of the line's box, as in the template
const HEIGHT = 24;
const LONG = 13; // characters of a price, above which a row is set in small type
const FADE = 800; // ms that a price which moved stands out

// Row is one instrument on the board. It remembers what it drew last and touches only what differs; it never reads
// from the layout.
export class Row {
  seen = true; // on the screen or near it
  #drawn = null; // the tick drawn last
  #moved = -Infinity; // ms of performance.now() when the price moved last
  #left = ''; // of the wash, in percent
  #way = '';
  #cells = {};
  #changeClass = '';
  #long = false;

  constructor(instrument) {
    this.instrument = instrument;
    this.element = template.content.firstElementChild.cloneNode(true);
    const [sym, px, chg, bid, ask, spr, line, act] = this.element.children;
    const [mark, same, moved] = px.children;
    const [under, over] = line.firstElementChild.children;
    this.#cells = { px, chg, under, over };
    for (const [name, cell] of Object.entries({ sym, mark, same, moved, change: chg, bid, ask, spr, act })) {
      this.#cells[`${name}Text`] = cell.appendChild(document.createTextNode(''));
    }
    this.#put('sym', instrument.symbol);
    sym.title = instrument.symbol;
    this.element.dataset.symbol = instrument.symbol;
    this.#put('same', '–');
  }

  // draw shows the newest tick, moved in ms of performance.now(), or null for what has not just happened. It tells
  // whether the price stands out now; fade is to be called then.
  draw(moved) {
    const tick = this.instrument.tick;
    if (!tick || tick === this.#drawn) return false;
    const out = this.#drawPrice(tick, moved);
    if (tick.bid !== this.#drawn?.bid || tick.ask !== this.#drawn?.ask) {
      this.#put('bid', tick.bid ?? '');
      this.#put('ask', tick.ask ?? '');
      this.#put('spr', tick.bid && tick.ask ? difference(tick.ask, tick.bid) : '');
    }
    this.#drawChange();
    this.#drawn = tick;
    const long = Math.max(tick.price.length, tick.bid?.length ?? 0, tick.ask?.length ?? 0) > LONG;
    if (long !== this.#long) this.element.classList.toggle('long', (this.#long = long));
    return out;
  }

  #drawPrice(tick, moved) {
    const before = this.#drawn?.price;
    if (tick.price === before) return false;
    const keep = before && moved !== null ? commonHead(before, tick.price) : tick.price.length;
    this.#put('same', tick.price.slice(0, keep));
    this.#put('moved', tick.price.slice(keep));
    const way = before ? compare(tick.price, before) : 0;
    if (way === 0) return false;
    const name = way > 0 ? 'up' : 'down';
    if (name !== this.#way) {
      this.#way = name;
      this.#put('mark', way > 0 ? '\u25b4' : '\u25be');
      this.#cells.px.className = `px ${name}`;
    }
    if (moved === null) return false;
    this.#moved = moved;
    this.fade(moved);
    return true;
  }

  // fade has the price stand out as much as is left at this time, and tells whether anything is.
  fade(now) {
    const left = Math.max(0, 1 - (now - this.#moved) / FADE);
    const text = `${Math.round(100 * left * left)}%`; // quick first, then slow
    if (text !== this.#left) this.#cells.px.style.setProperty('--left', (this.#left = text));
    return left > 0;
  }

  #drawChange() {
    const change = this.instrument.change();
    const text = change === null ? '' : percent(change);
    this.#put('change', text);
    const way = text === '' || Number(change.toFixed(2)) === 0 ? '' : change > 0 ? ' up' : ' down';
    const name = `chg${way}${this.instrument.basis().day ? '' : ' session'}`;
    if (name !== this.#changeClass) this.#cells.chg.className = this.#changeClass = name;
  }

  drawRate() {
    const rate = this.instrument.rate;
    this.#put('act', rate < 0.05 ? '' : rate < 9.95 ? rate.toFixed(1) : rate.toFixed(0));
  }

  drawLine(second) {
    const { line, area } = this.instrument.trail.path(second, WIDTH, HEIGHT);
    if (!line) return;
    this.#cells.over.setAttribute('d', line);
    this.#cells.under.setAttribute('d', area);
  }

  // explain sets the titles; it is called when a pointer comes, not for each tick.
  explain() {
    const tick = this.instrument.tick;
    if (!tick) return;
    const { price, day } = this.instrument.basis();
    this.#cells.chg.title = day
      ? `Against the price 24 hours ago, ${price}`
      : `Against the first price this page saw, ${price}; the feed gives none of 24 hours ago`;
    this.#cells.px.title = `${tick.price} at ${new Date(tick.ts / 1000).toLocaleString()}`;
    const day24 = [tick.low && `low ${tick.low}`, tick.high && `high ${tick.high}`, tick.volume && `volume ${tick.volume}`];
    this.element.title = day24.some(Boolean) ? `24 hours: ${day24.filter(Boolean).join(', ')}` : '';
  }

  #put(name, text) {
    const node = this.#cells[`${name}Text`];
    if (node.data !== text) node.data = text;
  }
}

// commonHead is how many characters of two prices agree from the left, 0 when their points are at different places.
function commonHead(a, b) {
  if ((a.indexOf('.') + 1 || a.length) !== (b.indexOf('.') + 1 || b.length)) return 0;
  let n = 0;
  while (n < b.length && a[n] === b[n]) n++;
  return n;
}

// percent is at most nine characters, however odd the price that it counts from.
function percent(change) {
  const size = Math.abs(change);
  const text = size < 1000 ? size.toFixed(2) : size < 1e6 ? size.toFixed(0) : size.toExponential(0);
  return `${Number(text) === 0 ? '' : change > 0 ? '+' : '\u2212'}${text}%`;
}
