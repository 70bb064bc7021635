// Picks any class for the selected images, by typing. It opens below the toolbar and returns the focus when it closes.

class ClassPicker {
  constructor(gallery) {
    this.gallery = gallery;
    this.at = 0;
    this.title = el('div', 'caption', '');
    this.search = el('input', '', null, { type: 'text', role: 'combobox', 'aria-expanded': 'true', 'aria-controls': 'classes',
      'aria-label': 'Class', placeholder: 'Type to search', autocomplete: 'off', spellcheck: 'false' });
    this.options = el('div', 'options', null, { id: 'classes', role: 'listbox', 'aria-label': 'Classes' });
    this.box = within(el('div', 'picker'), this.title, this.search, this.options);
    this.box.hidden = true;
    this.listen();
  }

  listen() {
    this.search.addEventListener('input', () => this.fill());
    this.search.addEventListener('keydown', e => this.onKey(e));
    this.box.addEventListener('focusout', e => !this.box.contains(e.relatedTarget) && this.close(false));
    this.options.addEventListener('mousedown', e => {
      const option = e.target.closest('[data-label]');
      e.preventDefault();       // the search field keeps the focus until the choice is made
      if (option) this.choose(option.dataset.label);
    });
  }

  open() {
    const n = this.gallery.targets().length;
    this.title.textContent = n === 1 ? 'Label this image as' : `Label ${n} images as`;
    this.search.value = '';
    this.box.hidden = false;
    this.fill();
    this.search.focus({ preventScroll: true });
  }

  close(focus = true) {
    if (this.box.hidden) return;
    this.box.hidden = true;
    if (focus) this.gallery.focusList();
  }

  choose(label) {
    this.close();
    this.gallery.decide('relabel', label);
    this.gallery.paint();
  }

  fill() {
    const text = this.search.value.trim().toLowerCase();
    const { classes } = this.gallery.data;
    const names = classes.filter(name => name.toLowerCase().includes(text));
    names.sort((a, b) => Number(b.toLowerCase().startsWith(text)) - Number(a.toLowerCase().startsWith(text)));
    this.at = 0;
    this.options.replaceChildren(...names.slice(0, 200).map((name, i) => classOption(name, i, this.gallery)));
    this.paint();
  }

  paint() {
    const options = [...this.options.children];
    const [box, option] = [this.options, options[this.at]];
    options.forEach((each, i) => each.setAttribute('aria-selected', String(i === this.at)));
    this.search.setAttribute('aria-activedescendant', option?.id ?? '');
    // Not scrollIntoView, which would move the page too.
    if (option) box.scrollTop = Math.max(option.offsetTop + option.offsetHeight - box.clientHeight, Math.min(box.scrollTop, option.offsetTop));
  }

  onKey(e) {
    const options = this.options.children;
    if (e.key === 'Escape') this.close();
    else if (e.key === 'Enter' && options[this.at]) this.choose(options[this.at].dataset.label);
    else if (e.key === 'ArrowDown') this.at = Math.min(options.length - 1, this.at + 1);
    else if (e.key === 'ArrowUp') this.at = Math.max(0, this.at - 1);
    else if (e.key !== 'Enter') return;
    e.preventDefault();
    e.stopPropagation();
    this.paint();
  }
}

function classOption(name, i, gallery) {
  const option = el('div', 'option', null, { role: 'option', id: `class${i}`, 'data-label': name });
  return within(option, el('kbd', '', gallery.keyOf(name)), el('span', 'name', name),
    el('span', 'number', percent(probabilityOf(gallery.current, gallery.data.classes, name))));
}
