import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CloudosError, messageOf } from '@cloudos/sdk';
import { closedStdio, toolEnvironment } from './host-command.ts';
import { isAlive, type ProcessIdentity, processesWithArgument, signalProcess, startTimeOf } from './process-table.ts';
import { until } from './until.ts';

export interface DaemonOptions {
  /** Absolute path of the program. */
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Where its output goes, from its last start on. */
  readonly logFile: string;
  /** Where it is written down which process it is. */
  readonly identityFile: string;
  /** An argument that only this daemon of the machine has: finds one that was started and not written down. */
  readonly mark?: string;
}

const stepMs = 20;
const killedMaxMs = 5_000;
const saidMaxChars = 500;

/** A daemon that this process starts and that outlives it: the next one finds it by its identity. */
export class DetachedDaemon {
  readonly #options: DaemonOptions;
  #starting: Promise<void> | undefined;

  constructor(options: DaemonOptions) {
    this.#options = options;
  }

  /** The process, if it runs. */
  running(): ProcessIdentity | undefined {
    const { identityFile, mark } = this.#options;
    try {
      const identity = JSON.parse(readFileSync(identityFile, 'utf8')) as ProcessIdentity;
      if (isAlive(identity)) return identity;
    } catch {
      // It was never started, or somebody died between the start and the note of it.
    }
    return mark === undefined ? undefined : processesWithArgument(mark)[0];
  }

  /**
   * Starts the daemon unless it runs, and waits until it answers. Calls at the same time are one.
   * @param answers resolves when it does, rejects when it does not (yet)
   * @throws CloudosError RUNTIME_UNAVAILABLE with the last of what it said
   */
  ensure(answers: () => Promise<unknown>, timeoutMs: number): Promise<void> {
    this.#starting ??= this.#ensure(answers, timeoutMs).finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  async #ensure(answers: () => Promise<unknown>, timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    if (!this.running()) await this.#start();
    for (;;) {
      try {
        await answers();
        return;
      } catch (error) {
        if (this.running() === undefined || Date.now() > deadline) throw this.#whyNot(error);
      }
      await new Promise((resolve) => setTimeout(resolve, stepMs));
    }
  }

  async #start(): Promise<void> {
    const { program, args, env, logFile, identityFile } = this.#options;
    await mkdir(dirname(logFile), { recursive: true, mode: 0o700 });
    await mkdir(dirname(identityFile), { recursive: true, mode: 0o700 });
    const output = openSync(logFile, 'w', 0o600);
    const child = spawn(program, args, {
      cwd: '/',
      env: { ...toolEnvironment, ...env },
      detached: true,
      stdio: closedStdio(['ignore', output, output]),
    });
    closeSync(output);
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (error) => reject(this.#whyNot(error)));
    });
    child.unref();
    const pid = child.pid ?? 0;
    const startTime = startTimeOf(pid);
    if (startTime === undefined) return; // it has ended already
    await writeFile(`${identityFile}.tmp`, JSON.stringify({ pid, startTime }), { mode: 0o600 });
    await rename(`${identityFile}.tmp`, identityFile);
  }

  #whyNot(error: unknown): CloudosError {
    const { program, logFile } = this.#options;
    let said = '';
    try {
      said = readFileSync(logFile, 'utf8').trim().slice(-saidMaxChars);
    } catch {
      // It has not even begun to write.
    }
    return new CloudosError('RUNTIME_UNAVAILABLE', `${program} does not come up: ${said || messageOf(error)}`, {
      cause: error,
      remedy: `See ${logFile}.`,
    });
  }

  /** Asks it to end, kills it after the grace. */
  async stop(graceMs: number): Promise<void> {
    const daemon = this.running();
    if (daemon) await endProcess(daemon, graceMs);
    await rm(this.#options.identityFile, { force: true });
  }
}

/** Asks a process to end, kills it after the grace. @throws CloudosError HOST_COMMAND_FAILED when it stays all the same */
export async function endProcess(identity: ProcessIdentity, graceMs: number): Promise<void> {
  if (graceMs > 0 && signalProcess(identity, 'SIGTERM') && (await gone(identity, graceMs))) return;
  signalProcess(identity, 'SIGKILL');
  if (await gone(identity, killedMaxMs)) return;
  throw new CloudosError('HOST_COMMAND_FAILED', `process ${identity.pid} is not gone ${killedMaxMs} ms after a kill`);
}

function gone(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  return until(timeoutMs, () => !isAlive(identity));
}
