// Directory finds out which symbols there are and keeps the feed subscribed to them.

const LOOK_EVERY = 2_000; // ms; an edge may keep its list for 2 s, and a new symbol shall show within 5
const ANSWER_WITHIN = 4_000; // ms
const MOST = 1_000; // symbols that one connection may hold
const AT_ONCE = 100; // symbols in one request: a refusal concerns few, and making their rows is no long task
const LONGEST_PAUSE = 60_000; // ms; an edge closes after 100 refusals, and then for good
const FORGET_AFTER = 30_000; // ms that a symbol may be missing from the list

export class Directory {
  total = 0; // symbols that the edge listed last
  answered = false; // the edge has listed its symbols at least once
  trouble = ''; // why something is missing, for a person

  #url;
  #feed;
  #on;
  #subscribed = new Set();
  #refusals = 0; // in a row
  #notBefore = 0; // ms of performance.now(): no subscribe until then
  #timer = 0;
  #round = 0; // one per connection: what an earlier one still awaits is void

  // on.listed(symbols) is called with each list, on.subscribing(symbols) before a request for some of them leaves,
  // on.forgotten(symbols) for those that the edge no longer knows; on.known() gives { symbol, listed } of all that are
  // shown, listed in ms of performance.now().
  constructor(url, feed, on) {
    this.#url = url;
    this.#feed = feed;
    this.#on = on;
  }

  // start looks at once and then regularly; call it when the feed is live.
  start() {
    this.stop();
    this.#subscribed.clear();
    this.#refusals = 0;
    this.#notBefore = 0;
    this.#look(this.#round);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#round++;
  }

  async #look(round) {
    try {
      const symbols = await this.#list();
      if (round !== this.#round) return;
      this.answered = true;
      this.trouble = '';
      this.total = symbols.length;
      this.#on.listed(symbols);
      await this.#forget();
      await this.#subscribe(symbols.sort());
    } catch (fault) {
      if (round === this.#round && fault.name !== 'gone') this.trouble = fault.message;
    }
    if (round === this.#round) this.#timer = setTimeout(() => this.#look(round), LOOK_EVERY);
  }

  async #list() {
    let response;
    try {
      response = await fetch(this.#url, { cache: 'no-store', signal: AbortSignal.timeout(ANSWER_WITHIN) });
      const body = await response.json();
      if (response.ok) return body.symbols ?? [];
      throw new Error(body.error?.message);
    } catch (fault) {
      const cause = fault.name === 'TimeoutError' ? 'no answer' : response ? fault.message : 'cannot be reached';
      throw new Error(`The edge gives no list of symbols: ${cause}.`);
    }
  }

  async #subscribe(symbols) {
    if (performance.now() < this.#notBefore) return;
    const fresh = symbols.filter((s) => !this.#subscribed.has(s)).slice(0, MOST - this.#subscribed.size);
    for (let i = 0; i < fresh.length; i += AT_ONCE) {
      const some = fresh.slice(i, i + AT_ONCE);
      this.#on.subscribing(some);
      try {
        await this.#feed.subscribe(some);
      } catch (fault) {
        if (fault.name === 'gone') throw fault;
        this.#notBefore = performance.now() + Math.min(LONGEST_PAUSE, 2_000 * 2 ** this.#refusals++);
        throw new Error(`The edge refused to subscribe: ${fault.message} (${fault.name}).`);
      }
      some.forEach((s) => this.#subscribed.add(s));
    }
    this.#refusals = 0;
  }

  // #forget drops what the edge does not list any more. Not at once: an edge that has just started may not know all.
  async #forget() {
    const limit = performance.now() - FORGET_AFTER;
    const gone = this.#on.known().filter((k) => k.listed < limit).map((k) => k.symbol);
    if (gone.length === 0) return;
    this.#on.forgotten(gone);
    const held = gone.filter((s) => this.#subscribed.delete(s));
    if (held.length > 0) await this.#feed.unsubscribe(held);
  }
}
