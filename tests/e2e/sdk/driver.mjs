// An application that uses the published SDK: its handlers behind node's HTTP server, and its
// calls on command. One JSON object a line comes in on stdin; answers and events go to stdout.

import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';

import { globalClient } from '@dayone-labs/lambda-queue-js';
import { ClientError, RequestInvalid } from '@dayone-labs/lambda-queue-js/lib/models.js';
import { queue, schedule } from '@dayone-labs/lambda-queue-serverless';

const emit = message => process.stdout.write(JSON.stringify(message) + '\n');

const baseUrl = process.env.LQ_BASE_URL;
const handlers = new Map();

function define({ path, name, headers }) {
  const handler = queue(path, async item => {
    emit({ handled: name, at: Date.now(), undefined: item === undefined, item });
    if (item?.fails?.length) throw new Error(`told to fail: ${item.fails}`);
    return item?.returns;
  }, { name, headers });
  handlers.set(path, handler);
  return { queue: handler.queue, target: handler.target };
}

const calls = {
  define,
  push: ({ path, payload, on, ...options }) =>
    handlers.get(path).push(payload, { ...options, on: on && new Date(on) }),
  fetchByKeyOfHandler: ({ path, key }) => handlers.get(path).fetchByKey(key),
  fetchByKey: ({ queue, key, ...options }) => client(options).fetchByKey(queue, key),
  deleteByKey: ({ queue, key, ...options }) => client(options).deleteByKey(queue, key),
  fetch: ({ id, ...options }) => client(options).fetch(id),
  delete: ({ id, ...options }) => client(options).delete(id),
  pushTo: ({ queue, payload, token, apiUrl, ...options }) =>
    client({ token, apiUrl }).push(queue, payload, options),
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

async function answer(incoming, outgoing) {
  const handler = handlers.get(decodeURIComponent(incoming.url));
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
