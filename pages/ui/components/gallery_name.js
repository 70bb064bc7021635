// Asks for the reviewer's name once, at the first decision; that decision waits for the answer. Enter keeps the name, Escape
// or Skip stays anonymous, and the keys return to the card.

const KEPT = 'influence-reviewer';   // reviewer.py reads it after a reload
const QUIET = 700;                   // ms without a key before the field takes the keys: a burst must not end in the name

class NamePrompt {
  constructor(gallery) {
    this.gallery = gallery;
    this.asked = false;
    this.input = el('input', '', null, { type: 'text', 'aria-label': 'Your name', placeholder: 'Your name', maxlength: '80', autocomplete: 'name' });
    const save = el('button', 'command', null, { type: 'button', title: 'Save the name (Enter)' });
    const skip = el('button', 'command', null, { type: 'button', title: 'Stay anonymous (Esc)' });
    within(save, el('span', '', 'Save'), el('kbd', '', 'Enter', { 'aria-hidden': 'true' }));
    within(skip, el('span', '', 'Skip'), el('kbd', '', 'Esc', { 'aria-hidden': 'true' }));
    this.box = within(el('div', 'prompt', null, { role: 'dialog', 'aria-label': 'Your name' }),
      el('div', 'caption', 'Who decides here?'), el('p', 'small', 'Saved with each decision, so that several people can review one run. Asked once.'),
      within(el('div', 'group'), this.input, save, skip));
    this.box.hidden = true;
    const { signal } = gallery.ending;
    save.addEventListener('click', () => this.close(this.input.value), { signal });
    skip.addEventListener('click', () => this.close(''), { signal });
    this.input.addEventListener('keydown', e => this.onKey(e), { signal });
  }

  askOnce() {
    if (this.asked || !this.gallery.answer.reviewer?.ask) return;
    this.gallery.outbox.held = true;
    this.show('');
    this.wait();
  }

  // Opened by a click on the name, to change it.
  open() {
    this.show(this.gallery.answer.reviewer?.name ?? '');
    this.input.focus({ preventScroll: true });
  }

  show(name) {
    this.asked = true;
    this.input.value = name;
    this.box.hidden = false;
  }

  // Every key of a burst that is still going on puts the question off.
  wait() {
    clearTimeout(this.timer);
    if (!this.box.hidden) this.timer = setTimeout(() => this.input.focus({ preventScroll: true }), QUIET);
  }

  close(text) {
    const name = text.split(/\s+/).filter(Boolean).join(' ').slice(0, 80);
    clearTimeout(this.timer);
    this.box.hidden = true;
    try {
      if (name) localStorage.setItem(KEPT, name);
      else localStorage.removeItem(KEPT);
    } catch { /* storage is off in this browser: the name lives as long as the tab */ }
    this.gallery.outbox.sign(name);
    this.gallery.paint();
    this.gallery.focusList();
  }

  // Escape, in the field or on the cards: the name stays what it was. Whether there was a question.
  cancel() {
    if (this.box.hidden) return false;
    this.close(this.gallery.answer.reviewer?.name ?? '');
    return true;
  }

  onKey(e) {
    e.stopPropagation();
    if (e.isComposing || (e.key !== 'Enter' && e.key !== 'Escape')) return;
    e.preventDefault();
    if (e.key === 'Enter') this.close(this.input.value);
    else this.cancel();
  }
}
