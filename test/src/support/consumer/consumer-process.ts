import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { CloudosClient, type WebSocketConstructor } from '@cloudos/client';
import { WebSocket } from 'ws';
import { keepers } from './keepers.ts';
import { marks, type Task } from './task.ts';

// Entry point: consumes until it is killed.
const [line] = (await once(createInterface({ input: process.stdin }), 'line')) as [string];
const { url, token, directory, keeping, options } = JSON.parse(line) as Task;
const client = new CloudosClient({ url, token, webSocket: WebSocket as unknown as WebSocketConstructor });
const keeper = await keepers[keeping](directory);
const consumer = {
  load: () => keeper.load(),
  handle: async (...given: Parameters<typeof keeper.keep>) => {
    writeSync(1, marks.begun);
    await keeper.keep(...given);
    writeSync(1, marks.ended);
  },
};
await client.consume(consumer, { ...options, backoff: { initialMs: 10, maxMs: 300 }, retriesMax: 1_000 });
