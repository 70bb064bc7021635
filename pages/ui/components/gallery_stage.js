// One sample in full: picture, both labels, why it is in doubt, every class, its neighbours.
// gallery_parts.js is loaded before this file.

function fillStage(stage, gallery) {
  const { items, at, strangers } = gallery;
  const item = items[at];
  const stamp = JSON.stringify([item.id, item.decision, strangers.has(item.id), gallery.version, at, items.length]);
  if (stage.dataset.stamp === stamp) return;
  stage.dataset.stamp = stamp;
  stage.dataset.state = item.decision?.action || '';
  if (stage.dataset.shown !== `${gallery.version} ${item.id}`) {
    stage.dataset.shown = `${gallery.version} ${item.id}`;
    stage.replaceChildren(within(el('div', 'left'), bigPicture(item), measures(item)), el('div', 'facts'));
  }
  stage.querySelector('.mark').textContent = item.decision ? LETTER[item.decision.action] : '';
  stage.querySelector('.facts').replaceChildren(...facts(gallery, item));
}

function bigPicture(item) {
  const rows = Boolean(item.cells?.length);
  const image = face({ ...item, cells: item.all ?? item.cells }, `Training image labelled ${item.given}`);
  if (!rows) image.loading = 'eager';
  return within(el('div', `picture big${rows ? ' cells' : ''}`), image, el('span', 'mark', '', { 'aria-hidden': 'true' }));
}

function facts(gallery, item) {
  const { data } = gallery;
  return [headline(gallery, item), verdict(item, data), el('p', 'why', item.why ?? '', { title: item.why ?? '' }),
    data.readOnly ? null : chips(gallery, item), item.model ? el('p', 'model small', item.model, { title: item.model }) : null,
    neighbours(item)].filter(Boolean);
}

function headline({ data, items, at, strangers }, item) {
  const suspicion = item.suspicion ?? null;
  const line = within(el('div', 'headline'),
    el('button', 'step', '‹', { type: 'button', 'data-do': 'back', title: 'Previous (←)', 'aria-label': 'Previous' }),
    el('span', 'small', `${at + 1} of ${items.length}`),
    el('button', 'step', '›', { type: 'button', 'data-do': 'next', title: 'Next (→)', 'aria-label': 'Next' }),
    item.rank ? el('span', 'small pill', `rank ${item.rank}`) : null,
    suspicion === null ? null : el('span', 'small pill', `suspicion ${suspicion.toFixed(2)}`),
    el('span', 'small id', item.id, { title: item.id }),
    data.explains ? command('explain', 'Influence', 'I', 'What this sample affects') : null);
  const stranger = strangers.has(item.id) || item.conflict;
  return within(line, stranger ? el('span', 'other shown', 'changed by someone else') : null);
}

function verdict(item, data) {
  const rows = [['given', item.given, 'given']];
  if (item.suggested) rows.push(['suggested', item.suggested, 'to']);
  const decided = item.decision?.action === 'relabel' ? item.decision.label : null;
  if (decided && decided !== item.suggested) rows.push(['new', decided, 'to']);
  const table = el('div', 'verdict');
  for (const [role, name, kind] of rows) {
    const chance = probabilityOf(item, data.classes, name);
    const chosen = decided === name || (item.decision?.action === 'keep' && role === 'given');
    within(table, el('span', 'role small', role), el('span', `label ${kind}${chosen ? ' chosen' : ''}`, name),
      el('span', 'number', percent(chance)), within(el('span', 'track'), el('span', 'fill', null, { style: `width:${clip(chance)}%` })));
  }
  return table;
}

// Every class with its key, likeliest first: the bars are the evidence, a press on one decides.
function chips(gallery, item) {
  const { data } = gallery;
  const box = el('div', 'chips', null, { role: 'group', 'aria-label': 'Label as' });
  const chosen = item.decision?.action === 'relabel' ? item.decision.label : item.decision?.action === 'keep' ? item.given : null;
  const names = gallery.classesByKey();
  box.style.setProperty('--lines', String(names.length > 4 ? Math.ceil(names.length / 2) : names.length));
  names.forEach((name, i) => {
    const chance = probabilityOf(item, data.classes, name);
    const role = name === item.suggested ? ' suggested' : name === item.given ? ' was' : '';
    const chip = el('button', `chip${role}`, null, { type: 'button', 'data-do': 'relabel', 'data-value': name,
      'aria-pressed': String(name === chosen), title: `Label as ${name}${chance === null ? '' : `, ${percent(chance)}`}` });
    within(box, within(chip, el('kbd', '', String((i + 1) % 10)), el('span', 'name', name),
      within(el('span', 'track'), el('span', 'fill', null, { style: `width:${clip(chance)}%` })),
      el('span', 'number small', percent(chance))));
  });
  return box;
}

function measures(item) {
  if (!item.bars?.length) return null;
  const box = el('div', 'measures');
  for (const bar of item.bars) {
    within(box, el('span', 'small', bar.name, { title: bar.raw ?? '' }), within(el('span', 'track'), el('span', `fill ${bar.tone ?? ''}`, null, { style: `width:${clip(bar.value)}%` })),
      el('span', 'number small', bar.text ?? Number(bar.value).toFixed(2), { title: bar.raw ?? '' }));
  }
  return box;
}

function neighbours(item) {
  if (!item.neighbours?.length) return null;
  const strip = el('div', 'neighbours');
  for (const near of item.neighbours) {
    const same = near.label === item.given ? ' same' : '';
    within(strip, within(el('figure', `near${same}`), face(near, `Neighbour labelled ${near.label}`), el('figcaption', '', near.label, { title: near.label })));
  }
  return within(el('div', 'nearby'), el('div', 'small', item.cells?.length ? 'Nearest training rows, and what differs' : 'Nearest training images'), strip);
}
