// The board of live prices. It is a client of the documented protocol and nothing more:
//
//	GET /v1/symbols --> Directory --subscribe--> Feed (WebSocket /v1/ws) --tick--> Instrument --touch--> Board
//	                                                                      \-> Meter         draws per frame
import { Board } from './board.js';
import { Directory } from './directory.js';
import { Feed } from './feed.js';
import { Instrument } from './instrument.js';
import { Meter, duration } from './meter.js';

const $ = (id) => document.getElementById(id);
const say = (id, text) => {
  if ($(id).textContent !== text) $(id).textContent = text;
};

const instruments = new Map(); // by symbol
const meter = new Meter();
const board = new Board($('rows'));
let staleSince = null; // ms of performance.now() of ingest's last sign of life, while the edge calls prices stale

const feed = new Feed(address('v1/ws', 'ws'), {
  state() {
    if (feed.state === 'live') directory.start();
    else {
      directory.stop();
      staleSince = null;
    }
    show();
  },
  tick(tick) {
    const instrument = instruments.get(tick.symbol);
    const news = instrument?.accept(tick, Math.floor(Date.now() / 1000));
    if (!news) return;
    if (news === 'update') meter.add(performance.now(), feed.now() - tick.ts / 1000);
    board.touch(tick.symbol);
  },
  stale(age) {
    staleSince = performance.now() - age;
    show();
  },
  fresh() {
    staleSince = null;
    show();
  },
});

const directory = new Directory(address('v1/symbols', 'http'), feed, {
  listed(symbols) {
    const now = performance.now();
    for (const symbol of symbols) {
      const instrument = instruments.get(symbol);
      if (instrument) instrument.listed = now;
    }
  },
  subscribing(symbols) {
    const fresh = symbols.filter((s) => !instruments.has(s)).map((s) => new Instrument(s));
    for (const instrument of fresh) instruments.set(instrument.symbol, instrument);
    for (const symbol of symbols) instruments.get(symbol).await();
    board.add(fresh);
    show();
  },
  forgotten(symbols) {
    for (const symbol of symbols) instruments.delete(symbol);
    board.remove(symbols);
  },
  known: () => [...instruments.values()],
});

// address is a path of the edge that served the page, wherever that is mounted.
function address(path, scheme) {
  const url = new URL(path, document.baseURI);
  url.protocol = url.protocol.replace('http', scheme);
  return url.href;
}

// show brings all but the rows up to date.
function show() {
  const stale = staleSince !== null;
  const wait = Math.ceil((feed.retryAt - performance.now()) / 1000);
  $('link').dataset.state = stale ? 'stale' : feed.state;
  say('link-text', {
    connecting: 'Connecting',
    live: stale ? 'Stale' : 'Live',
    waiting: 'Reconnecting',
    stopped: 'Stopped',
  }[feed.state]);
  say('link-wait', feed.state === 'waiting' && wait > 1 ? `in ${wait} s` : '');
  $('retry').hidden = !(feed.state === 'stopped' || (feed.state === 'waiting' && wait > 1));
  $('board').classList.toggle('old', stale || feed.state !== 'live');

  $('stale').hidden = !stale;
  if (stale) {
    const [figure, unit] = duration(Math.max(1000, performance.now() - staleSince));
    say('stale-age', `${figure} ${unit}`);
  }
  const trouble = feed.state === 'stopped' ? `The edge closed this connection and asked not to come back: ${feed.why}.` : feed.state === 'live' ? directory.trouble : '';
  $('trouble').hidden = trouble === '';
  say('trouble', trouble);

  say('count', String(board.size));
  say('count-of', directory.total > board.size ? `of ${directory.total}` : '');
  say('rate', feed.state === 'live' ? meter.rate.toFixed(0) : '0');
  const [figure, unit] = duration(feed.state === 'live' ? meter.median(performance.now()) : NaN);
  say('delay', figure);
  say('delay-unit', unit);
  showNothing();
  showBasis();
}

// showNothing says why no row is to be seen, when none is.
function showNothing() {
  $('nothing').hidden = board.shown > 0;
  if (board.shown > 0) return;
  if (board.size > 0) say('nothing', `No symbol contains \u201c${board.filter}\u201d.`);
  else if (feed.state === 'live' && directory.answered) say('nothing', 'No prices yet. Publish the first one with the line above; it appears here by itself.');
  else say('nothing', 'Connecting to the feed.');
}

// showBasis says what the changes count from: the title of a cell has it for its row.
function showBasis() {
  let day = 0;
  let session = 0;
  for (const i of instruments.values()) {
    if (i.tick) i.basis().day ? day++ : session++;
  }
  $('board').classList.toggle('mixed', day > 0 && session > 0);
  const notes = [];
  if (day > 0 && session > 0) notes.push('Change counts from the price 24 hours ago; where it is underlined, from the first price seen since this page was opened.');
  else if (day > 0) notes.push('Change counts from the price 24 hours ago.');
  else if (session > 0) notes.push('Change counts from the first price seen since this page was opened.');
  if (directory.total > board.size && board.size > 0) notes.push(`Of ${directory.total} symbols the first ${board.size} are shown: one connection carries no more.`);
  say('footnote', notes.join(' '));
}

function setSort(by) {
  const down = board.sort.by === by ? !board.sort.down : by !== 'name';
  board.sort = { by, down };
  for (const button of document.querySelectorAll('[data-sort]')) {
    const chosen = button.dataset.sort === by;
    button.setAttribute('aria-pressed', chosen);
    button.classList.toggle('down', chosen && down);
  }
  for (const head of document.querySelectorAll('[data-column]')) {
    if (head.dataset.column === by) head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    else head.removeAttribute('aria-sort');
  }
  board.order();
}

// copy works without the clipboard's permission too: pages of plain http on another host than this have no clipboard.
async function copy() {
  const range = document.createRange();
  range.selectNodeContents($('publish'));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  let done;
  try {
    await navigator.clipboard.writeText($('publish').textContent);
    done = true;
  } catch {
    done = document.execCommand('copy');
  }
  say('copy', done ? 'Copied' : 'Selected');
  say('copied', done ? 'Copied' : 'Selected, not copied');
  setTimeout(() => {
    say('copy', 'Copy');
    say('copied', '');
  }, 2000);
}

$('filter').addEventListener('input', () => {
  board.setFilter($('filter').value);
  showNothing();
});
$('filter').addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  $('filter').value = '';
  board.setFilter('');
  showNothing();
});
document.addEventListener('keydown', (event) => {
  if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || event.target === $('filter')) return;
  event.preventDefault();
  $('filter').focus();
});
document.querySelector('.sort').addEventListener('click', (event) => {
  if (event.target.dataset.sort) setSort(event.target.dataset.sort);
});
$('copy').addEventListener('click', copy);
$('retry').addEventListener('click', () => feed.connect());
window.addEventListener('online', () => {
  if (feed.state === 'waiting') feed.connect();
});

document.addEventListener('visibilitychange', () => {
  if (!document.hidden) show();
});

let before = performance.now();
setInterval(() => {
  const now = performance.now();
  const seconds = (now - before) / 1000;
  before = now;
  meter.beat(seconds);
  for (const instrument of instruments.values()) instrument.beat(seconds);
  if (document.hidden) return;
  board.beat(Math.floor(Date.now() / 1000), now);
  show();
}, 1000);

setSort('name');
feed.connect();
