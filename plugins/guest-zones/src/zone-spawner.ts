import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { closedStdio, toolEnvironment } from '@cloudos/host-tools';

/** How long the spawner may take to end when nobody talks to it any more. */
const endMaxMs = 2_000;
const unplugMaxMs = 10_000;
/** Room for the names that its processes go by (`ps`, proc(5) cmdline): as much as they begin with. */
const nameRoom = ' '.repeat(4_200);

/** How it went: `ok`, or `fail <code> <words>`. */
type Report = string;

/**
 * The process that launches zones ({@link spawnerProgram}), run when the first is to be launched and again when it is gone.
 * A process of a few megabytes is forked for each zone, where a fork of the driver's own would hold up its event loop until
 * the child has been given a processor. Zones do not depend on it once they run: it ends with the driver, they go on.
 */
export class ZoneSpawner {
  readonly #command: readonly string[];
  readonly #waiting = new Map<number, { readonly child: ChildProcess; readonly done: (report: Report) => void }>();
  #child: ChildProcess | undefined;
  #last = 0;

  /** @param name what the process goes by */
  constructor(command: readonly string[], name: string) {
    this.#command = [...command, name];
  }

  /** Launches the zone of that directory by its plan `plan-<launch>`. Past the deadline what was begun is killed. */
  launch(directory: string, launch: string, timeoutMs: number): Promise<Report> {
    return this.#ask(this.#running(), `${launch} ${directory}`, timeoutMs);
  }

  /** Removes a cable, absent already or not. False when the spawner does not run, or could not. */
  async unplug(link: string): Promise<boolean> {
    return this.#child !== undefined && (await this.#ask(this.#child, `unplug ${link}`, unplugMaxMs)) === 'ok';
  }

  #ask(child: ChildProcess, what: string, timeoutMs: number): Promise<Report> {
    const id = ++this.#last;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        child.stdin?.write(`${id} kill\n`);
        done(`fail GUEST_START_FAILED the launch did not end in ${timeoutMs} ms`);
      }, timeoutMs);
      const done = (report: Report) => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve(report);
      };
      this.#waiting.set(id, { child, done });
      child.stdin?.write(`${id} ${what}\n`);
    });
  }

  /** Ends it. Launches under way end as they may. */
  async close(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    const timer = setTimeout(() => child.kill('SIGKILL'), endMaxMs);
    child.ref();
    child.stdin?.end();
    await ended;
    clearTimeout(timer);
  }

  #running(): ChildProcess {
    if (this.#child) return this.#child;
    const [program = '', ...args] = this.#command;
    const child = spawn(program, [...args, nameRoom], {
      cwd: '/',
      env: { ...toolEnvironment },
      detached: true,
      stdio: closedStdio(['pipe', 'pipe', 'ignore']),
    });
    const gone = (how: string) => {
      if (this.#child === child) this.#child = undefined;
      for (const waiting of [...this.#waiting.values()]) {
        if (waiting.child === child) waiting.done(`fail GUEST_START_FAILED the spawner of zones ${how}`);
      }
    };
    child.once('error', (error) => gone(`cannot be run: ${error.message}`));
    child.once('exit', (code, signal) => gone(`ended with ${code ?? signal}`));
    child.stdin?.on('error', () => {});
    let text = '';
    child.stdout?.on('data', (data: Buffer) => {
      const lines = `${text}${data.toString()}`.split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) this.#heard(line);
    });
    // A driver that has nothing else to do may end.
    child.unref();
    for (const stream of [child.stdin, child.stdout] as (Socket | null)[]) stream?.unref();
    this.#child = child;
    return child;
  }

  #heard(line: string): void {
    const blank = line.indexOf(' ');
    const report = line.slice(blank + 1);
    const early = 'fail GUEST_START_FAILED the launch ended before its time';
    this.#waiting.get(Number(line.slice(0, blank)))?.done(report === 'end' ? early : report);
  }
}
