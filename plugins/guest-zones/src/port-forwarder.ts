import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { closedStdio, findTool, isAlive, type ProcessIdentity, startTimeOf } from '@cloudos/host-tools';
import { CloudosError } from '@cloudos/sdk';

/** Connections that one port carries at a time; more wait in the backlog of the listener. */
export const forwarderConnectionsMax = 1024;

/**
 * Runs in the network namespace of the zone with listening sockets that were opened in the host's (a socket stays in
 * the namespace that it was made in), so one process is the bridge between the two. Ends with the zone.
 * It is outside of the zone's pid namespace: the guest can neither see nor trace it.
 */
const program = `
const net = require('net'), fs = require('fs');
const [pid, start, ...ports] = process.argv.slice(1);
const alive = () => { try { const t = fs.readFileSync('/proc/' + pid + '/stat', 'latin1');
  const f = t.slice(t.lastIndexOf(')') + 2).split(' '); return f[19] === start && f[0] !== 'Z'; } catch { return false; } };
setInterval(() => { if (!alive()) process.exit(0); }, 1000);
ports.forEach((port, index) => {
  const server = net.createServer({ allowHalfOpen: true }, (outer) => {
    const inner = net.connect({ port: +port, host: '127.0.0.1', allowHalfOpen: true });
    outer.on('error', () => inner.destroy()); inner.on('error', () => outer.destroy());
    outer.pipe(inner); inner.pipe(outer);
  });
  server.maxConnections = ${forwarderConnectionsMax};
  server.listen({ fd: 3 + index });
});
`;

export interface ForwarderPlan {
  readonly zone: ProcessIdentity;
  readonly rootless: boolean;
  /** Ports of the template. */
  readonly ports: readonly number[];
  /** Ports on the host to take again where they are free. */
  readonly preferred: Readonly<Record<string, number>>;
}

export interface Forwarder {
  readonly process: ProcessIdentity;
  readonly ports: Readonly<Record<string, number>>;
}

/** Starts a forwarder that outlives this process. The host's ports accept connections when it returns. */
export async function startForwarder(plan: ForwarderPlan): Promise<Forwarder> {
  const servers: Server[] = [];
  try {
    for (const port of plan.ports) servers.push(await listen(plan.preferred[port]));
    const enter = ['-t', String(plan.zone.pid), ...(plan.rootless ? ['-U', '--preserve-credentials'] : []), '-n'];
    const arguments_ = [String(plan.zone.pid), plan.zone.startTime, ...plan.ports.map(String)];
    const node = [process.execPath, '--max-old-space-size=32', '--v8-pool-size=0', '-e', program, ...arguments_];
    const child = spawn(findTool('nsenter') ?? 'nsenter', [...enter, ...node], {
      detached: true,
      env: {},
      cwd: '/',
      stdio: closedStdio(['ignore', 'ignore', 'ignore', ...servers.map(descriptorOf)]),
    });
    child.unref();
    await once(child, 'spawn');
    const pid = child.pid ?? 0;
    const startTime = startTimeOf(pid);
    if (startTime === undefined) throw new Error('the forwarder ended at once');
    const taken = plan.ports.map((port, index) => [String(port), portOf(servers[index])] as const);
    return { process: { pid, startTime }, ports: Object.fromEntries(taken) };
  } catch (error) {
    throw new CloudosError('GUEST_START_FAILED', `the ports of the zone cannot be forwarded: ${String(error)}`, {
      cause: error,
    });
  } finally {
    for (const server of servers) server.close();
  }
}

export function isForwarding(forwarder: ProcessIdentity | undefined): boolean {
  return forwarder !== undefined && isAlive(forwarder);
}

async function listen(preferred: number | undefined): Promise<Server> {
  for (const port of preferred === undefined ? [0] : [preferred, 0]) {
    const server = createServer((socket) => socket.destroy());
    const listening = once(server, 'listening');
    server.listen({ port, host: '127.0.0.1', exclusive: true, backlog: forwarderConnectionsMax });
    try {
      await listening;
      return server;
    } catch (error) {
      if (port === 0) throw error;
    }
  }
  throw new Error('no port');
}

/** Node.js passes descriptors to children by number; it does not publish the number of a server's. */
function descriptorOf(server: Server): number {
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  if (!(fd >= 0)) throw new Error('a listening socket without a descriptor');
  return fd;
}

function portOf(server: Server | undefined): number {
  const address = server?.address();
  return typeof address === 'object' && address ? address.port : 0;
}
