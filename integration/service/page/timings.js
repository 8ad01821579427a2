// How long each stage of a request took: one bar, and the figures beneath it.
const colours = ['#0b6e75', '#c98a1b', '#6b3fa0', '#14804a', '#b4451f', '#51657a', '#a3487d'];

export function show(box, milliseconds) {
  const stages = Object.entries(milliseconds).filter(([name, value]) => name !== 'total' && value >= 0);
  const total = stages.reduce((sum, [, value]) => sum + value, 0);
  const bar = document.createElement('div');
  bar.className = 'bar';
  bar.setAttribute('role', 'img');
  bar.setAttribute('aria-label', stages.map(([name, value]) => `${name} ${value.toFixed(3)} milliseconds`).join(', '));
  const legend = document.createElement('ul');
  legend.className = 'legend';
  stages.forEach(([name, value], i) => {
    const part = document.createElement('span');
    part.style.flexGrow = total > 0 ? value / total : 1;
    part.style.background = colours[i % colours.length];
    bar.append(part);
    const line = document.createElement('li');
    const key = document.createElement('i');
    key.style.background = colours[i % colours.length];
    line.append(key, `${name} ${value.toFixed(3)} ms`);
    legend.append(line);
  });
  if (milliseconds.total !== undefined) {
    const line = document.createElement('li');
    line.textContent = `in all ${milliseconds.total.toFixed(3)} ms`;
    legend.append(line);
  }
  box.replaceChildren(bar, legend);
}
