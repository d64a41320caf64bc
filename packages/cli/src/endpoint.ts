import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CloudosClient } from '@cloudos/client';
import type { EndpointInfo } from '@cloudos/gateway';
import { CloudosError, messageOf } from '@cloudos/sdk';
import type { CliContext } from './context.ts';
import { nonEmpty, stateDirOf } from './state-dir.ts';
import { type Trust, transportOf } from './trust.ts';

/** The endpoint file of a state directory; undefined when there is none, or when its process does not live. */
export async function runningEndpoint(stateDir: string): Promise<EndpointInfo | undefined> {
  let info: Partial<EndpointInfo>;
  try {
    info = JSON.parse(await readFile(join(stateDir, 'endpoint.json'), 'utf8')) as Partial<EndpointInfo>;
  } catch {
    return undefined;
  }
  const { url, pid, startedAt, fingerprint, certificateFile } = info;
  if (typeof url !== 'string' || typeof pid !== 'number' || !isAlive(pid)) return undefined;
  const trust = fingerprint === undefined || certificateFile === undefined ? {} : { fingerprint, certificateFile };
  return { url, pid, startedAt: startedAt ?? 0, ...trust };
}

/** Whether a process of that id runs, whoever owns it. One that has ended and that nobody reaps does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !isZombie(pid);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** In containers whose first process reaps nobody, what has ended stays in the table (proc(5), state Z). */
function isZombie(pid: number): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return false;
  }
}

/** Errors: those of {@link transportOf}. */
export async function clientOf(url: string, token: string, trust: Trust = {}): Promise<CloudosClient> {
  return new CloudosClient({ url, token, ...(await transportOf(url, trust)) });
}

export interface Connection {
  readonly client: CloudosClient;
  /** Absent for a kernel that was named by --url. */
  readonly pid?: number;
  readonly url: string;
  /** SHA-256 of the gateway's certificate, where the state directory tells it. */
  readonly fingerprint?: string;
}

/**
 * The running kernel: the one of --url (or $CLOUDOS_URL) with its token, else the one of the state directory.
 * @throws CloudosError KERNEL_NOT_RUNNING, PERMISSION_DENIED
 */
export async function connect(context: CliContext): Promise<Connection> {
  const url = context.globals().url ?? nonEmpty(context.env.CLOUDOS_URL);
  if (url !== undefined) {
    const token = context.globals().token ?? nonEmpty(context.env.CLOUDOS_TOKEN);
    if (token === undefined) {
      throw new CloudosError('UNAUTHENTICATED', `no token is given for ${url}`, {
        remedy: 'Set CLOUDOS_TOKEN, or give --token.',
      });
    }
    const trust: Trust = {
      fingerprint: context.globals().fingerprint ?? nonEmpty(context.env.CLOUDOS_FINGERPRINT),
      caFile: context.globals().caFile ?? nonEmpty(context.env.CLOUDOS_CA_FILE),
    };
    return { client: await clientOf(url, token, trust), url };
  }
  const stateDir = stateDirOf(context);
  const connection = await connectTo(stateDir);
  if (connection) return connection;
  throw new CloudosError('KERNEL_NOT_RUNNING', `no kernel runs with the state directory ${stateDir}`, {
    remedy: 'Start one with `cloudos up`, or name another directory with --state-dir or $CLOUDOS_HOME.',
  });
}

/** The kernel that runs with a state directory, or undefined. A file of a dead process, or of another one, is no kernel. */
export async function connectTo(stateDir: string): Promise<(Connection & { pid: number }) | undefined> {
  const endpoint = await runningEndpoint(stateDir);
  if (!endpoint) return undefined;
  let token: string;
  try {
    token = (await readFile(join(stateDir, 'token'), 'utf8')).trim();
  } catch (error) {
    throw new CloudosError('PERMISSION_DENIED', `the token of the running kernel cannot be read: ${messageOf(error)}`, {
      remedy: 'Run as the user who started the kernel.',
    });
  }
  const { fingerprint, certificateFile: caFile } = endpoint;
  const client = await clientOf(endpoint.url, token, { fingerprint, caFile });
  try {
    const { pid } = await client.status(10_000);
    return pid === endpoint.pid
      ? { client, pid, url: endpoint.url, ...(fingerprint === undefined ? {} : { fingerprint }) }
      : undefined;
  } catch (error) {
    // The process id was given to another process meanwhile: nobody listens there.
    if ((error as { code?: unknown }).code === 'KERNEL_UNREACHABLE') return undefined;
    throw error;
  }
}
