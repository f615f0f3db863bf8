// An application that uses the published SDK: its handlers behind node's HTTP server, and its
// calls on command. One JSON object a line comes in on stdin; answers and events go to stdout.

import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';

import { globalClient, queueClient } from '@dayone-labs/lambda-queue-js';
import { ClientError, RequestInvalid } from '@dayone-labs/lambda-queue-js/lib/models.js';
import { queue, schedule } from '@dayone-labs/lambda-queue-serverless';

const emit = message => process.stdout.write(JSON.stringify(message) + '\n');

const baseUrl = process.env.LQ_BASE_URL ?? `http://${process.env.VERCEL_URL}`;
const pathOf = url => decodeURIComponent(new URL(url, baseUrl).pathname);
const handlers = new Map();
const plain = new Map();

// What a handler does with an item: tells of it, and then whatever the item says.
const work = name => async item => {
  const bytes = item instanceof ArrayBuffer ? Buffer.from(item).toString('base64') : undefined;
  emit({ handled: name, at: Date.now(), undefined: item === undefined, item, bytes });
  if (item?.fails?.length) throw new Error(`told to fail: ${item.fails}`);
  if (item?.responds) return new Response(item.responds.body, item.responds);
  return item?.returns;
};

function define({ path, name, headers }) {
  const handler = queue(path, work(name ?? path), { name, headers });
  handlers.set(pathOf(handler.target), handler);
  return { queue: handler.queue, target: handler.target };
}

// An application on the smaller package alone, which reads bodies itself.
function definePlain({ path, name }) {
  const handler = queueClient(name, work(name), {
    apiUrl: process.env.LQ_API_URL,
    token: process.env.LQ_TOKEN,
    secret: process.env.LQ_SECRET,
    target: baseUrl + path,
  });
  plain.set(path, handler);
}

const calls = {
  define,
  definePlain,
  pushPlain: ({ path, payload, ...options }) => plain.get(path).push(payload, options),
  deleteByKeyPlain: ({ path, key }) => plain.get(path).deleteByKey(key),
  fetchOfHandler: ({ path, id }) => handlers.get(path).fetch(id),
  deleteOfHandler: ({ path, id }) => handlers.get(path).delete(id),
  deleteByKeyOfHandler: ({ path, key }) => handlers.get(path).deleteByKey(key),
  pushMany: ({ path, payloads, ...options }) =>
    Promise.all(payloads.map(payload => handlers.get(path).push(payload, options))),
  push: ({ path, payload, on, ...options }) =>
    handlers.get(path).push(payload, { ...options, on: on && new Date(on) }),
  fetchByKeyOfHandler: ({ path, key }) => handlers.get(path).fetchByKey(key),
  fetchByKey: ({ queue, key, ...options }) => client(options).fetchByKey(queue, key),
  deleteByKey: ({ queue, key, ...options }) => client(options).deleteByKey(queue, key),
  fetch: ({ id, ...options }) => client(options).fetch(id),
  delete: ({ id, ...options }) => client(options).delete(id),
  pushTo: ({ queue, payload, token, apiUrl, on, ...options }) =>
    client({ token, apiUrl }).push(queue, payload, { ...options, on: on && new Date(on) }),
  scheduleHandler: ({ cron, path, payload, ...options }) =>
    schedule(cron, { ...options, queue: handlers.get(path) }, payload),
  schedule: ({ cron, payload, token, apiUrl, ...options }) =>
    client({ token, apiUrl }).schedule(cron, payload, options),
  fetchSchedule: ({ id, ...options }) => client(options).fetchSchedule(id).then(found),
  fetchScheduleByKey: ({ key, ...options }) => client(options).fetchScheduleByKey(key).then(found),
  deleteSchedule: ({ id, ...options }) => client(options).deleteSchedule(id).then(found),
  deleteScheduleByKey: ({ key, ...options }) =>
    client(options).deleteScheduleByKey(key).then(found),
};

// The SDK takes the Response for the schedule, so that only its being there can be told.
const found = answer => answer !== undefined;

const client = ({ token, apiUrl }) =>
  globalClient({
    apiUrl: apiUrl ?? process.env.LQ_API_URL,
    token: token ?? process.env.LQ_TOKEN,
    secret: process.env.LQ_SECRET,
  });

const described = error => ({
  is: error instanceof RequestInvalid ? 'RequestInvalid'
    : error instanceof ClientError ? 'ClientError' : error.constructor.name,
  message: error.message,
  status: error.status,
  issues: error.issues,
});

async function answerPlainly(handler, incoming, outgoing) {
  if (incoming.method === 'HEAD') {
    outgoing.setHeader('x-lq-signature', await handler.generateEndpointValidationKey());
    return outgoing.end();
  }
  try {
    const chunks = await incoming.toArray();
    const body = new Uint8Array(Buffer.concat(chunks));
    outgoing.end(JSON.stringify(await handler.handle(body.length && body.buffer, incoming.headers)));
  } catch (error) {
    emit({ refused: error.message });
    outgoing.writeHead(500).end(error.message);
  }
}

async function answer(incoming, outgoing) {
  if (plain.has(incoming.url)) return answerPlainly(plain.get(incoming.url), incoming, outgoing);
  const handler = handlers.get(pathOf(incoming.url));
  const bodiless = incoming.method === 'HEAD';
  if (bodiless) emit({ head: incoming.url, headers: incoming.headers });
  try {
    const response = await handler(new Request(baseUrl + incoming.url, {
      method: incoming.method,
      headers: incoming.headers,
      body: bodiless ? undefined : Readable.toWeb(incoming),
      duplex: 'half',
    }));
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(Buffer.from(await response.arrayBuffer()));
  } catch (error) {
    emit({ refused: error.message });
    outgoing.writeHead(500).end(error.message);
  }
}

const { hostname, port } = new URL(baseUrl);
createServer(answer).listen(port, hostname, () => emit({ listening: baseUrl }));

for await (const line of createInterface({ input: process.stdin })) {
  const { number, call, ...options } = JSON.parse(line);
  try {
    emit({ number, value: await calls[call](options) });
  } catch (error) {
    emit({ number, error: described(error) });
  }
}
process.exit();
