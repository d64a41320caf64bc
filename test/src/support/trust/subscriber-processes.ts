import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Target } from './forms.ts';
import type { Progress, Report, Request } from './subscriber-process.ts';

/** As it is built: the processes are plain Node.js. */
const program = fileURLToPath(new URL('../../../dist/support/trust/subscriber-process.js', import.meta.url));

/** Subscribers spread over processes, as they are over machines: one process would be what is measured. */
export class SubscriberProcesses {
  readonly #children: readonly ChildProcess[];
  #next = 1;

  private constructor(children: readonly ChildProcess[]) {
    this.#children = children;
  }

  static async start(count: number, seed: number): Promise<SubscriberProcesses> {
    // Without the conditions under which the tests themselves find their packages.
    const children = Array.from({ length: count }, (_, n) => fork(program, [String(seed + n)], { execArgv: [] }));
    await Promise.all(children.map(begun));
    return new SubscriberProcesses(children);
  }

  async join(count: number, target: Target, knownTo: number): Promise<void> {
    let left = count;
    const shares = this.#children.map((_, index) => {
      const share = Math.ceil(left / (this.#children.length - index));
      left -= share;
      return share;
    });
    await this.#all((index) => ({ task: 'join', count: shares[index] as number, target, knownTo }));
  }

  async mark(): Promise<void> {
    await this.#all(() => ({ task: 'mark' }));
  }

  /** So many of them are restarted, each with that chance. */
  async restart(chance: number): Promise<void> {
    await this.#all(() => ({ task: 'restart', chance }));
  }

  /** @param to the position up to which they are to be level */
  async progress(to = 0): Promise<Progress> {
    const all = await this.#all<Progress>(() => ({ task: 'progress', to }));
    const sum = (name: keyof Progress) => all.reduce((total, each) => total + each[name], 0);
    return {
      watchers: sum('watchers'),
      back: sum('back'),
      level: sum('level'),
      failed: sum('failed'),
      told: sum('told'),
      cpuSeconds: sum('cpuSeconds'),
    };
  }

  /** Ends the subscriptions and holds what came against the log in that directory. */
  judge(directory: string): Promise<readonly Report[]> {
    return this.#all<Report>(() => ({ task: 'judge', directory }));
  }

  async end(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
  }

  #all<Result>(request: (index: number) => Request): Promise<Result[]> {
    return Promise.all(this.#children.map((child, index) => this.#ask<Result>(child, request(index))));
  }

  #ask<Result>(child: ChildProcess, request: Request): Promise<Result> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const ended = (code: number | null) => reject(new Error(`a process of subscribers ended with ${code}`));
      const answered = (message: { id: number; result?: Result; error?: string }) => {
        if (message.id !== id) return;
        child.off('message', answered).off('exit', ended);
        if (message.error === undefined) resolve(message.result as Result);
        else reject(new Error(message.error));
      };
      child.on('message', answered).once('exit', ended);
      child.send({ id, request });
    });
  }
}

function begun(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('message', () => resolve());
    child.once('exit', (code) => reject(new Error(`a process of subscribers ended with ${code}`)));
  });
}
