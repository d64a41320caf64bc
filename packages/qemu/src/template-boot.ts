import { type ChildProcess, spawn } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { toolEnvironment } from '@cloudos/host-tools';
import { CloudosError, messageOf } from '@cloudos/sdk';
import { AgentConnection } from './agent-connection.ts';
import { decode, types } from './agent-message.ts';
import { loadState, saveState } from './migration.ts';
import { QmpClient, withQmp } from './qmp.ts';
import { connectUnix } from './unix-socket.ts';

/** A machine that is booted once, so that others begin as its copies. */
export interface TemplateBoot {
  /** Words that run QEMU, with a QMP server at `qmp` and the agent's port at `agent`; the console is in `console`. */
  readonly command: readonly string[];
  /** Its working directory: gets `state`, and what the command writes there. */
  readonly work: string;
  /** Opened for reading: `/dev/fd/3` and on. */
  readonly files: readonly string[];
  readonly bootMaxMs: number;
  /** How long the machine is left alone before it is copied: what it has put off is not done again in each copy. */
  readonly settleMs: number;
  /** It goes on from that state, of another template whose memory it has a copy of: the command has `-incoming defer`. */
  readonly from?: string;
  /**
   * What is asked of its agent ahead of that. It is copied with the connection: in a copy that is connected before it goes
   * on, the agent need not notice that somebody comes.
   */
  readonly prepare?: (agent: AgentConnection) => Promise<void>;
}

/** The memory is in a file that is shared: only the rest of the state is transferred. */
const ignoreShared = (state: boolean) => ({ capabilities: [{ capability: 'x-ignore-shared', state }] });

/**
 * Boots a machine whose memory is a shared file up to its agent, or lets it go on from a state, writes the rest of its state
 * to `state`, and ends it.
 * @throws CloudosError GUEST_START_FAILED with the last words of the console
 */
export async function bootTemplate(boot: TemplateBoot): Promise<void> {
  const { command, work, files, bootMaxMs, settleMs, from, prepare } = boot;
  const handles = await Promise.all(files.map((file) => open(file, 'r')));
  const log = await open(join(work, 'qemu.log'), 'w', 0o600);
  const [program = '', ...args] = command;
  const child = spawn(program, args, {
    cwd: work,
    env: { ...toolEnvironment },
    stdio: ['ignore', log.fd, log.fd, ...handles.map(({ fd }) => fd)],
  });
  const over = new Promise((resolve) => child.once('close', resolve));
  let agent: AgentConnection | undefined;
  try {
    if (from === undefined) await agentIsReady(join(work, 'agent'), child, bootMaxMs);
    else {
      const isAlive = () => child.exitCode === null && child.signalCode === null;
      await withQmp(join(work, 'qmp'), { timeoutMs: bootMaxMs, isAlive }, (qmp) => beginAsCopy(qmp, work, from));
    }
    if (prepare) {
      agent = await AgentConnection.open(join(work, 'agent'));
      await prepare(agent);
    }
    await new Promise((resolve) => setTimeout(resolve, settleMs));
    const qmp = await QmpClient.connect(join(work, 'qmp'));
    await qmp.execute('stop');
    await qmp.execute('migrate-set-capabilities', ignoreShared(true));
    await saveState(qmp, work, join(work, 'state'));
    await qmp.execute('quit').catch(() => {});
    qmp.close();
  } catch (error) {
    const said = await lastLines(work);
    throw new CloudosError('GUEST_START_FAILED', `the template did not boot: ${said || messageOf(error)}`, {
      cause: error,
    });
  } finally {
    agent?.close();
    child.kill('SIGKILL');
    await over;
    for (const handle of [...handles, log]) await handle.close();
  }
}

/** Lets a machine that was started with `-incoming defer`, on a copy of the template's memory, go on from its state. */
export async function beginAsCopy(qmp: QmpClient, work: string, stateFile: string): Promise<void> {
  await qmp.execute('migrate-set-capabilities', ignoreShared(true));
  await loadState(qmp, work, stateFile);
  // For the snapshots that may be taken of it: their memory is not in a file.
  await qmp.execute('migrate-set-capabilities', ignoreShared(false));
  await qmp.execute('cont');
}

async function lastLines(work: string): Promise<string> {
  for (const name of ['qemu.log', 'console']) {
    const said = (await readFile(join(work, name), 'utf8').catch(() => '')).trim();
    if (said) return said.slice(-1_000);
  }
  return '';
}

/** Waits for the first message of the agent. */
async function agentIsReady(path: string, child: ChildProcess, timeoutMs: number): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  const failed = new Promise<never>((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`QEMU ended with ${code}`)));
    setTimeout(() => reject(new Error(`no agent in ${timeoutMs} ms`)), timeoutMs).unref();
  });
  failed.catch(() => {});
  const socket = await Promise.race([failed, connected(path, deadline)]);
  let rest: Buffer = Buffer.alloc(0);
  const ready = new Promise<void>((resolve) => {
    socket.on('data', (data: Buffer) => {
      const decoded = decode(Buffer.concat([rest, data]));
      rest = decoded.rest;
      if (decoded.messages.some(({ type }) => type === types.ready)) resolve();
    });
  });
  await Promise.race([failed, ready]).finally(() => socket.destroy());
}

async function connected(path: string, deadline: number): Promise<Socket> {
  for (;;) {
    try {
      return await connectUnix(path, 1_000);
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
