// What was done and what comes next, in place of the card after the last one; gallery_parts.js is loaded before.

function fillFinish(box, gallery) {
  const { relabel, keep, remove, total, decided, more, sentence } = gallery.counts();
  const open = gallery.items.filter(item => !item.decision).length;
  const left = total - decided;
  const done = `${grouped(relabel)} relabelled, ${grouped(keep)} kept, ${grouped(remove)} removed`;
  const content = JSON.stringify([done, left, open, more, sentence]);
  if (box.dataset.content === content) return;
  box.dataset.content = content;
  const queue = Boolean(gallery.answer.queue);
  const onward = queue && command('onward', more ? 'Next page' : 'Next: Verify', 'Enter', more ? 'Go on with the next page' : 'See what the repair would bring');
  if (onward) onward.classList.add('primary');
  const skipped = open > 0 && command('undecided', `${grouped(open)} skipped here`, '', 'Go to the first one that is undecided');
  box.replaceChildren(
    el('strong', 'done', left ? `End of this page: ${done}; ${grouped(left)} of ${grouped(total)} not reviewed` : `Done: ${done}`),
    ...(sentence ? [el('p', 'small', sentence)] : []),
    within(el('div', 'group'), onward, skipped, command('again', 'Back to the last one', '←', 'Look at the last one again')));
}
