// The two columns of results and the lines between them.
import { describe } from './ranks.js';

const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

// A vector of grey values as the picture it is.
function picture(vector, [height, width]) {
  const canvas = element('canvas');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d');
  const image = context.createImageData(width, height);
  const top = Math.max(...vector, 1e-9);
  vector.forEach((value, i) => {
    const grey = Math.round((255 * Math.max(value, 0)) / top);
    image.data.set([grey, grey, grey, 255], 4 * i);
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

// An item's picture: a data URI of its own, or its vector drawn `image_width` values a line.
export function thumbnail(hit) {
  const fields = hit.metadata ?? {};
  if (typeof fields.thumbnail === 'string' && fields.thumbnail.startsWith('data:image/')) {
    const image = element('img');
    image.src = fields.thumbnail;
    image.alt = '';
    return image;
  }
  const width = fields.image_width;
  if (hit.vector && Number.isInteger(width) && width > 0 && hit.vector.length % width === 0) {
    return picture(hit.vector, [hit.vector.length / width, width]);
  }
  return element('span');
}

function words(hit, alike) {
  const box = element('span', 'what');
  const fields = hit.metadata ?? {};
  const main = fields.text ?? fields.title ?? fields.name ?? fields.label;
  box.append(element('span', '', main !== undefined ? String(main) : `id ${hit.id}`));
  const rest = Object.entries(fields)
    .filter(([name, value]) => value !== main && name !== 'thumbnail' && name !== 'image_width' && String(value).length < 60)
    .map(([name, value]) => `${name}: ${value}`);
  if (alike !== null) rest.push(alike ? '✓ the query\'s label' : '✗ another label');
  box.append(element('span', 'small', [main !== undefined ? `id ${hit.id}` : '', ...rest].filter(Boolean).join(' · ')));
  return box;
}

const number = (value) => (value === null || value === undefined ? '–' : Number(value).toPrecision(4));

function row(hit, rank, extra, { label, choose }) {
  const entry = element('li');
  const known = label !== undefined && hit.metadata?.label !== undefined;
  const alike = known ? hit.metadata.label === label : null;
  if (known) entry.classList.add(alike ? 'alike' : 'other');
  const button = element('button');
  button.type = 'button';
  button.title = `Ask for ${hit.id}`;
  button.addEventListener('click', () => choose(hit.id));
  const scores = element('span', 'scores', `distance ${number(hit.distance)}`);
  if (extra) scores.prepend(`score ${number(hit.score)}`, element('br'));
  button.append(element('span', 'rank', String(rank + 1)), thumbnail(hit), words(hit, alike),
    extra ? element('span', `move ${extra.move}`, describe(extra)) : element('span'), scores);
  entry.append(button);
  return entry;
}

export function show(before, entries, context) {
  const kept = new Set(entries.map((entry) => entry.hit.id));
  const left = document.getElementById('before');
  const right = document.getElementById('after');
  left.replaceChildren(...before.map((hit, rank) => {
    const made = row(hit, rank, null, context);
    if (!kept.has(hit.id)) made.classList.add('gone');
    return made;
  }));
  right.replaceChildren(...entries.map((entry) => row(entry.hit, entry.rank, entry, context)));
  draw_moves(entries, left, right);
}

function draw_moves(entries, left, right) {
  const svg = document.getElementById('moves');
  const box = svg.getBoundingClientRect();
  const middle = (list, rank) => {
    const rect = list.children[rank].getBoundingClientRect();
    return rect.top + rect.height / 2 - box.top;
  };
  svg.replaceChildren(...entries.filter((entry) => entry.before !== null).map((entry) => {
    const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    const [from, to] = [middle(left, entry.before), middle(right, entry.rank)];
    const half = box.width / 2;
    path.setAttribute('d', `M0 ${from} C${half} ${from} ${half} ${to} ${box.width} ${to}`);
    path.setAttribute('class', entry.move);
    return path;
  }));
}
