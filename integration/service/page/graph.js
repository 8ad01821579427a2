// The neighbourhood of a node: a star of its graph neighbours, edge width by attention weight.

const made = (name, attributes, text) => {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
  if (text !== undefined) node.textContent = text;
  return node;
};

// neighbours: [{ id, weight, distance }]; a line is dashed where the graph does not link the two itself.
export function draw(svg, centre, neighbours, links, choose) {
  const size = 640;
  const half = size / 2;
  svg.setAttribute('viewBox', `0 0 ${size} ${size}`);
  const heaviest = Math.max(...neighbours.map((one) => one.weight), 1e-9);
  const order = [...neighbours].sort((a, b) => b.weight - a.weight);
  const place = new Map(order.map((one, i) => {
    const angle = (2 * Math.PI * i) / order.length - Math.PI / 2;
    const radius = half * (order.length > 16 && i % 2 ? 0.86 : 0.66);
    return [one.id, [half + radius * Math.cos(angle), half + radius * Math.sin(angle)]];
  }));
  const parts = [];
  order.forEach((one) => {
    const [x2, y2] = place.get(one.id);
    parts.push(made('line', {
      x1: half, y1: half, x2, y2, 'stroke-width': 0.6 + 11 * (one.weight / heaviest),
      ...(links.has(one.id) ? {} : { class: 'reached' }),
    }));
  });
  const node = (id, x, y, radius, label) => {
    const link = made('a', { tabindex: 0, role: 'button', 'aria-label': label, transform: `translate(${x} ${y})` });
    link.append(made('circle', { r: radius }), made('text', { dy: '0.35em' }, String(id)));
    const go = () => choose(id);
    link.addEventListener('click', go);
    link.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); go(); }
    });
    return link;
  };
  order.forEach((one) => {
    const [x, y] = place.get(one.id);
    parts.push(node(one.id, x, y, 22, `Neighbour ${one.id}, attention ${one.weight.toFixed(3)}`));
  });
  const middle = node(centre, half, half, 28, `Centre ${centre}`);
  middle.classList.add('centre');
  parts.push(middle);
  svg.replaceChildren(...parts);
}

export function tabulate(table, neighbours, choose) {
  const rows = [...neighbours].sort((a, b) => b.weight - a.weight).map((one) => {
    const row = document.createElement('tr');
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = one.id;
    button.addEventListener('click', () => choose(one.id));
    const first = document.createElement('td');
    first.append(button);
    row.append(first);
    [one.weight, one.distance].forEach((value) => {
      const cell = document.createElement('td');
      cell.textContent = value === undefined ? '–' : value.toFixed(4);
      row.append(cell);
    });
    return row;
  });
  table.tBodies[0].replaceChildren(...rows);
}
