// Feed is the page's connection to its edge: protocol v1 over one WebSocket, kept up for as long as the page lives.

const SUBPROTOCOL = 'tickfan.v1.json';
const FIRST_WAIT = 250; // ms, the most that the first retry waits
const LONGEST_WAIT = 10_000; // ms
const STEADY = 10_000; // ms open, after which the next retry counts as the first again
const PING_EVERY = 5_000; // ms
const PONG_WITHIN = 10_000; // ms, after which the connection is taken for dead
const ANSWER_WITHIN = 10_000; // ms

export class Feed {
  state = 'waiting'; // connecting, live, waiting, stopped
  why = ''; // of stopped: what the edge said
  retryAt = 0; // of waiting: ms of performance.now()

  #url;
  #on;
  #socket = null;
  #failures = 0; // in a row
  #after = null; // ms that the edge asked to wait
  #retry = 0;
  #pings = 0;
  #steady = 0;
  #going = 0;
  #asked = new Map(); // id of a request: how to answer it
  #id = 0;
  #ping = null; // { id, at } of the one ping that is outstanding
  #clock = []; // { rtt, offset } of the last pongs

  // on.state() is called at each change of state, on.tick(tick) for each tick, on.stale(ms) and on.fresh() as the edge
  // says them.
  constructor(url, on) {
    this.#url = url;
    this.#on = on;
  }

  // connect opens the connection now, unless there is one.
  connect() {
    if (this.#socket) return;
    clearTimeout(this.#retry);
    this.#after = null;
    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = (event) => this.#received(event.data);
    socket.onclose = (event) => this.#lost(event.code, event.reason);
    this.#become('connecting');
  }

  // subscribe resolves once the edge has confirmed all symbols, none of which may be left out; it rejects with the
  // edge's code as the error's name.
  subscribe(symbols) {
    return this.#ask({ op: 'subscribe', symbols });
  }

  unsubscribe(symbols) {
    return this.#ask({ op: 'unsubscribe', symbols });
  }

  // now is the edge's time in ms since 1970, as good as the quickest of the last pongs tells; NaN before the first.
  now() {
    if (this.#clock.length === 0) return NaN;
    return local() + this.#clock.reduce((best, c) => (c.rtt < best.rtt ? c : best)).offset;
  }

  #become(state) {
    this.state = state;
    this.#on.state();
  }

  #opened() {
    this.#clock = []; // another edge, another clock
    this.#pings = setInterval(() => this.#beat(), PING_EVERY);
    this.#steady = setTimeout(() => (this.#failures = 0), STEADY);
    this.#beat();
    this.#become('live');
  }

  // #beat keeps the connection alive and finds out when it is not: a cut cable closes nothing by itself.
  #beat() {
    if (!this.#ping) {
      this.#ping = { id: ++this.#id, at: local() };
      this.#say({ op: 'ping', id: this.#ping.id });
    } else if (local() - this.#ping.at > PONG_WITHIN) {
      this.#lost(1006, '');
    }
  }

  #received(text) {
    const message = JSON.parse(text);
    switch (message.op) {
      case 'tick':
        this.#on.tick(message);
        return;
      case 'subscribed':
      case 'unsubscribed':
        this.#answer(message.id, (answer) => answer.resolve(message));
        return;
      case 'error': {
        const fault = new Error(message.message);
        fault.name = message.code;
        this.#answer(message.id, (answer) => answer.reject(fault));
        return;
      }
      case 'pong':
        this.#pong(message);
        return;
      case 'stale':
        this.#on.stale(message.age_ms ?? 0);
        return;
      case 'fresh':
        this.#on.fresh();
        return;
      case 'reconnect':
        this.#leave(message.after_ms ?? 0);
    }
  }

  // #leave goes to another edge in so many ms. If this one closes before, the same holds.
  #leave(after) {
    this.#after = after;
    clearTimeout(this.#going);
    this.#going = setTimeout(() => {
      this.#after = 0;
      this.#lost(1000, '');
    }, after);
  }

  #pong({ id, ts }) {
    if (id !== this.#ping?.id) return;
    const now = local();
    const rtt = now - this.#ping.at;
    this.#ping = null;
    this.#clock.push({ rtt, offset: ts / 1000 - (now - rtt / 2) });
    if (this.#clock.length > 8) this.#clock.shift();
  }

  #ask(request) {
    return new Promise((resolve, reject) => {
      if (this.state !== 'live') {
        reject(gone());
        return;
      }
      const id = ++this.#id;
      const late = setTimeout(() => this.#answer(id, (answer) => answer.reject(gone())), ANSWER_WITHIN);
      this.#asked.set(id, { resolve, reject, late });
      this.#say({ ...request, id });
    });
  }

  #answer(id, how) {
    const answer = this.#asked.get(id);
    if (!answer) return;
    this.#asked.delete(id);
    clearTimeout(answer.late);
    how(answer);
  }

  #say(message) {
    this.#socket.send(JSON.stringify(message));
  }

  // #lost lets go of the connection at once, closed or dead, and sees to the next.
  #lost(code, reason) {
    const socket = this.#socket;
    this.#socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    clearInterval(this.#pings);
    clearTimeout(this.#steady);
    clearTimeout(this.#going);
    this.#ping = null;
    for (const id of [...this.#asked.keys()]) this.#answer(id, (answer) => answer.reject(gone()));

    if (!comesBack(code)) {
      this.why = reason ? `${reason} (${code})` : `close code ${code}`;
      this.#become('stopped');
      return;
    }
    const wait = this.#after ?? Math.random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#failures);
    this.#failures++;
    this.retryAt = performance.now() + wait;
    this.#retry = setTimeout(() => this.connect(), wait);
    this.#become('waiting');
  }
}

// comesBack tells whether a client connects again after this close code; the other codes say that it is at fault.
function comesBack(code) {
  return !((code >= 4000 && code <= 4199) || code === 1002 || code === 1003 || (code >= 1007 && code <= 1010));
}

// local is this computer's time in ms since 1970, steady and finer than Date.now().
function local() {
  return performance.timeOrigin + performance.now();
}

function gone() {
  const fault = new Error('the connection is gone');
  fault.name = 'gone';
  return fault;
}
