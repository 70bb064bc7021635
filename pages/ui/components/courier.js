// Delivers to Python what a gallery could not send before its page was left; outbox.js is loaded before this file.
// It skips every outbox whose gallery is on screen: that one delivers itself.

const couriers = new WeakMap();

class Courier {
  constructor() {
    this.known = [];            // outboxes whose writer this session knows; others wait for their gallery
    this.sent = '';
    this.sentAt = 0;
    this.wait = 0;              // until the same letters are sent again; doubles, so that a lasting fault stays quiet
    holdAfterClicks();
    this.timer = setInterval(() => this.collect(), 250);
  }

  update(data, deliver) {
    this.deliver = deliver;
    this.known = data.known;
    const written = new Set(data.written);
    for (const name of abandoned()) {
      const left = stored(name).filter(event => !written.has(event.event_id));
      store(name, left);
    }
    if (arrived(data.page)) this.collect();
  }

  collect() {
    const letters = abandoned().filter(name => this.known.includes(name)).map(letterOf).filter(letter => letter.events.length);
    const content = JSON.stringify(letters.flatMap(letter => letter.events.map(event => event.event_id)));
    if (!letters.length) return;
    if (content !== this.sent) this.wait = 0;
    if (Date.now() < Math.max(this.sentAt + this.wait, heldUntil())) return;
    this.wait = Math.min(30000, 2 * this.wait || 500);
    this.sent = content;
    this.sentAt = Date.now();
    this.deliver({ at: this.sentAt, letters });
  }
}

function letterOf(name) {
  return { name, events: stored(name).map(({ before, ...event }) => event) };
}

function abandoned() {
  const names = Object.keys(sessionStorage).filter(name => name.startsWith(PREFIX) && !name.endsWith(':place'));
  return names.filter(name => !mounted().has(name));
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const root = parentElement.querySelector('.root');
  let courier = couriers.get(root);
  if (!courier) couriers.set(root, (courier = new Courier()));
  courier.update(data, mail => setStateValue('mail', mail));
  return ending(root, () => {
    clearInterval(courier.timer);
    couriers.delete(root);
  });
}
