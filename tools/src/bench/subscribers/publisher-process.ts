import { CloudosClient, type WebSocketConstructor } from '@cloudos/client';
import { WebSocket } from 'ws';
import { paced } from './paced.ts';
import { messageBytes, type Pacing, type ServerTasks, serveTasks } from './tasks.ts';

export interface PublisherConnecting {
  readonly kind: 'plain' | 'feed';
  readonly url: string;
  readonly token: string;
}

const streamCount = 1_000;

/** One that publishes over a connection of its own: to the log through the client, to a plain server as a message. */
export async function publisherProcess(): Promise<void> {
  let publish: (n: number) => unknown = () => {};
  let failure: unknown;
  const tasks: ServerTasks = {
    connect: async ({ kind, url, token }: PublisherConnecting) => {
      publish = kind === 'feed' ? throughClient(url, token, fail) : await asMessage(url);
    },
    /** Each event carries the moment at which it was handed over. */
    pace: async ({ perSecond, events }: Pacing) => {
      await paced(perSecond, events, (n) => {
        // A machine that cannot keep up is no ground for a figure.
        if (failure !== undefined) throw failure;
        publish(n);
      });
    },
  };
  function fail(error: unknown): void {
    failure = error;
  }
  serveTasks(tasks);
}

function throughClient(url: string, token: string, fail: (error: unknown) => void): (n: number) => void {
  const client = new CloudosClient({ url, token, webSocket: WebSocket as unknown as WebSocketConstructor });
  const appender = client.appender();
  return (n) => {
    const data = { at: now(), n, text: 'x'.repeat(180) };
    appender.append(`x-bench-${n % streamCount}`, [{ type: 'x-bench-GuestStarted', data }]).catch(fail);
  };
}

async function asMessage(url: string): Promise<(n: number) => void> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/publish`, { perMessageDeflate: false });
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  return (n) => socket.send(JSON.stringify({ data: { at: now(), n, text: 'x'.repeat(messageBytes - 60) } }));
}

const now = () => process.hrtime.bigint().toString();
