// A grid or a card of samples to keep, relabel or remove; the other files of the gallery are loaded before this one.
// The browser draws every mark at once; Python receives it through the outbox and may answer later.

const instances = new WeakMap();
const HURRY = ['pointerdown', 'pagehide', 'blur'];
const OURS = /^([klxuai/? ]|[0-9]|Enter|Escape)$/;
const BURST = 2000;           // ms between two decisions of one burst, which can be undone as one

class Gallery {
  constructor(root, data) {
    this.root = root;
    this.ending = new AbortController();
    root.classList.add('influence-gallery');
    this.outbox = new Outbox(data.outbox);
    /** @type {any} */
    this.answer = {};           // what the server last said about these cards
    this.data = this.fresh = data;
    this.version = null;
    this.server = [];
    this.items = [];
    this.at = 0;
    this.anchor = 0;
    this.selected = new Set();
    this.history = [];          // what `undo` takes back, newest last: [{ events: [{event_id, before}], at, time, burst }]
    this.blindUndo = null;      // an undo whose effect only the server knows: then its changes are ours, not someone else's
    this.focusedAt = performance.now();
    this.ended = false;         // the last card was decided: what was done is shown in its place, and no key decides
    this.view = data.view;
    this.place = `${data.outbox}:place`;
    this.parts = buildParts(root);
    this.picker = new ClassPicker(this);
    this.prompt = new NamePrompt(this);
    this.parts.bar.append(this.picker.box, this.prompt.box);
    this.listen();
    (window.influenceGalleries ??= new Map()).set(this.outbox.name, this);
  }

  // Every listener ends with the gallery: one left behind would decide each sample a second time.
  listen() {
    const { root, parts } = this;
    const { signal } = this.ending;
    const on = (target, name, act, capture = false) => target.addEventListener(name, act, { signal, capture });
    on(root, 'keydown', e => this.onKey(e));
    // The focus can be lost (a click beside the cards, a redraw of the page) in the middle of a burst of keys: they still
    // belong to the gallery that had the focus last.
    on(root, 'focusin', () => (window.influenceKeys = this.outbox.name));
    on(document, 'keydown', e => {
      const nowhere = !document.activeElement || document.activeElement === document.body;
      if (nowhere && window.influenceKeys === this.outbox.name) this.onKey(e);
    }, true);
    for (const part of [parts.bar, parts.stage, parts.finish, parts.banner, parts.help]) on(part, 'click', e => this.onCommand(e));
    for (const list of [parts.grid, parts.film]) {
      on(list, 'click', e => this.onPick(e));
      on(list, 'dblclick', e => this.indexOf(e) >= 0 && !this.onlyExplains && this.show('card'));
    }
    const ticker = setInterval(() => this.paintStatus(), 500);
    on(signal, 'abort', () => clearInterval(ticker));
    on(window, 'beforeunload', e => this.outbox.waiting.length && Date.now() - this.outbox.since > 3000 && e.preventDefault());
    // A press outside may follow a link to another page: waiting decisions are sent first.
    for (const sign of HURRY) on(window, sign, () => this.outbox.hurry(), true);
    on(window, 'resize', () => this.measureRoom());
  }

  close() {
    this.ending.abort();
    this.outbox.close();
    if (window.influenceGalleries.get(this.outbox.name) === this) window.influenceGalleries.delete(this.outbox.name);
  }

  // ---- data from Python ----

  update(data, deliver, tell) {
    this.fresh = data;
    this.outbox.deliver = deliver;
    this.tell = tell;
    this.settle();
  }

  // Draws once both are here: the cards, and the answer that says what stands about these very cards.
  settle() {
    const { fresh } = this;
    const answer = window.influenceAnswers?.get(this.outbox.name);
    if (!answer) return;
    const written = this.outbox.confirm(answer.ack);
    if (this.outbox.signature !== null && answer.reviewer?.name === (this.outbox.signature || null)) this.outbox.signature = null;
    if (answer.version !== fresh.version) return;
    const focused = this.root.contains(/** @type {any} */ (this.root.getRootNode()).activeElement);
    const known = this.version === fresh.version;
    const shown = new Map(this.items.map(item => [item.id, item.decision]));
    [this.data, this.answer] = [fresh, answer];
    this.server = withStanding(fresh.cards, answer.standing, fresh.classes);
    this.items = replay(this.server, this.outbox.waiting);
    const ours = this.blindUndo !== null;
    if (written.some(event => event.event_id === this.blindUndo)) this.blindUndo = null;
    this.dress();
    if (known) this.noticeStrangers(shown, ours);
    else this.rebuild();
    this.paint();
    if (!known) this.takeFocus(focused);
  }

  dress() {
    const { root, data } = this;
    for (const [name, on] of [['readonly', data.readOnly], ['explains', data.explains], ['fills', data.fills]]) root.classList.toggle(name, on);
    root.dataset.theme = isDark(root) ? 'dark' : 'light';
    root.style.setProperty('--top', `${headerOver(root)}px`);
    unfading(root);
    this.measureRoom();
  }

  // The height that the window has left for a gallery that fills it, down to a margin of 12 px.
  measureRoom() {
    if (!this.fresh.fills) return;
    const above = this.root.getBoundingClientRect().top + (scrollerOf(this.root)?.scrollTop ?? 0);
    this.root.style.setProperty('--room', `${Math.floor(innerHeight - above - 12)}px`);
  }

  noticeStrangers(shown, ours) {
    this.items.forEach(item => {
      if (!shown.has(item.id)) return;
      const changed = !sameDecision(shown.get(item.id), item.decision);
      if (changed && !ours) this.strangers.add(item.id);
    });
  }

  rebuild() {
    const { data, parts, items } = this;
    this.version = data.version;
    this.strangers = new Set();
    this.selected.clear();
    const place = this.restorePlace();
    this.at = Math.max(0, items.findIndex(item => item.id === place?.id));
    this.anchor = this.at;
    this.view = place?.view || this.view;
    parts.grid.style.setProperty('--columns', data.columns ? `repeat(${data.columns}, minmax(0, 1fr))` : '');
    parts.grid.replaceChildren(...items.map((item, i) => gridCard(item, i)));
    parts.film.replaceChildren(...items.map((item, i) => filmCard(item, i)));
    for (const list of [parts.grid, parts.film]) list.setAttribute('aria-label', data.label);
    parts.empty.hidden = items.length > 0;
    this.ended = items.length > 0 && this.at === items.length - 1 && items.every(item => item.decision);
    this.focusedAt = performance.now();
    this.show(this.view, false);
  }

  restorePlace() {
    try {
      const place = JSON.parse(sessionStorage.getItem(this.place));
      return place && place.version === this.data.version ? place : null;
    } catch {
      return null;
    }
  }

  takeFocus(focused) {
    /** @type {any} */
    const active = document.activeElement;
    const typing = active && (/^(INPUT|TEXTAREA|SELECT)$/.test(active.tagName) || active.isContentEditable);
    if (focused || (this.data.autofocus && !typing)) this.focusList();
  }

  // ---- drawing ----

  get current() {
    return this.items[this.at];
  }

  get list() {
    return this.view === 'card' ? this.parts.film : this.parts.grid;
  }

  focusList() {
    this.list.focus({ preventScroll: true });
  }

  show(view, focus = true) {
    this.view = view;
    this.root.dataset.view = view;
    this.paint();
    if (focus) this.focusList();
    if (focus || view === 'card') this.scrollToCurrent();   // a grid that just appeared must not move the page
    const { bar, stage } = this.parts;
    const hidden = stage.getBoundingClientRect().top < bar.getBoundingClientRect().bottom - 1;
    if (focus && view === 'card' && hidden) stage.scrollIntoView({ block: 'start' });
  }

  paint() {
    const { parts, items } = this;
    items.forEach((item, i) => this.paintItem(item, i));
    for (const list of [parts.grid, parts.film]) {
      if (items.length) list.setAttribute('aria-activedescendant', list.children[this.at].id);
      else list.removeAttribute('aria-activedescendant');
    }
    if (this.view === 'card' && items.length && !this.ended) fillStage(parts.stage, this);
    parts.finish.hidden = !this.ended;
    parts.stage.hidden = this.ended;
    if (this.ended) fillFinish(parts.finish, this);
    this.paintProgress();
    parts.all.hidden = this.selected.size > 0;
    parts.clear.hidden = !this.selected.size;
    this.paintStatus();
    if (this.current && !this.data.readOnly) {
      sessionStorage.setItem(this.place, JSON.stringify({ version: this.version, view: this.view, id: this.current.id }));
    }
  }

  // Decisions of the whole queue: those about other pages as the server counts them, those here as they are drawn.
  counts() {
    const sum = { total: 0, keep: 0, relabel: 0, remove: 0, more: false, sentence: '', ...this.answer?.queue };
    for (const { decision } of this.items) {
      sum.total += 1;
      if (decision) sum[decision.action] += 1;
    }
    return { ...sum, decided: sum.keep + sum.relabel + sum.remove };
  }

  paintProgress() {
    const { parts, answer, items } = this;
    const { decided, total, sentence } = this.counts();
    parts.progress.textContent = `${grouped(decided)} of ${grouped(total)} ${answer.queue ? 'reviewed' : 'on this page'}`;
    parts.progress.title = sentence;
    parts.meter.style.width = `${items.length ? (100 * decided) / total : 0}%`;
    parts.disputed.hidden = !answer.conflicts;
    parts.disputed.textContent = answer.conflicts === 1 ? '1 sample needs a second look' : `${grouped(answer.conflicts ?? 0)} samples need a second look`;
    parts.name.hidden = !answer.reviewer || this.data.readOnly;
    parts.name.disabled = Boolean(answer.reviewer?.fixed);
    parts.name.textContent = this.outbox.signature || answer.reviewer?.name || 'anonymous';
  }

  paintItem(item, i) {
    const state = item.decision?.action || '';
    for (const list of [this.parts.grid, this.parts.film]) {
      const card = list.children[i];
      card.classList.toggle('current', i === this.at);
      card.setAttribute('aria-selected', String(this.selected.has(i)));
      if ((card.dataset.state || '') !== state || card.dataset.label !== (item.decision?.label ?? '')) {
        card.dataset.state = state;
        card.dataset.label = item.decision?.label ?? '';
        drawDecision(card, item);
      }
      card.classList.toggle('stranger', this.strangers.has(item.id) || Boolean(item.conflict));
    }
  }

  paintStatus() {
    const { outbox, parts } = this;
    const n = outbox.waiting.length;
    const age = n ? Date.now() - outbox.since : 0;
    const stuck = outbox.problem !== null || (age > 8000 && !outbox.held);
    if (n) this.everSaved = true;
    const saving = n && age > 700 && !outbox.held ? `Saving ${n}…` : this.everSaved && !n ? 'All saved' : '';
    parts.status.textContent = this.selected.size ? `${this.selected.size} selected` : saving;
    parts.status.classList.toggle('strong', this.selected.size > 0);
    parts.banner.hidden = !stuck;
    if (stuck) {
      const what = n === 1 ? '1 decision is' : `${n} decisions are`;
      parts.trouble.textContent = outbox.problem
        ? `Not saved: ${outbox.problem} ${what} kept in this browser tab.`
        : `The server does not answer. ${what} kept in this browser tab and sent again until it does.`;
      parts.discard.hidden = outbox.problem === null;
    }
  }

  scrollToCurrent() {
    const { film, grid } = this.parts;
    const list = this.view === 'card' ? film : grid;
    const card = list.children[this.at];
    if (!card) return;
    if (list === film) film.scrollLeft = card.offsetLeft - (film.clientWidth - card.offsetWidth) / 2;
    else card.scrollIntoView({ block: 'nearest' });
  }

  say(text) {
    this.parts.live.textContent = text;
    this.parts.note.textContent = text;
    clearTimeout(this.noteTimer);
    this.noteTimer = setTimeout(() => (this.parts.note.textContent = ''), 4000 + 50 * text.length);
  }

  // ---- moving and selecting ----

  move(to, extend = false) {
    const last = this.items.length - 1;
    to = Math.min(last, Math.max(0, to));
    this.ended = false;
    if (extend) this.selectRange(this.anchor, to);
    else this.anchor = to;
    if (to !== this.at) this.focusedAt = performance.now();
    this.at = to;
    this.scrollToCurrent();
  }

  selectRange(a, b) {
    for (let i = Math.min(a, b); i <= Math.max(a, b); i++) this.selected.add(i);
  }

  toggle(i) {
    if (!this.selected.delete(i)) this.selected.add(i);
    this.anchor = i;
  }

  toggleAll() {
    if (this.selected.size === this.items.length) this.selected.clear();
    else this.items.forEach((_, i) => this.selected.add(i));
    this.say(this.selected.size ? `All ${this.selected.size} selected` : 'Selection cleared');
  }

  perRow() {
    if (this.view === 'card') return 1;
    const cards = [...this.parts.grid.children];
    const row = cards.findIndex(card => card.offsetTop !== cards[0].offsetTop);
    return row < 0 ? cards.length : row;
  }

  indexOf(e) {
    const card = e.target.closest('[role=option]');
    return card ? Number(card.dataset.i) : -1;
  }

  onPick(e) {
    const i = this.indexOf(e);
    if (i < 0) return;
    if (this.onlyExplains || e.target.closest('.explain')) {
      this.move(i);
      this.explain();
      return;
    }
    if (e.target.closest('.tick') || e.ctrlKey || e.metaKey) {
      this.move(i);
      this.toggle(i);
    } else this.move(i, e.shiftKey);
    this.paint();
    this.focusList();
  }

  // Where nothing can be decided, a click has one meaning.
  get onlyExplains() {
    return this.data.readOnly && this.data.explains;
  }

  // Opens the Influence page on this sample; waiting decisions are sent first.
  explain() {
    if (!this.current || !this.data.explains) return;
    this.outbox.hurry();
    this.paint();              // remembers the place, for the way back
    this.tell('explain', { id: this.current.id, split: this.current.split ?? 'train' });
  }

  // After the last card: the next page of the queue, or the Verify page.
  onward() {
    const { more } = this.counts();
    if (!this.answer.queue) return;
    this.outbox.hurry();
    this.tell('follow', more ? 'page' : 'verify');
  }

  // ---- deciding ----

  targets() {
    return this.selected.size ? [...this.selected].sort((a, b) => a - b) : [this.at];
  }

  decide(action, label = null) {
    const { items } = this;
    if (!items.length || this.data.readOnly) return;
    if (this.ended && !this.selected.size) {
      this.say('This list ends here. ← goes back to change a decision');
      return;
    }
    const chosen = this.targets();
    const wanted = i => (action === 'relabel' ? label ?? items[i].suggested ?? null : null);
    const able = chosen.filter(i => action !== 'relabel' || wanted(i) !== null);
    // Relabelling to the given label is keeping it; otherwise the log would hold a change without effect.
    const kept = able.filter(i => action === 'relabel' && wanted(i) === items[i].given);
    const rest = able.filter(i => !kept.includes(i));
    const group = { at: this.at, events: [], time: performance.now(), burst: this.history.length };
    const before = this.history.at(-1);
    if (before && group.time - before.time < BURST) group.burst = before.burst;
    if (able.length) this.prompt.askOnce();
    if (kept.length) group.events.push(this.commit('keep', kept, () => null));
    if (rest.length) group.events.push(this.commit(action, rest, wanted));
    if (group.events.length) this.history.push(group);
    this.announce(action, label, chosen.length - able.length, able);
    if (!able.length) return;
    if (this.selected.size) this.selected.clear();
    else if (this.at === items.length - 1) this.ended = true;
    else this.move(this.at + 1);
    this.focusedAt = performance.now();
  }

  commit(action, indexes, labelOf) {
    const event_id = uuid();
    const votes = indexes.map(i => vote(this.items[i], labelOf(i)));
    const before = Object.fromEntries(indexes.map(i => [this.items[i].id, this.items[i].decision]));
    const seconds = Math.min(3600, Math.round((performance.now() - this.focusedAt) / 10) / 100);
    indexes.forEach(i => {
      this.items[i].decision = { action, label: labelOf(i) };
      this.items[i].own.push(event_id);
      this.strangers.delete(this.items[i].id);
    });
    this.outbox.push({ event_id, action, votes, seconds, target: null, before });
    return { event_id, before };
  }

  announce(action, label, skipped, able) {
    const one = able.length === 1 && this.items[able[0]];
    const verb = { keep: 'Kept', relabel: 'Relabelled', remove: 'Removed' }[action];
    let text = one ? `${verb}${one.decision.label ? ` to ${one.decision.label}` : ''}` : `${verb} ${able.length}`;
    if (one && action === 'relabel' && !one.decision.label) text = `Kept as ${one.given}`;
    if (skipped && able.length) text += `; ${skipped} without a suggestion unchanged`;
    if (!able.length) text = 'No suggested label here: press / to choose one';
    this.say(text);
  }

  // Takes back the newest decision, or the whole burst that it ended.
  undo(whole = false) {
    if (this.data.readOnly) return;
    const burst = this.history.at(-1)?.burst;
    if (burst === undefined) {
      this.undoSaved();
      return;
    }
    const sameBurst = () => this.history.filter(group => group.burst === burst);
    const groups = whole ? sameBurst().reverse() : [this.history.at(-1)];
    for (const group of groups) this.undoGroup(group);
    const [n, left] = [samplesOf(groups), sameBurst().length];
    const offer = left ? `. U undoes one more, Shift+U all ${left} of this burst` : '';
    this.say(`Undone${n > 1 ? ` for ${n}` : ''}${offer}`);
  }

  // Of a session before this one only the server knows what the newest decision was.
  undoSaved() {
    this.blindUndo = uuid();
    this.outbox.push({ event_id: this.blindUndo, action: 'undo', votes: [], seconds: null, target: null, before: {} });
    this.ended = false;
    this.say('Undoing the last saved decision');
  }

  undoGroup(group) {
    this.history.splice(this.history.indexOf(group), 1);
    for (const { event_id, before } of group.events.reverse()) this.takeBack(event_id, before);
    this.ended = false;
    if (this.items[group.at] && group.events.some(event => this.items[group.at].id in event.before)) this.move(group.at);
  }

  takeBack(target, before) {
    const here = new Map(this.items.map(item => [item.id, item]));
    const event_id = uuid();
    const votes = Object.keys(before).map(id => vote(here.get(id) ?? { id, revision: 0, own: [] }, null));
    for (const [id, decision] of Object.entries(before)) {
      const item = here.get(id);
      if (!item) continue;
      item.decision = decision;
      item.own.push(event_id);
    }
    this.outbox.push({ event_id, action: 'undo', votes, seconds: null, target, before });
  }

  // The class a digit stands for: one at a time the likeliest first, as the card shows them; in a grid, which shows none,
  // the order of the classes when each has a digit.
  classesByKey() {
    const { classes } = this.data;
    const fixed = this.view === 'grid' && classes.length <= 10;
    return fixed || !this.current?.top?.length ? classes.slice(0, 10) : this.current.top.slice(0, 10).map(([index]) => classes[index]);
  }

  keyOf(name) {
    const position = this.classesByKey().indexOf(name);
    return position < 0 ? '' : String((position + 1) % 10);
  }

  // ---- keys and buttons ----

  onKey(e) {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName);
    const pressed = e.target.tagName === 'BUTTON' && (e.key === 'Enter' || e.key === ' ');
    if (e.isComposing || typing || pressed) return;
    this.prompt.wait();
    if (!this.runKey(e)) return;
    e.preventDefault();
    e.stopPropagation();        // Streamlit's own keys (r, c, shortcut=) must not act on the same press
    this.paint();
  }

  runKey(e) {
    const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
    if (e.ctrlKey || e.metaKey || e.altKey) {
      if (key !== 'z' || e.altKey || e.shiftKey) return false;
      if (!e.repeat) this.undo();
      return true;
    }
    if (!this.parts.help.hidden) {
      if (key !== 'Escape' && key !== '?') return false;
      this.toggleHelp();
      return true;
    }
    if (!this.items.length) return false;
    if (key === 'Escape' && this.prompt.cancel()) return true;
    if (this.moveByKey(key, e.shiftKey)) return true;
    // A key that is held down decides once: half a second on X once removed 16 samples.
    return e.repeat ? OURS.test(key) : this.actByKey(key, e.shiftKey);
  }

  moveByKey(key, extend) {
    if (this.ended && /^Arrow/.test(key)) {
      this.ended = key === 'ArrowRight' || key === 'ArrowDown';
      return true;
    }
    const row = this.perRow();
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row };
    if (key in steps) {
      const to = this.at + steps[key];
      if (to >= 0 && to < this.items.length) this.move(to, extend);
      else if (Math.abs(steps[key]) === 1 || this.view === 'card') this.move(to, extend);
    } else if (key === 'Home') this.move(0, extend);
    else if (key === 'End') this.move(this.items.length - 1, extend);
    else return false;
    return true;
  }

  actByKey(key, shift) {
    if (key === 'Enter' && this.onlyExplains) this.explain();
    else if (key === 'Enter' && this.ended && this.answer.queue) this.onward();
    else if (key === 'Enter') this.show(this.view === 'grid' ? 'card' : 'grid');
    else if (key === '?') this.toggleHelp();
    else if (key === 'Escape' && this.selected.size) this.selected.clear();
    else if (key === 'Escape' && this.view === 'card') this.show('grid');
    else if (key === 'i' && this.data.explains) this.explain();
    else if (this.data.readOnly) return false;
    else if (key in ACTIONS) this.decide(ACTIONS[key]);
    else if (key === 'u') this.undo(shift);
    else if (key === ' ') this.toggle(this.at);
    else if (key === 'a') this.toggleAll();
    else if (key === '/') this.picker.open();
    else if (/^[0-9]$/.test(key)) return this.decideByDigit(Number(key));
    else return false;
    return true;
  }

  decideByDigit(digit) {
    const label = this.classesByKey()[digit === 0 ? 9 : digit - 1];
    if (label === undefined) this.say(`No class has the key ${digit}`);
    else this.decide('relabel', label);
    return true;
  }

  onCommand(e) {
    const button = e.target.closest('[data-do]');
    if (!button) return;
    const [what, value] = [button.dataset.do, button.dataset.value];
    if (what in { keep: 1, relabel: 1, remove: 1 }) this.decide(what, value ?? null);
    else if (what === 'undo') this.undo(e.shiftKey);
    else if (what === 'onward') this.onward();
    else if (what === 'conflict') this.tell('follow', 'conflict');
    else if (what === 'undecided') this.move(this.items.findIndex(item => !item.decision));
    else if (what === 'again') this.ended = false;
    else if (what === 'explain') this.explain();
    else if (what === 'all') this.toggleAll();
    else if (what === 'clear') this.selected.clear();
    else if (what === 'view') this.show(value);
    else if (what === 'help') this.toggleHelp();
    else if (what === 'back' || what === 'next') this.move(this.at + (what === 'next' ? 1 : -1));
    else if (what === 'retry') this.outbox.flush();
    else if (what === 'discard') this.discard();
    this.paint();
    if (what === 'pick' && this.items.length) this.picker.open();
    else if (what === 'name') this.prompt.open();
    // A mouse click returns the keys to the images; so does a button of the card, which was just redrawn.
    else if (!['help', 'onward', 'conflict'].includes(what) && (e.detail > 0 || button.closest('.stage'))) this.focusList();
  }

  discard() {
    this.outbox.discardFirst();
    this.items = replay(this.server, this.outbox.waiting);
    this.history.length = 0;
    this.say('Discarded');
  }

  toggleHelp() {
    const { help } = this.parts;
    help.hidden = !help.hidden;
    if (help.hidden) this.focusList();
    else help.querySelector('button').focus();
  }
}

function samplesOf(groups) {
  return groups.flatMap(group => group.events).reduce((sum, event) => sum + Object.keys(event.before).length, 0);
}

export default function (component) {
  const { data, parentElement, setStateValue, setTriggerValue } = component;
  const root = parentElement.querySelector('.root');
  let gallery = instances.get(root);
  if (!gallery) instances.set(root, (gallery = new Gallery(root, data)));
  gallery.update(data, queue => setStateValue('queue', queue), setTriggerValue);
  return ending(root, () => {
    gallery.close();
    instances.delete(root);
  });
}
