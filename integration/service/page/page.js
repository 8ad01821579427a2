// The page's state and flow: which collection, which query, what was answered.
import * as api from './api.js';
import * as graph from './graph.js';
import * as hits from './hits.js';
import * as ranks from './ranks.js';
import * as timings from './timings.js';

const at = (id) => document.getElementById(id);
let collection = null;  // what stats() said of the chosen one
let request = 0;        // the newest one; answers to older ones are dropped

function say(text) { at('status').textContent = text; }

function fail(error) {
  at('error').textContent = error.message;
  at('error').hidden = false;
  say('');
}

async function busy(text, work) {
  const mine = ++request;
  at('error').hidden = true;
  say(text);
  document.body.classList.add('busy');
  document.querySelector('main').setAttribute('aria-busy', 'true');
  at('go').disabled = true;
  try {
    await work(() => mine === request);
  } catch (error) {
    if (mine === request) fail(error);
  } finally {
    if (mine === request) {
      document.body.classList.remove('busy');
      document.querySelector('main').removeAttribute('aria-busy');
      at('go').disabled = false;
    }
  }
}

function parse_vector(text) {
  const values = text.replace(/[[\],;]/g, ' ').trim().split(/\s+/).filter(Boolean).map(Number);
  if (values.some((value) => !Number.isFinite(value))) throw new Error('The vector has something that is not a number.');
  if (values.length !== collection.dim) {
    throw new Error(`The vector has ${values.length} numbers; this collection's have ${collection.dim}.`);
  }
  return values;
}

function parse_id(text) {
  if (!/^\d+$/.test(text.trim())) throw new Error('An id is a whole number.');
  return Number(text);
}

const by = () => document.querySelector('input[name="by"]:checked').value;

// The vectors of those items that are pictures of them.
async function add_pictures(list) {
  await Promise.all(list.filter((hit) => hit.metadata?.image_width !== undefined).map(async (hit) => {
    hit.vector = (await api.item(collection.name, hit.id)).vector;
  }));
}

async function run_search() {
  await busy('Searching…', async (current) => {
    const query = by() === 'id' ? { id: parse_id(at('id').value) } : { vector: parse_vector(at('vector').value) };
    const mode = at('mode').value;
    const can = mode === 'auto' ? collection.refined : collection.trained;
    const answer = await api.search(collection.name, {
      ...query, k: at('k').valueAsNumber, ef: at('ef').valueAsNumber, candidates: at('candidates').valueAsNumber,
      refine: can ? mode : 'off', explain: true, with_metadata: true,
    });
    const asked = query.id !== undefined ? await api.item(collection.name, query.id) : null;
    const before = answer.plain;
    await add_pictures([...before, ...answer.results]);
    if (!current()) return;

    const entries = ranks.moves(before, answer.results);
    const kept = new Set(entries.map((entry) => entry.hit.id));
    const dropped = before.filter((hit) => !kept.has(hit.id)).length;
    at('results').hidden = false;
    hits.show(before, entries, { label: asked?.metadata?.label, choose: ask_for });
    at('summary').textContent = before.length === 0
      ? 'Nothing was found.'
      : can ? ranks.summary(entries, dropped)
        : `This collection has no model for "${mode}" yet: both columns are plain search.`;
    timings.show(at('timings'), answer.timings_ms);
    show_asked(asked);
    say(`${before.length} results${answer.partial ? ', cut short by the deadline' : ''}.`);
    if (query.id !== undefined) await show_neighbourhood(query.id, current);
    else at('neighbourhood').hidden = true;
  });
}

function show_asked(asked) {
  at('asked').replaceChildren();
  if (!asked) return;
  const fields = asked.metadata ?? {};
  at('asked').append(hits.thumbnail(asked), ' ',
    String(fields.text ?? fields.title ?? fields.name ?? fields.label ?? ''));
}

// What the chosen head attends to; without a model, the node's links.
function neighbours_of(answer, head) {
  const chosen = answer.heads.filter((one) => head === '' || one.name === head);
  if (chosen.length === 0 || answer.window.length === 0) {
    return answer.links.map(({ id, distance }) => ({ id, distance, weight: 1 / Math.max(answer.links.length, 1) }));
  }
  const total = chosen.reduce((sum, one) => sum + one.weight, 0) || 1;
  return answer.window
    .map(({ id, distance }, i) => ({
      id, distance, weight: chosen.reduce((sum, one) => sum + (one.weight * one.attention[i]) / total, 0),
    }))
    .sort((a, b) => b.weight - a.weight).slice(0, 24);
}

let shown = null;  // the neighbourhood on display: { id, answer }

function draw_neighbourhood() {
  const { id, answer } = shown;
  const layer = Number(at('layer').value);
  const links = answer.links.map((near) => near.id);
  const near = layer > 0 ? neighbours_of({ ...answer, heads: [] }, '') : neighbours_of(answer, at('head').value);
  at('head').disabled = layer > 0 || answer.heads.length === 0;
  at('what').textContent = at('head').disabled
    ? 'is linked to in this layer of the index\'s graph (nearer: wider)'
    : 'attends to in the index\'s graph: the wider a line, the more attention';
  if (at('head').disabled && near.length > 0) {
    const nearest = Math.min(...near.map((one) => one.distance)), farthest = Math.max(...near.map((one) => one.distance));
    near.forEach((one) => { one.weight = farthest > nearest ? 1 - 0.9 * (one.distance - nearest) / (farthest - nearest) : 1; });
  }
  // An SVG element has no `hidden` property of its own.
  at('graph').toggleAttribute('hidden', at('as-table').checked || near.length === 0);
  at('graph-table').hidden = !at('as-table').checked || near.length === 0;
  at('alone').hidden = near.length > 0;
  if (near.length === 0) return;
  graph.draw(at('graph'), id, near, new Set(links), ask_for);
  graph.tabulate(at('graph-table'), near, ask_for);
}

async function show_neighbourhood(id, current = () => true) {
  let answer;
  try {
    answer = await api.neighbours(collection.name, id, at('layer').value || 0);
  } catch (error) {
    at('neighbourhood').hidden = true;  // not settled yet: the results stand without it
    say(`${at('status').textContent} No graph: ${error.message}.`);
    return;
  }
  if (!current()) return;
  shown = { id, answer };
  const [layer, head] = [at('layer').value, at('head').value];
  fill(at('layer'), Array.from({ length: Math.max(answer.level + 1, 1) }, (_, i) => [i, String(i)]));
  fill(at('head'), [['', 'all heads'], ...answer.heads.map((one) => [one.name, `${one.name} (${one.weight.toFixed(2)})`])]);
  if (Number(layer) <= answer.level) at('layer').value = layer || '0';
  if (answer.heads.some((one) => one.name === head)) at('head').value = head;
  if (at('layer').value !== String(answer.layer)) return show_neighbourhood(id, current);
  at('neighbourhood').hidden = false;
  at('centre').textContent = id;
  draw_neighbourhood();
}

function ask_for(id) {
  document.querySelector('input[name="by"][value="id"]').checked = true;
  choose_by();
  at('id').value = id;
  remember();
  run_search();
}

function choose_by() {
  at('by-id').hidden = by() !== 'id';
  at('by-vector').hidden = by() === 'id';
}

function remember() {
  if (by() === 'id') history.replaceState(null, '', `#${encodeURIComponent(collection.name)}/${at('id').value}`);
}

function fill(select, values) {
  select.replaceChildren(...values.map(([value, text]) => new Option(text, value)));
}

async function choose_collection(name) {
  await busy(`Opening ${name}…`, async (current) => {
    const answer = await api.stats(name);
    if (!current()) return;
    collection = answer;
    at('dim').textContent = collection.dim;
    at('results').hidden = true;
    at('neighbourhood').hidden = true;
    say(`${collection.vectors} vectors of ${collection.dim} dimensions, ${collection.metric}.`);
  });
}

async function start() {
  await busy('Loading…', async () => {
    const list = await api.collections();
    if (list.length === 0) {
      at('empty').hidden = false;
      at('create-example').textContent =
        `curl -X PUT ${location.origin}/collections/first -d '{"dim": 3, "metric": "cosine"}'\n` +
        `curl -X POST ${location.origin}/collections/first/items -d '{"items": [{"id": 1, "vector": [1, 0, 0]}]}'`;
      document.querySelector('form').hidden = true;
      say('');
      return;
    }
    fill(at('collection'), list.map(({ name }) => [name, name]));
    at('collection').disabled = false;
    const [wanted, id] = decodeURIComponent(location.hash.slice(1)).split('/');
    if (list.some(({ name }) => name === wanted)) at('collection').value = wanted;
    if (id !== undefined) at('id').value = id;
  });
  if (!at('collection').disabled) {
    await choose_collection(at('collection').value);
    if (collection) await run_search();
  }
}

at('query').addEventListener('submit', (event) => {
  event.preventDefault();
  if (!collection) return;
  remember();
  run_search();
});
at('random').addEventListener('click', () => {
  if (collection) ask_for(Math.floor(Math.random() * collection.vectors));
});
at('collection').addEventListener('change', async () => {
  await choose_collection(at('collection').value);
  at('id').value = '0';
  run_search();
});
document.querySelectorAll('input[name="by"]').forEach((radio) => radio.addEventListener('change', choose_by));
at('layer').addEventListener('change', () =>
  busy('Reading the graph…', async (current) => {
    await show_neighbourhood(shown.id, current);
    say('');
  }));
['head', 'as-table'].forEach((id) => at(id).addEventListener('change', draw_neighbourhood));
start();
