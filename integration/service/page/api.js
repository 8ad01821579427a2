// The calls of the service's HTTP interface that the page makes (openapi.json describes them all).

async function call(path, body) {
  const options = body === undefined ? {} : {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  };
  const token = sessionStorage.getItem('halo-token');
  if (token) options.headers = { ...options.headers, Authorization: `Bearer ${token}` };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error('The service does not answer. Is it still running?');
  }
  const text = await response.text();
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    // An error page of something between us and the service.
  }
  if (!response.ok) throw new Error(answer?.error?.message ?? `${response.status} ${response.statusText}`);
  return answer;
}

const of = (collection) => `collections/${encodeURIComponent(collection)}`;

export const collections = async () => (await call('collections')).collections;
export const stats = (collection) => call(of(collection));
export const item = (collection, id) => call(`${of(collection)}/items/${id}?vector=1`);
export const search = (collection, query) => call(`${of(collection)}/search`, query);
export const neighbours = (collection, id, layer) => call(`${of(collection)}/items/${id}/neighbours?layer=${layer}`);
