// What refinement did to the order of results.

// One entry a refined result: { hit, rank, before (its rank in the plain list or null), move: 'up' | 'down' | 'same' | 'new' }.
export function moves(before, after) {
  const plainRank = new Map(before.map((hit, rank) => [hit.id, rank]));
  return after.map((hit, rank) => {
    const was = plainRank.has(hit.id) ? plainRank.get(hit.id) : null;
    const move = was === null ? 'new' : was > rank ? 'up' : was < rank ? 'down' : 'same';
    return { hit, rank, before: was, move };
  });
}

export function describe(entry) {
  if (entry.move === 'new') return 'new';
  if (entry.move === 'same') return '=';
  const by = Math.abs(entry.before - entry.rank);
  return entry.move === 'up' ? `▲ ${by}` : `▼ ${by}`;
}

export function summary(entries, dropped) {
  const count = (move) => entries.filter((entry) => entry.move === move).length;
  const parts = [['up', 'rose'], ['down', 'fell'], ['new', 'joined']]
    .filter(([move]) => count(move) > 0)
    .map(([move, word]) => `${count(move)} ${word}`);
  if (dropped > 0) parts.push(`${dropped} left the list`);
  return parts.length ? `${parts.join(', ')}.` : 'Refinement kept the plain order.';
}
