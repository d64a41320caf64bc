import { bareServer, durableServer, plainServer } from './bare-servers.ts';
import { feedServer } from './feed-server.ts';
import { natsPublisher } from './nats-peer.ts';
import { publisherProcess } from './publisher-process.ts';
import { subscriberProcess } from './subscriber-process.ts';

// Entry point of the processes of this benchmark: `node role.js <role> <directory or address>`, with an IPC channel.
const [role, where = ''] = process.argv.slice(2);
const roles: Readonly<Record<string, (where: string) => Promise<void>>> = {
  feed: feedServer,
  plain: plainServer,
  bare: bareServer,
  durable: durableServer,
  nats: natsPublisher,
  subscribers: subscriberProcess,
  publisher: publisherProcess,
};
const begin = roles[role ?? ''];
if (!begin) throw new Error(`no role ${role}`);
await begin(where);
