// Decisions of this tab that the server has not confirmed yet.
//
// The whole list is component state, sent at once and then at most every 100 ms, and again every 5 s until the
// server answers with the number it has written (`ack`). Triggers would be lost in a slow fragment; state is not.
// sessionStorage keeps the list across a reload, a page change and a restart of the server.

const PREFIX = 'influence-outbox:';
const EVERY = 100;
const AGAIN = 5000;
const HOLD = { link: 5000, other: 1000 };

// Names of the outboxes whose gallery is on screen now; shared with the courier through the window.
function mounted() {
  return (window.influenceOutboxes ??= new Set());
}

// After a click elsewhere the page may be about to change. Until the server says so, a message from here still names the
// old page: Streamlit would run that one last, and the click would be lost or the new page stay blank. So nothing is sent.
function heldUntil() {
  return window.influenceHold?.until ?? 0;
}

function holdAfterClicks() {
  if (window.influenceHold) return;
  window.influenceHold = { until: 0, page: null };
  addEventListener('click', event => {
    /** @type {any[]} */
    const path = event.composedPath();
    if (path.some(node => node.classList?.contains('influence-gallery'))) return;
    const link = path.find(node => node.localName === 'a');
    window.influenceHold = { until: Date.now() + HOLD[link ? 'link' : 'other'], page: link?.href ? pageOf(link) : null };
  }, true);
}

function pageOf(link) {
  return link.pathname.split('/').pop();
}

// The server draws `page`: when that is where the last click led, messages from here name it, and nothing is held back any more.
function arrived(page) {
  const hold = window.influenceHold;
  if (hold.page === page) window.influenceHold = { until: 0, page: null };
  return hold.page === page;
}

function stored(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name) || '[]');
  } catch {
    return [];
  }
}

function store(name, events) {
  if (events.length) sessionStorage.setItem(name, JSON.stringify(events));
  else sessionStorage.removeItem(name);
}

// crypto.randomUUID exists only on https and localhost; annotators also use plain http in a lab network.
function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const b = crypto.getRandomValues(new Uint8Array(16));
  b[6] = (b[6] & 15) | 64;
  b[8] = (b[8] & 63) | 128;
  const hex = [...b].map(v => v.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

class Outbox {
  constructor(name) {
    this.name = name;
    mounted().add(name);
    holdAfterClicks();
    this.epoch = uuid();       // one mounted component; the server counts per epoch
    this.sequence = 0;
    this.sentAt = 0;
    this.sentUpTo = 0;
    this.timer = null;
    this.problem = null;       // the server's message on why it could not write
    this.since = null;         // when the oldest unconfirmed event was made
    this.held = false;         // while the reviewer's name is asked, so that it stands on the decision that raised the question
    this.signature = null;     // that name, until the server knows it
    /** @type {(queue: object) => void} */
    this.deliver = () => {};
    this.waiting = stored(name).map(event => ({ ...event, seq: ++this.sequence }));
    if (this.waiting.length) this.since = Date.now();
  }

  push(event) {
    this.since ??= Date.now();
    this.waiting.push({ ...event, seq: ++this.sequence });
    store(this.name, this.waiting);
    this.send();
  }

  // Takes the server's answer; returns the events it has written.
  confirm(ack) {
    const mine = ack && ack.epoch === this.epoch;
    const written = mine ? this.waiting.filter(event => event.seq <= ack.seq) : [];
    this.waiting = this.waiting.filter(event => !written.includes(event));
    this.problem = (mine && ack.problem) || null;
    if (written.length) store(this.name, this.waiting);
    if (!this.waiting.length) this.since = null;
    else if (written.length) this.since = Date.now();
    // After a failure only the slow timer tries again; otherwise requests and answers would chase each other.
    if (!this.waiting.length) clearTimeout(this.timer);
    else if (!this.problem) this.send();
    return written;
  }

  discardFirst() {
    this.waiting.shift();
    this.problem = null;
    this.since = this.waiting.length ? Date.now() : null;
    store(this.name, this.waiting);
    if (this.waiting.length) this.send();
  }

  send() {
    clearTimeout(this.timer);
    const wait = Math.max(this.sentAt + EVERY, heldUntil()) - Date.now();
    if (wait > 0) this.timer = setTimeout(() => this.flush(), wait);
    else this.flush();
  }

  // Sends at once what would have waited for the 100 ms to pass.
  hurry() {
    if (!this.held && this.waiting.length && this.waiting.at(-1).seq > this.sentUpTo) this.flush();
  }

  // The name goes with every message until the server has it: of two messages that come close Streamlit keeps the last.
  sign(name) {
    this.signature = name;
    this.held = false;
    this.flush();
  }

  flush() {
    if (this.held || (!this.waiting.length && this.signature === null)) return;
    this.sentAt = Date.now();
    this.sentUpTo = this.sequence;
    // `before` is for redrawing here; the server keeps its own record.
    const events = this.waiting.map(({ before, ...event }) => event);
    this.deliver({ epoch: this.epoch, at: this.sentAt, events, ...(this.signature === null ? {} : { name: this.signature }) });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(), AGAIN);
  }

  close() {
    clearTimeout(this.timer);
    mounted().delete(this.name);
  }
}

// The cards as they will be once every waiting event is written: the server's state with the waiting events on top.
// `revision` stays the server's; `own` names what this tab did since. After a reload some of it may be written already, by
// the session before, so it cannot be counted, only named.
function replay(cards, waiting) {
  const items = cards.map(card => ({ ...card, own: [] }));
  const byId = new Map(items.map(item => [item.id, item]));
  for (const event of waiting) {
    for (const vote of event.votes) {
      const item = byId.get(vote.id);
      if (!item) continue;
      item.decision = event.action === 'undo' ? event.before[vote.id] : { action: event.action, label: vote.label };
      item.own.push(event.event_id);
    }
  }
  return items;
}

// The cards with what the server says stands about each (`_standing` in gallery.py).
const STANDING = /^([klx-])(\d+)(?:\.([^!]*))?(!?)$/;
const ACTIONS = { k: 'keep', l: 'relabel', x: 'remove' };   // by key, and by letter of a standing

function withStanding(cards, standing, classes) {
  const each = standing.split(' ');
  return cards.map((card, i) => {
    const [, letter, revision, place, conflict] = STANDING.exec(each[i] || '-0');
    const label = place ? (place.startsWith('~') ? decodeURIComponent(place.slice(1)) : classes[place]) : null;
    const decision = letter === '-' ? null : { action: ACTIONS[letter], label };
    return { ...card, decision, revision: Number(revision), conflict: conflict === '!' };
  });
}

function vote(item, label) {
  return { id: item.id, revision: item.revision, own: [...item.own], label };
}

function sameDecision(a, b) {
  return (a?.action ?? null) === (b?.action ?? null) && (a?.label ?? null) === (b?.label ?? null);
}
