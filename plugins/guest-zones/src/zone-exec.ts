import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import type { Writable } from 'node:stream';
import { closedStdio, findTool, KillDeadline, shellWord, toolEnvironment, toolPath } from '@cloudos/host-tools';
import { CloudosError, type ExecRequest, type ExecSession, type OutputChunk } from '@cloudos/sdk';
import { ReplaySubject } from 'rxjs';
import { dropPrivileges, environmentLine, prependEnvironment, readEnvironment } from './launch-script.ts';
import type { ZoneRoot } from './zone-root.ts';

export interface ExecTarget {
  readonly pid: number;
  readonly rootless: boolean;
  readonly root: ZoneRoot;
  readonly controlGroups: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** Chunks that are kept for a subscriber that comes after the call; earlier ones are dropped past this. */
const outputChunksMax = 4096;
/** Which the environment of the command is read from. */
const environmentDescriptor = 3;
/** Precedes the output of a command with a terminal: tells the terminal's name, is cut off. */
const ttyMark = '\u0001cloudos-tty ';

/**
 * Runs a command in all namespaces and control groups of the zone, with the zone's own lack of privileges. A terminal is
 * one of the zone's own /dev/pts, held open by `script` (bsdutils) inside of the zone; where the zone has another userland
 * it is one of the host's, which the zone cannot look up by name.
 */
export async function execInZone(target: ExecTarget, request: ExecRequest): Promise<ExecSession> {
  if (request.tty && !findTool('script')) {
    throw new CloudosError('GUEST_UNSUPPORTED', 'a terminal needs the tool script on the host', {
      remedy: 'apt-get install bsdutils',
    });
  }
  const child = start(target, commandLine(target, request), request.tty !== undefined);
  const environment = child.stdio[environmentDescriptor] as Writable;
  environment.on('error', () => {}); // it has ended before it took it, and says so by its code
  environment.end(environmentLine({ root: target.root, env: variablesOf(target, request), envOptions: [] }));
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (error) =>
      reject(new CloudosError('HOST_COMMAND_FAILED', `nsenter cannot be run: ${error.message}`, { cause: error })),
    );
  });
  return new ZoneSession(target, child, request.tty !== undefined);
}

/** Runs a line of sh in the control groups of the zone, in a session of its own: no signal to its group reaches the host. */
function start(target: ExecTarget, line: string, tty: boolean): ChildProcess {
  const join = target.controlGroups.map((group) => `echo 0 >${shellWord(`${group}/cgroup.procs`)} || exit 125`);
  return spawn('/bin/sh', ['-c', [...join, line].join('\n')], {
    env: { ...toolEnvironment },
    cwd: '/',
    detached: true,
    stdio: closedStdio(['pipe', 'pipe', tty ? 'ignore' : 'pipe', 'pipe']),
  });
}

/** Joins the namespaces, then drops privileges. The environment of the guest comes last, and stands in no command line. */
function enter(target: ExecTarget, inside: readonly string[]): string {
  const user = target.rootless ? ' -U --preserve-credentials' : '';
  const drop = dropPrivileges({ ...target, user: target.root.user }, ['--pdeathsig', 'KILL']);
  return `exec nsenter -t ${target.pid} -m -u -i -n -p -C${user} ${drop} ${inside.map(shellWord).join(' ')}`;
}

function commandLine(target: ExecTarget, request: ExecRequest): string {
  const { tool, terminalOfHost, workingDir } = target.root;
  const take = `${readEnvironment} <&${environmentDescriptor}; exec ${environmentDescriptor}<&-; ${prependEnvironment}`;
  const shell = [...tool('sh'), '-c', `${take}; cd "$0" && exec "$@"`, request.workingDir ?? workingDir];
  const plain = [...shell, ...request.command];
  if (!request.tty) return enter(target, plain);
  const { columns, rows } = request.tty;
  const prepare = `printf '${ttyMark.replace('\u0001', '\\001')}%s\\n' "$(tty)"; stty rows ${rows} cols ${columns}; `;
  if (terminalOfHost) return `exec script -qefc ${shellWord(prepare + enter(target, plain))} /dev/null`;
  const inner = `${prepare}exec ${request.command.map(shellWord).join(' ')}`;
  return enter(target, [...shell, 'script', '-qefc', inner, '/dev/null']);
}

function variablesOf(target: ExecTarget, { env, tty }: ExecRequest): [name: string, value: string][] {
  return Object.entries({ ...target.env, ...env, ...(tty ? { TERM: env?.TERM ?? 'xterm' } : {}) });
}

/** The process that nsenter has made in the zone, itself or below, and what that has started; none as long as there is none. */
function processesInside(pid: number): number[] {
  try {
    const isOutside = readFileSync(`/proc/${pid}/comm`, 'latin1').trim() === 'nsenter';
    return childrenOf(pid).flatMap((child) => (isOutside ? withDescendants(child) : processesInside(child)));
  } catch {
    return []; // it is ending
  }
}

function withDescendants(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(withDescendants)];
}

function childrenOf(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim();
    return children.split(' ').filter(Boolean).map(Number);
  } catch {
    return []; // it is ending
  }
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

class ZoneSession implements ExecSession {
  readonly output;
  readonly exitCode: Promise<number>;
  readonly #target: ExecTarget;
  readonly #child: ChildProcess;
  readonly #deadline: KillDeadline;
  readonly #output = new ReplaySubject<OutputChunk>(outputChunksMax);
  #tty: string | undefined;
  #size: { columns: number; rows: number } | undefined;
  #head: string | undefined;

  constructor(target: ExecTarget, child: ChildProcess, tty: boolean) {
    this.#target = target;
    this.#child = child;
    this.output = this.#output.asObservable();
    if (tty) this.#head = '';
    child.stdout?.on('data', (data: Buffer) => this.#receive('stdout', data));
    child.stderr?.on('data', (data: Buffer) => this.#receive('stderr', data));
    child.stdin?.on('error', () => {});
    const ended = new Promise<number>((resolve) => {
      child.once('close', (code, signal) => {
        this.#finish();
        resolve(code ?? 128 + (constants.signals[signal ?? 'SIGKILL'] ?? 9));
      });
    });
    this.#deadline = new KillDeadline(ended, () => this.#finish());
    this.exitCode = this.#deadline.exitCode;
  }

  write(data: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      const { stdin } = this.#child;
      if (!stdin || stdin.destroyed || stdin.writableEnded) resolve();
      else stdin.write(data, () => resolve());
    });
  }

  end(): void {
    this.#child.stdin?.end();
  }

  resize(columns: number, rows: number): void {
    this.#size = { columns, rows };
    this.#applySize();
  }

  /**
   * What runs in the zone is killed, and the processes around it end with it. The other way round, the first of the zone
   * would be left to the first process of the host to reap, and a zone ends only when all of its processes are reaped.
   */
  kill(): void {
    this.#deadline.start();
    const { pid } = this.#child;
    // While it stands still it makes no child that would be missed. (Those in the zone go on: nsenter stops with its child.)
    if (pid === undefined || !this.#child.kill('SIGSTOP')) return;
    const inside = processesInside(pid);
    if (inside.length === 0) this.#child.kill('SIGKILL');
    for (const each of inside) endProcess(each);
    this.#child.kill('SIGCONT');
  }

  #finish(): void {
    if (this.#head) this.#output.next({ stream: 'stdout', data: Buffer.from(this.#head, 'latin1') });
    this.#output.complete();
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
  }

  #receive(stream: OutputChunk['stream'], data: Buffer): void {
    if (this.#head === undefined) return this.#output.next({ stream, data });
    this.#head += data.toString('latin1');
    const end = this.#head.indexOf('\n');
    if (end < 0 && this.#head.length < 256) return;
    const first = this.#head.slice(0, Math.max(0, end));
    const rest = first.startsWith(ttyMark) ? this.#head.slice(end + 1) : this.#head;
    if (first.startsWith(ttyMark)) this.#tty = first.slice(ttyMark.length).trim();
    this.#head = undefined;
    if (rest) this.#output.next({ stream, data: Buffer.from(rest, 'latin1') });
    this.#applySize();
  }

  #applySize(): void {
    if (!this.#size || !this.#tty?.startsWith('/dev/pts/')) return;
    const size = ['rows', String(this.#size.rows), 'cols', String(this.#size.columns)];
    const { tool, terminalOfHost } = this.#target.root;
    const inside = [...tool('env'), '-i', `PATH=${toolPath}`, 'stty', '-F', this.#tty, ...size];
    const line = terminalOfHost
      ? `exec stty -F ${shellWord(this.#tty)} ${size.join(' ')}`
      : enter(this.#target, inside);
    const change = start(this.#target, line, false);
    change.on('error', () => {});
    change.stdin?.end();
  }
}
