// Hands what was decided to the gallery it belongs to. It draws nothing and travels with every answer: keep it short.
export default ({ data, parentElement }) => {
  (window.influenceAnswers ??= new Map()).set(data.outbox, data);
  window.influenceGalleries?.get(data.outbox)?.settle();
  const place = parentElement.host?.closest('[data-testid="stElementContainer"]');
  if (place) place.style.display = 'none';
};
